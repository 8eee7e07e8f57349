
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What a client proves its identity with: which directives of
 * tsface_credentials belong to which token_auth_method, and the keys.
 */


#ifndef _NGX_HTTP_TSFACE_CREDENTIALS_AUTH_H_INCLUDED_
#define _NGX_HTTP_TSFACE_CREDENTIALS_AUTH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_credentials.h"


/*
 * Checks, when a block has been read, that it has what its method needs and
 * nothing that the method would leave unused, and takes keys and certificate
 * out of their PEM; that of keys is wiped.  They are freed with cf->pool.
 * NGX_ERROR after an emerg message.
 */
ngx_int_t ngx_http_tsface_credentials_auth(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials);

/*
 * Second step, when the endpoints are known: checks that they fit the method,
 * sets what has them for its default.  NGX_ERROR after an emerg message.
 */
ngx_int_t ngx_http_tsface_credentials_auth_complete(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials);


#endif /* _NGX_HTTP_TSFACE_CREDENTIALS_AUTH_H_INCLUDED_ */
