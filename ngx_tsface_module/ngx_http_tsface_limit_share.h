
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A request and the store that its limits share: asks it, remembers in the
 * zones of this host what it said, decides without it.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_SHARE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_SHARE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_limit_store.h"


/*
 * A node's share of a limit: the same time counts, but each request takes the
 * interval of all nodes, as if the others did the same meanwhile.  From a
 * full burst all nodes together let in no more than burst + 1, unless there
 * are more of them: each lets in one.
 */
void ngx_http_tsface_limit_share_init(ngx_http_tsface_gcra_t *share,
    const ngx_http_tsface_gcra_t *gcra, ngx_uint_t nodes);

/*
 * Asks the store of the request's zones, with what this host remembers, so
 * that one which lost its memory has it back.  NGX_AGAIN: handler is called,
 * and request->call is to be detached; NGX_DECLINED: there is no store;
 * NGX_ERROR: it can't be asked now.
 */
ngx_int_t ngx_http_tsface_limit_share_ask(ngx_http_tsface_limits_t *request,
    ngx_http_tsface_limit_call_pt handler, void *data);

/*
 * In the handler, when the store has decided: what limit_decide() would
 * return.  It is what the handler was told, and counted and remembered here.
 */
ngx_int_t ngx_http_tsface_limit_share_answer(
    ngx_http_tsface_limits_t *request);

/*
 * Decides without the store, by its on_failure; the same results, NGX_ABORT
 * for "refuse".
 */
ngx_int_t ngx_http_tsface_limit_share_fallback(
    ngx_http_tsface_limits_t *request);


#endif /* _NGX_HTTP_TSFACE_LIMIT_SHARE_H_INCLUDED_ */
