
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_credentials_auth.h"


/* A directive of this block, and the methods that use it. */
typedef struct {
    const char                *name;
    ngx_uint_t                 given;
    ngx_uint_t                 methods;
    ngx_uint_t                 required;
} ngx_http_tsface_auth_use_t;


static ngx_int_t ngx_http_tsface_credentials_auth_uses(ngx_conf_t *cf,
    const ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_credentials_auth_audience(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_credentials_auth_basic(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_credentials_auth_keys(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_credentials_auth_assertion(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials,
    ngx_http_tsface_key_password_t *password);


#define ngx_http_tsface_auth_bit(method)   ((ngx_uint_t) 1 << (method))

#define NGX_HTTP_TSFACE_AUTH_SECRET                                           \
    (ngx_http_tsface_auth_bit(NGX_HTTP_TSFACE_CLIENT_SECRET_POST)             \
     | ngx_http_tsface_auth_bit(NGX_HTTP_TSFACE_CLIENT_SECRET_BASIC))

#define NGX_HTTP_TSFACE_AUTH_BASIC                                            \
    ngx_http_tsface_auth_bit(NGX_HTTP_TSFACE_CLIENT_SECRET_BASIC)

#define NGX_HTTP_TSFACE_AUTH_JWT                                              \
    ngx_http_tsface_auth_bit(NGX_HTTP_TSFACE_PRIVATE_KEY_JWT)

#define NGX_HTTP_TSFACE_AUTH_TLS                                              \
    (ngx_http_tsface_auth_bit(NGX_HTTP_TSFACE_TLS_CLIENT_AUTH)                \
     | ngx_http_tsface_auth_bit(NGX_HTTP_TSFACE_SELF_SIGNED_TLS_CLIENT_AUTH))

#define NGX_HTTP_TSFACE_AUTH_ALL                                              \
    (NGX_HTTP_TSFACE_AUTH_SECRET|NGX_HTTP_TSFACE_AUTH_JWT                     \
     |NGX_HTTP_TSFACE_AUTH_TLS)


/* In the order of ngx_http_tsface_auth_method_e. */

static const char  *ngx_http_tsface_auth_names[] = {
    "client_secret_post",
    "client_secret_basic",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth"
};


ngx_int_t
ngx_http_tsface_credentials_auth(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_conf_init_uint_value(credentials->auth_method,
                             NGX_HTTP_TSFACE_CLIENT_SECRET_POST);

    if (ngx_http_tsface_credentials_auth_uses(cf, credentials) != NGX_OK
        || ngx_http_tsface_credentials_auth_basic(cf, credentials) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_tsface_credentials_auth_keys(cf, credentials);
}


ngx_int_t
ngx_http_tsface_credentials_auth_complete(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_uint_t                    method;
    ngx_http_tsface_assertion_t  *assertion;

    method = credentials->auth_method;
    assertion = &credentials->assertion;

    if ((ngx_http_tsface_auth_bit(method) & NGX_HTTP_TSFACE_AUTH_TLS)
        && !credentials->token_endpoint->url.tls)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"token_auth_method %s\" in tsface_credentials "
                           "\"%V\" needs a \"token_endpoint\" with https:",
                           ngx_http_tsface_auth_names[method],
                           &credentials->name);
        return NGX_ERROR;
    }

    if (credentials->endpoint_conf.tls.certificate
        && !credentials->token_endpoint->url.tls
        && !credentials->endpoint->url.tls)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"client_certificate\" in tsface_credentials "
                           "\"%V\" is not used: no endpoint has https:",
                           &credentials->name);
        return NGX_ERROR;
    }

    if (assertion->key == NULL) {
        return NGX_OK;
    }

    assertion->client_id = credentials->client_id;

    ngx_conf_init_value(assertion->lifetime, 60);

    return assertion->audience.data
           ? NGX_OK
           : ngx_http_tsface_credentials_auth_audience(cf, credentials);
}


/* RFC 7523 3: URLs are compared as text, so it is the one that is asked. */

static ngx_int_t
ngx_http_tsface_credentials_auth_audience(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_str_t                    *audience;
    const ngx_http_tsface_url_t  *url;

    audience = &credentials->assertion.audience;
    url = &credentials->token_endpoint->url;

    audience->data = ngx_pnalloc(cf->pool, sizeof("https://") - 1
                                           + url->authority.len
                                           + credentials->token_uri.len);
    if (audience->data == NULL) {
        return NGX_ERROR;
    }

    audience->len = ngx_sprintf(audience->data, "%s%V%V",
                                url->tls ? "https://" : "http://",
                                &url->authority, &credentials->token_uri)
                    - audience->data;

    return NGX_OK;
}


/*
 * What is not used is refused rather than ignored: whoever configures a key
 * and forgets the method should not find out from the token endpoint.
 */

static ngx_int_t
ngx_http_tsface_credentials_auth_uses(ngx_conf_t *cf,
    const ngx_http_tsface_credentials_t *credentials)
{
    ngx_uint_t  i, method;

    const ngx_http_tsface_auth_use_t  uses[] = {

        { "client_secret",
          credentials->client_secret != NULL,
          NGX_HTTP_TSFACE_AUTH_SECRET, 1 },

        { "client_secret_next",
          credentials->client_secret_next != NULL,
          NGX_HTTP_TSFACE_AUTH_SECRET, 0 },

        { "basic_encoding",
          credentials->basic_encoding != NGX_CONF_UNSET_UINT,
          NGX_HTTP_TSFACE_AUTH_BASIC, 0 },

        { "client_key",
          credentials->client_key != NULL,
          NGX_HTTP_TSFACE_AUTH_JWT, 1 },

        { "client_key_password",
          credentials->client_key_password != NULL,
          credentials->client_certificate_key ? NGX_HTTP_TSFACE_AUTH_ALL
                                              : NGX_HTTP_TSFACE_AUTH_JWT, 0 },

        { "client_certificate",
          credentials->client_certificate.data != NULL,
          NGX_HTTP_TSFACE_AUTH_ALL,
          (ngx_http_tsface_auth_bit(credentials->auth_method)
           & NGX_HTTP_TSFACE_AUTH_TLS)
              || credentials->client_certificate_key },

        { "client_certificate_key",
          credentials->client_certificate_key != NULL,
          NGX_HTTP_TSFACE_AUTH_ALL,
          credentials->client_certificate.data != NULL },

        { "assertion_algorithm",
          credentials->assertion.algorithm != NGX_CONF_UNSET_UINT,
          NGX_HTTP_TSFACE_AUTH_JWT, 0 },

        { "assertion_key_id",
          credentials->assertion.key_id.data != NULL,
          NGX_HTTP_TSFACE_AUTH_JWT, 0 },

        { "assertion_audience",
          credentials->assertion.audience.data != NULL,
          NGX_HTTP_TSFACE_AUTH_JWT, 0 },

        { "assertion_lifetime",
          credentials->assertion.lifetime != NGX_CONF_UNSET,
          NGX_HTTP_TSFACE_AUTH_JWT, 0 }
    };

    method = credentials->auth_method;

    for (i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {

        if (uses[i].methods & ngx_http_tsface_auth_bit(method)) {

            if (uses[i].required && !uses[i].given) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "no \"%s\" in tsface_credentials \"%V\"; "
                                   "\"token_auth_method %s\" needs it",
                                   uses[i].name, &credentials->name,
                                   ngx_http_tsface_auth_names[method]);
                return NGX_ERROR;
            }

        } else if (uses[i].given) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%s\" in tsface_credentials \"%V\" is not "
                               "used by \"token_auth_method %s\"",
                               uses[i].name, &credentials->name,
                               ngx_http_tsface_auth_names[method]);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_credentials_auth_basic(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_str_t  *id;

    ngx_conf_init_uint_value(credentials->basic_encoding,
                             NGX_HTTP_TSFACE_BASIC_FORM);

    id = &credentials->client_id;

    /* RFC 7617 2: the first colon is where the secret begins */

    if (credentials->basic_encoding == NGX_HTTP_TSFACE_BASIC_RAW
        && ngx_strlchr(id->data, id->data + id->len, ':') != NULL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"basic_encoding raw\" can't carry the colon of "
                           "client_id \"%V\"", id);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_credentials_auth_keys(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_int_t                        rc;
    ngx_http_tsface_secret_t        *secret;
    ngx_http_tsface_certificate_t   *certificate;
    ngx_http_tsface_key_password_t   password;

    ngx_memzero(&password, sizeof(ngx_http_tsface_key_password_t));

    password.directive = "client_key_password";

    secret = credentials->client_key_password;

    if (secret != NULL) {

        if (secret->next.len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" of \"client_key_password\" has a "
                               "second line", &secret->name);
            return NGX_ERROR;
        }

        password.value = &secret->value;
    }

    rc = NGX_OK;

    if (credentials->client_key != NULL) {
        rc = ngx_http_tsface_credentials_auth_assertion(cf, credentials,
                                                        &password);
    }

    if (rc == NGX_OK && credentials->client_certificate_key != NULL) {
        certificate = ngx_http_tsface_certificate_read(cf,
                                          &credentials->client_certificate,
                                          credentials->client_certificate_key,
                                          &password);

        credentials->endpoint_conf.tls.certificate = certificate;

        rc = certificate ? NGX_OK : NGX_ERROR;
    }

    if (secret == NULL || rc != NGX_OK) {
        return rc;
    }

    ngx_http_tsface_secret_wipe(secret);

    if (!password.asked) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"client_key_password\" in tsface_credentials "
                           "\"%V\" is not used: the key is not encrypted",
                           &credentials->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_credentials_auth_assertion(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials,
    ngx_http_tsface_key_password_t *password)
{
    const char                   *error;
    ngx_http_tsface_assertion_t  *assertion;

    assertion = &credentials->assertion;

    assertion->key = ngx_http_tsface_certificate_key(cf,
                                                     credentials->client_key,
                                                     "client_key", password);
    if (assertion->key == NULL) {
        return NGX_ERROR;
    }

    error = ngx_http_tsface_assertion_check(assertion->key,
                                            &assertion->algorithm);
    if (error != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"client_key\" %s",
                           &credentials->client_key->name, error);
        return NGX_ERROR;
    }

    return NGX_OK;
}
