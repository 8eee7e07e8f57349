
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * hiredis on nginx's event loop, with a peer that is not trusted: bounds what
 * it may send.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_ADAPTER_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_ADAPTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <hiredis/async.h>

#include "ngx_http_tsface_limit_store.h"
#include "ngx_http_tsface_limit_tls.h"


/*
 * Lives as long as its owner.  ac is NULL without a connection; hiredis frees
 * it by itself when the peer is gone, or says what it must not, and sets
 * failure and words (NUL-terminated) then.
 */
typedef struct {
    redisAsyncContext                *ac;
    ngx_ssl_conn_t                   *tls;        /* ac's; NULL: plain */
    ngx_connection_t                 *connection;
    ngx_log_t                        *log;

    redisReplyObjectFunctions         functions;
    redisReplyObjectFunctions        *hiredis;    /* its own */

    ngx_http_tsface_store_failure_e   failure;
    u_char                            words[128];

    /* called after every event, when hiredis is done with it */
    void                            (*check)(void *data);
    void                             *data;

    unsigned                          refused:1;  /* an answer, by us */
    unsigned                          closing:1;
    unsigned                          idle:1;     /* owed nothing at its end */
} ngx_http_tsface_adapter_t;


/*
 * Begins to connect to an address of the store's, without a wait; commands may
 * be given at once.  NGX_ERROR: words say why not.
 */
ngx_int_t ngx_http_tsface_adapter_connect(ngx_http_tsface_adapter_t *adapter,
    const ngx_http_tsface_limit_store_t *store,
    const ngx_http_tsface_store_addr_t *addr);

/* Closes it, if it is there: not from within hiredis. */
void ngx_http_tsface_adapter_close(ngx_http_tsface_adapter_t *adapter);

/* Is there a command without an answer? */
#define ngx_http_tsface_adapter_owed(adapter)                                 \
    ((adapter)->ac->replies.head != NULL)


#endif /* _NGX_HTTP_TSFACE_LIMIT_ADAPTER_H_INCLUDED_ */
