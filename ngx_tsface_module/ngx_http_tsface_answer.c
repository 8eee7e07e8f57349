
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_answer.h"
#include "ngx_http_tsface_limit_fields.h"
#include "ngx_http_tsface_module.h"


static ngx_int_t ngx_http_tsface_answer_header(ngx_http_request_t *r,
    const char *name, size_t len, const ngx_str_t *value);
static ngx_int_t ngx_http_tsface_answer_headers(ngx_http_request_t *r,
    ngx_http_tsface_problem_e problem,
    const ngx_http_tsface_answer_extra_t *extra);
static ngx_int_t ngx_http_tsface_answer_limits(ngx_http_request_t *r,
    const ngx_http_tsface_limits_t *limits);
static ngx_buf_t *ngx_http_tsface_answer_body(ngx_http_request_t *r,
    const ngx_http_tsface_problem_t *problem, const ngx_str_t *request_id);
static ngx_uint_t ngx_http_tsface_answer_is_limit(const ngx_str_t *name);
static ngx_int_t ngx_http_tsface_answer_send(ngx_http_request_t *r,
    ngx_chain_t *out);


#define ngx_http_tsface_answer_set(r, name, value)                            \
    ngx_http_tsface_answer_header(r, name, sizeof(name) - 1, value)


/*
 * What the endpoint says to the caller.  Anything else (cookies, Server,
 * hop-by-hop fields, what would steer a proxy before us) stays here.
 */
static ngx_str_t  ngx_http_tsface_relayed[] = {
    ngx_string("retry-after"),
    ngx_string("www-authenticate"),
    ngx_string("cache-control"),
    ngx_string("content-encoding"),
    ngx_string("content-language"),
    ngx_string("location"),
    ngx_string("x-request-id"),
    ngx_string("x-correlation-id"),
    ngx_string("request-id"),
    ngx_string("correlation-id"),
    ngx_string("traceparent"),
    ngx_string("cf-ray"),
    ngx_string("ratelimit"),
    ngx_string("ratelimit-policy"),
    ngx_string("ratelimit-limit"),
    ngx_string("ratelimit-remaining"),
    ngx_string("ratelimit-reset"),
    ngx_string("x-ratelimit-limit"),
    ngx_string("x-ratelimit-remaining"),
    ngx_string("x-ratelimit-reset"),
    ngx_null_string
};


