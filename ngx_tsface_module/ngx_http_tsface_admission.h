
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Whether the endpoint may be asked now: the step of a transaction that goes
 * through the gate (gate.h) of its credentials, and the way out of it.
 */


#ifndef _NGX_HTTP_TSFACE_ADMISSION_H_INCLUDED_
#define _NGX_HTTP_TSFACE_ADMISSION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_transaction.h"


/* A step of the transaction: results as in its table. */
ngx_int_t ngx_http_tsface_admission_step(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);

/*
 * For the step that sends, right before it does: NGX_OK, it may; NGX_AGAIN, it
 * waits for its turn, and asks again; NGX_DECLINED, it may not any more.
 */
ngx_int_t ngx_http_tsface_admission_send(ngx_http_tsface_ctx_t *ctx);

/* A second attempt of the same transaction. */
void ngx_http_tsface_admission_again(ngx_http_tsface_ctx_t *ctx);

/*
 * The transaction sends nothing any more: what its last attempt came to, or
 * that there was none, is told to the gate.  Does nothing the second time, or
 * if it never went through.
 */
void ngx_http_tsface_admission_end(ngx_http_tsface_ctx_t *ctx);


#endif /* _NGX_HTTP_TSFACE_ADMISSION_H_INCLUDED_ */
