
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * tsface_ready: whether requests can be served, for a load balancer.
 */


#ifndef _NGX_HTTP_TSFACE_READY_H_INCLUDED_
#define _NGX_HTTP_TSFACE_READY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * The content handler: 200 when all credentials that are required have a
 * token, 503 with the names of the others and Retry-After when not.
 */
ngx_int_t ngx_http_tsface_ready_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_TSFACE_READY_H_INCLUDED_ */
