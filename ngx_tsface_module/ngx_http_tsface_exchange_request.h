
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The bytes that are sent to the token endpoint (RFC 6749 4.4.2).
 */


#ifndef _NGX_HTTP_TSFACE_EXCHANGE_REQUEST_H_INCLUDED_
#define _NGX_HTTP_TSFACE_EXCHANGE_REQUEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_credentials.h"


/*
 * A whole HTTP request in one buffer of pool, with secret (NULL when the
 * method of authentication has none) in it: whoever sends it wipes it.
 * NULL: no memory.
 */
ngx_buf_t *ngx_http_tsface_exchange_request(ngx_pool_t *pool,
    const ngx_http_tsface_credentials_t *credentials,
    const ngx_str_t *secret);


#endif /* _NGX_HTTP_TSFACE_EXCHANGE_REQUEST_H_INCLUDED_ */
