
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: assertion.c */


#include "tap.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "ngx_http_tsface_assertion.h"


static EVP_PKEY  *rsa, *p256;


/* base64url without padding; fails on any other byte, "=" included */

static ngx_str_t
decoded(const u_char *p, size_t len)
{
    size_t       i, n;
    uint32_t     bits;
    ngx_str_t    out;
    const char  *at;

    static const char  alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "abcdefghijklmnopqrstuvwxyz0123456789-_";

    out.data = block(len);
    out.len = 0;

    bits = 0;
    n = 0;

    for (i = 0; i < len; i++) {
        at = p[i] ? strchr(alphabet, p[i]) : NULL;

        if (!check(at != NULL, "byte %02x at %zu", p[i], i)) {
            return out;
        }

        bits = bits << 6 | (uint32_t) (at - alphabet);
        n += 6;

        if (n >= 8) {
            n -= 8;
            out.data[out.len++] = (u_char) (bits >> n);
        }
    }

    check(n < 6 && (bits & ((1u << n) - 1)) == 0, "bits left over: %zu", n);

    return out;
}


static int
verified(const ngx_http_tsface_assertion_t *assertion, const ngx_str_t *sig,
    const u_char *data, size_t len)
{
    int            rc, n;
    u_char        *der, *p;
    ECDSA_SIG     *ecdsa;
    EVP_MD_CTX    *md;
    EVP_PKEY_CTX  *ctx;

    md = EVP_MD_CTX_new();

    EVP_DigestVerifyInit(md, &ctx, EVP_sha256(), NULL, assertion->key);

    if (assertion->algorithm == NGX_HTTP_TSFACE_PS256) {
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING);

        /* exactly 32, where AUTO would take any */

        EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, 32);
    }

    if (assertion->algorithm == NGX_HTTP_TSFACE_ES256) {

        if (!check(sig->len == 64, "raw signature of %zu bytes", sig->len)) {
            EVP_MD_CTX_free(md);
            return 0;
        }

        ecdsa = ECDSA_SIG_new();
        ECDSA_SIG_set0(ecdsa, BN_bin2bn(sig->data, 32, NULL),
                       BN_bin2bn(sig->data + 32, 32, NULL));

        der = NULL;
        n = i2d_ECDSA_SIG(ecdsa, &der);
        p = der;

        rc = EVP_DigestVerify(md, p, (size_t) n, data, len);

        OPENSSL_free(der);
        ECDSA_SIG_free(ecdsa);

    } else {
        rc = EVP_DigestVerify(md, sig->data, sig->len, data, len);
    }

    EVP_MD_CTX_free(md);
    ERR_clear_error();

    return rc == 1;
}


/* Makes one, in a buffer of exactly size(), and takes it apart. */

static void
compare(const ngx_http_tsface_assertion_t *assertion, time_t now,
    const u_char *random, const char *header, const char *claims)
{
    u_char     *buf, *dot1, *dot2, *last;
    ngx_int_t   rc;
    ngx_str_t   out, part;

    buf = block(ngx_http_tsface_assertion_size(assertion));

    rc = ngx_http_tsface_assertion_make(assertion, now, random, buf, &out);

    if (!check(rc == NGX_OK, "rc %d", (int) rc)) {
        return;
    }

    check(ERR_peek_error() == 0, "errors are left");

    last = out.data + out.len;
    dot1 = memchr(out.data, '.', out.len);
    dot2 = dot1 ? memchr(dot1 + 1, '.', last - dot1 - 1) : NULL;

    if (!check(dot2 != NULL, "two dots")) {
        return;
    }

    part = decoded(out.data, dot1 - out.data);
    check(same(&part, header), "header %.*s", (int) part.len,
          (char *) part.data);

    part = decoded(dot1 + 1, dot2 - dot1 - 1);
    check(same(&part, claims), "claims %.*s", (int) part.len,
          (char *) part.data);

    part = decoded(dot2 + 1, last - dot2 - 1);
    check(verified(assertion, &part, out.data, dot2 - out.data),
          "signature of %s", header);

    /* the claims are under it */

    dot1[5] ^= 1;
    check(!verified(assertion, &part, out.data, dot2 - out.data),
          "another text's signature is taken");
}


