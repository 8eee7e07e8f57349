
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_admission.h"
#include "ngx_http_tsface_attempt.h"
#include "ngx_http_tsface_body.h"
#include "ngx_http_tsface_journal.h"
#include "ngx_http_tsface_limit_step.h"
#include "ngx_http_tsface_request_id.h"
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


static void ngx_http_tsface_wait_end(ngx_http_tsface_ctx_t *ctx);
static void ngx_http_tsface_timer(ngx_event_t *ev);
static void ngx_http_tsface_written(void *data, ngx_int_t rc);
static void ngx_http_tsface_cleanup(void *data);
static ngx_http_tsface_problem_e ngx_http_tsface_gone(ngx_http_request_t *r);

static ngx_int_t ngx_http_tsface_step_caller(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_operation(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_credentials(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_answer(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_refusal(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);
static ngx_int_t ngx_http_tsface_step_problem(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed);

static u_char *ngx_http_tsface_log_error(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);


/*
 * The transaction.  What must never be reordered: nothing is forwarded before
 * the caller is known, the body is read as what it is, the limits and the
 * endpoint's gate agree and the intent is on disk; nothing is answered before
 * the outcome is.
 */
static ngx_http_tsface_step_pt  ngx_http_tsface_steps[] = {
    ngx_http_tsface_step_caller,          /* who asks */
    ngx_http_tsface_step_operation,       /* for what */
    ngx_http_tsface_step_credentials,     /* with which credentials */
    ngx_http_tsface_body_step,            /* reads the body */
    ngx_http_tsface_body_check,           /* and understands it */
    ngx_http_tsface_limit_step,           /* how often */
    ngx_http_tsface_admission_step,       /* is the endpoint up to it */
    ngx_http_tsface_attempt_intent,       /* written ahead  <----------+ */
    ngx_http_tsface_attempt_token,        /* ours, or the caller's own | */
    ngx_http_tsface_attempt_forward,      /* one attempt               | */
    ngx_http_tsface_attempt_outcome,      /* 401 on our token: once ---+ */
    ngx_http_tsface_step_answer,          /* the endpoint's answer */

    /* a refusal at any of them comes here instead */

    ngx_http_tsface_step_refusal,         /* written down */
    ngx_http_tsface_step_problem          /* and told */
};

/* a row more or less in front of those with names: they have other numbers */
_Static_assert(sizeof(ngx_http_tsface_steps) / sizeof(ngx_http_tsface_step_pt)
               == NGX_HTTP_TSFACE_NSTEPS, "the numbers of steps");


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

    if (ngx_http_tsface_request_id(r, &ctx->request_id) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_tsface_trace_read(&ctx->trace, &r->headers_in.headers);

    cln->handler = ngx_http_tsface_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_tsface_module);

    ngx_http_tsface_core_log_error = r->log_handler;
    r->log_handler = ngx_http_tsface_log_error;

    ngx_http_tsface_zone_count(ctx->zone, NGX_HTTP_TSFACE_COUNT_REQUESTS);

    /* the transaction's own reference, until it finalizes the request */

    r->main->count++;

    r->write_event_handler = ngx_http_tsface_transaction_run;

    ngx_http_tsface_transaction_run(r);

    return NGX_DONE;
}


/*
 * Runs steps until one waits or the request is finalized.  Also called by
 * core when the client's socket becomes writable: that is no result of a
 * wait, and nothing happens then.
 */
void
ngx_http_tsface_transaction_run(ngx_http_request_t *r)
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
void
ngx_http_tsface_transaction_resume(ngx_http_tsface_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_tsface_wait_end(ctx);

    ctx->resumed = rc;

    ngx_http_tsface_transaction_run(r);

    ngx_http_run_posted_requests(c);
}


/* Not cancelable: a worker that exits sees its requests through. */
void
ngx_http_tsface_transaction_wait(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_wait_e wait, ngx_msec_t timeout)
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

    case NGX_HTTP_TSFACE_WAIT_LIMIT:
        if (ctx->limits.call) {
            ngx_http_tsface_limit_store_detach(ctx->limits.call);
            ctx->limits.call = NULL;
        }
        break;

    case NGX_HTTP_TSFACE_WAIT_AUDIT:
        if (ctx->entry) {
            ngx_http_tsface_trail_detach(ctx->entry);
            ctx->entry = NULL;
        }
        break;

    case NGX_HTTP_TSFACE_WAIT_TOKEN:
        if (ctx->token_waiter.data) {
            ngx_http_tsface_token_unwait(ctx->credentials->token,
                                         &ctx->token_waiter);
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
    ngx_http_tsface_transaction_resume(ev->data, NGX_ERROR);
}


ngx_int_t
ngx_http_tsface_transaction_record(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_journal_pt journal)
{
    ctx->entry = journal(ctx, ngx_http_tsface_written);

    if (ctx->entry == NULL) {
        return NGX_ERROR;
    }

    ngx_http_tsface_transaction_wait(ctx, NGX_HTTP_TSFACE_WAIT_AUDIT,
                                     ctx->conf->trail->timeout);

    return NGX_AGAIN;
}


static void
ngx_http_tsface_written(void *data, ngx_int_t rc)
{
    ngx_http_tsface_ctx_t *ctx = data;

    /* the entry is gone */

    ctx->entry = NULL;

    ngx_http_tsface_transaction_resume(ctx, rc);
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

    if (ctx->wait == NGX_HTTP_TSFACE_WAIT_LIMIT) {
        ngx_http_tsface_limit_return(&ctx->limits);
    }

    ngx_http_tsface_wait_end(ctx);
    ngx_http_tsface_admission_end(ctx);

    if (ctx->recorded) {
        return;
    }

    ctx->recorded = 1;

    if (ctx->problem == NGX_HTTP_TSFACE_PROBLEM_NONE) {
        ctx->problem = ngx_http_tsface_gone(ctx->request);
    }

    if (ctx->attempt && ctx->intent) {
        ctx->result = "unknown";
        ctx->attempt->took = ngx_current_msec - ctx->attempt->start;
        ctx->attempt->gateway = ngx_http_tsface_problems[ctx->problem].status;
        ctx->attempt->sent = (ctx->attempt->request
                              && ctx->attempt->request->upstream
                              && ctx->attempt->request->upstream->request_sent);

        ngx_http_tsface_zone_count(ctx->zone, NGX_HTTP_TSFACE_COUNT_UNKNOWN);
        ngx_http_tsface_zone_request(ctx->zone, ctx->operation,
                                     NGX_HTTP_TSFACE_COUNT_UNKNOWN);

        if (ctx->conf->trail) {
            (void) ngx_http_tsface_journal_outcome(ctx, NULL);
        }

        return;
    }

    ctx->result = "refused";

    ngx_http_tsface_zone_refuse(ctx->zone, ctx->operation, ctx->problem);

    if (ctx->conf->trail
        && ngx_http_tsface_journal_count(ctx) == NGX_DECLINED)
    {
        (void) ngx_http_tsface_journal_refusal(ctx, NULL);
    }
}


/*
 * Why a request goes that no step has ended.  What core finds wrong with a
 * body after its beginning it answers by itself.
 */
static ngx_http_tsface_problem_e
ngx_http_tsface_gone(ngx_http_request_t *r)
{
    if (r->err_status == NGX_HTTP_BAD_REQUEST) {
        return NGX_HTTP_TSFACE_PROBLEM_BAD_REQUEST;
    }

    if (r->err_status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        return NGX_HTTP_TSFACE_PROBLEM_INTERNAL;
    }

    if (ngx_exiting || ngx_terminate) {
        return NGX_HTTP_TSFACE_PROBLEM_SHUTTING_DOWN;
    }

    return NGX_HTTP_TSFACE_PROBLEM_CLIENT_CLOSED;
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
ngx_http_tsface_step_answer(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    if (ctx->attempt->status == 0) {
        ctx->step = NGX_HTTP_TSFACE_STEP_PROBLEM;
        return NGX_BUSY;
    }

    ctx->answered = 1;

    ngx_http_finalize_request(r, ngx_http_tsface_answer_relay(r, ctx->attempt,
                                                          &ctx->request_id,
                                                          ctx->extra.limits));
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

        ngx_http_tsface_admission_end(ctx);

        ngx_http_tsface_zone_refuse(ctx->zone, ctx->operation, ctx->problem);

        if (ctx->conf->trail == NULL
            || ngx_http_tsface_journal_count(ctx) == NGX_OK)
        {
            return NGX_OK;
        }

        if (ctx->problem == NGX_HTTP_TSFACE_PROBLEM_AUDIT_FAILED) {
            /* it closes an intent that may be written yet; no use to wait */
            (void) ngx_http_tsface_journal_refusal(ctx, NULL);
            return NGX_OK;
        }

        rc = ngx_http_tsface_transaction_record(ctx,
                                              ngx_http_tsface_journal_refusal);
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
