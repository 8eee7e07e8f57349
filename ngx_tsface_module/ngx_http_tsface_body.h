
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The steps that read a request's body and understand it.
 */


#ifndef _NGX_HTTP_TSFACE_BODY_H_INCLUDED_
#define _NGX_HTTP_TSFACE_BODY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_transaction.h"


/* What is read of a body that is too large before the connection is cut. */
#define NGX_HTTP_TSFACE_MAX_DISCARD   1048576


/* Steps of the transaction: results as in its table. */
ngx_int_t ngx_http_tsface_body_step(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
ngx_int_t ngx_http_tsface_body_check(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);

/*
 * The request body filter that module.c puts into nginx's chain: *in becomes
 * what the next filter is to see.
 */
ngx_int_t ngx_http_tsface_body_filter(ngx_http_request_t *r,
    ngx_chain_t **in);


#endif /* _NGX_HTTP_TSFACE_BODY_H_INCLUDED_ */
