
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What a transaction tells the audit trail: records made of its state.
 */


#ifndef _NGX_HTTP_TSFACE_JOURNAL_H_INCLUDED_
#define _NGX_HTTP_TSFACE_JOURNAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_transaction.h"


/*
 * Submits a record to the location's trail, which must not be NULL.  handler
 * is called with ctx as its data; NULL: nobody waits.  Returns NULL if the
 * trail does not take it.
 */
ngx_http_tsface_entry_t *ngx_http_tsface_journal_intent(
    ngx_http_tsface_ctx_t *ctx, ngx_http_tsface_entry_pt handler);
ngx_http_tsface_entry_t *ngx_http_tsface_journal_outcome(
    ngx_http_tsface_ctx_t *ctx, ngx_http_tsface_entry_pt handler);
ngx_http_tsface_entry_t *ngx_http_tsface_journal_refusal(
    ngx_http_tsface_ctx_t *ctx, ngx_http_tsface_entry_pt handler);

/*
 * NGX_OK: the refusal is one of a flood; it was counted, and gets no record of
 * its own.  NGX_DECLINED: it has to be submitted.
 */
ngx_int_t ngx_http_tsface_journal_count(ngx_http_tsface_ctx_t *ctx);

/*
 * Remembers the keyed fingerprint of the token that the attempt uses; token
 * is not kept.  One of our own tokens is computed once a worker.
 */
void ngx_http_tsface_journal_token(ngx_http_tsface_ctx_t *ctx,
    const ngx_str_t *token);


#endif /* _NGX_HTTP_TSFACE_JOURNAL_H_INCLUDED_ */
