
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_admission.h"
#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_retry_after.h"
#include "ngx_http_tsface_zone_gate.h"


static ngx_int_t ngx_http_tsface_admission_refuse(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_gate_verdict_e verdict, uint64_t retry);
static ngx_msec_t ngx_http_tsface_admission_retry(uint64_t retry);
static ngx_http_tsface_gate_result_e ngx_http_tsface_admission_result(
    const ngx_http_tsface_ctx_t *ctx);
static ngx_msec_t ngx_http_tsface_admission_retry_after(
    const ngx_http_tsface_attempt_t *attempt);
static void ngx_http_tsface_admission_log(const ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_slot_t *slot, ngx_uint_t events);


/* Indexed by ngx_http_tsface_gate_verdict_e. */
static const ngx_http_tsface_problem_e  ngx_http_tsface_admission_problems[] = {
    NGX_HTTP_TSFACE_PROBLEM_NONE,
    NGX_HTTP_TSFACE_PROBLEM_ENDPOINT_THROTTLED,
    NGX_HTTP_TSFACE_PROBLEM_ENDPOINT_UNAVAILABLE,
    NGX_HTTP_TSFACE_PROBLEM_ENDPOINT_BUSY
};


ngx_int_t
ngx_http_tsface_admission_step(ngx_http_request_t *r,
    ngx_http_tsface_ctx_t *ctx, ngx_int_t resumed)
{
    uint64_t                         retry;
    ngx_uint_t                       events;
    ngx_http_tsface_slot_t          *slot;
    ngx_http_tsface_gate_verdict_e   verdict;

    slot = ngx_http_tsface_token_slot(ctx->credentials->token);

    if (slot == NULL) {
        /* no room in the zone, so no token: that is what is told */
        return NGX_OK;
    }

    retry = 0;

    verdict = ngx_http_tsface_slot_enter(ctx->zone, slot,
                                         &ctx->credentials->gate,
                                         &ctx->ticket, &retry, &events);

    ngx_http_tsface_admission_log(ctx, slot, events);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "tsface gate: %d, retry:%uLus", (int) verdict, retry);

    if (verdict == NGX_HTTP_TSFACE_GATE_OK) {
        ctx->admitted = 1;
        return NGX_OK;
    }

    return ngx_http_tsface_admission_refuse(ctx, verdict, retry);
}


ngx_int_t
ngx_http_tsface_admission_send(ngx_http_tsface_ctx_t *ctx)
{
    uint64_t                         wait, retry;
    ngx_uint_t                       events;
    ngx_http_tsface_slot_t          *slot;
    ngx_http_tsface_gate_verdict_e   verdict;

    if (!ctx->admitted) {
        return NGX_OK;
    }

    slot = ngx_http_tsface_token_slot(ctx->credentials->token);
    retry = 0;

    verdict = ngx_http_tsface_slot_send(ctx->zone, slot,
                                        &ctx->credentials->gate, &ctx->ticket,
                                        &wait, &retry, &events);

    ngx_http_tsface_admission_log(ctx, slot, events);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                   "tsface gate before sending: %d, wait:%uLus retry:%uLus",
                   (int) verdict, wait, retry);

    if (verdict != NGX_HTTP_TSFACE_GATE_OK) {
        return ngx_http_tsface_admission_refuse(ctx, verdict, retry);
    }

    if (wait == 0) {
        return NGX_OK;
    }

    ngx_http_tsface_transaction_wait(ctx, NGX_HTTP_TSFACE_WAIT_TURN,
                                     (ngx_msec_t) ((wait + 999) / 1000));

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_tsface_admission_refuse(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_gate_verdict_e verdict, uint64_t retry)
{
    /* nothing was sent, and it is to come back: it has not had its turn */

    if (ctx->attempts <= 1) {
        ngx_http_tsface_limit_return(&ctx->limits);
    }

    ctx->problem = ngx_http_tsface_admission_problems[verdict];
    ctx->extra.retry_after = ngx_http_tsface_admission_retry(retry);

    return NGX_DECLINED;
}


/*
 * In whole seconds, never too early, and not the same for all: or those that
 * were refused at one moment would all be back at another.
 */
static ngx_msec_t
ngx_http_tsface_admission_retry(uint64_t retry)
{
    ngx_msec_t  seconds;

    seconds = (ngx_msec_t) ((retry + 999999) / 1000000);
    seconds += (ngx_msec_t) ngx_random() % (seconds / 4 + 2);

    return seconds * 1000;
}


void
ngx_http_tsface_admission_again(ngx_http_tsface_ctx_t *ctx)
{
    if (ctx->admitted) {
        ngx_http_tsface_slot_enter_again(ctx->zone,
                          ngx_http_tsface_token_slot(ctx->credentials->token),
                          &ctx->credentials->gate, &ctx->ticket);
    }
}


