
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>

#include "ngx_http_tsface_assertion.h"


#define NGX_HTTP_TSFACE_ASSERTION_DIGITS  20    /* of a time */
#define NGX_HTTP_TSFACE_ASSERTION_SCALAR  32    /* r or s on P-256 */

#define ngx_http_tsface_assertion_put(p, literal)                             \
    ngx_cpymem(p, literal, sizeof(literal) - 1)

/* base64 with its padding, and the NUL that EVP_EncodeBlock() ends it with */
#define ngx_http_tsface_assertion_base64_len(len)  (((len) + 2) / 3 * 4 + 1)


static size_t ngx_http_tsface_assertion_header_len(
    const ngx_http_tsface_assertion_t *assertion);
static u_char *ngx_http_tsface_assertion_header(u_char *p,
    const ngx_http_tsface_assertion_t *assertion);
static size_t ngx_http_tsface_assertion_claims_len(
    const ngx_http_tsface_assertion_t *assertion);
static u_char *ngx_http_tsface_assertion_claims(u_char *p,
    const ngx_http_tsface_assertion_t *assertion, time_t now,
    const u_char *random);
static ngx_int_t ngx_http_tsface_assertion_sign(
    const ngx_http_tsface_assertion_t *assertion, const u_char *text,
    size_t text_len, u_char *signature, size_t *len);
static ngx_int_t ngx_http_tsface_assertion_raw(u_char *signature,
    size_t *len);
static u_char *ngx_http_tsface_assertion_base64url(u_char *p,
    const u_char *data, size_t len);
static size_t ngx_http_tsface_assertion_string_len(const ngx_str_t *text);
static u_char *ngx_http_tsface_assertion_string(u_char *p,
    const ngx_str_t *text);
static u_char *ngx_http_tsface_assertion_number(u_char *p, time_t value);


static const char  *ngx_http_tsface_assertion_names[] = {
    "RS256",
    "PS256",
    "ES256"
};


const char *
ngx_http_tsface_assertion_check(EVP_PKEY *key, ngx_uint_t *algorithm)
{
    int         bits;
    char        group[32];
    ngx_uint_t  ec;

    switch (EVP_PKEY_get_base_id(key)) {

    case EVP_PKEY_RSA:
        ec = 0;
        break;

    case EVP_PKEY_EC:
        ec = 1;
        break;

    default:
        return "is neither an RSA nor an EC key";
    }

    if (*algorithm == NGX_CONF_UNSET_UINT) {
        *algorithm = ec ? NGX_HTTP_TSFACE_ES256 : NGX_HTTP_TSFACE_RS256;
    }

    if (ec) {

        if (*algorithm != NGX_HTTP_TSFACE_ES256) {
            return "is an EC key, which only ES256 can use";
        }

        /* a curve that OpenSSL does not know has no name */

        if (!EVP_PKEY_get_group_name(key, group, sizeof(group), NULL)
            || OBJ_txt2nid(group) != NID_X9_62_prime256v1)
        {
            ERR_clear_error();
            return "is on another curve than P-256, which ES256 uses";
        }

        return NULL;
    }

    if (*algorithm == NGX_HTTP_TSFACE_ES256) {
        return "is an RSA key, which ES256 can't use";
    }

    bits = EVP_PKEY_get_bits(key);

    if (bits < NGX_HTTP_TSFACE_ASSERTION_MIN_BITS) {
        return "is an RSA key of less than 2048 bits";
    }

    if (bits > NGX_HTTP_TSFACE_ASSERTION_MAX_BITS) {
        return "is an RSA key of more than 8192 bits";
    }

    return NULL;
}


size_t
ngx_http_tsface_assertion_size(const ngx_http_tsface_assertion_t *assertion)
{
    size_t  header, claims, signature, scratch;

    header = ngx_http_tsface_assertion_header_len(assertion);
    claims = ngx_http_tsface_assertion_claims_len(assertion);
    signature = (size_t) EVP_PKEY_get_size(assertion->key);

    scratch = ngx_max(header, claims);
    scratch = ngx_max(scratch, signature);

    return ngx_http_tsface_assertion_base64_len(header)
           + ngx_http_tsface_assertion_base64_len(claims)
           + ngx_http_tsface_assertion_base64_len(signature)
           + 2 + scratch;
}


