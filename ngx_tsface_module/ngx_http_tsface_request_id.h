
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * nginx's own $request_id, so that every log joins on one value.  nginx asks
 * OpenSSL for 16 random bytes a request, which takes 1.3 us; that a call is
 * for many requests makes it next to nothing.
 */


#ifndef _NGX_HTTP_TSFACE_REQUEST_ID_H_INCLUDED_
#define _NGX_HTTP_TSFACE_REQUEST_ID_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* While the configuration is read, in every cycle. */
ngx_int_t ngx_http_tsface_request_id_init(ngx_conf_t *cf);

/*
 * Sets id to $request_id, which gets its value now unless it had one before.
 * id lives as long as r.
 */
ngx_int_t ngx_http_tsface_request_id(ngx_http_request_t *r, ngx_str_t *id);


#endif /* _NGX_HTTP_TSFACE_REQUEST_ID_H_INCLUDED_ */
