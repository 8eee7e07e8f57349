
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_clock.h"
#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_limit_share.h"
#include "ngx_http_tsface_limit_step.h"


/* Retry-After when there is no store to ask; ms */
#define NGX_HTTP_TSFACE_LIMIT_STORE_RETRY   1000


static void ngx_http_tsface_limit_step_answered(void *data, ngx_int_t rc);
static ngx_int_t ngx_http_tsface_limit_step_asked(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t rc);
static ngx_int_t ngx_http_tsface_limit_step_decided(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t rc);
static ngx_int_t ngx_http_tsface_limit_step_delay(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx);


ngx_int_t
ngx_http_tsface_limit_step(ngx_http_request_t *r, ngx_http_tsface_ctx_t *ctx,
    ngx_int_t resumed)
{
    ngx_int_t   rc;
    ngx_uint_t  level;

    if (ctx->limits.asked) {
        ctx->limits.asked = 0;

        return ngx_http_tsface_limit_step_asked(r, ctx, resumed);
    }

    if (resumed != NGX_AGAIN) {
        return ngx_http_tsface_limit_step_delay(r, ctx);
    }

    if (ctx->conf->limits == NULL) {
        return NGX_OK;
    }

    /* core prints the value of each variable that it puts into a key */

    level = r->connection->log->log_level;
    r->connection->log->log_level = level & ~NGX_LOG_DEBUG_HTTP;

    ctx->keying = 1;

    rc = ngx_http_tsface_limit_keys(r, ctx->conf->limits, &ctx->caller,
                                    &ctx->limits);

    ctx->keying = 0;

    r->connection->log->log_level = level;

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        return ngx_http_tsface_limit_step_decided(r, ctx, rc);
    }

    rc = ngx_http_tsface_limit_share_ask(&ctx->limits,
                                         ngx_http_tsface_limit_step_answered,
                                         ctx);
    if (rc == NGX_AGAIN) {

        /* the call has a timer of its own */

        ngx_http_tsface_transaction_wait(ctx, NGX_HTTP_TSFACE_WAIT_LIMIT, 0);

        return NGX_AGAIN;
    }

    if (rc == NGX_ERROR) {
        ctx->limits.asked = 0;

        return ngx_http_tsface_limit_step_asked(r, ctx, NGX_DECLINED);
    }

    rc = ngx_http_tsface_limit_decide(&ctx->limits);
    ngx_http_tsface_limit_result(r, &ctx->limits, rc);

    return ngx_http_tsface_limit_step_decided(r, ctx, rc);
}


static void
ngx_http_tsface_limit_step_answered(void *data, ngx_int_t rc)
{
    ngx_http_tsface_ctx_t *ctx = data;

    rc = (rc == NGX_ERROR) ? NGX_DECLINED
                           : ngx_http_tsface_limit_share_answer(&ctx->limits);

    ngx_http_tsface_transaction_resume(ctx, rc);
}


/* The store has decided, or else (NGX_DECLINED) its on_failure does. */

static ngx_int_t
ngx_http_tsface_limit_step_asked(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t rc)
{
    if (rc == NGX_DECLINED) {
        rc = ngx_http_tsface_limit_share_fallback(&ctx->limits);

        if (rc == NGX_ABORT) {
            ctx->problem = NGX_HTTP_TSFACE_PROBLEM_LIMIT_UNDECIDED;
            ctx->extra.retry_after = NGX_HTTP_TSFACE_LIMIT_STORE_RETRY;

            return NGX_DECLINED;
        }
    }

    ngx_http_tsface_limit_result(r, &ctx->limits, rc);

    return ngx_http_tsface_limit_step_decided(r, ctx, rc);
}


/* Whoever has decided: rc is what ngx_http_tsface_limit_decide() returns. */

static ngx_int_t
ngx_http_tsface_limit_step_decided(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t rc)
{
    if (ctx->conf->limit_headers) {
        ctx->extra.limits = &ctx->limits;
    }

    if (rc != NGX_OK) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_LIMITED;
        ctx->extra.retry_after = (ctx->limits.retry + 999) / 1000;

        return NGX_DECLINED;
    }

    return ngx_http_tsface_limit_step_delay(r, ctx);
}


/*
 * A place was taken in each zone, and one of them says for when.  The timer
 * counts from the time of the last event, so that it may be early.
 */

static ngx_int_t
ngx_http_tsface_limit_step_delay(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx)
{
    uint64_t      now;
    ngx_event_t  *rev;

    if (ctx->limits.until == 0) {
        return NGX_OK;
    }

    now = ngx_http_tsface_clock();

    if (ctx->limits.until <= now) {
        r->read_event_handler = ngx_http_block_reading;
        return NGX_OK;
    }

    /* nothing is done yet that would be worth finishing for nobody */

    rev = r->connection->read;

    r->read_event_handler = ngx_http_test_reading;

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_events);

    } else if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ctx->problem = NGX_HTTP_TSFACE_PROBLEM_INTERNAL;
        return NGX_DECLINED;
    }

    ngx_http_tsface_transaction_wait(ctx, NGX_HTTP_TSFACE_WAIT_LIMIT,
                                     (ctx->limits.until - now + 999) / 1000);

    return NGX_AGAIN;
}
