
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_journal.h"
#include "ngx_http_tsface_refusals.h"
#include "ngx_http_tsface_zone.h"


#define NGX_HTTP_TSFACE_FINGERPRINTS   64


/* The fingerprint of one credentials' token under one trail's key. */
typedef struct {
    const ngx_http_tsface_trail_t        *trail;
    const ngx_http_tsface_credentials_t  *credentials;
    ngx_uint_t                            generation;
    u_char                                text[16];
} ngx_http_tsface_fingerprint_t;


static void ngx_http_tsface_journal_request(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_record_t *record);
static void ngx_http_tsface_journal_attempt(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_record_t *record);
static void ngx_http_tsface_journal_kind(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_record_t *record);


/* A worker's; a miss costs one HMAC. */
static ngx_http_tsface_fingerprint_t
    ngx_http_tsface_fingerprints[NGX_HTTP_TSFACE_FINGERPRINTS];


static ngx_str_t  ngx_http_tsface_kind_credentials = ngx_string("credentials");
static ngx_str_t  ngx_http_tsface_kind_caller = ngx_string("caller");


ngx_http_tsface_entry_t *
ngx_http_tsface_journal_intent(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_entry_pt handler)
{
    ngx_http_tsface_record_t  record;

    ngx_http_tsface_record_init(&record, NGX_HTTP_TSFACE_RECORD_INTENT);
    ngx_http_tsface_journal_request(ctx, &record);

    /* the caller's own token is known before the attempt, ours is not */

    if (ctx->operation->token == NGX_HTTP_TSFACE_TOKEN_CALLER) {
        ngx_http_tsface_journal_token(ctx, &ctx->bearer);
    }

    ngx_http_tsface_journal_kind(ctx, &record);

    return ngx_http_tsface_trail_submit(ctx->conf->trail, &record, handler,
                                        ctx);
}


ngx_http_tsface_entry_t *
ngx_http_tsface_journal_outcome(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_entry_pt handler)
{
    ngx_http_tsface_record_t  record;

    ngx_http_tsface_record_init(&record, NGX_HTTP_TSFACE_RECORD_OUTCOME);
    ngx_http_tsface_journal_request(ctx, &record);
    ngx_http_tsface_journal_attempt(ctx, &record);

    return ngx_http_tsface_trail_submit(ctx->conf->trail, &record, handler,
                                        ctx);
}


ngx_http_tsface_entry_t *
ngx_http_tsface_journal_refusal(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_entry_pt handler)
{
    ngx_http_tsface_record_t          record;
    const ngx_http_tsface_problem_t  *problem;

    problem = &ngx_http_tsface_problems[ctx->problem];

    ngx_http_tsface_record_init(&record, NGX_HTTP_TSFACE_RECORD_REFUSAL);
    ngx_http_tsface_journal_request(ctx, &record);

    ngx_str_set(&record.result, "refused");
    record.reason = problem->reason;
    record.status = problem->status;
    record.sent = 0;

    return ngx_http_tsface_trail_submit(ctx->conf->trail, &record, handler,
                                        ctx);
}


/* What closes an intent is written: without it the intent is an orphan. */

ngx_int_t
ngx_http_tsface_journal_count(ngx_http_tsface_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->attempts) {
        return NGX_DECLINED;
    }

    rc = ngx_http_tsface_refusals_count(ctx->conf->trail, ctx->problem,
                                        &ctx->request->connection->addr_text,
                                        &ctx->caller);

    if (rc == NGX_OK) {
        ngx_http_tsface_zone_count(ctx->zone,
                                   NGX_HTTP_TSFACE_COUNT_SUMMARISED);
    }

    return rc;
}


