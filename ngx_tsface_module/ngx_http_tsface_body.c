
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_body.h"


static void ngx_http_tsface_body_read(ngx_http_request_t *r);
static void ngx_http_tsface_body_append(ngx_http_tsface_ctx_t *ctx,
    ngx_buf_t *b);
static ngx_int_t ngx_http_tsface_body_kept(ngx_http_tsface_ctx_t *ctx,
    const ngx_http_tsface_json_t *json);


ngx_int_t
ngx_http_tsface_body_step(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    off_t         length;
    ngx_buf_t     b;
    ngx_int_t     rc;
    ngx_str_t     none;
    ngx_uint_t    open;
    ngx_chain_t  *cl;

    if (resumed != NGX_AGAIN) {
        goto read;
    }

    ngx_str_null(&none);

    length = r->headers_in.content_length_n;
    open = r->headers_in.chunked;

    if (ctx->operation->body) {

        if (length == -1 && !open && r->http_version < NGX_HTTP_VERSION_20) {
            ctx->problem = NGX_HTTP_TSFACE_PROBLEM_LENGTH_REQUIRED;
            return NGX_DECLINED;
        }

        if (length > NGX_HTTP_TSFACE_MAX_BODY) {
            ctx->problem = NGX_HTTP_TSFACE_PROBLEM_BODY_TOO_LARGE;
            return NGX_DECLINED;
        }

        if (!ngx_http_tsface_operation_is_json(r->headers_in.content_type
                                         ? &r->headers_in.content_type->value
                                         : &none))
        {
            ctx->problem = NGX_HTTP_TSFACE_PROBLEM_NOT_JSON;
            return NGX_DECLINED;
        }

    } else if (length > 0) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_BODY_NOT_ALLOWED;
        return NGX_DECLINED;
    }

    /* our own filter keeps the body: see ngx_http_tsface_body_filter() */

    ctx->body_max = (length > 0) ? (size_t) length
                                 : open ? NGX_HTTP_TSFACE_MAX_BODY : 0;

    ctx->body.data = ngx_pnalloc(r->pool, ctx->body_max + 1);
    if (ctx->body.data == NULL) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_INTERNAL;
        return NGX_DECLINED;
    }

    ctx->body_reading = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_tsface_body_read);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        /* the reference that core took for the body is gone already */

        ctx->body_reading = 0;
        r->keepalive = 0;

        if (rc == NGX_HTTP_INTERNAL_SERVER_ERROR) {
            ctx->problem = NGX_HTTP_TSFACE_PROBLEM_INTERNAL;

        } else if (ctx->problem == NGX_HTTP_TSFACE_PROBLEM_NONE) {
            ctx->problem = NGX_HTTP_TSFACE_PROBLEM_BAD_REQUEST;
        }

        return NGX_DECLINED;
    }

    /* one reference serves the whole transaction, body included */

    r->main->count--;

    if (ctx->body_reading) {
        ctx->wait = NGX_HTTP_TSFACE_WAIT_BODY;
        return NGX_AGAIN;
    }

read:

    /*
     * From here on a client that hangs up stops nothing: what it asked for is
     * done and recorded.
     */

    r->read_event_handler = ngx_http_block_reading;

    /* another module may have read the body before us: "mirror" does */

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        if (ngx_buf_in_memory(cl->buf)) {
            b = *cl->buf;    /* which others are to read too */
            ngx_http_tsface_body_append(ctx, &b);

        } else if (cl->buf->in_file) {
            ctx->body_size = NGX_HTTP_TSFACE_MAX_BODY + 1;
        }
    }

    if (ctx->body_size > NGX_HTTP_TSFACE_MAX_BODY) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_BODY_TOO_LARGE;
        return NGX_DECLINED;
    }

    if (!ctx->operation->body && ctx->body.len) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_BODY_NOT_ALLOWED;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * The post handler of the body: called within the call that began to read, or
 * later from the event loop, which then runs the posted requests itself.
 */
static void
ngx_http_tsface_body_read(ngx_http_request_t *r)
{
    ngx_http_tsface_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    ctx->body_reading = 0;

    if (ctx->wait != NGX_HTTP_TSFACE_WAIT_BODY) {
        return;
    }

    ctx->wait = NGX_HTTP_TSFACE_WAIT_NONE;
    ctx->resumed = NGX_OK;

    r->write_event_handler = ngx_http_tsface_transaction_run;

    ngx_http_tsface_transaction_run(r);
}


