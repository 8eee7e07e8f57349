
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_client.h"
#include "ngx_http_tsface_exchange.h"
#include "ngx_http_tsface_exchange_request.h"
#include "ngx_http_tsface_json.h"
#include "ngx_http_tsface_retry_after.h"
#include "ngx_http_tsface_zone.h"


struct ngx_http_tsface_exchange_s {
    ngx_pool_t                           *pool;
    const ngx_http_tsface_credentials_t  *credentials;
    ngx_http_tsface_exchange_pt           handler;
    void                                 *data;
    ngx_msec_t                            start;
    ngx_http_tsface_client_t              client;
};


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
    const ngx_str_t *secret, ngx_http_tsface_exchange_pt handler, void *data)
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
                                                                credentials,
                                                                secret);

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
    result->ttl = (ngx_msec_t) ngx_min(seconds, (ngx_msec_t) -1 / 4000) * 1000;
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
    const ngx_str_t  *value;

    value = ngx_http_tsface_response_header(response, "retry-after");

    if (value == NULL) {
        return 0;
    }

    return ngx_http_tsface_retry_after(value, ngx_time(),
                                       NGX_HTTP_TSFACE_PLAN_MAX_RETRY_AFTER);
}


static void
ngx_http_tsface_exchange_free(ngx_http_tsface_exchange_t *exchange)
{
    ngx_http_tsface_client_t  *client;

    client = &exchange->client;

    if (client->body.data) {
        ngx_explicit_memzero(client->body.data, client->body.len);
    }

    /* an answer that broke off, or was malformed behind its token, is here */

    if (client->buf) {
        ngx_explicit_memzero(client->buf->start,
                             client->buf->end - client->buf->start);
    }

    ngx_destroy_pool(exchange->pool);
}
