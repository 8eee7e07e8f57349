
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The JWT with which a client proves that it has a private key (RFC 7523 3,
 * RFC 7515).  Pure: clock and random bytes are arguments.
 */


#ifndef _NGX_HTTP_TSFACE_ASSERTION_H_INCLUDED_
#define _NGX_HTTP_TSFACE_ASSERTION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>


/* 128 bits: nobody draws the same twice */
#define NGX_HTTP_TSFACE_ASSERTION_RANDOM     16

#define NGX_HTTP_TSFACE_ASSERTION_MIN_BITS   2048

/* one signature takes some 30 ms then: a worker does nothing else meanwhile */
#define NGX_HTTP_TSFACE_ASSERTION_MAX_BITS   8192


typedef enum {
    NGX_HTTP_TSFACE_RS256 = 0,
    NGX_HTTP_TSFACE_PS256,
    NGX_HTTP_TSFACE_ES256
} ngx_http_tsface_algorithm_e;


/* What all assertions of a client have in common. */
typedef struct {
    EVP_PKEY                     *key;
    ngx_uint_t                    algorithm;
    ngx_str_t                     client_id;
    ngx_str_t                     audience;
    ngx_str_t                     key_id;      /* empty: no "kid" */
    time_t                        lifetime;
} ngx_http_tsface_assertion_t;


/*
 * Whether key can sign with *algorithm; NGX_CONF_UNSET_UINT is set to what
 * fits the key.  Returns NULL, or what is wrong: the end of a sentence that
 * begins with the key.
 */
const char *ngx_http_tsface_assertion_check(EVP_PKEY *key,
    ngx_uint_t *algorithm);

/* Bytes that make() needs, more than the assertion will have. */
size_t ngx_http_tsface_assertion_size(
    const ngx_http_tsface_assertion_t *assertion);

/*
 * Writes an assertion into buf, of size() bytes, and sets *out to it.  random
 * has ASSERTION_RANDOM bytes that were never used before.  NGX_ERROR: OpenSSL
 * could not sign; its error queue is left empty.
 */
ngx_int_t ngx_http_tsface_assertion_make(
    const ngx_http_tsface_assertion_t *assertion, time_t now,
    const u_char *random, u_char *buf, ngx_str_t *out);


#endif /* _NGX_HTTP_TSFACE_ASSERTION_H_INCLUDED_ */
