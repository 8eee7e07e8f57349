
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The addresses of an endpoint, kept up to date with DNS in every worker
 * while connections stay alive.  An old answer serves until a new one comes.
 */


#ifndef _NGX_HTTP_TSFACE_RESOLVE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_RESOLVE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_endpoint.h"


typedef struct {
    ngx_sockaddr_t                 sockaddr;
    socklen_t                      socklen;
    ngx_str_t                      name;       /* "192.0.2.1:443" */
    u_char                         text[NGX_SOCKADDR_STRLEN];
} ngx_http_tsface_addr_t;


/* An answer.  Whoever uses it beyond one event holds a reference. */
typedef struct {
    ngx_uint_t                     refs;
    ngx_uint_t                     naddrs;
    ngx_http_tsface_addr_t         addrs[1];
} ngx_http_tsface_addrs_t;


/* Waits for the first answer.  Taken out of its queue before the call. */
typedef struct {
    ngx_queue_t                    queue;
    void                         (*handler)(void *data);
    void                          *data;
} ngx_http_tsface_resolve_waiter_t;


/* At configuration time: finds or makes the resolver for names. */
ngx_http_tsface_resolve_t *ngx_http_tsface_resolve_create(ngx_conf_t *cf,
    const ngx_http_tsface_url_t *url);

/* In a worker: begins, ends. */
ngx_int_t ngx_http_tsface_resolve_start(ngx_cycle_t *cycle,
    ngx_http_tsface_resolve_t *resolve);
void ngx_http_tsface_resolve_stop(ngx_http_tsface_resolve_t *resolve);

/* The addresses with a reference for the caller, or NULL if none is known. */
ngx_http_tsface_addrs_t *ngx_http_tsface_resolve_get(
    ngx_http_tsface_resolve_t *resolve);
void ngx_http_tsface_resolve_release(ngx_http_tsface_addrs_t *addrs);

/* A starting point in addrs that spreads the load: round robin. */
ngx_uint_t ngx_http_tsface_resolve_next(ngx_http_tsface_resolve_t *resolve);

/* Whether sockaddr is among the present addresses. */
ngx_uint_t ngx_http_tsface_resolve_has(ngx_http_tsface_resolve_t *resolve,
    struct sockaddr *sockaddr, socklen_t socklen);

/*
 * Queues waiter for the next answer, and looks the name up at once if the
 * last look-up failed.  The waiter's owner bounds the wait and unlinks it.
 */
void ngx_http_tsface_resolve_wait(ngx_http_tsface_resolve_t *resolve,
    ngx_http_tsface_resolve_waiter_t *waiter);


#endif /* _NGX_HTTP_TSFACE_RESOLVE_H_INCLUDED_ */
