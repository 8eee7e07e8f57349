
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_journal.h"
#include "ngx_http_tsface_transaction.h"
#include "ngx_http_tsface_zone.h"


/*
 * A step returns NGX_OK (go on with the next), NGX_AGAIN (it waits, and is
 * called again when the wait is over), NGX_DECLINED (ctx->problem says why
 * the request is refused), NGX_BUSY (ctx->step was set: go on there) or
 * NGX_DONE (the request is finalized; it may be gone).
 *
 * resumed is NGX_AGAIN on the first call, then the result of the wait.
 */
typedef ngx_int_t (*ngx_http_tsface_step_pt)(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);


static void ngx_http_tsface_run(ngx_http_request_t *r);
static void ngx_http_tsface_resume(ngx_http_tsface_ctx_t *ctx, ngx_int_t rc);
static void ngx_http_tsface_wait(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_wait_e wait, ngx_msec_t timeout);
static void ngx_http_tsface_wait_end(ngx_http_tsface_ctx_t *ctx);
static void ngx_http_tsface_timer(ngx_event_t *ev);
static void ngx_http_tsface_cleanup(void *data);

static ngx_int_t ngx_http_tsface_step_caller(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_operation(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_credentials(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_body(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_check(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_limit(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_intent(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_token(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_forward(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_outcome(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_answer(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_refusal(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_problem(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);

static ngx_int_t ngx_http_tsface_request_id(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx);
static u_char *ngx_http_tsface_log_error(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);
static void ngx_http_tsface_body_read(ngx_http_request_t *r);
static void ngx_http_tsface_body_append(ngx_http_tsface_ctx_t *ctx,
    ngx_buf_t *b);
static ngx_int_t ngx_http_tsface_body_kept(ngx_http_tsface_ctx_t *ctx,
    const ngx_http_tsface_json_t *json);
static void ngx_http_tsface_durable(void *data, ngx_int_t rc);
static ngx_int_t ngx_http_tsface_wait_durable(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_entry_t *entry);
static void ngx_http_tsface_token_waited(void *data);
static void ngx_http_tsface_address_waited(void *data);
static void ngx_http_tsface_attempt_ended(ngx_http_request_t *r,
    ngx_http_tsface_attempt_t *attempt);
static void ngx_http_tsface_classify(ngx_http_tsface_ctx_t *ctx);
static ngx_uint_t ngx_http_tsface_rejected(ngx_http_tsface_ctx_t *ctx);


enum {
    NGX_HTTP_TSFACE_STEP_INTENT = 6,
    NGX_HTTP_TSFACE_STEP_TOKEN,
    NGX_HTTP_TSFACE_STEP_FORWARD,
    NGX_HTTP_TSFACE_STEP_OUTCOME,
    NGX_HTTP_TSFACE_STEP_ANSWER,
    NGX_HTTP_TSFACE_STEP_REFUSAL,
    NGX_HTTP_TSFACE_STEP_PROBLEM
};


/*
 * The transaction.  What must never be reordered: nothing is forwarded before
 * the caller is known, the body is read as what it is, the limits agree and
 * the intent is on disk; nothing is answered before the outcome is.
 */
static ngx_http_tsface_step_pt  ngx_http_tsface_steps[] = {
    ngx_http_tsface_step_caller,          /* who asks */
    ngx_http_tsface_step_operation,       /* for what */
    ngx_http_tsface_step_credentials,     /* with which credentials */
    ngx_http_tsface_step_body,            /* reads the body */
    ngx_http_tsface_step_check,           /* and understands it */
    ngx_http_tsface_step_limit,           /* how often */
    ngx_http_tsface_step_intent,          /* written ahead  <----------+ */
    ngx_http_tsface_step_token,           /* ours, or the caller's own | */
    ngx_http_tsface_step_forward,         /* one attempt               | */
    ngx_http_tsface_step_outcome,         /* 401 on our token: once ---+ */
    ngx_http_tsface_step_answer,          /* the endpoint's answer */

    /* a refusal at any of them comes here instead */

    ngx_http_tsface_step_refusal,         /* written down */
    ngx_http_tsface_step_problem          /* and told */
};


/* Of $request_id; the same in every cycle's request. */
static ngx_int_t  ngx_http_tsface_request_id_index;

static ngx_http_log_handler_pt  ngx_http_tsface_core_log_error;


ngx_int_t
ngx_http_tsface_handler(ngx_http_request_t *r)
{
    ngx_http_cleanup_t           *cln;
    ngx_http_tsface_ctx_t        *ctx;
    ngx_http_tsface_main_conf_t  *tmcf;

    if (r != r->main) {
        return ngx_http_tsface_forward_handler(r);
    }

    if (r->log_handler == ngx_http_tsface_log_error) {

        /*
         * An error page or post_action that leads here again: one request is
         * one transaction, or it might be forwarded twice.
         */

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "tsface_pass was redirected to itself");

        return r->err_status ? (ngx_int_t) r->err_status
                             : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_tsface_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    tmcf = ngx_http_get_module_main_conf(r, ngx_http_tsface_module);

    ctx->request = r;
    ctx->conf = ngx_http_get_module_loc_conf(r, ngx_http_tsface_module);
    ctx->zone = tmcf->zone;
    ctx->resumed = NGX_AGAIN;

    ctx->timer.handler = ngx_http_tsface_timer;
    ctx->timer.data = ctx;
    ctx->timer.log = r->connection->log;

    if (ngx_http_tsface_request_id(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_tsface_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_tsface_module);

    ngx_http_tsface_core_log_error = r->log_handler;
    r->log_handler = ngx_http_tsface_log_error;

    ngx_http_tsface_zone_count(ctx->zone, NGX_HTTP_TSFACE_COUNT_REQUESTS);

    /* the transaction's own reference, until it finalizes the request */

    r->main->count++;

    r->write_event_handler = ngx_http_tsface_run;

    ngx_http_tsface_run(r);

    return NGX_DONE;
}


/*
 * Runs steps until one waits or the request is finalized.  Also called by
 * core when the client's socket becomes writable: that is no result of a
 * wait, and nothing happens then.
 */
static void
ngx_http_tsface_run(ngx_http_request_t *r)
{
    ngx_int_t               rc, resumed;
    ngx_http_tsface_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    while (ctx->wait == NGX_HTTP_TSFACE_WAIT_NONE && !ctx->answered) {

        resumed = ctx->resumed;
        ctx->resumed = NGX_AGAIN;

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "tsface step %ui, resumed %i", ctx->step, resumed);

        rc = ngx_http_tsface_steps[ctx->step](r, ctx, resumed);

        switch (rc) {

        case NGX_OK:
            ctx->step++;
            break;

        case NGX_BUSY:
            break;

        case NGX_DECLINED:
            ctx->step = NGX_HTTP_TSFACE_STEP_REFUSAL;
            break;

        case NGX_AGAIN:
            break;

        default: /* NGX_DONE */
            return;
        }
    }
}


/* What an event that ends a wait calls: the request may be gone after it. */
static void
ngx_http_tsface_resume(ngx_http_tsface_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_tsface_wait_end(ctx);

    ctx->resumed = rc;

    ngx_http_tsface_run(r);

    ngx_http_run_posted_requests(c);
}


/* Not cancelable: a worker that exits sees its requests through. */
static void
ngx_http_tsface_wait(ngx_http_tsface_ctx_t *ctx, ngx_http_tsface_wait_e wait,
    ngx_msec_t timeout)
{
    ctx->wait = wait;

    if (timeout) {
        ngx_add_timer(&ctx->timer, timeout);
    }
}


/* Whatever the transaction waits for may no longer call it. */
static void
ngx_http_tsface_wait_end(ngx_http_tsface_ctx_t *ctx)
{
    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    switch (ctx->wait) {

    case NGX_HTTP_TSFACE_WAIT_AUDIT:
        if (ctx->entry) {
            ngx_http_tsface_trail_detach(ctx->entry);
            ctx->entry = NULL;
        }
        break;

    case NGX_HTTP_TSFACE_WAIT_TOKEN:
        if (ctx->token_waiter.data) {
            ngx_queue_remove(&ctx->token_waiter.queue);
            ctx->token_waiter.data = NULL;
        }
        break;

    case NGX_HTTP_TSFACE_WAIT_ADDRESS:
        if (ctx->address_waiter.data) {
            ngx_queue_remove(&ctx->address_waiter.queue);
            ctx->address_waiter.data = NULL;
        }
        break;

    default:
        break;
    }

    ctx->wait = NGX_HTTP_TSFACE_WAIT_NONE;
}


static void
ngx_http_tsface_timer(ngx_event_t *ev)
{
    ngx_http_tsface_resume(ev->data, NGX_ERROR);
}


/*
 * The request goes, answered or not: the client left while its body was read,
 * or the worker's shutdown timeout has come.  The trail gets a last word, for
 * which nobody can wait any more.
 */
static void
ngx_http_tsface_cleanup(void *data)
{
    ngx_http_tsface_ctx_t *ctx = data;

    ngx_http_tsface_wait_end(ctx);

    if (ctx->recorded) {
        return;
    }

    ctx->recorded = 1;

    if (ctx->problem == NGX_HTTP_TSFACE_PROBLEM_NONE) {
        ctx->problem = (ngx_exiting || ngx_terminate)
                       ? NGX_HTTP_TSFACE_PROBLEM_SHUTTING_DOWN
                       : NGX_HTTP_TSFACE_PROBLEM_CLIENT_CLOSED;
    }

    if (ctx->attempt && ctx->intent) {
        ctx->result = "unknown";
        ctx->attempt->took = ngx_current_msec - ctx->attempt->start;
        ctx->attempt->gateway = ngx_http_tsface_problems[ctx->problem].status;
        ctx->attempt->sent = (ctx->attempt->request
                              && ctx->attempt->request->upstream
                              && ctx->attempt->request->upstream->request_sent);

        ngx_http_tsface_zone_count(ctx->zone, NGX_HTTP_TSFACE_COUNT_UNKNOWN);

        if (ctx->conf->trail) {
            (void) ngx_http_tsface_journal_outcome(ctx, NULL);
        }

        return;
    }

    ctx->result = "refused";

    ngx_http_tsface_zone_count(ctx->zone, NGX_HTTP_TSFACE_COUNT_REFUSED);

    if (ctx->conf->trail) {
        (void) ngx_http_tsface_journal_refusal(ctx, NULL);
    }
}


static ngx_int_t
ngx_http_tsface_step_caller(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    if (ctx->conf->anonymous) {
        ngx_str_set(&ctx->caller, "anonymous");
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, ctx->conf->caller, &ctx->caller) != NGX_OK) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_INTERNAL;
        return NGX_DECLINED;
    }

    if (ctx->caller.len == 0) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_NO_CALLER;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_step_operation(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed)
{
    ngx_table_elt_t  *authorization;

    /* as it arrived, not as nginx has normalized it */

    ctx->problem = ngx_http_tsface_operation_match(&r->unparsed_uri,
                                                   &r->method_name,
                                                   &ctx->operation);

    if (ctx->problem == NGX_HTTP_TSFACE_PROBLEM_METHOD) {
        ctx->extra.allow = ctx->operation->method;
    }

    if (ctx->problem != NGX_HTTP_TSFACE_PROBLEM_NONE) {
        return NGX_DECLINED;
    }

    if (ctx->operation->token == NGX_HTTP_TSFACE_TOKEN_CREDENTIALS) {
        return NGX_OK;
    }

    authorization = r->headers_in.authorization;

    if (authorization == NULL
        || ngx_http_tsface_operation_bearer(&authorization->value,
                                            &ctx->bearer)
           != NGX_OK)
    {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_NO_BEARER;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_step_credentials(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed)
{
    ngx_str_t                     name;
    ngx_http_tsface_main_conf_t  *tmcf;

    ctx->credentials = ctx->conf->credentials;

    if (ctx->credentials) {
        return NGX_OK;
    }

    tmcf = ngx_http_get_module_main_conf(r, ngx_http_tsface_module);

    ngx_str_null(&name);

    if (ngx_http_complex_value(r, ctx->conf->pass, &name) == NGX_OK) {
        ctx->credentials = ngx_http_tsface_credentials_find(&tmcf->credentials,
                                                            &name);
    }

    if (ctx->credentials == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "tsface_pass names unknown credentials \"%V\"", &name);
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_UNKNOWN_CREDENTIALS;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_step_body(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
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

    /* our own filter keeps the body: see ngx_http_tsface_transaction_body() */

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

    r->write_event_handler = ngx_http_tsface_run;

    ngx_http_tsface_run(r);
}


/*
 * Request body filter.  Takes the content out of every buffer, so that core
 * never has anything to put into a temporary file, and what is beyond the
 * limit is read, counted and forgotten: the refusal is ours to make.
 */
ngx_int_t
ngx_http_tsface_transaction_body(ngx_http_request_t *r, ngx_chain_t **in)
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


static ngx_int_t
ngx_http_tsface_step_check(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
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


static ngx_int_t
ngx_http_tsface_step_limit(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    ngx_int_t  rc;

    if (ctx->conf->limits == NULL) {
        return NGX_OK;
    }

    rc = ngx_http_tsface_limit_apply(r, ctx->conf->limits, &ctx->limit);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    ctx->problem = NGX_HTTP_TSFACE_PROBLEM_LIMITED;
    ctx->extra.retry_after = (ctx->limit.gcra.retry + 999) / 1000;

    if (ctx->limit.zone) {
        ctx->extra.limit = &ctx->limit;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_tsface_step_intent(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    ngx_int_t  rc;

    if (resumed == NGX_AGAIN) {
        ctx->attempts++;
        ctx->attempt = NULL;
        ctx->has_fingerprint = 0;
        ctx->token_deadline = 0;

        /* from here on it may be on disk, whatever we hear of it */

        ctx->intent = 1;

        if (ctx->conf->trail == NULL) {
            return NGX_OK;
        }

        rc = ngx_http_tsface_wait_durable(ctx,
                             ngx_http_tsface_journal_intent(ctx,
                                                     ngx_http_tsface_durable));
        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        resumed = rc;
    }

    if (resumed == NGX_OK) {
        return NGX_OK;
    }

    if (ctx->conf->trail->on_failure == NGX_HTTP_TSFACE_ON_FAILURE_FORWARD) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                      "tsface forwards without an intent record, "
                      "as on_failure of trail \"%V\" says",
                      &ctx->conf->trail->name);
        return NGX_OK;
    }

    ctx->problem = NGX_HTTP_TSFACE_PROBLEM_AUDIT_FAILED;
    ctx->extra.retry_after = NGX_HTTP_TSFACE_AUDIT_RETRY;

    return NGX_DECLINED;
}


/* NGX_AGAIN: waits for the entry; NGX_ERROR: the trail has not taken it. */
static ngx_int_t
ngx_http_tsface_wait_durable(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_entry_t *entry)
{
    if (entry == NULL) {
        return NGX_ERROR;
    }

    ctx->entry = entry;

    ngx_http_tsface_wait(ctx, NGX_HTTP_TSFACE_WAIT_AUDIT,
                         ctx->conf->trail->timeout);

    return NGX_AGAIN;
}


static void
ngx_http_tsface_durable(void *data, ngx_int_t rc)
{
    ngx_http_tsface_ctx_t *ctx = data;

    /* the entry is gone */

    ctx->entry = NULL;

    ngx_http_tsface_resume(ctx, rc);
}


static ngx_int_t
ngx_http_tsface_step_token(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    ngx_int_t                       rc;
    ngx_msec_t                      retry;
    ngx_msec_int_t                  left;
    ngx_http_tsface_token_value_t   value;

    if (ctx->operation->token == NGX_HTTP_TSFACE_TOKEN_CALLER) {
        return NGX_OK;
    }

    retry = NGX_HTTP_TSFACE_TOKEN_RETRY;

    if (ctx->token_deadline == 0) {
        ctx->token_deadline = ngx_current_msec + ctx->credentials->token_wait;
    }

    left = (ngx_msec_int_t) (ctx->token_deadline - ngx_current_msec);

    if (resumed != NGX_ERROR) {

        rc = ngx_http_tsface_token_get(ctx->credentials->token, &value,
                                       &retry);
        if (rc == NGX_OK) {
            return NGX_OK;
        }

        if (rc == NGX_AGAIN && left > 0) {
            ctx->token_waiter.handler = ngx_http_tsface_token_waited;
            ctx->token_waiter.data = ctx;

            ngx_http_tsface_wait(ctx, NGX_HTTP_TSFACE_WAIT_TOKEN,
                                 (ngx_msec_t) left);

            ngx_http_tsface_token_wait(ctx->credentials->token,
                                       &ctx->token_waiter);
            return NGX_AGAIN;
        }
    }

    ctx->problem = NGX_HTTP_TSFACE_PROBLEM_NO_TOKEN;
    ctx->extra.retry_after = retry;

    return NGX_DECLINED;
}


static void
ngx_http_tsface_token_waited(void *data)
{
    ngx_http_tsface_ctx_t *ctx = data;

    /* out of the queue already */

    ctx->token_waiter.data = NULL;

    ngx_http_tsface_resume(ctx, NGX_OK);
}


static ngx_int_t
ngx_http_tsface_step_forward(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    ngx_msec_t                      retry;
    ngx_http_tsface_addrs_t        *addrs;
    ngx_http_tsface_attempt_t      *attempt;
    ngx_http_tsface_token_value_t   token;

    if (ctx->attempt) {
        /* it has ended, and the outcome knows how */
        return NGX_OK;
    }

    addrs = ngx_http_tsface_resolve_get(ctx->credentials->endpoint->resolve);

    if (addrs == NULL && resumed == NGX_AGAIN) {
        ctx->address_waiter.handler = ngx_http_tsface_address_waited;
        ctx->address_waiter.data = ctx;

        ngx_http_tsface_wait(ctx, NGX_HTTP_TSFACE_WAIT_ADDRESS,
                          ctx->credentials->endpoint->conf.connect_timeout);

        ngx_http_tsface_resolve_wait(ctx->credentials->endpoint->resolve,
                                     &ctx->address_waiter);
        return NGX_AGAIN;
    }

    if (addrs == NULL) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_UPSTREAM_UNREACHABLE;
        return NGX_DECLINED;
    }

    ngx_http_tsface_resolve_release(addrs);

    attempt = ngx_pcalloc(r->pool, sizeof(ngx_http_tsface_attempt_t));
    if (attempt == NULL) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_INTERNAL;
        return NGX_DECLINED;
    }

    attempt->endpoint = ctx->credentials->endpoint;
    attempt->method = ctx->operation->method;
    attempt->base = ctx->credentials->base;
    attempt->path = ctx->operation->path;
    attempt->body = ctx->body;
    attempt->request_id = ctx->request_id;
    attempt->handler = ngx_http_tsface_attempt_ended;

    if (ctx->operation->token == NGX_HTTP_TSFACE_TOKEN_CALLER) {
        attempt->bearer = ctx->bearer;

    } else {
        if (ngx_http_tsface_token_get(ctx->credentials->token, &token, &retry)
            != NGX_OK)
        {
            /* it has expired while the address was looked up */
            ctx->step = NGX_HTTP_TSFACE_STEP_TOKEN;
            return NGX_BUSY;
        }

        attempt->bearer = token.value;
        ctx->generation = token.generation;
        ctx->token_age = token.age;
    }

    ngx_http_tsface_journal_token(ctx, &attempt->bearer);

    if (ngx_http_tsface_forward_start(r, attempt) != NGX_OK) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_INTERNAL;
        return NGX_DECLINED;
    }

    ctx->attempt = attempt;
    ctx->wait = NGX_HTTP_TSFACE_WAIT_ATTEMPT;

    return NGX_AGAIN;
}


static void
ngx_http_tsface_address_waited(void *data)
{
    ngx_http_tsface_ctx_t *ctx = data;

    ctx->address_waiter.data = NULL;

    ngx_http_tsface_resume(ctx, NGX_OK);
}


/*
 * Called as the clone is finalized.  The outcome is handed to the trail here,
 * not by the step: if an HTTP/2 client has reset its stream, core terminates
 * the request right after this call, and no step is run any more.
 */
static void
ngx_http_tsface_attempt_ended(ngx_http_request_t *r,
    ngx_http_tsface_attempt_t *attempt)
{
    ngx_uint_t              replay;
    ngx_http_tsface_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    /* core's variables of the main request show this attempt */

    ctx->wait = NGX_HTTP_TSFACE_WAIT_NONE;

    ngx_http_tsface_classify(ctx);

    if (ngx_http_tsface_rejected(ctx)) {

        ngx_http_tsface_token_reject(ctx->credentials->token,
                                     ctx->generation);

        replay = (ctx->attempts == 1 && !r->connection->error);

    } else {
        replay = 0;
    }

    if (replay) {
        ngx_http_tsface_zone_count(ctx->zone, NGX_HTTP_TSFACE_COUNT_REPLAYS);

        /* written with the intent of the second attempt, which waits */

        if (ctx->conf->trail) {
            (void) ngx_http_tsface_journal_outcome(ctx, NULL);
        }

        ctx->intent = 0;
        ctx->attempt = NULL;
        ctx->step = NGX_HTTP_TSFACE_STEP_INTENT;
        ctx->resumed = NGX_AGAIN;
        return;
    }

    ctx->step = NGX_HTTP_TSFACE_STEP_OUTCOME;
    ctx->resumed = NGX_OK;
    ctx->recorded = 1;

    if (ctx->conf->trail == NULL) {
        return;
    }

    if (ngx_http_tsface_wait_durable(ctx,
                            ngx_http_tsface_journal_outcome(ctx,
                                                     ngx_http_tsface_durable))
        != NGX_AGAIN)
    {
        ctx->resumed = NGX_ERROR;
    }
}


/* Every 2xx is success; what is not an answer to trust is unknown. */
static void
ngx_http_tsface_classify(ngx_http_tsface_ctx_t *ctx)
{
    ngx_http_tsface_attempt_t  *attempt;
    ngx_http_tsface_counter_e   counter;

    attempt = ctx->attempt;

    if (attempt->status == 0) {
        ctx->result = "unknown";
        counter = NGX_HTTP_TSFACE_COUNT_UNKNOWN;

        if (attempt->gateway == NGX_HTTP_GATEWAY_TIME_OUT) {
            ctx->problem = NGX_HTTP_TSFACE_PROBLEM_UPSTREAM_TIMEOUT;

        } else if (attempt->invalid || attempt->header_done) {
            ctx->problem = NGX_HTTP_TSFACE_PROBLEM_UPSTREAM_INVALID;

        } else {
            ctx->problem = NGX_HTTP_TSFACE_PROBLEM_UPSTREAM_UNREACHABLE;
        }

    } else if (attempt->status < 300) {
        ctx->result = "success";
        counter = NGX_HTTP_TSFACE_COUNT_SUCCESS;

    } else if (attempt->status < 500) {
        ctx->result = "denied";
        counter = NGX_HTTP_TSFACE_COUNT_DENIED;

    } else {
        ctx->result = "error";
        counter = NGX_HTTP_TSFACE_COUNT_ERROR;
    }

    ngx_http_tsface_zone_count(ctx->zone, counter);
}


/*
 * Whether the endpoint refused our token itself.  RFC 6750 3.1: a token
 * without the scope it would need is none that another exchange could mend.
 */
static ngx_uint_t
ngx_http_tsface_rejected(ngx_http_tsface_ctx_t *ctx)
{
    ngx_uint_t                          i;
    ngx_http_tsface_attempt_t          *attempt;
    ngx_http_tsface_response_header_t  *header;

    attempt = ctx->attempt;

    if (attempt->status != NGX_HTTP_UNAUTHORIZED
        || ctx->operation->token != NGX_HTTP_TSFACE_TOKEN_CREDENTIALS)
    {
        return 0;
    }

    header = attempt->headers.elts;

    for (i = 0; i < attempt->headers.nelts; i++) {
        if (header[i].name.len == sizeof("WWW-Authenticate") - 1
            && ngx_strncasecmp(header[i].name.data,
                               (u_char *) "WWW-Authenticate",
                               sizeof("WWW-Authenticate") - 1)
               == 0
            && ngx_strstrn(header[i].value.data, "insufficient_scope",
                           sizeof("insufficient_scope") - 2))
        {
            return 0;
        }
    }

    return 1;
}


/*
 * The revoke is done.  If that can't be written down, a caller that is told
 * so would take it for recorded.
 */
static ngx_int_t
ngx_http_tsface_step_outcome(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    if (resumed == NGX_OK) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                  "tsface could not record the outcome \"%s\" of a revoke",
                  ctx->result);

    if (ctx->conf->trail->on_failure == NGX_HTTP_TSFACE_ON_FAILURE_FORWARD) {
        return NGX_OK;
    }

    ctx->problem = NGX_HTTP_TSFACE_PROBLEM_OUTCOME_UNRECORDED;
    ctx->extra.retry_after = NGX_HTTP_TSFACE_AUDIT_RETRY;
    ctx->step = NGX_HTTP_TSFACE_STEP_PROBLEM;

    return NGX_BUSY;
}


static ngx_int_t
ngx_http_tsface_step_answer(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    if (ctx->attempt->status == 0) {
        ctx->step = NGX_HTTP_TSFACE_STEP_PROBLEM;
        return NGX_BUSY;
    }

    ctx->answered = 1;

    ngx_http_finalize_request(r, ngx_http_tsface_answer_relay(r, ctx->attempt,
                                                          &ctx->request_id));
    return NGX_DONE;
}


static ngx_int_t
ngx_http_tsface_step_refusal(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    ngx_int_t  rc;

    if (resumed == NGX_AGAIN) {
        ctx->result = "refused";
        ctx->recorded = 1;

        ngx_http_tsface_zone_count(ctx->zone, NGX_HTTP_TSFACE_COUNT_REFUSED);

        if (ctx->conf->trail == NULL) {
            return NGX_OK;
        }

        if (ctx->problem == NGX_HTTP_TSFACE_PROBLEM_AUDIT_FAILED) {
            /* it closes an intent that may be written yet; no use to wait */
            (void) ngx_http_tsface_journal_refusal(ctx, NULL);
            return NGX_OK;
        }

        rc = ngx_http_tsface_wait_durable(ctx,
                            ngx_http_tsface_journal_refusal(ctx,
                                                     ngx_http_tsface_durable));
        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        resumed = rc;
    }

    if (resumed != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "tsface could not record a refusal (%V)",
                      &ngx_http_tsface_problems[ctx->problem].reason);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_step_problem(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    ctx->answered = 1;

    ngx_http_finalize_request(r, ngx_http_tsface_answer_problem(r,
                                                          ctx->problem,
                                                          &ctx->request_id,
                                                          &ctx->extra));
    return NGX_DONE;
}


ngx_http_tsface_ctx_t *
ngx_http_tsface_transaction(ngx_http_request_t *r)
{
    return ngx_http_get_module_ctx(r->main, ngx_http_tsface_module);
}


ngx_int_t
ngx_http_tsface_transaction_init(ngx_conf_t *cf)
{
    ngx_str_t  name;

    ngx_str_set(&name, "request_id");

    ngx_http_tsface_request_id_index = ngx_http_get_variable_index(cf, &name);

    return ngx_http_tsface_request_id_index == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


/* nginx's own $request_id, so that every log joins on one value. */
static ngx_int_t
ngx_http_tsface_request_id(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx)
{
    ngx_http_variable_value_t  *vv;

    vv = ngx_http_get_indexed_variable(r, ngx_http_tsface_request_id_index);

    if (vv == NULL || vv->not_found) {
        return NGX_ERROR;
    }

    ctx->request_id.data = vv->data;
    ctx->request_id.len = vv->len;

    return NGX_OK;
}


static u_char *
ngx_http_tsface_log_error(ngx_http_request_t *r, ngx_http_request_t *sr,
    u_char *buf, size_t len)
{
    u_char                 *p;
    ngx_http_tsface_ctx_t  *ctx;

    p = ngx_http_tsface_core_log_error(r, sr, buf, len);
    len -= p - buf;

    ctx = ngx_http_tsface_transaction(r);

    /* an internal redirect has dropped it */

    if (ctx == NULL) {
        return p;
    }

    return ngx_snprintf(p, len, ", request_id: \"%V\"", &ctx->request_id);
}
