
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_forward.h"
#include "ngx_http_tsface_module.h"


static ngx_int_t ngx_http_tsface_forward_request(
    ngx_http_tsface_attempt_t *attempt);
static ngx_int_t ngx_http_tsface_forward_ended(ngx_http_request_t *r,
    void *data, ngx_int_t rc);
static ngx_int_t ngx_http_tsface_forward_create(ngx_http_request_t *r);
static ngx_int_t ngx_http_tsface_forward_reinit(ngx_http_request_t *r);
static ngx_int_t ngx_http_tsface_forward_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_tsface_forward_save_headers(ngx_http_request_t *r,
    ngx_http_tsface_attempt_t *attempt);
static ngx_int_t ngx_http_tsface_forward_filter_init(void *data);
static ngx_int_t ngx_http_tsface_forward_filter(void *data, ssize_t bytes);
static ngx_int_t ngx_http_tsface_forward_append(
    ngx_http_tsface_attempt_t *attempt, const ngx_str_t *data);
static void ngx_http_tsface_forward_whole(ngx_http_upstream_t *u,
    ngx_http_tsface_attempt_t *attempt);
static void ngx_http_tsface_forward_abort(ngx_http_request_t *r);
static void ngx_http_tsface_forward_finalize(ngx_http_request_t *r,
    ngx_int_t rc);
static void ngx_http_tsface_forward_wipe(ngx_http_tsface_attempt_t *attempt);