static ngx_http_tsface_assertion_t
assertion_of(EVP_PKEY *key, ngx_uint_t algorithm, const char *id,
    const char *aud, const char *kid, time_t lifetime)
{
    ngx_http_tsface_assertion_t  assertion;

    memset(&assertion, 0, sizeof(assertion));

    assertion.key = key;
    assertion.algorithm = algorithm;
    assertion.client_id = text(id);
    assertion.audience = text(aud);
    assertion.key_id = text(kid);
    assertion.lifetime = lifetime;

    return assertion;
}


static void
algorithms(void)
{
    ngx_http_tsface_assertion_t  assertion;

    static const u_char  zeros[NGX_HTTP_TSFACE_ASSERTION_RANDOM];

    static const char  claims[] =
        "{\"iss\":\"me\",\"sub\":\"me\",\"aud\":\"https://h/token\","
        "\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"iat\":1700000000,"
        "\"exp\":1700000060}";

    assertion = assertion_of(rsa, NGX_HTTP_TSFACE_RS256, "me",
                             "https://h/token", "", 60);
    compare(&assertion, 1700000000, zeros,
            "{\"alg\":\"RS256\",\"typ\":\"JWT\"}", claims);

    assertion.algorithm = NGX_HTTP_TSFACE_PS256;
    compare(&assertion, 1700000000, zeros,
            "{\"alg\":\"PS256\",\"typ\":\"JWT\"}", claims);

    assertion.algorithm = NGX_HTTP_TSFACE_ES256;
    assertion.key = p256;
    assertion.key_id = text("key-1");
    compare(&assertion, 1700000000, zeros,
            "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"key-1\"}", claims);

    done("algorithms");
}


/* Numbers with leading zeros, which DER leaves out, are one in 128. */

static void
many(void)
{
    int                          i;
    char                         claims[128];
    u_char                       random[NGX_HTTP_TSFACE_ASSERTION_RANDOM];
    ngx_http_tsface_assertion_t  assertion;

    memset(random, 0xff, sizeof(random));

    for (i = 0; i < 2000; i++) {
        assertion = assertion_of(p256, NGX_HTTP_TSFACE_ES256, "m", "a", "", 1);

        snprintf(claims, sizeof(claims), "{\"iss\":\"m\",\"sub\":\"m\","
                 "\"aud\":\"a\",\"jti\":\"_____________________w\","
                 "\"iat\":%d,\"exp\":%d}", i, i + 1);

        compare(&assertion, i, random,
                "{\"alg\":\"ES256\",\"typ\":\"JWT\"}", claims);
        tap_free();
    }

    done("many of ES256");
}


static void
escapes(void)
{
    ngx_http_tsface_assertion_t  assertion;

    static const u_char  random[NGX_HTTP_TSFACE_ASSERTION_RANDOM] = {
        0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
    };

    assertion = assertion_of(p256, NGX_HTTP_TSFACE_ES256, "a\"b\\c\x01\x1f/",
                             "\"\\\n", "\\\"", 3600);
    compare(&assertion, 0, random,
            "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"\\\\\\\"\"}",
            "{\"iss\":\"a\\\"b\\\\c\\u0001\\u001f/\","
            "\"sub\":\"a\\\"b\\\\c\\u0001\\u001f/\","
            "\"aud\":\"\\\"\\\\\\u000a\","
            "\"jti\":\"----____AAECAwQFBgcICQ\",\"iat\":0,\"exp\":3600}");

    done("escapes");
}


/* The buffer is enough for every length and its remainder. */

