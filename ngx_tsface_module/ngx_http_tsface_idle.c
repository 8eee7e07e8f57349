
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include "ngx_http_tsface_idle.h"
#include "ngx_http_tsface_resolve.h"


typedef struct {
    ngx_queue_t                        queue;
    ngx_connection_t                  *connection;
    ngx_http_tsface_idle_t            *idle;
    socklen_t                          socklen;
    ngx_sockaddr_t                     sockaddr;
} ngx_http_tsface_idle_item_t;


struct ngx_http_tsface_idle_s {
    const ngx_http_tsface_endpoint_t  *endpoint;
    ngx_log_t                         *log;
    ngx_queue_t                        cache;     /* last used first */
    ngx_queue_t                        free;
    ngx_http_tsface_idle_item_t        items[1];
};


static ngx_uint_t ngx_http_tsface_idle_alive(ngx_connection_t *c);
static void ngx_http_tsface_idle_handler(ngx_event_t *ev);
static void ngx_http_tsface_idle_dummy(ngx_event_t *ev);
static void ngx_http_tsface_idle_drop(ngx_http_tsface_idle_item_t *item);
static void ngx_http_tsface_idle_close_connection(ngx_connection_t *c);


ngx_http_tsface_idle_t *
ngx_http_tsface_idle_create(ngx_cycle_t *cycle,
    const ngx_http_tsface_endpoint_t *endpoint)
{
    ngx_uint_t               i;
    ngx_http_tsface_idle_t  *idle;

    idle = ngx_pcalloc(cycle->pool, sizeof(ngx_http_tsface_idle_t)
                                    + endpoint->conf.keepalive
                                      * sizeof(ngx_http_tsface_idle_item_t));
    if (idle == NULL) {
        return NULL;
    }

    idle->endpoint = endpoint;
    idle->log = cycle->log;

    ngx_queue_init(&idle->cache);
    ngx_queue_init(&idle->free);

    for (i = 0; i < endpoint->conf.keepalive; i++) {
        idle->items[i].idle = idle;
        ngx_queue_insert_head(&idle->free, &idle->items[i].queue);
    }

    return idle;
}


void
ngx_http_tsface_idle_close(ngx_http_tsface_idle_t *idle)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&idle->cache)) {
        q = ngx_queue_head(&idle->cache);
        ngx_http_tsface_idle_drop(ngx_queue_data(q,
                                           ngx_http_tsface_idle_item_t, queue));
    }
}


ngx_connection_t *
ngx_http_tsface_idle_get(ngx_http_tsface_idle_t *idle,
    ngx_http_tsface_addr_t *addr)
{
    ngx_queue_t                  *q;
    ngx_connection_t             *c;
    ngx_http_tsface_idle_item_t  *item;

    while (!ngx_queue_empty(&idle->cache)) {
        q = ngx_queue_head(&idle->cache);
        item = ngx_queue_data(q, ngx_http_tsface_idle_item_t, queue);
        c = item->connection;

        if (!ngx_http_tsface_resolve_has(idle->endpoint->resolve,
                                         &item->sockaddr.sockaddr,
                                         item->socklen)
            || !ngx_http_tsface_idle_alive(c))
        {
            ngx_http_tsface_idle_drop(item);
            continue;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_head(&idle->free, q);

        addr->socklen = item->socklen;
        ngx_memcpy(&addr->sockaddr, &item->sockaddr, item->socklen);

        c->idle = 0;
        c->sent = 0;
        c->data = NULL;

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        return c;
    }

    return NULL;
}


/*
 * A revoke sent over a connection that the peer has closed already ends as
 * "unknown", since nobody can say whether it was read: look before.
 */
static ngx_uint_t
ngx_http_tsface_idle_alive(ngx_connection_t *c)
{
    int   n;
    char  buf[1];

    if (c->close || c->read->eof || c->read->error || c->read->timedout) {
        return 0;
    }

    n = recv(c->fd, buf, 1, MSG_PEEK|MSG_DONTWAIT);

    return n == -1 && ngx_socket_errno == NGX_EAGAIN;
}


ngx_int_t
ngx_http_tsface_idle_put(ngx_http_tsface_idle_t *idle,
    ngx_peer_connection_t *pc)
{
    ngx_queue_t                  *q;
    ngx_connection_t             *c;
    ngx_http_tsface_idle_item_t  *item;

    c = pc->connection;

    if (c->read->eof
        || c->read->error
        || c->read->timedout
        || c->write->error
        || c->write->timedout
        || c->requests >= idle->endpoint->conf.keepalive_requests
        || idle->endpoint->conf.keepalive == 0
        || ngx_terminate
        || ngx_exiting)
    {
        return NGX_DECLINED;
    }

    /* more than the response, which waits in OpenSSL, not in the socket */

    if (c->ssl && SSL_has_pending(c->ssl->connection)) {
        return NGX_DECLINED;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_queue_empty(&idle->free)) {
        q = ngx_queue_last(&idle->cache);
        ngx_http_tsface_idle_drop(ngx_queue_data(q,
                                           ngx_http_tsface_idle_item_t, queue));
    }

    q = ngx_queue_head(&idle->free);
    item = ngx_queue_data(q, ngx_http_tsface_idle_item_t, queue);

    ngx_queue_remove(q);
    ngx_queue_insert_head(&idle->cache, q);

    item->connection = c;
    item->socklen = pc->socklen;
    ngx_memcpy(&item->sockaddr, pc->sockaddr, pc->socklen);

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    c->write->handler = ngx_http_tsface_idle_dummy;
    c->read->handler = ngx_http_tsface_idle_handler;

    c->data = item;
    c->idle = 1;
    c->log = idle->log;
    c->read->log = idle->log;
    c->write->log = idle->log;
    c->pool->log = idle->log;

    c->read->delayed = 0;
    ngx_add_timer(c->read, idle->endpoint->conf.keepalive_timeout);

    if (c->read->ready) {
        ngx_http_tsface_idle_handler(c->read);
    }

    return NGX_OK;
}


/* The peer closed it, sent what nobody asked for, or its time is up. */
static void
ngx_http_tsface_idle_handler(ngx_event_t *ev)
{
    int                n;
    char               buf[1];
    ngx_connection_t  *c;

    c = ev->data;

    if (!c->close && !ev->timedout) {
        n = recv(c->fd, buf, 1, MSG_PEEK);

        if (n == -1 && ngx_socket_errno == NGX_EAGAIN) {
            ev->ready = 0;

            if (ngx_handle_read_event(ev, 0) == NGX_OK) {
                return;
            }
        }
    }

    ngx_http_tsface_idle_drop(c->data);
}


static void
ngx_http_tsface_idle_dummy(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ev->log, 0, "tsface idle dummy");
}


static void
ngx_http_tsface_idle_drop(ngx_http_tsface_idle_item_t *item)
{
    ngx_queue_remove(&item->queue);
    ngx_queue_insert_head(&item->idle->free, &item->queue);

    ngx_http_tsface_idle_close_connection(item->connection);
}


static void
ngx_http_tsface_idle_close_connection(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;

        if (ngx_ssl_shutdown(c) == NGX_AGAIN) {
            c->ssl->handler = ngx_http_tsface_idle_close_connection;
            return;
        }
    }

    pool = c->pool;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}
