
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The step of a transaction that applies the limits of its location.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_STEP_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_STEP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_transaction.h"


/*
 * A row of the transaction's table.  Waits until a request may go on that its
 * limits let in for later; a client that hangs up meanwhile ends it.
 */
ngx_int_t ngx_http_tsface_limit_step(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);


#endif /* _NGX_HTTP_TSFACE_LIMIT_STEP_H_INCLUDED_ */
