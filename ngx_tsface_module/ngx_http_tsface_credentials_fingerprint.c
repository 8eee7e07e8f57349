
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/evp.h>

#include "ngx_http_tsface_credentials.h"


static ngx_int_t ngx_http_tsface_credentials_digest_str(EVP_MD_CTX *md,
    const ngx_str_t *str);
static ngx_int_t ngx_http_tsface_credentials_digest_num(EVP_MD_CTX *md,
    uint64_t n);


/*
 * Each part has its length in front of it, so that no two configurations
 * write the same bytes.  The secret goes in as its digest: nothing of it is
 * left in a context that might not be wiped.
 */

ngx_int_t
ngx_http_tsface_credentials_fingerprint(
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_int_t                         rc;
    ngx_str_t                         digest;
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

    digest.data = buf;
    digest.len = NGX_HTTP_TSFACE_FINGERPRINT_LEN;

    if (!EVP_Digest(credentials->client_secret->value.data,
                    credentials->client_secret->value.len,
                    buf, NULL, EVP_sha256(), NULL)
        || !EVP_DigestInit_ex(md, EVP_sha256(), NULL)
        || ngx_http_tsface_credentials_digest_str(md,
                                              &credentials->token_endpoint_url)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md,
                                                  &credentials->endpoint_url)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md, &credentials->client_id)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md, &digest) != NGX_OK
        || ngx_http_tsface_credentials_digest_num(md, credentials->auth_method)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_num(md,
                                                  credentials->basic_encoding)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md, &credentials->resource)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md, &ecf->ssl_name)
           != NGX_OK
        || ngx_http_tsface_credentials_digest_num(md, ecf->verify) != NGX_OK
        || ngx_http_tsface_credentials_digest_str(md,
                                                  &ecf->trusted_certificate)
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

    if (EVP_DigestFinal_ex(md, buf, NULL)) {
        ngx_memcpy(credentials->fingerprint, buf,
                   NGX_HTTP_TSFACE_FINGERPRINT_LEN);
        rc = NGX_OK;
    }

done:

    EVP_MD_CTX_free(md);
    OPENSSL_cleanse(buf, sizeof(buf));

    return rc;
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
