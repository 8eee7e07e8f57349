
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "ngx_http_tsface_certificate.h"


static ngx_int_t ngx_http_tsface_certificate_chain(ngx_conf_t *cf,
    const ngx_str_t *file, ngx_http_tsface_certificate_t *certificate);
static int ngx_http_tsface_certificate_password(char *buf, int size,
    int writing, void *data);
static void ngx_http_tsface_certificate_free_key(void *data);
static void ngx_http_tsface_certificate_free(void *data);


EVP_PKEY *
ngx_http_tsface_certificate_key(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *source, const char *directive,
    ngx_http_tsface_key_password_t *password)
{
    BIO                 *bio;
    EVP_PKEY            *key;
    ngx_uint_t           asked;
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
                                  ngx_http_tsface_certificate_password,
                                  password);
    BIO_free(bio);

    /* errors stay out of the log: who knows what they may quote */

    ERR_clear_error();

    ngx_http_tsface_secret_wipe(source);

    if (key == NULL) {

        if (!password->asked) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" of \"%s\" holds no private key in PEM "
                               "format", &source->name, directive);

        } else if (password->directive == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" of \"%s\" is encrypted: it has to be "
                               "in plain, for root only", &source->name,
                               directive);

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               password->value
                                   ? "\"%V\" of \"%s\" can't be decrypted "
                                     "with the \"%s\""
                                   : "\"%V\" of \"%s\" is encrypted, and "
                                     "there is no \"%s\"",
                               &source->name, directive, password->directive);
        }

        return NULL;
    }

    password->asked |= asked;

    cln->handler = ngx_http_tsface_certificate_free_key;
    cln->data = key;

    return key;
}


ngx_http_tsface_certificate_t *
ngx_http_tsface_certificate_read(ngx_conf_t *cf, const ngx_str_t *file,
    ngx_http_tsface_secret_t *source, ngx_http_tsface_key_password_t *password)
{
    int                             rc;
    ngx_pool_cleanup_t             *cln;
    ngx_http_tsface_certificate_t  *certificate;

    cln = ngx_pool_cleanup_add(cf->pool,
                               sizeof(ngx_http_tsface_certificate_t));
    if (cln == NULL) {
        return NULL;
    }

    certificate = cln->data;

    ngx_memzero(certificate, sizeof(ngx_http_tsface_certificate_t));

    cln->handler = ngx_http_tsface_certificate_free;

    if (ngx_http_tsface_certificate_chain(cf, file, certificate) != NGX_OK) {
        return NULL;
    }

    certificate->key = ngx_http_tsface_certificate_key(cf, source,
                                                       "client_certificate_key",
                                                       password);
    if (certificate->key == NULL) {
        return NULL;
    }

    rc = X509_check_private_key(certificate->leaf, certificate->key);

    ERR_clear_error();

    if (rc != 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"client_certificate_key\" is not the "
                           "key of \"%V\" of \"client_certificate\"",
                           &source->name, file);
        return NULL;
    }

    return certificate;
}


/* The leaf comes first, as in a file for ssl_certificate. */

static ngx_int_t
ngx_http_tsface_certificate_chain(ngx_conf_t *cf, const ngx_str_t *file,
    ngx_http_tsface_certificate_t *certificate)
{
    BIO                              *bio;
    X509                             *x509;
    unsigned long                     error;
    ngx_http_tsface_key_password_t   none;

    ngx_memzero(&none, sizeof(ngx_http_tsface_key_password_t));

    bio = BIO_new_file((const char *) file->data, "r");

    if (bio == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" of "
                           "\"client_certificate\" failed", file);
        ERR_clear_error();
        return NGX_ERROR;
    }

    certificate->leaf = PEM_read_bio_X509_AUX(bio, NULL,
                                     ngx_http_tsface_certificate_password,
                                     &none);
    certificate->chain = sk_X509_new_null();

    if (certificate->leaf == NULL || certificate->chain == NULL) {
        goto failed;
    }

    while ((x509 = PEM_read_bio_X509(bio, NULL,
                                     ngx_http_tsface_certificate_password,
                                     &none))
           != NULL)
    {
        if (sk_X509_push(certificate->chain, x509) == 0) {
            X509_free(x509);
            goto failed;
        }
    }

    error = ERR_peek_last_error();

    if (ERR_GET_LIB(error) != ERR_LIB_PEM
        || ERR_GET_REASON(error) != PEM_R_NO_START_LINE)
    {
        goto failed;
    }

    BIO_free(bio);
    ERR_clear_error();

    return NGX_OK;

failed:

    BIO_free(bio);
    ERR_clear_error();

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" of \"client_certificate\" is no file of "
                       "certificates in PEM format", file);
    return NGX_ERROR;
}


/* Without it, OpenSSL would ask for the password on the terminal. */

static int
ngx_http_tsface_certificate_password(char *buf, int size, int writing,
    void *data)
{
    ngx_http_tsface_key_password_t *password = data;

    password->asked = 1;

    if (password->value == NULL || password->value->len > (size_t) size) {
        return -1;
    }

    ngx_memcpy(buf, password->value->data, password->value->len);

    return (int) password->value->len;
}


static void
ngx_http_tsface_certificate_free_key(void *data)
{
    EVP_PKEY_free(data);
}


/* The key has a clean-up of its own. */

static void
ngx_http_tsface_certificate_free(void *data)
{
    ngx_http_tsface_certificate_t *certificate = data;

    X509_free(certificate->leaf);
    sk_X509_pop_free(certificate->chain, X509_free);
}
