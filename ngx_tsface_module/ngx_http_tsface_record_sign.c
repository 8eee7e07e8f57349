
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>
#include <openssl/sha.h>

#include "ngx_http_tsface_record_sign.h"
#include "ngx_http_tsface_record_text.h"


#define NGX_HTTP_TSFACE_SIGN_KEY   32
#define NGX_HTTP_TSFACE_SIGN_LEN   64
#define NGX_HTTP_TSFACE_SIGN_TEXT  512


static size_t ngx_http_tsface_record_sign_text(u_char *text,
    const ngx_http_tsface_record_signed_t *what);
static u_char *ngx_http_tsface_record_sign_line(u_char *p, u_char *last,
    const char *name, const ngx_str_t *value);


ngx_int_t
ngx_http_tsface_record_signer(EVP_PKEY *key, u_char *id)
{
    size_t  len;
    u_char  raw[NGX_HTTP_TSFACE_SIGN_KEY];
    u_char  digest[SHA256_DIGEST_LENGTH];

    len = sizeof(raw);

    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519
        || !EVP_PKEY_get_raw_public_key(key, raw, &len)
        || len != sizeof(raw))
    {
        ERR_clear_error();
        return NGX_DECLINED;
    }

    (void) SHA256(raw, len, digest);

    (void) ngx_http_tsface_record_hex(id, digest,
                                      NGX_HTTP_TSFACE_RECORD_SIGNER_LEN / 2);

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_record_sign(EVP_PKEY *key,
    const ngx_http_tsface_record_signed_t *what, u_char *hex)
{
    size_t       n, len;
    u_char       text[NGX_HTTP_TSFACE_SIGN_TEXT];
    u_char       signature[NGX_HTTP_TSFACE_SIGN_LEN];
    ngx_int_t    rc;
    EVP_MD_CTX  *ctx;

    len = ngx_http_tsface_record_sign_text(text, what);

    if (len == 0) {
        return NGX_ERROR;
    }

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        ERR_clear_error();
        return NGX_ERROR;
    }

    rc = NGX_ERROR;
    n = sizeof(signature);

    if (EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1
        && EVP_DigestSign(ctx, signature, &n, text, len) == 1
        && n == sizeof(signature))
    {
        (void) ngx_http_tsface_record_hex(hex, signature, sizeof(signature));
        rc = NGX_OK;
    }

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();

    return rc;
}


ngx_int_t
ngx_http_tsface_record_sign_verify(EVP_PKEY *key,
    const ngx_http_tsface_record_signed_t *what, const ngx_str_t *hex)
{
    size_t       i, len;
    u_char       text[NGX_HTTP_TSFACE_SIGN_TEXT], c, digit;
    u_char       signature[NGX_HTTP_TSFACE_SIGN_LEN];
    ngx_int_t    rc;
    EVP_MD_CTX  *ctx;

    len = ngx_http_tsface_record_sign_text(text, what);

    if (len == 0 || hex->len != NGX_HTTP_TSFACE_RECORD_SIGNATURE_LEN) {
        return NGX_DECLINED;
    }

    ngx_memzero(signature, sizeof(signature));

    for (i = 0; i < hex->len; i++) {
        c = hex->data[i];

        if (c >= '0' && c <= '9') {
            digit = c - '0';

        } else if (c >= 'a' && c <= 'f') {
            digit = c - 'a' + 10;

        } else {
            return NGX_DECLINED;
        }

        signature[i / 2] = (u_char) (signature[i / 2] << 4 | digit);
    }

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        ERR_clear_error();
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    if (EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1
        && EVP_DigestVerify(ctx, signature, sizeof(signature), text, len) == 1)
    {
        rc = NGX_OK;
    }

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();

    return rc;
}


/* 0: it has no room, or a line would not be one. */

static size_t
ngx_http_tsface_record_sign_text(u_char *text,
    const ngx_http_tsface_record_signed_t *what)
{
    u_char  *p, *last;

    last = text + NGX_HTTP_TSFACE_SIGN_TEXT;

    p = ngx_http_tsface_record_put(text, "tsface checkpoint 1\n");

    p = ngx_http_tsface_record_sign_line(p, last, "trail ", &what->trail);
    p = ngx_http_tsface_record_sign_line(p, last, "after ", &what->mark);
    p = ngx_http_tsface_record_sign_line(p, last, "key ", &what->key_id);
    p = ngx_http_tsface_record_sign_line(p, last, "time ", &what->time);

    return p ? p - text : 0;
}


static u_char *
ngx_http_tsface_record_sign_line(u_char *p, u_char *last, const char *name,
    const ngx_str_t *value)
{
    size_t  len;

    len = ngx_strlen(name);

    if (p == NULL
        || value->len == 0
        || value->len >= NGX_HTTP_TSFACE_SIGN_TEXT
        || (size_t) (last - p) < len + value->len + 1
        || memchr(value->data, LF, value->len) != NULL)
    {
        return NULL;
    }

    p = ngx_cpymem(p, name, len);
    p = ngx_cpymem(p, value->data, value->len);
    *p++ = LF;

    return p;
}