void
ngx_http_tsface_admission_end(ngx_http_tsface_ctx_t *ctx)
{
    ngx_msec_t               retry_after;
    ngx_uint_t               events;
    ngx_http_tsface_slot_t  *slot;

    if (!ctx->admitted) {
        return;
    }

    ctx->admitted = 0;

    slot = ngx_http_tsface_token_slot(ctx->credentials->token);

    retry_after = ctx->attempt
                  ? ngx_http_tsface_admission_retry_after(ctx->attempt) : 0;

    events = ngx_http_tsface_slot_leave(ctx->zone, slot,
                                        &ctx->credentials->gate, &ctx->ticket,
                                        ngx_http_tsface_admission_result(ctx),
                                        (uint64_t) retry_after * 1000);

    ngx_http_tsface_admission_log(ctx, slot, events);
}


/*
 * Any answer below 500 shows that the endpoint works: 4xx are about the
 * request.  That no address is known of it is a failure of it as well.
 */
static ngx_http_tsface_gate_result_e
ngx_http_tsface_admission_result(const ngx_http_tsface_ctx_t *ctx)
{
    const ngx_http_tsface_attempt_t  *attempt;

    attempt = ctx->attempt;

    if (attempt == NULL) {
        return ctx->problem == NGX_HTTP_TSFACE_PROBLEM_UPSTREAM_UNREACHABLE
               ? NGX_HTTP_TSFACE_GATE_FAILED : NGX_HTTP_TSFACE_GATE_NOTHING;
    }

    if (!attempt->finished) {
        return NGX_HTTP_TSFACE_GATE_NOTHING;
    }

    if (attempt->status == 0 || attempt->status >= 500) {
        return NGX_HTTP_TSFACE_GATE_FAILED;
    }

    return attempt->status == NGX_HTTP_TOO_MANY_REQUESTS
           ? NGX_HTTP_TSFACE_GATE_TOO_MANY : NGX_HTTP_TSFACE_GATE_ANSWERED;
}


/* Only 429 and 503 ask for a pause with it; the gate has its own bound. */
static ngx_msec_t
ngx_http_tsface_admission_retry_after(const ngx_http_tsface_attempt_t *attempt)
{
    ngx_uint_t                               i;
    const ngx_http_tsface_response_header_t  *header;

    if (attempt->status != NGX_HTTP_TOO_MANY_REQUESTS
        && attempt->status != NGX_HTTP_SERVICE_UNAVAILABLE)
    {
        return 0;
    }

    header = attempt->headers.elts;

    for (i = 0; i < attempt->headers.nelts; i++) {

        if (header[i].name.len == 11
            && ngx_strncasecmp(header[i].name.data, (u_char *) "retry-after",
                               11)
               == 0)
        {
            return ngx_http_tsface_retry_after(&header[i].value, ngx_time(),
                              NGX_HTTP_TSFACE_GATE_MAX_TIME / 1000);
        }
    }

    return 0;
}


/* Each change is told by the one request that made it. */
static void
ngx_http_tsface_admission_log(const ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_slot_t *slot, ngx_uint_t events)
{
    ngx_log_t                         *log;
    const ngx_str_t                   *name;
    ngx_http_tsface_zone_gate_stat_t   stat;

    if (events == 0) {
        return;
    }

    log = ctx->request->connection->log;
    name = &ctx->credentials->name;

    ngx_http_tsface_slot_gate_stat(ctx->zone, slot, &ctx->credentials->gate,
                                   &stat);

    if (events & NGX_HTTP_TSFACE_GATE_EV_UNTHROTTLED) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "tsface pause for the endpoint of credentials \"%V\" "
                      "is over", name);
    }

    if (events & NGX_HTTP_TSFACE_GATE_EV_PROBING) {
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "tsface breaker of credentials \"%V\" is half open: "
                      "this request is its probe", name);
    }

    if (events & NGX_HTTP_TSFACE_GATE_EV_THROTTLED) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "tsface endpoint of credentials \"%V\" asked for a "
                      "pause: nothing is sent to it for %M ms",
                      name, stat.paused);
    }

    if (events & NGX_HTTP_TSFACE_GATE_EV_OPENED) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "tsface breaker of credentials \"%V\" is open for %M "
                      "ms: its endpoint failed %ui times in a row",
                      name, stat.open, stat.failures);
    }

    if (events & NGX_HTTP_TSFACE_GATE_EV_REOPENED) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "tsface breaker of credentials \"%V\" is open for "
                      "another %M ms: its probe failed", name, stat.open);
    }

    if (events & NGX_HTTP_TSFACE_GATE_EV_CLOSED) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "tsface breaker of credentials \"%V\" is closed: its "
                      "endpoint answers again", name);
    }
}
