
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * One HTTP exchange with an endpoint that belongs to no client's request:
 * connect, TLS, send, receive, all before one deadline.
 */


#ifndef _NGX_HTTP_TSFACE_CLIENT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_CLIENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include "ngx_http_tsface_endpoint.h"
#include "ngx_http_tsface_plan.h"
#include "ngx_http_tsface_resolve.h"
#include "ngx_http_tsface_response.h"


#define NGX_HTTP_TSFACE_CLIENT_MAX_HEADER   16384
#define NGX_HTTP_TSFACE_CLIENT_MAX_BODY     65536


typedef struct ngx_http_tsface_client_s  ngx_http_tsface_client_t;

/* Called once, on the event loop, never from client_start(). */
typedef void (*ngx_http_tsface_client_pt)(ngx_http_tsface_client_t *client);


/*
 * The caller fills in the first part, with everything in pool; the client
 * wipes request and body, but not pool, which is the caller's to destroy
 * after its handler was called or the client canceled.
 */
struct ngx_http_tsface_client_s {
    ngx_pool_t                        *pool;
    ngx_http_tsface_endpoint_t        *endpoint;
    ngx_buf_t                         *request;
    ngx_msec_t                         timeout;     /* for all of it */
    ngx_str_t                          name;        /* for the error log */
    ngx_http_tsface_client_pt          handler;
    void                              *data;

    /* what came of it: EXCHANGE_OK if there is a whole response */
    ngx_http_tsface_exchange_e         result;
    const char                        *error;       /* static text */
    ngx_http_tsface_response_t         response;
    ngx_str_t                          body;

    /* the client's own */
    ngx_log_t                          log;
    ngx_peer_connection_t              peer;
    ngx_http_tsface_addrs_t           *addrs;
    ngx_http_tsface_resolve_waiter_t   waiter;
    ngx_uint_t                         first;
    ngx_uint_t                         tried;
    ngx_event_t                        deadline;
    ngx_event_t                        done;        /* posted */
    ngx_buf_t                         *buf;
    ngx_http_tsface_body_t             framing;
    unsigned                           waiting:1;
    unsigned                           header_done:1;
    unsigned                           finished:1;
};


ngx_int_t ngx_http_tsface_client_start(ngx_http_tsface_client_t *client);

/* Ends it without calling the handler. */
void ngx_http_tsface_client_cancel(ngx_http_tsface_client_t *client);


#endif /* _NGX_HTTP_TSFACE_CLIENT_H_INCLUDED_ */