/*
 * Request body filter.  Takes the content out of every buffer, so that core
 * never has anything to put into a temporary file, and what is beyond the
 * limit is read, counted and forgotten: the refusal is ours to make.
 */
ngx_int_t
ngx_http_tsface_body_filter(ngx_http_request_t *r, ngx_chain_t **in)
{
    ngx_chain_t            *cl, *ln, **last;
    ngx_http_tsface_ctx_t  *ctx;

    ctx = ngx_http_tsface_transaction(r);

    if (ctx == NULL || !ctx->body_reading) {
        return NGX_OK;
    }

    cl = *in;
    *in = NULL;
    last = in;

    for ( /* void */ ; cl; cl = cl->next) {

        if (!ngx_buf_special(cl->buf)) {
            ngx_http_tsface_body_append(ctx, cl->buf);
        }

        if (ctx->body_size > NGX_HTTP_TSFACE_MAX_DISCARD) {
            ctx->problem = NGX_HTTP_TSFACE_PROBLEM_BODY_TOO_LARGE;
            return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
        }

        if (!cl->buf->last_buf) {
            continue;
        }

        ln = ngx_alloc_chain_link(r->pool);
        if (ln == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ln->buf = cl->buf;
        ln->next = NULL;

        *last = ln;
        last = &ln->next;
    }

    return NGX_OK;
}


static void
ngx_http_tsface_body_append(ngx_http_tsface_ctx_t *ctx, ngx_buf_t *b)
{
    size_t  len;

    len = b->last - b->pos;

    ctx->body_size += len;

    len = ngx_min(len, ctx->body_max - ctx->body.len);

    ngx_memcpy(ctx->body.data + ctx->body.len, b->pos, len);
    ctx->body.len += len;

    b->pos = b->last;
}


ngx_int_t
ngx_http_tsface_body_check(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    size_t                   size;
    ngx_str_t                user_id;
    ngx_http_tsface_json_t   json;

    /* as large as the largest body needs; only what is used is touched */
    static u_char           *arena;

    if (!ctx->operation->body) {
        return NGX_OK;
    }

    size = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(NGX_HTTP_TSFACE_MAX_BODY);

    if (arena == NULL) {
        arena = ngx_alloc(size, r->connection->log);
    }

    if (arena == NULL) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_INTERNAL;
        return NGX_DECLINED;
    }

    ctx->problem = ngx_http_tsface_operation_check_body(&ctx->body, &json,
                                                        &user_id, arena, size);

    if (ctx->problem != NGX_HTTP_TSFACE_PROBLEM_NONE) {
        return NGX_DECLINED;
    }

    ctx->user_id.len = user_id.len;
    ctx->user_id.data = ngx_pstrdup(r->pool, &user_id);

    if (ctx->user_id.data == NULL
        || ngx_http_tsface_body_kept(ctx, &json) != NGX_OK)
    {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_INTERNAL;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* The names of what passes through beside user_id, for the record. */
static ngx_int_t
ngx_http_tsface_body_kept(ngx_http_tsface_ctx_t *ctx,
    const ngx_http_tsface_json_t *json)
{
    ngx_str_t        *name;
    ngx_uint_t        i;
    const ngx_str_t  *member;

    if (json->nmembers < 2 || ctx->conf->trail == NULL) {
        return NGX_OK;
    }

    name = ngx_palloc(ctx->request->pool, json->nmembers * sizeof(ngx_str_t));
    if (name == NULL) {
        return NGX_ERROR;
    }

    ctx->members = name;

    for (i = 0; i < json->nmembers; i++) {
        member = &json->members[i].name;

        if (member->len == 7
            && ngx_strncmp(member->data, "user_id", 7) == 0)
        {
            continue;
        }

        name->len = member->len;
        name->data = ngx_pnalloc(ctx->request->pool, member->len + 1);
        if (name->data == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_copy(name->data, member->data, member->len);

        name++;
        ctx->nmembers++;
    }

    return NGX_OK;
}