ngx_int_t
ngx_http_tsface_answer_problem(ngx_http_request_t *r,
    ngx_http_tsface_problem_e problem, const ngx_str_t *request_id,
    const ngx_http_tsface_answer_extra_t *extra)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t  *out;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = ngx_http_tsface_problems[problem].status;

    ngx_str_set(&r->headers_out.content_type, "application/problem+json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_http_tsface_answer_set(r, "X-TSFace-Request-ID", request_id)
        != NGX_OK
        || ngx_http_tsface_answer_headers(r, problem, extra) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = ngx_http_tsface_answer_body(r, &ngx_http_tsface_problems[problem],
                                    request_id);
    out = ngx_alloc_chain_link(r->pool);

    if (b == NULL || out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    out->buf = b;
    out->next = NULL;

    r->headers_out.content_length_n = b->last - b->pos;

    return ngx_http_tsface_answer_send(r, out);
}


static ngx_int_t
ngx_http_tsface_answer_headers(ngx_http_request_t *r,
    ngx_http_tsface_problem_e problem,
    const ngx_http_tsface_answer_extra_t *extra)
{
    u_char            buf[NGX_INT_T_LEN];
    ngx_str_t         value;
    static ngx_str_t  no_store = ngx_string("no-store");
    static ngx_str_t  bearer = ngx_string("Bearer");
    static ngx_str_t  caller = ngx_string("TSFace realm=\"caller\"");

    if (ngx_http_tsface_answer_set(r, "Cache-Control", &no_store) != NGX_OK) {
        return NGX_ERROR;
    }

    if (problem == NGX_HTTP_TSFACE_PROBLEM_NO_BEARER
        && ngx_http_tsface_answer_set(r, "WWW-Authenticate", &bearer)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /*
     * RFC 9110 15.5.2 wants a challenge; how callers are known is up to the
     * configuration, so this one only says that it is about the caller
     */

    if (problem == NGX_HTTP_TSFACE_PROBLEM_NO_CALLER
        && ngx_http_tsface_answer_set(r, "WWW-Authenticate", &caller)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (extra->allow.len
        && ngx_http_tsface_answer_set(r, "Allow", &extra->allow) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (extra->retry_after) {
        value.data = buf;
        value.len = ngx_sprintf(buf, "%M", (extra->retry_after + 999) / 1000)
                    - buf;

        if (ngx_http_tsface_answer_set(r, "Retry-After", &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (extra->limits) {
        return ngx_http_tsface_answer_limits(r, extra->limits);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_answer_limits(ngx_http_request_t *r,
    const ngx_http_tsface_limits_t *limits)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool,
                             ngx_http_tsface_limit_fields_size(limits));
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_http_tsface_limit_fields_policy(value.data, limits)
                - value.data;

    if (value.len
        && ngx_http_tsface_answer_set(r, "RateLimit-Policy", &value) != NGX_OK)
    {
        return NGX_ERROR;
    }

    value.len = ngx_http_tsface_limit_fields_state(value.data, limits)
                - value.data;

    if (value.len
        && ngx_http_tsface_answer_set(r, "RateLimit", &value) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* RFC 9457, with Transmit's own two members for its clients. */
static ngx_buf_t *
ngx_http_tsface_answer_body(ngx_http_request_t *r,
    const ngx_http_tsface_problem_t *problem, const ngx_str_t *request_id)
{
    size_t      len;
    ngx_buf_t  *b;

    len = sizeof("{\"type\":\"urn:tsface:problem:\",\"title\":\"\","
                 "\"status\":,\"detail\":\"\",\"request_id\":\"\","
                 "\"message\":\"\",\"error_code\":}\n")
          + problem->reason.len + 2 * problem->title.len
          + problem->detail.len + request_id->len + 2 * NGX_INT_T_LEN;

    b = ngx_create_temp_buf(r->pool, len);
    if (b == NULL) {
        return NULL;
    }

    b->last = ngx_sprintf(b->last,
                          "{\"type\":\"urn:tsface:problem:%V\","
                          "\"title\":\"%V\",\"status\":%ui,"
                          "\"detail\":\"%V\",\"request_id\":\"%V\","
                          "\"message\":\"%V\",\"error_code\":%ui}\n",
                          &problem->reason, &problem->title, problem->status,
                          &problem->detail, request_id, &problem->title,
                          problem->status);

    b->last_buf = 1;
    b->last_in_chain = 1;

    return b;
}


ngx_int_t
ngx_http_tsface_answer_relay(ngx_http_request_t *r,
    const ngx_http_tsface_attempt_t *attempt, const ngx_str_t *request_id,
    const ngx_http_tsface_limits_t *limits)
{
    ngx_str_t                          *name;
    ngx_uint_t                          i;
    ngx_chain_t                        *cl;
    ngx_http_tsface_response_header_t  *header;

    r->headers_out.status = attempt->status;
    r->headers_out.content_length_n = attempt->size;

    if (ngx_http_tsface_answer_set(r, "X-TSFace-Request-ID", request_id)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (limits && ngx_http_tsface_answer_limits(r, limits) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    header = attempt->headers.elts;

    for (i = 0; i < attempt->headers.nelts; i++) {

        if (header[i].name.len == 12
            && ngx_strncasecmp(header[i].name.data,
                               (u_char *) "content-type", 12)
               == 0)
        {
            r->headers_out.content_type = header[i].value;
            r->headers_out.content_type_len = header[i].value.len;
            r->headers_out.content_type_lowcase = NULL;
            continue;
        }

        /* a line of ours and one of the endpoint's make one list */

        if (limits && ngx_http_tsface_answer_is_limit(&header[i].name)
            && !ngx_http_tsface_limit_fields_joins(&header[i].value))
        {
            continue;
        }

        for (name = ngx_http_tsface_relayed; name->len; name++) {

            if (name->len == header[i].name.len
                && ngx_strncasecmp(name->data, header[i].name.data, name->len)
                   == 0)
            {
                if (ngx_http_tsface_answer_header(r,
                                         (const char *) header[i].name.data,
                                         header[i].name.len, &header[i].value)
                    != NGX_OK)
                {
                    return NGX_HTTP_INTERNAL_SERVER_ERROR;
                }

                break;
            }
        }
    }

    for (cl = attempt->out; cl; cl = cl->next) {
        if (cl->next == NULL) {
            cl->buf->last_buf = 1;
            cl->buf->last_in_chain = 1;
        }
    }

    return ngx_http_tsface_answer_send(r, attempt->out);
}


static ngx_uint_t
ngx_http_tsface_answer_is_limit(const ngx_str_t *name)
{
    return (name->len == 9
            && ngx_strncasecmp(name->data, (u_char *) "ratelimit", 9) == 0)
           || (name->len == 16
               && ngx_strncasecmp(name->data, (u_char *) "ratelimit-policy",
                                  16)
                  == 0);
}


static ngx_int_t
ngx_http_tsface_answer_send(ngx_http_request_t *r, ngx_chain_t *out)
{
    ngx_int_t  rc;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    if (out == NULL) {
        return ngx_http_send_special(r, NGX_HTTP_LAST);
    }

    return ngx_http_output_filter(r, out);
}


/* Copies value; name is static or lives as long as the request. */
static ngx_int_t
ngx_http_tsface_answer_header(ngx_http_request_t *r, const char *name,
    size_t len, const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = len;
    h->lowcase_key = NULL;
    h->value.len = value->len;
    ngx_http_tsface_header_end(h);

    h->value.data = ngx_pnalloc(r->pool, value->len + 1);
    if (h->value.data == NULL) {
        h->hash = 0;
        return NGX_ERROR;
    }

    (void) ngx_copy(h->value.data, value->data, value->len);

    /* or gzip would compress once more what is compressed */

    if (len == 16
        && ngx_strncasecmp(h->key.data, (u_char *) "content-encoding", 16)
           == 0)
    {
        r->headers_out.content_encoding = h;
    }

    return NGX_OK;
}
