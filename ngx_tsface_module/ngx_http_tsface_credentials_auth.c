
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "ngx_http_tsface_credentials_auth.h"


/* A directive of this block, and the methods that use it. */
typedef struct {
    const char                *name;
    ngx_uint_t                 given;
    ngx_uint_t                 methods;
    ngx_uint_t                 required;
} ngx_http_tsface_auth_use_t;


typedef struct {
    const ngx_str_t           *value;     /* NULL: there is none */
    ngx_uint_t                 asked;     /* the key is encrypted */
} ngx_http_tsface_auth_password_t;


static ngx_int_t ngx_http_tsface_credentials_auth_uses(ngx_conf_t *cf,
    const ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_credentials_auth_basic(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_credentials_auth_keys(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials);
static EVP_PKEY *ngx_http_tsface_credentials_auth_key(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *source, const char *directive,
    ngx_http_tsface_auth_password_t *password);
static int ngx_http_tsface_credentials_auth_password(char *buf, int size,
    int writing, void *data);
static void ngx_http_tsface_credentials_auth_free_key(void *data);


#define ngx_http_tsface_auth_bit(method)   ((ngx_uint_t) 1 << (method))

#define NGX_HTTP_TSFACE_AUTH_SECRET                                           \
    (ngx_http_tsface_auth_bit(NGX_HTTP_TSFACE_CLIENT_SECRET_POST)             \
     | ngx_http_tsface_auth_bit(NGX_HTTP_TSFACE_CLIENT_SECRET_BASIC))

#define NGX_HTTP_TSFACE_AUTH_BASIC                                            \
    ngx_http_tsface_auth_bit(NGX_HTTP_TSFACE_CLIENT_SECRET_BASIC)

#define NGX_HTTP_TSFACE_AUTH_JWT                                              \
    ngx_http_tsface_auth_bit(NGX_HTTP_TSFACE_PRIVATE_KEY_JWT)


/* In the order of ngx_http_tsface_auth_method_e. */

static const char  *ngx_http_tsface_auth_names[] = {
    "client_secret_post",
    "client_secret_basic",
    "private_key_jwt"
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


void
ngx_http_tsface_credentials_auth_defaults(
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_http_tsface_assertion_t  *assertion;

    assertion = &credentials->assertion;

    if (assertion->key == NULL) {
        return;
    }

    assertion->client_id = credentials->client_id;

    if (assertion->audience.data == NULL) {
        assertion->audience = credentials->token_endpoint_url;
    }

    ngx_conf_init_value(assertion->lifetime, 60);
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
          NGX_HTTP_TSFACE_AUTH_JWT, 0 },

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
    const char                       *error;
    ngx_http_tsface_secret_t         *secret;
    ngx_http_tsface_assertion_t      *assertion;
    ngx_http_tsface_auth_password_t   password;

    ngx_memzero(&password, sizeof(ngx_http_tsface_auth_password_t));

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

    if (credentials->client_key != NULL) {
        assertion = &credentials->assertion;

        assertion->key = ngx_http_tsface_credentials_auth_key(cf,
                                                       credentials->client_key,
                                                       "client_key",
                                                       &password);
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
    }

    if (secret == NULL) {
        return NGX_OK;
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


/* NULL after an emerg message. */

static EVP_PKEY *
ngx_http_tsface_credentials_auth_key(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *source, const char *directive,
    ngx_http_tsface_auth_password_t *password)
{
    BIO                 *bio;
    EVP_PKEY            *key;
    ngx_uint_t           asked;
    const char          *error;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    bio = BIO_new_mem_buf(source->value.data, (int) source->value.len);
    if (bio == NULL) {
        ERR_clear_error();
        return NULL;
    }

    asked = password->asked;
    password->asked = 0;

    key = PEM_read_bio_PrivateKey(bio, NULL,
                                  ngx_http_tsface_credentials_auth_password,
                                  password);
    BIO_free(bio);

    /* errors stay out of the log: who knows what they may quote */

    ERR_clear_error();

    ngx_http_tsface_secret_wipe(source);

    if (key == NULL) {

        if (!password->asked) {
            error = "holds no private key in PEM format";

        } else if (password->value == NULL) {
            error = "is encrypted, and there is no \"client_key_password\"";

        } else {
            error = "can't be decrypted with the \"client_key_password\"";
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" of \"%s\" %s",
                           &source->name, directive, error);
        return NULL;
    }

    password->asked |= asked;

    cln->handler = ngx_http_tsface_credentials_auth_free_key;
    cln->data = key;

    return key;
}


/* Without it, OpenSSL would ask for the password on the terminal. */

static int
ngx_http_tsface_credentials_auth_password(char *buf, int size, int writing,
    void *data)
{
    ngx_http_tsface_auth_password_t *password = data;

    password->asked = 1;

    if (password->value == NULL || password->value->len > (size_t) size) {
        return -1;
    }

    ngx_memcpy(buf, password->value->data, password->value->len);

    return (int) password->value->len;
}


static void
ngx_http_tsface_credentials_auth_free_key(void *data)
{
    EVP_PKEY_free(data);
}
