
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * One call of the token endpoint: client credentials in, a token or a class
 * of failure out (RFC 6749 4.4, facts 2.2 to 2.5 of the Transmit API).
 */


#ifndef _NGX_HTTP_TSFACE_EXCHANGE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_EXCHANGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_credentials.h"
#include "ngx_http_tsface_plan.h"


typedef struct ngx_http_tsface_exchange_s  ngx_http_tsface_exchange_t;


/*
 * What came of it.  token points into memory that is wiped and freed when the
 * handler returns.  error is static text, without anything from the answer.
 */
typedef struct {
    ngx_http_tsface_exchange_e    result;
    ngx_uint_t                    status;        /* 0: no answer */
    const char                   *error;
    ngx_str_t                     token;
    ngx_msec_t                    ttl;
    ngx_msec_t                    retry_after;
    ngx_msec_t                    took;
} ngx_http_tsface_exchange_result_t;


/* Called once, on the event loop, never from exchange_start(). */
typedef void (*ngx_http_tsface_exchange_pt)(void *data,
    const ngx_http_tsface_exchange_result_t *result);


/*
 * secret is the one to try, copied before this returns; NULL when the method
 * of authentication has none.  NULL: no memory; the handler is not called
 * then.
 */
ngx_http_tsface_exchange_t *ngx_http_tsface_exchange_start(
    const ngx_http_tsface_credentials_t *credentials,
    const ngx_str_t *secret, ngx_http_tsface_exchange_pt handler, void *data);

/* Ends it without calling the handler. */
void ngx_http_tsface_exchange_cancel(ngx_http_tsface_exchange_t *exchange);


#endif /* _NGX_HTTP_TSFACE_EXCHANGE_H_INCLUDED_ */
