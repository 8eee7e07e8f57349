
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/rand.h>

#include "ngx_http_tsface_assertion.h"
#include "ngx_http_tsface_exchange_request.h"
#include "ngx_http_tsface_form.h"
#include "ngx_http_tsface_module.h"


#define NGX_HTTP_TSFACE_ASSERTION_TYPE                                        \
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


typedef struct {
    ngx_str_t                             name;
    ngx_str_t                             value;
} ngx_http_tsface_field_t;


static ngx_int_t ngx_http_tsface_exchange_fields(ngx_array_t *fields,
    const ngx_http_tsface_credentials_t *credentials,
    const ngx_str_t *proof);
static ngx_int_t ngx_http_tsface_exchange_proof(ngx_array_t *fields,
    const ngx_http_tsface_credentials_t *credentials,
    const ngx_str_t *proof);
static ngx_int_t ngx_http_tsface_exchange_field(ngx_array_t *fields,
    ngx_str_t name, ngx_str_t value);
static ngx_int_t ngx_http_tsface_exchange_basic(ngx_pool_t *pool,
    const ngx_http_tsface_credentials_t *credentials, const ngx_str_t *secret,
    ngx_str_t *basic);
static ngx_int_t ngx_http_tsface_exchange_assertion(ngx_pool_t *pool,
    const ngx_http_tsface_credentials_t *credentials, ngx_str_t *assertion);


/* Facts 2.2: a form; every sample of Transmit's has the secret in it. */
ngx_buf_t *
ngx_http_tsface_exchange_request(ngx_pool_t *pool,
    const ngx_http_tsface_credentials_t *credentials, const ngx_str_t *secret)
{
    size_t                    len, body;
    ngx_buf_t                *b;
    ngx_str_t                 basic, assertion;
    ngx_uint_t                i;
    ngx_array_t               fields;
    ngx_http_tsface_field_t  *field;

    if (ngx_array_init(&fields, pool, 8, sizeof(ngx_http_tsface_field_t))
        != NGX_OK)
    {
        return NULL;
    }

    ngx_str_null(&basic);
    ngx_str_null(&assertion);

    if (credentials->auth_method == NGX_HTTP_TSFACE_PRIVATE_KEY_JWT) {

        if (ngx_http_tsface_exchange_assertion(pool, credentials, &assertion)
            != NGX_OK)
        {
            return NULL;
        }

        secret = &assertion;
    }

    if (ngx_http_tsface_exchange_fields(&fields, credentials, secret)
        != NGX_OK)
    {
        return NULL;
    }

    if (credentials->auth_method == NGX_HTTP_TSFACE_CLIENT_SECRET_BASIC
        && ngx_http_tsface_exchange_basic(pool, credentials, secret, &basic)
           != NGX_OK)
    {
        return NULL;
    }

    field = fields.elts;
    body = 0;

    for (i = 0; i < fields.nelts; i++) {
        body += ngx_http_tsface_form_len(&field[i].name)
                + ngx_http_tsface_form_len(&field[i].value) + 2;
    }

    body--;    /* no '&' before the first */

    len = sizeof("POST  HTTP/1.1" CRLF
                 "Host: " CRLF
                 "User-Agent: " NGX_HTTP_TSFACE_USER_AGENT CRLF
                 "Accept: application/json" CRLF
                 "Connection: close" CRLF
                 "Content-Type: application/x-www-form-urlencoded" CRLF
                 "Content-Length: " CRLF
                 "Authorization: Basic " CRLF CRLF)
          + credentials->token_uri.len
          + credentials->token_endpoint->url.authority.len
          + NGX_SIZE_T_LEN + basic.len + body;

    b = ngx_create_temp_buf(pool, len);
    if (b == NULL) {
        return NULL;
    }

    b->last = ngx_sprintf(b->last,
                          "POST %V HTTP/1.1" CRLF
                          "Host: %V" CRLF
                          "User-Agent: " NGX_HTTP_TSFACE_USER_AGENT CRLF
                          "Accept: application/json" CRLF
                          "Connection: close" CRLF
                          "Content-Type: application/x-www-form-urlencoded"
                              CRLF
                          "Content-Length: %uz" CRLF,
                          &credentials->token_uri,
                          &credentials->token_endpoint->url.authority, body);

    if (basic.len) {
        b->last = ngx_sprintf(b->last, "Authorization: Basic %V" CRLF, &basic);
        ngx_explicit_memzero(basic.data, basic.len);
    }

    *b->last++ = CR;
    *b->last++ = LF;

    for (i = 0; i < fields.nelts; i++) {
        if (i) {
            *b->last++ = '&';
        }

        b->last = ngx_http_tsface_form_encode(b->last, &field[i].name);
        *b->last++ = '=';
        b->last = ngx_http_tsface_form_encode(b->last, &field[i].value);
    }

    if (assertion.len) {
        ngx_explicit_memzero(assertion.data, assertion.len);
    }

    return b;
}