static void
lengths(void)
{
    size_t                       i;
    char                         id[130], claims[600];
    ngx_http_tsface_assertion_t  assertion;

    static const u_char  zeros[NGX_HTTP_TSFACE_ASSERTION_RANDOM];

    for (i = 1; i < sizeof(id); i++) {
        memset(id, 'x', i);
        id[i - 1] = '\0';

        assertion = assertion_of(p256, NGX_HTTP_TSFACE_ES256, id, id, "",
                                 2147483647);

        snprintf(claims, sizeof(claims), "{\"iss\":\"%s\",\"sub\":\"%s\","
                 "\"aud\":\"%s\",\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\","
                 "\"iat\":9223372034707292160,\"exp\":9223372036854775807}",
                 id, id, id);

        compare(&assertion, 9223372034707292160LL, zeros,
                "{\"alg\":\"ES256\",\"typ\":\"JWT\"}", claims);
        tap_free();
    }

    done("lengths");
}


static void
verdict(EVP_PKEY *key, ngx_uint_t wanted, ngx_uint_t algorithm,
    const char *error)
{
    const char  *found;

    found = ngx_http_tsface_assertion_check(key, &wanted);

    if (error) {
        check(found && strstr(found, error), "%s: %s", error,
              found ? found : "nothing");

    } else {
        check(found == NULL && wanted == algorithm, "%s, %d",
              found ? found : "no error", (int) wanted);
    }

    check(ERR_peek_error() == 0, "errors are left");
}


static void
keys(void)
{
    EVP_PKEY  *small, *p384, *koblitz, *edwards;

    small = EVP_RSA_gen(1024);
    p384 = EVP_EC_gen("P-384");
    koblitz = EVP_EC_gen("secp256k1");
    edwards = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    verdict(rsa, NGX_CONF_UNSET_UINT, NGX_HTTP_TSFACE_RS256, NULL);
    verdict(rsa, NGX_HTTP_TSFACE_RS256, NGX_HTTP_TSFACE_RS256, NULL);
    verdict(rsa, NGX_HTTP_TSFACE_PS256, NGX_HTTP_TSFACE_PS256, NULL);
    verdict(rsa, NGX_HTTP_TSFACE_ES256, 0, "RSA key, which ES256");
    verdict(p256, NGX_CONF_UNSET_UINT, NGX_HTTP_TSFACE_ES256, NULL);
    verdict(p256, NGX_HTTP_TSFACE_ES256, NGX_HTTP_TSFACE_ES256, NULL);
    verdict(p256, NGX_HTTP_TSFACE_RS256, 0, "EC key");
    verdict(p256, NGX_HTTP_TSFACE_PS256, 0, "EC key");
    verdict(p384, NGX_CONF_UNSET_UINT, 0, "curve");
    verdict(koblitz, NGX_CONF_UNSET_UINT, 0, "curve");
    verdict(small, NGX_CONF_UNSET_UINT, 0, "2048");
    verdict(small, NGX_HTTP_TSFACE_PS256, 0, "2048");
    verdict(edwards, NGX_CONF_UNSET_UINT, 0, "neither");

    EVP_PKEY_free(small);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(koblitz);
    EVP_PKEY_free(edwards);

    done("keys");
}


/* A public key alone can't sign, and says so without leaving an error. */

static void
failures(void)
{
    u_char                       *der, *buf;
    EVP_PKEY                     *public;
    ngx_int_t                     rc;
    ngx_str_t                     out;
    const u_char                 *p;
    ngx_http_tsface_assertion_t   assertion;

    static const u_char  zeros[NGX_HTTP_TSFACE_ASSERTION_RANDOM];

    der = NULL;
    rc = i2d_PUBKEY(p256, &der);
    p = der;
    public = d2i_PUBKEY(NULL, &p, (long) rc);
    OPENSSL_free(der);

    assertion = assertion_of(public, NGX_HTTP_TSFACE_ES256, "me", "a", "", 1);
    buf = block(ngx_http_tsface_assertion_size(&assertion));

    rc = ngx_http_tsface_assertion_make(&assertion, 1, zeros, buf, &out);

    check(rc == NGX_ERROR, "rc %d", (int) rc);
    check(ERR_peek_error() == 0, "errors are left");

    EVP_PKEY_free(public);

    done("failures");
}


int
main(void)
{
    rsa = EVP_RSA_gen(2048);
    p256 = EVP_EC_gen("P-256");

    algorithms();
    many();
    escapes();
    lengths();
    keys();
    failures();

    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p256);

    return tap_end();
}
