
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_tsface_limit_tls.h"

#if (NGX_HTTP_TSFACE_HIREDIS_SSL)
#include <hiredis/hiredis_ssl.h>
#endif


ngx_ssl_conn_t *
ngx_http_tsface_limit_tls_start(redisAsyncContext *ac, ngx_ssl_t *ssl,
    const ngx_str_t *name, ngx_uint_t verify, const char **error)
{
    *error = NULL;

#if (NGX_HTTP_TSFACE_HIREDIS_SSL)
    {
    ngx_ssl_conn_t  *conn;

    conn = SSL_new(ssl->ctx);
    if (conn == NULL) {
        *error = "no memory for TLS";
        return NULL;
    }

    /*
     * nginx has OpenSSL read ahead; hiredis reads once an event, so that what
     * was read ahead would wait for the next one
     */

    SSL_set_read_ahead(conn, 0);

    if (ngx_http_tsface_tls_ask(conn, name) == NGX_OK
        && (!verify
            || ngx_http_tsface_tls_expect(SSL_get0_param(conn), name)
               == NGX_OK)
        && redisInitiateSSL(&ac->c, conn) == REDIS_OK)
    {
        return conn;
    }

    *error = ngx_http_tsface_limit_tls_error(conn);

    SSL_free(conn);
    }
#endif

    return NULL;
}


const char *
ngx_http_tsface_limit_tls_error(const ngx_ssl_conn_t *conn)
{
    long           rc;
    unsigned long  error;

    rc = SSL_get_verify_result(conn);

    if (rc != X509_V_OK
        && (SSL_get_verify_mode(conn) & SSL_VERIFY_PEER) != 0)
    {
        return X509_verify_cert_error_string(rc);
    }

    error = ERR_peek_last_error();

    return error ? ERR_reason_error_string(error) : NULL;
}