static ngx_int_t
ngx_http_tsface_exchange_fields(ngx_array_t *fields,
    const ngx_http_tsface_credentials_t *credentials, const ngx_str_t *proof)
{
    ngx_uint_t     i;
    ngx_keyval_t  *kv;

    if (ngx_http_tsface_exchange_field(fields,
                                       (ngx_str_t) ngx_string("grant_type"),
                                       (ngx_str_t)
                                           ngx_string("client_credentials"))
        != NGX_OK
        || ngx_http_tsface_exchange_proof(fields, credentials, proof)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (credentials->resource.len
        && ngx_http_tsface_exchange_field(fields,
                                          (ngx_str_t) ngx_string("resource"),
                                          credentials->resource)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (credentials->parameters == NULL) {
        return NGX_OK;
    }

    kv = credentials->parameters->elts;

    for (i = 0; i < credentials->parameters->nelts; i++) {
        if (ngx_http_tsface_exchange_field(fields, kv[i].key, kv[i].value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* Who asks, and the proof of it. */
static ngx_int_t
ngx_http_tsface_exchange_proof(ngx_array_t *fields,
    const ngx_http_tsface_credentials_t *credentials, const ngx_str_t *proof)
{
    if (credentials->auth_method == NGX_HTTP_TSFACE_CLIENT_SECRET_BASIC) {
        return NGX_OK;
    }

    if (ngx_http_tsface_exchange_field(fields,
                                       (ngx_str_t) ngx_string("client_id"),
                                       credentials->client_id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* RFC 8705 2: the proof is in the handshake */

    if (credentials->auth_method == NGX_HTTP_TSFACE_TLS_CLIENT_AUTH
        || credentials->auth_method
           == NGX_HTTP_TSFACE_SELF_SIGNED_TLS_CLIENT_AUTH)
    {
        return NGX_OK;
    }

    if (credentials->auth_method == NGX_HTTP_TSFACE_CLIENT_SECRET_POST) {
        return ngx_http_tsface_exchange_field(fields,
                                       (ngx_str_t) ngx_string("client_secret"),
                                       *proof);
    }

    /* RFC 7523 2.2 */

    if (ngx_http_tsface_exchange_field(fields,
                               (ngx_str_t) ngx_string("client_assertion_type"),
                               (ngx_str_t)
                                   ngx_string(NGX_HTTP_TSFACE_ASSERTION_TYPE))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_tsface_exchange_field(fields,
                                    (ngx_str_t) ngx_string("client_assertion"),
                                    *proof);
}


static ngx_int_t
ngx_http_tsface_exchange_field(ngx_array_t *fields, ngx_str_t name,
    ngx_str_t value)
{
    ngx_http_tsface_field_t  *field;

    field = ngx_array_push(fields);
    if (field == NULL) {
        return NGX_ERROR;
    }

    field->name = name;
    field->value = value;

    return NGX_OK;
}


/*
 * RFC 6749 2.3.1: both are form-encoded before they are joined; but there are
 * servers that do not decode them.
 */
static ngx_int_t
ngx_http_tsface_exchange_basic(ngx_pool_t *pool,
    const ngx_http_tsface_credentials_t *credentials, const ngx_str_t *secret,
    ngx_str_t *basic)
{
    u_char           *p;
    ngx_str_t         joined;
    const ngx_str_t  *id;

    id = &credentials->client_id;

    /* never shorter than what is encoded */

    joined.data = ngx_pnalloc(pool, ngx_http_tsface_form_len(id) + 1
                                    + ngx_http_tsface_form_len(secret));
    if (joined.data == NULL) {
        return NGX_ERROR;
    }

    if (credentials->basic_encoding == NGX_HTTP_TSFACE_BASIC_RAW) {
        p = ngx_cpymem(joined.data, id->data, id->len);
        *p++ = ':';
        p = ngx_cpymem(p, secret->data, secret->len);

    } else {
        p = ngx_http_tsface_form_encode(joined.data, id);
        *p++ = ':';
        p = ngx_http_tsface_form_encode(p, secret);
    }

    joined.len = p - joined.data;

    basic->data = ngx_pnalloc(pool, ngx_base64_encoded_length(joined.len));

    if (basic->data) {
        ngx_encode_base64(basic, &joined);
    }

    ngx_explicit_memzero(joined.data, joined.len);

    return basic->data ? NGX_OK : NGX_ERROR;
}


/* A new one for each request: a server takes a jti only once. */
static ngx_int_t
ngx_http_tsface_exchange_assertion(ngx_pool_t *pool,
    const ngx_http_tsface_credentials_t *credentials, ngx_str_t *assertion)
{
    u_char  *buf;
    u_char   random[NGX_HTTP_TSFACE_ASSERTION_RANDOM];

    buf = ngx_pnalloc(pool,
                      ngx_http_tsface_assertion_size(&credentials->assertion));
    if (buf == NULL) {
        return NGX_ERROR;
    }

    if (RAND_bytes(random, sizeof(random)) == 1
        && ngx_http_tsface_assertion_make(&credentials->assertion, ngx_time(),
                                          random, buf, assertion)
           == NGX_OK)
    {
        return NGX_OK;
    }

    ERR_clear_error();

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "tsface could not sign an assertion of credentials \"%V\"",
                  &credentials->name);

    return NGX_ERROR;
}
