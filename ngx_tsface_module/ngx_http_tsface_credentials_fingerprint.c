
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ngx_http_tsface_credentials.h"


static ngx_int_t ngx_http_tsface_credentials_digest_auth(EVP_MD_CTX *md,
    const ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_credentials_digest_secret(EVP_MD_CTX *md,
    const ngx_http_tsface_secret_t *secret);
static ngx_int_t ngx_http_tsface_credentials_digest_key(EVP_MD_CTX *md,
    EVP_PKEY *key);
static ngx_int_t ngx_http_tsface_credentials_digest_certificate(
    EVP_MD_CTX *md, const ngx_http_tsface_certificate_t *certificate);
static ngx_int_t ngx_http_tsface_credentials_digest_str(EVP_MD_CTX *md,
    const ngx_str_t *str);
static ngx_int_t ngx_http_tsface_credentials_digest_num(EVP_MD_CTX *md,
    uint64_t n);


/*
 * Each part has its length in front of it, so that no two configurations
 * write the same bytes.
 */

ngx_int_t
ngx_http_tsface_credentials_fingerprint(
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_int_t                         rc;
    ngx_uint_t                        i, n;
    EVP_MD_CTX                       *md;
    ngx_keyval_t                     *kv;
    u_char                            buf[EVP_MAX_MD_SIZE];
    ngx_http_tsface_endpoint_conf_t  *ecf;

    rc = NGX_ERROR;
    ecf = &credentials->endpoint_conf;

    kv = NULL;
    n = 0;

    if (credentials->parameters != NULL) {
        kv = credentials->parameters->elts;
        n = credentials->parameters->nelts;
    }

    md = EVP_MD_CTX_new();
    if (md == NULL) {
        return NGX_ERROR;
    }

    if (!EVP_DigestInit_ex(md, EVP_sha256(), NULL)
        || ngx_http_tsface_credentials_digest_str(md,
                                              &credentials->token_endpoint_url)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md,
                                                  &credentials->endpoint_url)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md, &credentials->client_id)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_auth(md, credentials) != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md, &credentials->resource)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md, &ecf->tls.ssl_name)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_num(md, ecf->tls.verify) != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md,
                                                  &ecf->tls.trusted_certificate)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_num(md, n) != NGX_OK)
    {
        goto done;
    }

    for (i = 0; i < n; i++) {

        if (ngx_http_tsface_credentials_digest_str(md, &kv[i].key) != NGX_OK
            || ngx_http_tsface_credentials_digest_str(md, &kv[i].value)
               != NGX_OK)
        {
            goto done;
        }
    }

    if (!EVP_DigestFinal_ex(md, buf, NULL)) {
        goto done;
    }

    ngx_memcpy(credentials->fingerprint, buf, NGX_HTTP_TSFACE_FINGERPRINT_LEN);

    /* a gate is there for the endpoint, with whatever secret it is asked */

    if (!EVP_DigestInit_ex(md, EVP_sha256(), NULL)
        || ngx_http_tsface_credentials_digest_str(md,
                                                  &credentials->endpoint_url)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md, &credentials->client_id)
           != NGX_OK
        || !EVP_DigestFinal_ex(md, buf, NULL))
    {
        goto done;
    }

    ngx_memcpy(credentials->gate_key, buf, NGX_HTTP_TSFACE_FINGERPRINT_LEN);

    rc = NGX_OK;

done:

    EVP_MD_CTX_free(md);
    OPENSSL_cleanse(buf, sizeof(buf));

    return rc;
}


static ngx_int_t
ngx_http_tsface_credentials_digest_auth(EVP_MD_CTX *md,
    const ngx_http_tsface_credentials_t *credentials)
{
    const ngx_http_tsface_assertion_t    *assertion;
    const ngx_http_tsface_certificate_t  *certificate;

    certificate = credentials->endpoint_conf.tls.certificate;

    if (ngx_http_tsface_credentials_digest_num(md, credentials->auth_method)
        != NGX_OK
        || ngx_http_tsface_credentials_digest_num(md,
                                                  credentials->basic_encoding)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_secret(md,
                                                   credentials->client_secret)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_certificate(md, certificate)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    assertion = &credentials->assertion;

    if (assertion->key == NULL) {
        return NGX_OK;
    }

    if (ngx_http_tsface_credentials_digest_key(md, assertion->key) != NGX_OK
        || ngx_http_tsface_credentials_digest_num(md, assertion->algorithm)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md, &assertion->key_id)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md, &assertion->audience)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_tsface_credentials_digest_num(md, assertion->lifetime);
}


/*
 * The secret goes in as its digest: nothing of it is left in a context that
 * might not be wiped.
 */

static ngx_int_t
ngx_http_tsface_credentials_digest_secret(EVP_MD_CTX *md,
    const ngx_http_tsface_secret_t *secret)
{
    ngx_int_t  rc;
    ngx_str_t  digest;
    u_char     buf[EVP_MAX_MD_SIZE];

    if (secret == NULL) {
        return ngx_http_tsface_credentials_digest_num(md, 0);
    }

    if (!EVP_Digest(secret->value.data, secret->value.len, buf, NULL,
                    EVP_sha256(), NULL))
    {
        return NGX_ERROR;
    }

    digest.data = buf;
    digest.len = NGX_HTTP_TSFACE_FINGERPRINT_LEN;

    rc = ngx_http_tsface_credentials_digest_str(md, &digest);

    OPENSSL_cleanse(buf, sizeof(buf));

    return rc;
}


/* Of a pair of keys, the public one. */

static ngx_int_t
ngx_http_tsface_credentials_digest_key(EVP_MD_CTX *md, EVP_PKEY *key)
{
    int         len;
    u_char     *der;
    ngx_int_t   rc;
    ngx_str_t   public;

    der = NULL;
    len = i2d_PUBKEY(key, &der);

    if (len <= 0) {
        ERR_clear_error();
        return NGX_ERROR;
    }

    public.data = der;
    public.len = (size_t) len;

    rc = ngx_http_tsface_credentials_digest_str(md, &public);

    OPENSSL_free(der);

    return rc;
}


/* Tokens may be bound to the leaf (RFC 8705 3). */

static ngx_int_t
ngx_http_tsface_credentials_digest_certificate(EVP_MD_CTX *md,
    const ngx_http_tsface_certificate_t *certificate)
{
    ngx_str_t     digest;
    unsigned int  len;
    u_char        buf[EVP_MAX_MD_SIZE];

    if (certificate == NULL) {
        return ngx_http_tsface_credentials_digest_num(md, 0);
    }

    if (!X509_digest(certificate->leaf, EVP_sha256(), buf, &len)) {
        ERR_clear_error();
        return NGX_ERROR;
    }

    digest.data = buf;
    digest.len = len;

    return ngx_http_tsface_credentials_digest_str(md, &digest);
}


static ngx_int_t
ngx_http_tsface_credentials_digest_str(EVP_MD_CTX *md, const ngx_str_t *str)
{
    if (ngx_http_tsface_credentials_digest_num(md, str->len) != NGX_OK) {
        return NGX_ERROR;
    }

    return EVP_DigestUpdate(md, str->data, str->len) ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_tsface_credentials_digest_num(EVP_MD_CTX *md, uint64_t n)
{
    u_char      buf[sizeof(uint64_t)];
    ngx_uint_t  i;

    for (i = 0; i < sizeof(buf); i++) {
        buf[i] = (u_char) (n >> (8 * i));
    }

    return EVP_DigestUpdate(md, buf, sizeof(buf)) ? NGX_OK : NGX_ERROR;
}