ngx_int_t
ngx_http_tsface_assertion_make(const ngx_http_tsface_assertion_t *assertion,
    time_t now, const u_char *random, u_char *buf, ngx_str_t *out)
{
    size_t   len;
    u_char  *p, *last, *scratch;

    /* what is going to be encoded lies behind all that was */

    scratch = buf + ngx_http_tsface_assertion_base64_len(
                               ngx_http_tsface_assertion_header_len(assertion))
              + ngx_http_tsface_assertion_base64_len(
                               ngx_http_tsface_assertion_claims_len(assertion))
              + ngx_http_tsface_assertion_base64_len(
                                   (size_t) EVP_PKEY_get_size(assertion->key))
              + 2;

    last = ngx_http_tsface_assertion_header(scratch, assertion);
    p = ngx_http_tsface_assertion_base64url(buf, scratch, last - scratch);

    *p++ = '.';

    last = ngx_http_tsface_assertion_claims(scratch, assertion, now, random);
    p = ngx_http_tsface_assertion_base64url(p, scratch, last - scratch);

    if (ngx_http_tsface_assertion_sign(assertion, buf, p - buf, scratch, &len)
        != NGX_OK)
    {
        ERR_clear_error();
        return NGX_ERROR;
    }

    *p++ = '.';

    p = ngx_http_tsface_assertion_base64url(p, scratch, len);

    out->data = buf;
    out->len = p - buf;

    return NGX_OK;
}


static size_t
ngx_http_tsface_assertion_header_len(
    const ngx_http_tsface_assertion_t *assertion)
{
    return sizeof("{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":}") - 1
           + ngx_http_tsface_assertion_string_len(&assertion->key_id);
}


static u_char *
ngx_http_tsface_assertion_header(u_char *p,
    const ngx_http_tsface_assertion_t *assertion)
{
    p = ngx_http_tsface_assertion_put(p, "{\"alg\":\"");
    p = ngx_cpymem(p, ngx_http_tsface_assertion_names[assertion->algorithm],
                   sizeof("RS256") - 1);
    p = ngx_http_tsface_assertion_put(p, "\",\"typ\":\"JWT\"");

    if (assertion->key_id.len) {
        p = ngx_http_tsface_assertion_put(p, ",\"kid\":");
        p = ngx_http_tsface_assertion_string(p, &assertion->key_id);
    }

    *p++ = '}';

    return p;
}


static size_t
ngx_http_tsface_assertion_claims_len(
    const ngx_http_tsface_assertion_t *assertion)
{
    return sizeof("{\"iss\":,\"sub\":,\"aud\":,\"jti\":\"\",\"iat\":,"
                  "\"exp\":}") - 1
           + 2 * ngx_http_tsface_assertion_string_len(&assertion->client_id)
           + ngx_http_tsface_assertion_string_len(&assertion->audience)
           + ngx_http_tsface_assertion_base64_len(
                                             NGX_HTTP_TSFACE_ASSERTION_RANDOM)
           + 2 * NGX_HTTP_TSFACE_ASSERTION_DIGITS;
}


/* RFC 7523 3: iss and sub are the client; jti lets nobody use it twice. */

static u_char *
ngx_http_tsface_assertion_claims(u_char *p,
    const ngx_http_tsface_assertion_t *assertion, time_t now,
    const u_char *random)
{
    p = ngx_http_tsface_assertion_put(p, "{\"iss\":");
    p = ngx_http_tsface_assertion_string(p, &assertion->client_id);
    p = ngx_http_tsface_assertion_put(p, ",\"sub\":");
    p = ngx_http_tsface_assertion_string(p, &assertion->client_id);
    p = ngx_http_tsface_assertion_put(p, ",\"aud\":");
    p = ngx_http_tsface_assertion_string(p, &assertion->audience);
    p = ngx_http_tsface_assertion_put(p, ",\"jti\":\"");
    p = ngx_http_tsface_assertion_base64url(p, random,
                                            NGX_HTTP_TSFACE_ASSERTION_RANDOM);
    p = ngx_http_tsface_assertion_put(p, "\",\"iat\":");
    p = ngx_http_tsface_assertion_number(p, now);
    p = ngx_http_tsface_assertion_put(p, ",\"exp\":");
    p = ngx_http_tsface_assertion_number(p, now + assertion->lifetime);

    *p++ = '}';

    return p;
}


/* RFC 7518 3.3 to 3.5. */

