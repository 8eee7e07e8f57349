
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_client.h"
#include "ngx_http_tsface_exchange.h"
#include "ngx_http_tsface_form.h"
#include "ngx_http_tsface_json.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_zone.h"


struct ngx_http_tsface_exchange_s {
    ngx_pool_t                           *pool;
    const ngx_http_tsface_credentials_t  *credentials;
    ngx_http_tsface_exchange_pt           handler;
    void                                 *data;
    ngx_msec_t                            start;
    ngx_http_tsface_client_t              client;
};


typedef struct {
    ngx_str_t                             name;
    ngx_str_t                             value;
} ngx_http_tsface_field_t;


static ngx_buf_t *ngx_http_tsface_exchange_request(ngx_pool_t *pool,
    const ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_exchange_fields(ngx_array_t *fields,
    const ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_exchange_field(ngx_array_t *fields,
    ngx_str_t name, ngx_str_t value);
static ngx_int_t ngx_http_tsface_exchange_basic(ngx_pool_t *pool,
    const ngx_http_tsface_credentials_t *credentials, ngx_str_t *basic);
static void ngx_http_tsface_exchange_done(ngx_http_tsface_client_t *client);
static void ngx_http_tsface_exchange_parse(
    ngx_http_tsface_exchange_t *exchange,
    ngx_http_tsface_exchange_result_t *result);
static void ngx_http_tsface_exchange_token(
    ngx_http_tsface_exchange_t *exchange, ngx_http_tsface_json_t *json,
    size_t size, ngx_http_tsface_exchange_result_t *result);
static ngx_uint_t ngx_http_tsface_exchange_token_valid(
    const ngx_str_t *token);
static ngx_msec_t ngx_http_tsface_exchange_retry_after(
    const ngx_http_tsface_response_t *response);
static void ngx_http_tsface_exchange_free(
    ngx_http_tsface_exchange_t *exchange);


ngx_http_tsface_exchange_t *
ngx_http_tsface_exchange_start(
    const ngx_http_tsface_credentials_t *credentials,
    ngx_http_tsface_exchange_pt handler, void *data)
{
    ngx_pool_t                  *pool;
    ngx_http_tsface_exchange_t  *exchange;

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    exchange = ngx_pcalloc(pool, sizeof(ngx_http_tsface_exchange_t));
    if (exchange == NULL) {
        goto failed;
    }

    exchange->pool = pool;
    exchange->credentials = credentials;
    exchange->handler = handler;
    exchange->data = data;
    exchange->start = ngx_current_msec;

    exchange->client.pool = pool;
    exchange->client.endpoint = credentials->token_endpoint;
    exchange->client.timeout = credentials->exchange_timeout;
    exchange->client.name = credentials->name;
    exchange->client.handler = ngx_http_tsface_exchange_done;
    exchange->client.data = exchange;

    exchange->client.request = ngx_http_tsface_exchange_request(pool,
                                                                credentials);

    if (exchange->client.request == NULL
        || ngx_http_tsface_client_start(&exchange->client) != NGX_OK)
    {
        goto failed;
    }

    return exchange;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


void
ngx_http_tsface_exchange_cancel(ngx_http_tsface_exchange_t *exchange)
{
    ngx_http_tsface_client_cancel(&exchange->client);
    ngx_http_tsface_exchange_free(exchange);
}


/* Facts 2.2: a form; every sample of Transmit's has the secret in it. */
static ngx_buf_t *
ngx_http_tsface_exchange_request(ngx_pool_t *pool,
    const ngx_http_tsface_credentials_t *credentials)
{
    size_t                    len, body;
    ngx_buf_t                *b;
    ngx_str_t                 basic;
    ngx_uint_t                i;
    ngx_array_t               fields;
    ngx_http_tsface_field_t  *field;

    if (ngx_array_init(&fields, pool, 8, sizeof(ngx_http_tsface_field_t))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_http_tsface_exchange_fields(&fields, credentials) != NGX_OK) {
        return NULL;
    }

    ngx_str_null(&basic);

    if (credentials->auth_method == NGX_HTTP_TSFACE_CLIENT_SECRET_BASIC
        && ngx_http_tsface_exchange_basic(pool, credentials, &basic) != NGX_OK)
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

    return b;
}


static ngx_int_t
ngx_http_tsface_exchange_fields(ngx_array_t *fields,
    const ngx_http_tsface_credentials_t *credentials)
{
    ngx_uint_t     i;
    ngx_keyval_t  *kv;

    if (ngx_http_tsface_exchange_field(fields,
                                       (ngx_str_t) ngx_string("grant_type"),
                                       (ngx_str_t)
                                           ngx_string("client_credentials"))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (credentials->auth_method == NGX_HTTP_TSFACE_CLIENT_SECRET_POST
        && (ngx_http_tsface_exchange_field(fields,
                                       (ngx_str_t) ngx_string("client_id"),
                                       credentials->client_id)
            != NGX_OK
            || ngx_http_tsface_exchange_field(fields,
                                       (ngx_str_t) ngx_string("client_secret"),
                                       credentials->client_secret->value)
               != NGX_OK))
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


/* RFC 6749 2.3.1: both are form-encoded before they are joined. */
static ngx_int_t
ngx_http_tsface_exchange_basic(ngx_pool_t *pool,
    const ngx_http_tsface_credentials_t *credentials, ngx_str_t *basic)
{
    u_char           *p;
    ngx_str_t         joined;
    const ngx_str_t  *secret;

    secret = &credentials->client_secret->value;

    joined.data = ngx_pnalloc(pool,
                              ngx_http_tsface_form_len(&credentials->client_id)
                              + 1 + ngx_http_tsface_form_len(secret));
    if (joined.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_tsface_form_encode(joined.data, &credentials->client_id);
    *p++ = ':';
    p = ngx_http_tsface_form_encode(p, secret);

    joined.len = p - joined.data;

    basic->data = ngx_pnalloc(pool, ngx_base64_encoded_length(joined.len));

    if (basic->data) {
        ngx_encode_base64(basic, &joined);
    }

    ngx_explicit_memzero(joined.data, joined.len);

    return basic->data ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_tsface_exchange_done(ngx_http_tsface_client_t *client)
{
    ngx_http_tsface_exchange_t *exchange = client->data;

    ngx_http_tsface_exchange_result_t  result;

    ngx_memzero(&result, sizeof(ngx_http_tsface_exchange_result_t));

    result.result = client->result;
    result.error = client->error;
    result.took = ngx_current_msec - exchange->start;

    if (client->result == NGX_HTTP_TSFACE_EXCHANGE_OK) {
        ngx_http_tsface_exchange_parse(exchange, &result);
    }

    exchange->handler(exchange->data, &result);

    ngx_http_tsface_exchange_free(exchange);
}


static void
ngx_http_tsface_exchange_parse(ngx_http_tsface_exchange_t *exchange,
    ngx_http_tsface_exchange_result_t *result)
{
    size_t                         size;
    u_char                        *arena;
    ngx_http_tsface_json_t        *json;
    ngx_http_tsface_client_t      *client;
    ngx_http_tsface_json_status_e  status;

    client = &exchange->client;

    result->status = client->response.status;
    result->result = ngx_http_tsface_plan_classify(client->response.status);

    if (result->result != NGX_HTTP_TSFACE_EXCHANGE_OK) {
        result->error = "the token endpoint refused";
        result->retry_after =
                       ngx_http_tsface_exchange_retry_after(&client->response);
        return;
    }

    result->result = NGX_HTTP_TSFACE_EXCHANGE_MALFORMED;

    size = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(client->body.len);

    arena = ngx_palloc(exchange->pool, size);
    json = ngx_palloc(exchange->pool, sizeof(ngx_http_tsface_json_t));

    if (arena == NULL || json == NULL) {
        result->error = "no memory";
        return;
    }

    status = ngx_http_tsface_json_read(json, &client->body, arena, size);

    if (status == NGX_HTTP_TSFACE_JSON_OK) {
        ngx_http_tsface_exchange_token(exchange, json, size, result);

        if (result->token.len) {
            /* it lies in the body's buffer from here on, which is wiped */
            ngx_memmove(client->body.data, result->token.data,
                        result->token.len);
            result->token.data = client->body.data;
        }

    } else {
        result->error = "the answer is not a JSON object";
    }

    ngx_explicit_memzero(arena, size);
}


/* RFC 6749 5.1; a missing expires_in falls back to the token's own exp. */
static void
ngx_http_tsface_exchange_token(ngx_http_tsface_exchange_t *exchange,
    ngx_http_tsface_json_t *json, size_t size,
    ngx_http_tsface_exchange_result_t *result)
{
    u_char                         *jwt;
    ngx_uint_t                      seconds;
    ngx_http_tsface_json_member_t  *token, *type, *expires;

    token = ngx_http_tsface_json_find(json, "access_token");

    if (token == NULL || token->type != NGX_HTTP_TSFACE_JSON_STRING
        || !ngx_http_tsface_exchange_token_valid(&token->value))
    {
        result->error = "the answer has no usable access_token";
        return;
    }

    type = ngx_http_tsface_json_find(json, "token_type");

    if (type && (type->type != NGX_HTTP_TSFACE_JSON_STRING
                 || type->value.len != 6
                 || ngx_strncasecmp(type->value.data, (u_char *) "bearer", 6)
                    != 0))
    {
        result->error = "the answer's token_type is not Bearer";
        return;
    }

    expires = ngx_http_tsface_json_find(json, "expires_in");

    if (expires && expires->type != NGX_HTTP_TSFACE_JSON_NULL) {

        if (ngx_http_tsface_json_seconds(expires, &seconds) != NGX_OK
            || seconds == 0)
        {
            result->error = "the answer's expires_in is not usable";
            return;
        }

    } else {
        /* another arena: the members lie in the first */

        jwt = ngx_palloc(exchange->pool, size);
        if (jwt == NULL) {
            result->error = "no memory";
            return;
        }

        seconds = ngx_http_tsface_plan_jwt_ttl(&token->value, ngx_time(), jwt,
                                               size);
        ngx_explicit_memzero(jwt, size);

        if (seconds == 0) {
            seconds = NGX_HTTP_TSFACE_PLAN_DEFAULT_TTL / 1000;
        }
    }

    result->token = token->value;
    result->ttl = (ngx_msec_t) seconds * 1000;
    result->result = NGX_HTTP_TSFACE_EXCHANGE_OK;
    result->error = NULL;
}


/* It goes into a header line: visible ASCII, and of bounded length. */
static ngx_uint_t
ngx_http_tsface_exchange_token_valid(const ngx_str_t *token)
{
    size_t  i;

    if (token->len == 0 || token->len > NGX_HTTP_TSFACE_MAX_TOKEN) {
        return 0;
    }

    for (i = 0; i < token->len; i++) {
        if (token->data[i] <= ' ' || token->data[i] >= 0x7f) {
            return 0;
        }
    }

    return 1;
}


/* RFC 9110 10.2.3: seconds or a date. */
static ngx_msec_t
ngx_http_tsface_exchange_retry_after(
    const ngx_http_tsface_response_t *response)
{
    time_t            date;
    ngx_int_t         seconds;
    const ngx_str_t  *value;

    value = ngx_http_tsface_response_header(response, "retry-after");

    if (value == NULL || value->len == 0) {
        return 0;
    }

    if (value->len <= 9) {
        seconds = ngx_atoi(value->data, value->len);

        if (seconds != NGX_ERROR) {
            return (ngx_msec_t) seconds * 1000;
        }
    }

    date = ngx_parse_http_time(value->data, value->len);

    if (date == NGX_ERROR || date <= ngx_time()) {
        return 0;
    }

    return (ngx_msec_t) (date - ngx_time()) * 1000;
}


static void
ngx_http_tsface_exchange_free(ngx_http_tsface_exchange_t *exchange)
{
    ngx_http_tsface_client_t  *client;

    client = &exchange->client;

    if (client->body.data) {
        ngx_explicit_memzero(client->body.data, client->body.len);
    }

    ngx_destroy_pool(exchange->pool);
}
