
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * tsface_status: the state of tokens, trails and counters as JSON.
 */


#ifndef _NGX_HTTP_TSFACE_STATUS_H_INCLUDED_
#define _NGX_HTTP_TSFACE_STATUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* The content handler that tsface_status sets. */
ngx_int_t ngx_http_tsface_status_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_TSFACE_STATUS_H_INCLUDED_ */