static ngx_int_t
ngx_http_tsface_assertion_sign(const ngx_http_tsface_assertion_t *assertion,
    const u_char *text, size_t text_len, u_char *signature, size_t *len)
{
    ngx_int_t      rc;
    EVP_MD_CTX    *md;
    EVP_PKEY_CTX  *ctx;

    rc = NGX_ERROR;

    md = EVP_MD_CTX_new();
    if (md == NULL) {
        return NGX_ERROR;
    }

    if (EVP_DigestSignInit(md, &ctx, EVP_sha256(), NULL, assertion->key)
        <= 0)
    {
        goto done;
    }

    if (assertion->algorithm == NGX_HTTP_TSFACE_PS256
        && (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) <= 0
            || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST)
               <= 0))
    {
        goto done;
    }

    *len = (size_t) EVP_PKEY_get_size(assertion->key);

    if (EVP_DigestSign(md, signature, len, text, text_len) <= 0) {
        goto done;
    }

    rc = (assertion->algorithm == NGX_HTTP_TSFACE_ES256)
         ? ngx_http_tsface_assertion_raw(signature, len) : NGX_OK;

done:

    EVP_MD_CTX_free(md);

    return rc;
}


/*
 * OpenSSL writes an ECDSA signature in DER, JOSE wants r and s side by side,
 * in full length: 64 bytes, in place of at most 72 (EVP_PKEY_get_size()).
 */

static ngx_int_t
ngx_http_tsface_assertion_raw(u_char *signature, size_t *len)
{
    int            n;
    ECDSA_SIG     *sig;
    const u_char  *p;

    p = signature;

    sig = d2i_ECDSA_SIG(NULL, &p, (long) *len);
    if (sig == NULL) {
        return NGX_ERROR;
    }

    n = BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature,
                     NGX_HTTP_TSFACE_ASSERTION_SCALAR);

    if (n > 0) {
        n = BN_bn2binpad(ECDSA_SIG_get0_s(sig),
                         signature + NGX_HTTP_TSFACE_ASSERTION_SCALAR,
                         NGX_HTTP_TSFACE_ASSERTION_SCALAR);
    }

    ECDSA_SIG_free(sig);

    *len = 2 * NGX_HTTP_TSFACE_ASSERTION_SCALAR;

    return (n > 0) ? NGX_OK : NGX_ERROR;
}


/* RFC 7515 2: base64 with other characters for two values and no padding. */

static u_char *
ngx_http_tsface_assertion_base64url(u_char *p, const u_char *data, size_t len)
{
    u_char  *last;

    last = p + EVP_EncodeBlock(p, data, (int) len);

    for ( /* void */ ; p < last && *p != '='; p++) {

        if (*p == '+') {
            *p = '-';

        } else if (*p == '/') {
            *p = '_';
        }
    }

    return p;
}


static size_t
ngx_http_tsface_assertion_string_len(const ngx_str_t *text)
{
    size_t  i, len;

    len = 2;

    for (i = 0; i < text->len; i++) {

        if (text->data[i] < 0x20) {
            len += sizeof("\\u001f") - 1;

        } else {
            len += (text->data[i] == '"' || text->data[i] == '\\') ? 2 : 1;
        }
    }

    return len;
}


static u_char *
ngx_http_tsface_assertion_string(u_char *p, const ngx_str_t *text)
{
    size_t         i;
    u_char         ch;
    static u_char  hex[] = "0123456789abcdef";

    *p++ = '"';

    for (i = 0; i < text->len; i++) {
        ch = text->data[i];

        if (ch < 0x20) {
            p = ngx_http_tsface_assertion_put(p, "\\u00");
            *p++ = hex[ch >> 4];
            *p++ = hex[ch & 0xf];
            continue;
        }

        if (ch == '"' || ch == '\\') {
            *p++ = '\\';
        }

        *p++ = ch;
    }

    *p++ = '"';

    return p;
}


static u_char *
ngx_http_tsface_assertion_number(u_char *p, time_t value)
{
    u_char    digits[NGX_HTTP_TSFACE_ASSERTION_DIGITS], *d;
    uint64_t  n;

    d = digits + sizeof(digits);
    n = (value > 0) ? (uint64_t) value : 0;

    do {
        *--d = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    return ngx_cpymem(p, d, digits + sizeof(digits) - d);
}