ngx_int_t
ngx_http_tsface_forward_start(ngx_http_request_t *r,
    ngx_http_tsface_attempt_t *attempt)
{
    ngx_http_request_t          *sr;
    ngx_http_post_subrequest_t  *ps;

    attempt->main = r;
    attempt->last = &attempt->out;
    attempt->start = ngx_current_msec;
    attempt->gateway = NGX_HTTP_BAD_GATEWAY;

    if (ngx_array_init(&attempt->headers, r->pool, 8,
                       sizeof(ngx_http_tsface_response_header_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_tsface_forward_request(attempt) != NGX_OK) {
        return NGX_ERROR;
    }

    ps = ngx_palloc(r->pool, sizeof(ngx_http_post_subrequest_t));
    if (ps == NULL) {
        return NGX_ERROR;
    }

    ps->handler = ngx_http_tsface_forward_ended;
    ps->data = attempt;

    if (ngx_http_subrequest(r, &r->uri, &r->args, &sr, ps,
                            NGX_HTTP_SUBREQUEST_CLONE)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* it runs when the event loop comes to its posted requests */

    ngx_http_set_ctx(sr, attempt, ngx_http_tsface_module);

    /* "$upstream_status" is to show every attempt: "401 : 204" */

    sr->upstream_states = r->upstream_states;

    attempt->request = sr;

    return NGX_OK;
}


/* In one buffer, which is wiped when it was sent. */
static ngx_int_t
ngx_http_tsface_forward_request(ngx_http_tsface_attempt_t *attempt)
{
    size_t     len;
    u_char    *p;
    ngx_buf_t  *b;

    len = attempt->method.len + attempt->base.len + attempt->path.len
          + sizeof("  HTTP/1.1" CRLF
                   "Host: " CRLF
                   "Authorization: Bearer " CRLF
                   "Content-Type: application/json" CRLF
                   "Content-Length: " CRLF
                   "Accept: application/json" CRLF
                   "User-Agent: " NGX_HTTP_TSFACE_USER_AGENT CRLF
                   "X-Request-ID: " CRLF CRLF)
          + attempt->endpoint->url.authority.len
          + attempt->bearer.len
          + attempt->request_id.len
          + (attempt->trace->id.len ? NGX_HTTP_TSFACE_TRACE_MAX : 0)
          + NGX_SIZE_T_LEN
          + attempt->body.len;

    b = ngx_create_temp_buf(attempt->main->pool, len);
    if (b == NULL) {
        return NGX_ERROR;
    }

    p = b->last;

    p = ngx_copy(p, attempt->method.data, attempt->method.len);
    *p++ = ' ';
    p = ngx_copy(p, attempt->base.data, attempt->base.len);
    p = ngx_copy(p, attempt->path.data, attempt->path.len);
    p = ngx_copy(p, " HTTP/1.1" CRLF "Host: ",
                 sizeof(" HTTP/1.1" CRLF "Host: ") - 1);
    p = ngx_copy(p, attempt->endpoint->url.authority.data,
                 attempt->endpoint->url.authority.len);
    p = ngx_copy(p, CRLF "Authorization: Bearer ",
                 sizeof(CRLF "Authorization: Bearer ") - 1);
    p = ngx_copy(p, attempt->bearer.data, attempt->bearer.len);

    if (attempt->body.len) {
        p = ngx_copy(p, CRLF "Content-Type: application/json",
                     sizeof(CRLF "Content-Type: application/json") - 1);
    }

    p = ngx_copy(p, CRLF "Content-Length: ",
                 sizeof(CRLF "Content-Length: ") - 1);
    p = ngx_sprintf(p, "%uz", attempt->body.len);
    p = ngx_copy(p, CRLF "Accept: application/json" CRLF
                 "User-Agent: " NGX_HTTP_TSFACE_USER_AGENT CRLF
                 "X-Request-ID: ",
                 sizeof(CRLF "Accept: application/json" CRLF
                        "User-Agent: " NGX_HTTP_TSFACE_USER_AGENT CRLF
                        "X-Request-ID: ") - 1);
    p = ngx_copy(p, attempt->request_id.data, attempt->request_id.len);
    p = ngx_copy(p, CRLF, sizeof(CRLF) - 1);
    p = ngx_http_tsface_trace_write(p, attempt->trace);
    p = ngx_copy(p, CRLF, sizeof(CRLF) - 1);
    p = ngx_copy(p, attempt->body.data, attempt->body.len);

    b->last = p;
    b->flush = 1;

    attempt->buf = b;

    return NGX_OK;
}


/*
 * Core calls this once for each finalization of the clone, and again if we
 * let it make a special response of the result.
 */
static ngx_int_t
ngx_http_tsface_forward_ended(ngx_http_request_t *r, void *data, ngx_int_t rc)
{
    ngx_http_tsface_attempt_t *attempt = data;

    ngx_http_upstream_t        *u;
    ngx_http_upstream_state_t  *state;

    if (attempt->finished) {
        return NGX_OK;
    }

    attempt->finished = 1;
    attempt->took = ngx_current_msec - attempt->start;

    ngx_http_tsface_forward_wipe(attempt);

    u = r->upstream;

    if (u) {
        attempt->sent = u->request_sent;

        if (attempt->whole) {
            attempt->status = attempt->response.status;
        }

        attempt->main->upstream = u;
    }

    if (r->upstream_states && r->upstream_states->nelts) {
        attempt->main->upstream_states = r->upstream_states;

        state = r->upstream_states->elts;
        state += r->upstream_states->nelts - 1;

        if (state->peer) {
            attempt->addr = *state->peer;
        }
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "tsface attempt ended: %i, status %ui, sent %d",
                   rc, attempt->status, attempt->sent);

    attempt->handler(attempt->main, attempt);

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_forward_handler(ngx_http_request_t *r)
{
    ngx_http_upstream_t        *u;
    ngx_http_tsface_attempt_t  *attempt;

    attempt = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    if (attempt == NULL || ngx_http_upstream_create(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    u = r->upstream;

    if (attempt->endpoint->url.tls) {
        u->ssl = 1;
        ngx_str_set(&u->schema, "https://");

    } else {
        ngx_str_set(&u->schema, "http://");
    }

    u->output.tag = (ngx_buf_tag_t) &ngx_http_tsface_module;

    u->conf = &attempt->endpoint->upstream_conf;

    u->create_request = ngx_http_tsface_forward_create;
    u->reinit_request = ngx_http_tsface_forward_reinit;
    u->process_header = ngx_http_tsface_forward_header;
    u->abort_request = ngx_http_tsface_forward_abort;
    u->finalize_request = ngx_http_tsface_forward_finalize;

    u->input_filter_init = ngx_http_tsface_forward_filter_init;
    u->input_filter = ngx_http_tsface_forward_filter;
    u->input_filter_ctx = r;

    u->buffering = 0;

    /*
     * The client's events come to the clone meanwhile: with "poll" its next
     * request, or its end, would come again and again.
     */

    r->read_event_handler = ngx_http_block_reading;

    /* what ngx_http_read_client_request_body() would have done */

    r->main->count++;

    ngx_http_upstream_init(r);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_tsface_forward_create(ngx_http_request_t *r)
{
    ngx_chain_t                *cl;
    ngx_http_tsface_attempt_t  *attempt;

    attempt = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    cl = ngx_alloc_chain_link(r->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    cl->buf = attempt->buf;
    cl->next = NULL;

    r->upstream->request_bufs = cl;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_forward_reinit(ngx_http_request_t *r)
{
    ngx_http_tsface_attempt_t  *attempt;

    attempt = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    attempt->header_done = 0;
    ngx_memzero(&attempt->response,
                offsetof(ngx_http_tsface_response_t, headers));

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_forward_header(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_http_upstream_t        *u;
    ngx_http_tsface_attempt_t  *attempt;

    u = r->upstream;
    attempt = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    rc = ngx_http_tsface_response_read_header(&attempt->response,
                                              &u->buffer.pos, u->buffer.last);
    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "tsface upstream sent an invalid response: %s",
                      attempt->response.error);
        attempt->invalid = 1;
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    u->headers_in.status_n = attempt->response.status;
    u->headers_in.content_length_n = -1;

    if (u->state) {
        u->state->status = attempt->response.status;
    }

    attempt->header_done = 1;

    return ngx_http_tsface_forward_save_headers(r, attempt);
}


/*
 * The buffer is used again for the body, so the fields are copied: for the
 * answer, and for "$upstream_http_*".
 */
static ngx_int_t
ngx_http_tsface_forward_save_headers(ngx_http_request_t *r,
    ngx_http_tsface_attempt_t *attempt)
{
    size_t                              len;
    u_char                             *p;
    ngx_uint_t                          i;
    ngx_table_elt_t                    *h;
    ngx_http_tsface_response_header_t  *from, *to;

    /* all of them in one piece, each string with its NUL */

    len = 0;

    for (i = 0; i < attempt->response.nheaders; i++) {
        from = &attempt->response.headers[i];
        len += 2 * from->name.len + from->value.len + 3;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < attempt->response.nheaders; i++) {

        from = &attempt->response.headers[i];
        len = from->name.len;

        to = ngx_array_push(&attempt->headers);
        h = ngx_list_push(&r->upstream->headers_in.headers);

        if (to == NULL || h == NULL) {
            return NGX_ERROR;
        }

        to->name.len = len;
        to->name.data = p;
        p = ngx_copy(p, from->name.data, len);
        *p++ = '\0';

        to->value.len = from->value.len;
        to->value.data = p;
        p = ngx_copy(p, from->value.data, from->value.len);
        *p++ = '\0';

        h->key = to->name;
        h->value = to->value;
        h->lowcase_key = p;
        h->hash = ngx_hash_strlow(p, from->name.data, len);
        ngx_http_tsface_header_end(h);
        p += len;
        *p++ = '\0';
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_forward_filter_init(void *data)
{
    ngx_http_request_t *r = data;

    ngx_http_upstream_t        *u;
    ngx_http_tsface_attempt_t  *attempt;

    u = r->upstream;
    attempt = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    ngx_http_tsface_body_init(&attempt->framing, &attempt->response);

    /*
     * For core, length is a flag: 0 when the body is whole, -1 when the end
     * of the connection is its end, anything else while more has to come.
     */

    if (attempt->framing.done) {
        ngx_http_tsface_forward_whole(u, attempt);

    } else if (attempt->framing.framing == NGX_HTTP_TSFACE_FRAMING_CLOSE) {
        u->length = -1;

    } else {
        u->length = 1;
    }

    return NGX_OK;
}


/*
 * Takes what was read, u->buffer.last .. + bytes.  out_bufs stays empty, so
 * that core sends nothing and uses the buffer again.
 */
static ngx_int_t
ngx_http_tsface_forward_filter(void *data, ssize_t bytes)
{
    ngx_http_request_t *r = data;

    u_char                     *pos, *last;
    ngx_int_t                   rc;
    ngx_str_t                   piece;
    ngx_http_upstream_t        *u;
    ngx_http_tsface_attempt_t  *attempt;

    u = r->upstream;
    attempt = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    pos = u->buffer.last;
    last = pos + bytes;

    while (pos < last) {

        if (attempt->framing.done) {
            ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                          "tsface upstream sent more than its response");
            u->keepalive = 0;
            break;
        }

        rc = ngx_http_tsface_body_next(&attempt->framing, &pos, last, &piece);

        if (rc == NGX_ERROR) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "tsface upstream sent an invalid body: %s",
                          attempt->framing.error);
            attempt->invalid = 1;
            return NGX_ERROR;
        }

        if (piece.len
            && ngx_http_tsface_forward_append(attempt, &piece) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (rc == NGX_OK) {
            ngx_http_tsface_forward_whole(u, attempt);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_forward_append(ngx_http_tsface_attempt_t *attempt,
    const ngx_str_t *data)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (attempt->size + (off_t) data->len > NGX_HTTP_TSFACE_MAX_RESPONSE) {
        ngx_log_error(NGX_LOG_ERR, attempt->main->connection->log, 0,
                      "tsface upstream sent a body of more than %d bytes",
                      NGX_HTTP_TSFACE_MAX_RESPONSE);
        attempt->invalid = 1;
        return NGX_ERROR;
    }

    b = ngx_create_temp_buf(attempt->main->pool, data->len);
    cl = ngx_alloc_chain_link(attempt->main->pool);

    if (b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_copy(b->last, data->data, data->len);

    cl->buf = b;
    cl->next = NULL;

    *attempt->last = cl;
    attempt->last = &cl->next;

    attempt->size += data->len;

    return NGX_OK;
}


static void
ngx_http_tsface_forward_whole(ngx_http_upstream_t *u,
    ngx_http_tsface_attempt_t *attempt)
{
    attempt->whole = 1;

    u->length = 0;
    u->keepalive = attempt->response.keepalive;
}


static void
ngx_http_tsface_forward_abort(ngx_http_request_t *r)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "tsface abort request");
}


/* rc is what core knows of the end; post_subrequest sees less of it. */
static void
ngx_http_tsface_forward_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_tsface_attempt_t  *attempt;

    attempt = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    if (rc == NGX_HTTP_GATEWAY_TIME_OUT) {
        attempt->gateway = NGX_HTTP_GATEWAY_TIME_OUT;
    }

    if (rc == 0
        && attempt->header_done
        && attempt->framing.framing == NGX_HTTP_TSFACE_FRAMING_CLOSE)
    {
        /* the connection has ended without an error, and so has the body */
        attempt->whole = 1;
    }

    ngx_http_tsface_forward_wipe(attempt);
}


static void
ngx_http_tsface_forward_wipe(ngx_http_tsface_attempt_t *attempt)
{
    ngx_buf_t  *b;

    b = attempt->buf;

    if (b) {
        ngx_explicit_memzero(b->start, b->end - b->start);
        attempt->buf = NULL;
    }
}
