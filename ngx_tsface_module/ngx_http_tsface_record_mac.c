
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "ngx_http_tsface_record_mac.h"
#include "ngx_http_tsface_record_text.h"


#define NGX_HTTP_TSFACE_RECORD_SHA256       32


struct ngx_http_tsface_record_key_s {
    EVP_MAC_CTX                   *ctx;
    ngx_str_t                      value;
    ngx_uint_t                     again;    /* ctx starts anew without it */
    u_char                         id[NGX_HTTP_TSFACE_RECORD_ID_LEN];
};


ngx_http_tsface_record_key_t *
ngx_http_tsface_record_key_new(const ngx_str_t *value)
{
    EVP_MAC                       *mac;
    ngx_str_t                      part;
    OSSL_PARAM                     params[2];
    ngx_http_tsface_record_key_t  *key;
    u_char                         first[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char                         second[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    if (value->len == 0) {
        return NULL;
    }

    key = calloc(1, sizeof(ngx_http_tsface_record_key_t));
    if (key == NULL) {
        return NULL;
    }

    key->value.data = malloc(value->len);
    if (key->value.data == NULL) {
        goto failed;
    }

    ngx_memcpy(key->value.data, value->data, value->len);
    key->value.len = value->len;

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac == NULL) {
        goto failed;
    }

    key->ctx = EVP_MAC_CTX_new(mac);

    EVP_MAC_free(mac);

    params[0] = OSSL_PARAM_construct_utf8_string("digest", "SHA256", 0);
    params[1] = OSSL_PARAM_construct_end();

    if (key->ctx == NULL
        || !EVP_MAC_init(key->ctx, value->data, value->len, params))
    {
        goto failed;
    }

    /*
     * Without a key EVP_MAC_init() starts anew with the one that was set, and
     * saves two blocks of SHA-256; but not in the first releases of OpenSSL
     * 3.0, so this one is asked.
     */

    part = *value;

    if (ngx_http_tsface_record_hmac(key, &part, 1, first) != NGX_OK) {
        goto failed;
    }

    key->again = 1;

    if (ngx_http_tsface_record_hmac(key, &part, 1, second) != NGX_OK
        || ngx_memcmp(first, second, sizeof(first)) != 0)
    {
        key->again = 0;
    }

    ngx_str_null(&part);

    if (ngx_http_tsface_record_fingerprint(key, "tsface key", &part, key->id,
                                           sizeof(key->id))
        != NGX_OK)
    {
        goto failed;
    }

    return key;

failed:

    ngx_http_tsface_record_key_free(key);

    return NULL;
}


void
ngx_http_tsface_record_key_free(ngx_http_tsface_record_key_t *key)
{
    if (key == NULL) {
        return;
    }

    EVP_MAC_CTX_free(key->ctx);

    if (key->value.data) {
        OPENSSL_cleanse(key->value.data, key->value.len);
        free(key->value.data);
    }

    free(key);
}


ngx_int_t
ngx_http_tsface_record_fingerprint(ngx_http_tsface_record_key_t *key,
    const char *label, const ngx_str_t *value, u_char *out, size_t n)
{
    ngx_str_t  parts[2];
    u_char     hex[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    if (n > sizeof(hex)) {
        return NGX_ERROR;
    }

    parts[0].data = (u_char *) label;
    parts[0].len = ngx_strlen(label) + 1;
    parts[1] = *value;

    if (ngx_http_tsface_record_hmac(key, parts, 2, hex) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(out, hex, n);

    return NGX_OK;
}


const u_char *
ngx_http_tsface_record_key_id(const ngx_http_tsface_record_key_t *key)
{
    return key->id;
}


ngx_int_t
ngx_http_tsface_record_key_proof(ngx_http_tsface_record_key_t *previous,
    const u_char *id, const u_char *mac, uint64_t seq, u_char *proof)
{
    u_char     *p;
    u_char      text[NGX_HTTP_TSFACE_RECORD_ID_LEN
                     + NGX_HTTP_TSFACE_RECORD_MAC_LEN + 20];
    ngx_str_t   value;

    p = ngx_cpymem(text, id, NGX_HTTP_TSFACE_RECORD_ID_LEN);
    p = ngx_cpymem(p, mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    p = ngx_http_tsface_record_decimal(p, seq);

    value.data = text;
    value.len = p - text;

    return ngx_http_tsface_record_fingerprint(previous, "tsface key change",
                                              &value, proof,
                                              NGX_HTTP_TSFACE_RECORD_MAC_LEN);
}


ngx_int_t
ngx_http_tsface_record_hmac(ngx_http_tsface_record_key_t *key,
    const ngx_str_t *parts, ngx_uint_t nparts, u_char *hex)
{
    int         rc;
    u_char      digest[NGX_HTTP_TSFACE_RECORD_SHA256];
    size_t      len;
    ngx_uint_t  i;

    if (key == NULL) {
        return NGX_ERROR;
    }

    if (key->again) {
        rc = EVP_MAC_init(key->ctx, NULL, 0, NULL);

    } else {
        rc = EVP_MAC_init(key->ctx, key->value.data, key->value.len, NULL);
    }

    if (!rc) {
        return NGX_ERROR;
    }

    for (i = 0; i < nparts; i++) {
        if (parts[i].len
            && !EVP_MAC_update(key->ctx, parts[i].data, parts[i].len))
        {
            return NGX_ERROR;
        }
    }

    if (!EVP_MAC_final(key->ctx, digest, &len, sizeof(digest))
        || len != sizeof(digest))
    {
        return NGX_ERROR;
    }

    (void) ngx_http_tsface_record_hex(hex, digest, sizeof(digest));

    return NGX_OK;
}
