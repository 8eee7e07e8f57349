
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_admission.h"
#include "ngx_http_tsface_attempt.h"
#include "ngx_http_tsface_journal.h"
#include "ngx_http_tsface_rejected.h"
#include "ngx_http_tsface_zone.h"


static void ngx_http_tsface_token_waited(void *data);
static void ngx_http_tsface_address_waited(void *data);
static void ngx_http_tsface_attempt_ended(ngx_http_request_t *r,
    ngx_http_tsface_attempt_t *attempt);
static ngx_http_tsface_counter_e ngx_http_tsface_classify(
    ngx_http_tsface_ctx_t *ctx);


ngx_int_t
ngx_http_tsface_attempt_intent(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed)
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

        rc = ngx_http_tsface_transaction_record(ctx,
                                              ngx_http_tsface_journal_intent);
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


ngx_int_t
ngx_http_tsface_attempt_token(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed)
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

            ngx_http_tsface_transaction_wait(ctx, NGX_HTTP_TSFACE_WAIT_TOKEN,
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

    ngx_http_tsface_transaction_resume(ctx, NGX_OK);
}


ngx_int_t
ngx_http_tsface_attempt_forward(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed)
{
    ngx_int_t                       rc;
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

        ngx_http_tsface_transaction_wait(ctx, NGX_HTTP_TSFACE_WAIT_ADDRESS,
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

    /* disk, token and address may have taken long, and for many at once */

    rc = ngx_http_tsface_admission_send(ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    attempt = ngx_palloc(r->pool, sizeof(ngx_http_tsface_attempt_t));
    if (attempt == NULL) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_INTERNAL;
        return NGX_DECLINED;
    }

    ngx_http_tsface_attempt_clear(attempt);

    attempt->endpoint = ctx->credentials->endpoint;
    attempt->method = ctx->operation->method;
    attempt->base = ctx->credentials->base;
    attempt->path = ctx->operation->path;
    attempt->body = ctx->body;
    attempt->request_id = ctx->request_id;
    attempt->trace = &ctx->trace;
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

    ngx_http_tsface_transaction_resume(ctx, NGX_OK);
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
    ngx_uint_t                  replay;
    ngx_http_tsface_ctx_t      *ctx;
    ngx_http_tsface_counter_e   counter;

    ctx = ngx_http_get_module_ctx(r, ngx_http_tsface_module);

    /* core's variables of the main request show this attempt */

    ctx->wait = NGX_HTTP_TSFACE_WAIT_NONE;

    counter = ngx_http_tsface_classify(ctx);

    ngx_http_tsface_zone_count(ctx->zone, counter);
    ngx_http_tsface_zone_upstream(ctx->zone, ctx->operation, attempt->took);

    if (ctx->operation->token == NGX_HTTP_TSFACE_TOKEN_CREDENTIALS
        && ngx_http_tsface_rejected(ctx->conf->rejected, ctx->attempt))
    {

        ngx_http_tsface_token_reject(ctx->credentials->token,
                                     ctx->generation);

        replay = (ctx->conf->replay && ctx->attempts == 1
                  && !r->connection->error);

    } else {
        replay = 0;
    }

    if (replay) {
        ngx_http_tsface_zone_count(ctx->zone, NGX_HTTP_TSFACE_COUNT_REPLAYS);
        ngx_http_tsface_admission_again(ctx);

        /* written with the intent of the second attempt, which waits */

        if (ctx->conf->trail) {
            (void) ngx_http_tsface_journal_outcome(ctx, NULL);
        }

        ctx->intent = 0;
        ctx->attempt = NULL;
        ctx->generation = 0;
        ctx->has_fingerprint = 0;
        ctx->step = NGX_HTTP_TSFACE_STEP_INTENT;
        ctx->resumed = NGX_AGAIN;
        return;
    }

    ngx_http_tsface_zone_request(ctx->zone, ctx->operation, counter);
    ngx_http_tsface_admission_end(ctx);

    ctx->step = NGX_HTTP_TSFACE_STEP_OUTCOME;
    ctx->resumed = NGX_OK;
    ctx->recorded = 1;

    if (ctx->conf->trail == NULL) {
        return;
    }

    if (ngx_http_tsface_transaction_record(ctx,
                                           ngx_http_tsface_journal_outcome)
        != NGX_AGAIN)
    {
        ctx->resumed = NGX_ERROR;
    }
}


/* Every 2xx is success; what is not an answer to trust is unknown. */
static ngx_http_tsface_counter_e
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

    return counter;
}


/*
 * The revoke is done.  If that can't be written down, a caller that is told
 * so would take it for recorded.
 */
ngx_int_t
ngx_http_tsface_attempt_outcome(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed)
{
    if (resumed == NGX_OK) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                  "tsface could not record the outcome \"%s\" of a revoke",
                  ctx->result);

    ngx_http_tsface_zone_count(ctx->zone, NGX_HTTP_TSFACE_COUNT_UNRECORDED);

    if (ctx->conf->trail->on_failure == NGX_HTTP_TSFACE_ON_FAILURE_FORWARD) {
        return NGX_OK;
    }

    ctx->problem = NGX_HTTP_TSFACE_PROBLEM_OUTCOME_UNRECORDED;
    ctx->extra.retry_after = NGX_HTTP_TSFACE_AUDIT_RETRY;
    ctx->step = NGX_HTTP_TSFACE_STEP_PROBLEM;

    return NGX_BUSY;
}