static void
ngx_http_tsface_journal_request(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_record_t *record)
{
    ngx_http_request_t        *r;
    ngx_http_core_srv_conf_t  *cscf;

    r = ctx->request;

    record->request_id = ctx->request_id;
    record->trace_id = ctx->trace.id;
    record->parent_id = ctx->trace.parent;
    record->client_addr = r->connection->addr_text;
    record->method = r->method_name;
    record->uri = r->unparsed_uri;
    record->caller = ctx->caller;

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    record->server = cscf->server_name;

    if (ctx->attempts) {
        record->attempt = ctx->attempts;
    }

    if (ctx->operation) {
        record->operation = ctx->operation->name;
    }

    if (ctx->credentials) {
        record->credentials = ctx->credentials->name;
        record->region = ctx->credentials->region;
        record->endpoint = ctx->credentials->endpoint->url.peer;
    }

    if (ctx->user_id.len == 0) {
        return;
    }

    record->members = ctx->members;
    record->nmembers = ctx->nmembers;

    if (ctx->conf->trail->user_id == NGX_HTTP_TSFACE_USER_ID_PLAIN) {
        record->user_plain = ctx->user_id;
        return;
    }

    /* all records of a transaction name the same user */

    if (!ctx->has_user_hmac
        && ngx_http_tsface_trail_fingerprint(ctx->conf->trail, "tsface user",
                                             &ctx->user_id, ctx->user_hmac,
                                             sizeof(ctx->user_hmac))
           != NGX_OK)
    {
        return;
    }

    ctx->has_user_hmac = 1;

    record->user_hmac.data = ctx->user_hmac;
    record->user_hmac.len = sizeof(ctx->user_hmac);
}


static void
ngx_http_tsface_journal_attempt(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_record_t *record)
{
    ngx_http_tsface_attempt_t  *attempt;

    attempt = ctx->attempt;

    ngx_http_tsface_journal_kind(ctx, record);

    if (ctx->operation->token == NGX_HTTP_TSFACE_TOKEN_CREDENTIALS) {
        record->token_generation = ctx->generation;
    }

    record->result.data = (u_char *) ctx->result;
    record->result.len = ngx_strlen(ctx->result);

    record->sent = attempt->sent;
    record->duration_ms = attempt->took;

    if (attempt->addr.len) {
        record->upstream_addr = attempt->addr;
    }

    if (attempt->status) {
        record->upstream_status = attempt->status;
        record->status = attempt->status;

    } else {
        record->status = attempt->gateway;
        record->reason = ngx_http_tsface_problems[ctx->problem].reason;
    }
}


/* Whose token it is, and its fingerprint as far as that is known. */

static void
ngx_http_tsface_journal_kind(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_record_t *record)
{
    record->token_kind =
                     (ctx->operation->token == NGX_HTTP_TSFACE_TOKEN_CALLER)
                     ? ngx_http_tsface_kind_caller
                     : ngx_http_tsface_kind_credentials;

    if (ctx->has_fingerprint) {
        record->token_fingerprint.data = ctx->fingerprint;
        record->token_fingerprint.len = sizeof(ctx->fingerprint);
    }
}


void
ngx_http_tsface_journal_token(ngx_http_tsface_ctx_t *ctx,
    const ngx_str_t *token)
{
    ngx_uint_t                      own;
    ngx_http_tsface_trail_t        *trail;
    ngx_http_tsface_fingerprint_t  *fp;

    trail = ctx->conf->trail;

    if (trail == NULL) {
        return;
    }

    own = (ctx->operation->token == NGX_HTTP_TSFACE_TOKEN_CREDENTIALS);

    /* the caller's has one since the intent */

    if (!own && ctx->has_fingerprint) {
        return;
    }

    fp = &ngx_http_tsface_fingerprints[ctx->credentials->index
                                       % NGX_HTTP_TSFACE_FINGERPRINTS];

    if (own
        && fp->trail == trail
        && fp->credentials == ctx->credentials
        && fp->generation == ctx->generation)
    {
        ngx_memcpy(ctx->fingerprint, fp->text, sizeof(fp->text));
        ctx->has_fingerprint = 1;
        return;
    }

    if (ngx_http_tsface_trail_fingerprint(trail, "tsface token", token,
                                          ctx->fingerprint,
                                          sizeof(ctx->fingerprint))
        != NGX_OK)
    {
        ctx->has_fingerprint = 0;
        return;
    }

    ctx->has_fingerprint = 1;

    if (own) {
        fp->trail = trail;
        fp->credentials = ctx->credentials;
        fp->generation = ctx->generation;
        ngx_memcpy(fp->text, ctx->fingerprint, sizeof(fp->text));
    }
}
