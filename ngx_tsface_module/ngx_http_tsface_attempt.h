
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The steps of one attempt: intent, token, forward, outcome; and whether
 * there is a second one.
 */


#ifndef _NGX_HTTP_TSFACE_ATTEMPT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_ATTEMPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_transaction.h"


/* Steps of the transaction: results as in its table. */
ngx_int_t ngx_http_tsface_attempt_intent(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
ngx_int_t ngx_http_tsface_attempt_token(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
ngx_int_t ngx_http_tsface_attempt_forward(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
ngx_int_t ngx_http_tsface_attempt_outcome(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);


#endif /* _NGX_HTTP_TSFACE_ATTEMPT_H_INCLUDED_ */
