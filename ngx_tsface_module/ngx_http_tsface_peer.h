
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The balancer that core's upstream code calls for an endpoint: its addresses
 * in turn, its idle connections first, its TLS session.
 */


#ifndef _NGX_HTTP_TSFACE_PEER_H_INCLUDED_
#define _NGX_HTTP_TSFACE_PEER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_endpoint.h"


/*
 * us is the first member of an ngx_http_tsface_endpoint_t.  NGX_ERROR if its
 * addresses are unknown: whoever forwards waits for them before.
 */
ngx_int_t ngx_http_tsface_peer_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);


#endif /* _NGX_HTTP_TSFACE_PEER_H_INCLUDED_ */
