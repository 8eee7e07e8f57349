
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_tsface_tls.h"


#define NGX_HTTP_TSFACE_TLS_VERIFY_DEPTH   9


static ngx_int_t ngx_http_tsface_tls_trust(ngx_conf_t *cf, SSL_CTX *ctx,
    const ngx_str_t *file);


/* of a name in DNS */
size_t  ngx_http_tsface_tls_name_max = 253;


/* No older ones: RFC 8996 forbids them, and no region needs them. */

ngx_conf_bitmask_t  ngx_http_tsface_tls_versions[] = {
    { ngx_string("TLSv1.2"), NGX_SSL_TLSv1_2 },
    { ngx_string("TLSv1.3"), NGX_SSL_TLSv1_3 },
    { ngx_null_string, 0 }
};


/* ngx_conf_set_bitmask_slot() would add a second directive to the first. */

char *
ngx_http_tsface_tls_protocols(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_uint_t  *field;

    field = (ngx_uint_t *) ((char *) conf + cmd->offset);

    if (*field != 0) {
        return "is duplicate";
    }

    return ngx_conf_set_bitmask_slot(cf, cmd, conf);
}


ngx_uint_t
ngx_http_tsface_tls_given(const ngx_http_tsface_tls_conf_t *conf)
{
    return conf->verify != NGX_CONF_UNSET
           || conf->trusted_certificate.data != NULL
           || conf->ssl_name.data != NULL
           || conf->ssl_protocols != 0
           || conf->ssl_ciphers.data != NULL;
}


void
ngx_http_tsface_tls_defaults(ngx_http_tsface_tls_conf_t *conf)
{
    ngx_conf_init_value(conf->verify, 1);

    if (conf->ssl_protocols == 0) {
        conf->ssl_protocols = NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3;
    }

    if (conf->ssl_ciphers.data == NULL) {
        ngx_str_set(&conf->ssl_ciphers, "DEFAULT");
    }
}


ngx_uint_t
ngx_http_tsface_tls_same(const ngx_http_tsface_tls_conf_t *one,
    const ngx_http_tsface_tls_conf_t *two)
{
    return one->certificate == two->certificate
           && one->verify == two->verify
           && ngx_http_tsface_setting_equal(&one->trusted_certificate,
                                            &two->trusted_certificate)
           && ngx_http_tsface_setting_equal(&one->ssl_name, &two->ssl_name)
           && one->ssl_protocols == two->ssl_protocols
           && ngx_http_tsface_setting_equal(&one->ssl_ciphers,
                                            &two->ssl_ciphers);
}


ngx_ssl_t *
ngx_http_tsface_tls_create(ngx_conf_t *cf,
    const ngx_http_tsface_tls_conf_t *conf, X509_STORE *store)
{
    ngx_ssl_t           *ssl;
    const char          *reason;
    ngx_pool_cleanup_t  *cln;

    ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if (ssl == NULL) {
        return NULL;
    }

    ssl->log = cf->log;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    if (ngx_ssl_create(ssl, conf->ssl_protocols, NULL) != NGX_OK) {
        return NULL;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = ssl;

    if (SSL_CTX_set_cipher_list(ssl->ctx, (char *) conf->ssl_ciphers.data)
        == 0)
    {
        ERR_clear_error();
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "OpenSSL does not take ssl_ciphers \"%V\"",
                           &conf->ssl_ciphers);
        return NULL;
    }

    if (conf->certificate
        && SSL_CTX_use_cert_and_key(ssl->ctx, conf->certificate->leaf,
                                    conf->certificate->key,
                                    conf->certificate->chain, 1)
           == 0)
    {
        reason = ERR_reason_error_string(ERR_peek_last_error());

        ERR_clear_error();
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "OpenSSL does not take the client_certificate (%s)",
                           reason ? reason : "unknown reason");
        return NULL;
    }

    /*
     * nginx lets a peer end a TLS stream by cutting the connection; then a
     * truncated answer could not be told from a whole one
     */

#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
    SSL_CTX_clear_options(ssl->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif

    /* nor is an answer with a token left in OpenSSL's buffers */

#ifdef SSL_OP_CLEANSE_PLAINTEXT
    SSL_CTX_set_options(ssl->ctx, SSL_OP_CLEANSE_PLAINTEXT);
#endif

    if (!conf->verify) {
        return ssl;
    }

    if (store) {
        SSL_CTX_set1_cert_store(ssl->ctx, store);

    } else if (ngx_http_tsface_tls_trust(cf, ssl->ctx,
                                         &conf->trusted_certificate)
               != NGX_OK)
    {
        return NULL;
    }

    SSL_CTX_set_verify(ssl->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_verify_depth(ssl->ctx, NGX_HTTP_TSFACE_TLS_VERIFY_DEPTH);

    return ssl;
}


static ngx_int_t
ngx_http_tsface_tls_trust(ngx_conf_t *cf, SSL_CTX *ctx, const ngx_str_t *file)
{
    if (file->len) {
        if (SSL_CTX_load_verify_locations(ctx, (char *) file->data, NULL)
            == 0)
        {
            ERR_clear_error();
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "cannot load trusted_certificate \"%V\": a file "
                               "of PEM certificates is expected", file);
            return NGX_ERROR;
        }

    } else if (SSL_CTX_set_default_verify_paths(ctx) == 0) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_default_verify_paths() failed");
        return NGX_ERROR;
    }

    /* successful loads may leave errors in the queue */

    ERR_clear_error();

    return NGX_OK;
}


ngx_uint_t
ngx_http_tsface_tls_is_address(const ngx_str_t *name)
{
#if (NGX_HAVE_INET6)
    struct in6_addr  addr6;

    if (ngx_inet6_addr(name->data, name->len, addr6.s6_addr) == NGX_OK) {
        return 1;
    }
#endif

    return ngx_inet_addr(name->data, name->len) != INADDR_NONE;
}


ngx_int_t
ngx_http_tsface_tls_expect(X509_VERIFY_PARAM *param, const ngx_str_t *name)
{
    int  rc;

    if (ngx_http_tsface_tls_is_address(name)) {
        rc = X509_VERIFY_PARAM_set1_ip_asc(param, (const char *) name->data);

    } else {
        X509_VERIFY_PARAM_set_hostflags(param,
                                        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        rc = X509_VERIFY_PARAM_set1_host(param, (const char *) name->data,
                                         name->len);
    }

    return rc == 1 ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_tsface_tls_ask(ngx_ssl_conn_t *ssl, const ngx_str_t *name)
{
    if (ngx_http_tsface_tls_is_address(name)) {
        return NGX_OK;
    }

    return SSL_set_tlsext_host_name(ssl, (char *) name->data) == 1
           ? NGX_OK : NGX_ERROR;
}
