
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <sys/eventfd.h>

#include "ngx_http_tsface_wake.h"


static void ngx_http_tsface_wake_event(ngx_event_t *ev);


/*
 * Survives reloads, so that the workers of the old configuration, which still
 * drain their requests, hear of a token that a new worker got.  A binary
 * upgrade starts with -1, and with a new zone too.
 */
static ngx_socket_t             ngx_http_tsface_wake_fd = -1;
static ngx_http_tsface_wake_pt  ngx_http_tsface_wake_handler;


ngx_int_t
ngx_http_tsface_wake_create(ngx_cycle_t *cycle)
{
    if (ngx_http_tsface_wake_fd != -1) {
        return NGX_OK;
    }

    ngx_http_tsface_wake_fd = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

    if (ngx_http_tsface_wake_fd == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "eventfd() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * The descriptor is never read: with EPOLLET each write is an edge for every
 * epoll instance it is registered in, and a reader would take the wake-up
 * from the others.
 */
ngx_int_t
ngx_http_tsface_wake_start(ngx_cycle_t *cycle, ngx_http_tsface_wake_pt handler)
{
    ngx_connection_t  *c;

    ngx_http_tsface_wake_handler = handler;

    if (ngx_http_tsface_wake_fd == -1
        || !(ngx_event_flags & NGX_USE_CLEAR_EVENT))
    {
        return NGX_OK;
    }

    c = ngx_get_connection(ngx_http_tsface_wake_fd, cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->log = cycle->log;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->read->handler = ngx_http_tsface_wake_event;

    /* not one of the connections that a worker closes, or misses, at exit */

    c->read->channel = 1;
    c->write->channel = 1;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) == NGX_ERROR) {
        ngx_free_connection(c);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_tsface_wake_all(ngx_log_t *log)
{
    static uint64_t  one = 1;

    if (ngx_http_tsface_wake_fd == -1) {
        return;
    }

    /* EAGAIN after 2^64 - 2 wake-ups: the counter is full, edges still come */

    if (write(ngx_http_tsface_wake_fd, &one, sizeof(uint64_t)) == -1
        && ngx_errno != NGX_EAGAIN)
    {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno, "eventfd write failed");
    }
}


static void
ngx_http_tsface_wake_event(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ev->log, 0, "tsface wake");

    ngx_http_tsface_wake_handler();
}
