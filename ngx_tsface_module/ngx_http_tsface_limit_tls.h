
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * TLS to a store, by hiredis's companion library, which came with 1.0: where
 * it wasn't there when this was built, "ssl on" is refused.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_TLS_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_TLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <hiredis/async.h>

#include "ngx_http_tsface_tls.h"


#if (NGX_HTTP_TSFACE_HIREDIS_SSL)
#define NGX_HTTP_TSFACE_LIMIT_TLS   1
#else
#define NGX_HTTP_TSFACE_LIMIT_TLS   0
#endif


/*
 * Begins a handshake with the peer called name (NUL-terminated), which is
 * checked if verify is set, on a connection that is being made; it goes on by
 * itself, and nothing is sent before it is over.  The result is ac's.  NULL:
 * it has failed, as error says, a constant; ac has to go.
 */
ngx_ssl_conn_t *ngx_http_tsface_limit_tls_start(redisAsyncContext *ac,
    ngx_ssl_t *ssl, const ngx_str_t *name, ngx_uint_t verify,
    const char **error);

/*
 * What is wrong with conn, by OpenSSL's errors, which all are of this
 * connection: a constant, or NULL.  No text of the peer's is in it.
 */
const char *ngx_http_tsface_limit_tls_error(const ngx_ssl_conn_t *conn);


#endif /* _NGX_HTTP_TSFACE_LIMIT_TLS_H_INCLUDED_ */
