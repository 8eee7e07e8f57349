
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_token_refresh.h"
#include "ngx_http_tsface_wake.h"


/* A worker without clear events, or that missed one, looks this often. */
#define NGX_HTTP_TSFACE_TOKEN_POLL      250

/* Workers that don't refresh look whether somebody did. */
#define NGX_HTTP_TSFACE_TOKEN_BACKUP    2000

/* The longest sleep: a slot that nobody touches is given up by the zone. */
#define NGX_HTTP_TSFACE_TOKEN_TOUCH     60000

/* A lease outlives the exchange's deadline by this. */
#define NGX_HTTP_TSFACE_TOKEN_GRACE     1000

/* While the secrets are refused: how often to look for others. */
#define NGX_HTTP_TSFACE_TOKEN_REREAD    5000


static ngx_msec_t ngx_http_tsface_token_until(
    const ngx_http_tsface_token_t *token);
static void ngx_http_tsface_token_schedule(ngx_http_tsface_token_t *token,
    ngx_int_t rc, ngx_msec_t next);
static ngx_uint_t ngx_http_tsface_token_refused(
    const ngx_http_tsface_token_t *token);
static ngx_int_t ngx_http_tsface_token_fetch(ngx_http_tsface_token_t *token);
static ngx_int_t ngx_http_tsface_token_exchange(
    ngx_http_tsface_token_t *token);
static void ngx_http_tsface_token_exchanged(void *data,
    const ngx_http_tsface_exchange_result_t *result);
static ngx_int_t ngx_http_tsface_token_other(ngx_http_tsface_token_t *token,
    const ngx_http_tsface_exchange_result_t *result);
static void ngx_http_tsface_token_store(ngx_http_tsface_token_t *token,
    const ngx_http_tsface_exchange_result_t *result);
static void ngx_http_tsface_token_failed(ngx_http_tsface_token_t *token,
    const ngx_http_tsface_exchange_result_t *result);


/*
 * Makes an exchange if one is due and nobody else makes it, and sets the
 * timer for the next look.
 */
void
ngx_http_tsface_token_poke(ngx_http_tsface_token_t *token)
{
    ngx_int_t   rc;
    ngx_msec_t  now, next;

    if (token->fetching || token->slot == NULL) {
        return;
    }

    /*
     * A worker that leaves fetches only for requests it still has.  Others may
     * still come to need the slot: it must not be given up, and be another's.
     */

    if ((ngx_exiting || ngx_terminate) && ngx_queue_empty(&token->waiters)) {
        ngx_http_tsface_token_sync(token);
        ngx_add_timer(&token->timer, NGX_HTTP_TSFACE_TOKEN_TOUCH);
        return;
    }

    now = ngx_current_msec;
    next = now;

    rc = ngx_http_tsface_slot_lease(token->zone, token->slot,
                                    !ngx_queue_empty(&token->waiters), now,
                                    ngx_http_tsface_token_until(token),
                                    &token->lease, &next);

    if (rc == NGX_OK) {
        token->fetching = 1;

        if (ngx_http_tsface_rotation_read(&token->rotation) == NGX_AGAIN
            || ngx_http_tsface_token_fetch(token) == NGX_OK)
        {
            return;
        }

        next = now + NGX_HTTP_TSFACE_PLAN_MAX_DELAY;
    }

    if (rc == NGX_BUSY
        && ngx_http_tsface_slot_reap_lease(token->zone, token->slot))
    {
        next = now;
    }

    ngx_http_tsface_token_schedule(token, rc, next);
}


/* When an exchange that begins now has ended, with or without a token. */
static ngx_msec_t
ngx_http_tsface_token_until(const ngx_http_tsface_token_t *token)
{
    ngx_msec_t  until;

    until = ngx_current_msec + token->credentials->exchange_timeout
            + NGX_HTTP_TSFACE_TOKEN_GRACE;

    if (ngx_http_tsface_rotation_rereads(token->credentials)) {
        until += NGX_HTTP_TSFACE_ROTATION_WAIT;
    }

    return until;
}


/* rc as of slot_lease(): why there is nothing to do before next. */
static void
ngx_http_tsface_token_schedule(ngx_http_tsface_token_t *token, ngx_int_t rc,
    ngx_msec_t next)
{
    ngx_msec_t       delay;
    ngx_msec_int_t   left;

    left = (ngx_msec_int_t) (next - ngx_current_msec);
    delay = left > 0 ? (ngx_msec_t) left : 1;

    if (!ngx_queue_empty(&token->waiters)) {
        delay = ngx_min(delay, NGX_HTTP_TSFACE_TOKEN_POLL);

    } else if (rc == NGX_DECLINED && token->info.valid) {
        /*
         * The worker that fetched this token has its timer at the very time;
         * the others come behind it, apart from each other.
         */

        delay += NGX_HTTP_TSFACE_TOKEN_BACKUP * (ngx_worker % 4)
                 + (ngx_msec_t) ngx_random() % 500;
    }

    if (ngx_http_tsface_token_refused(token)
        && ngx_http_tsface_rotation_rereads(token->credentials))
    {
        delay = ngx_min(delay, NGX_HTTP_TSFACE_TOKEN_REREAD);
    }

    delay = ngx_min(delay, NGX_HTTP_TSFACE_TOKEN_TOUCH);

    ngx_add_timer(&token->timer, delay);
}


/* Whether the pause is on in which only other secrets would help. */
static ngx_uint_t
ngx_http_tsface_token_refused(const ngx_http_tsface_token_t *token)
{
    return token->info.fails
           && token->info.failure == NGX_HTTP_TSFACE_EXCHANGE_REJECTED;
}


void
ngx_http_tsface_token_timer(ngx_event_t *ev)
{
    ngx_http_tsface_token_t *token = ev->data;

    ngx_http_tsface_zone_sweep(token->zone);

    /* a predecessor's number may be there, if it was killed */

    ngx_http_tsface_slot_wait(token->zone, token->slot, *token->waiting);

    if (token->info.version != ngx_http_tsface_slot_version(token->slot)) {
        ngx_http_tsface_token_sync(token);
        ngx_http_tsface_token_release(token);
    }

    if (!token->fetching
        && !ngx_exiting
        && ngx_http_tsface_token_refused(token)
        && ngx_http_tsface_rotation_read(&token->rotation) == NGX_AGAIN)
    {
        return;
    }

    ngx_http_tsface_token_poke(token);
}


/* The files of the secrets were read again. */
void
ngx_http_tsface_token_reread(void *data)
{
    ngx_http_tsface_token_t *token = data;

    if (token->fetching) {

        if (ngx_http_tsface_token_fetch(token) != NGX_OK) {
            ngx_http_tsface_token_schedule(token, NGX_OK,
                                           ngx_current_msec
                                           + NGX_HTTP_TSFACE_PLAN_MAX_DELAY);
        }

        return;
    }

    /* what could not be read again is no news: another worker's may be */

    if (token->rotation.news
        && ngx_http_tsface_slot_hurry(token->zone, token->slot,
                                      token->rotation.both, ngx_current_msec))
    {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "tsface tries the changed secret of credentials \"%V\"",
                      &token->credentials->name);
    }

    ngx_http_tsface_token_poke(token);
}


/* Under the lease: begins with the secret that worked the last time. */
static ngx_int_t
ngx_http_tsface_token_fetch(ngx_http_tsface_token_t *token)
{
    const ngx_http_tsface_rotation_t  *rotation;

    ngx_http_tsface_token_sync(token);

    rotation = &token->rotation;

    token->secret = (rotation->secret[1].len
                     && token->info.secret
                     && ngx_memcmp(token->info.works, rotation->digest[1],
                                   NGX_HTTP_TSFACE_SECRET_DIGEST_LEN)
                        == 0);
    token->second = 0;

    /* a reading that hung may bring others before the exchange ends */

    ngx_memcpy(token->both, rotation->both, sizeof(token->both));

    if (ngx_http_tsface_token_exchange(token) == NGX_OK) {
        return NGX_OK;
    }

    token->fetching = 0;

    (void) ngx_http_tsface_slot_fail(token->zone, token->slot, token->lease,
                                     NGX_HTTP_TSFACE_EXCHANGE_NETWORK, NULL,
                                     ngx_current_msec
                                     + NGX_HTTP_TSFACE_PLAN_MAX_DELAY);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_tsface_token_exchange(ngx_http_tsface_token_t *token)
{
    const ngx_str_t  *secret;

    secret = &token->rotation.secret[token->secret];

    ngx_memcpy(token->digest, token->rotation.digest[token->secret],
               sizeof(token->digest));

    token->exchange = ngx_http_tsface_exchange_start(token->credentials,
                                               secret->len ? secret : NULL,
                                               ngx_http_tsface_token_exchanged,
                                               token);

    return token->exchange ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_tsface_token_exchanged(void *data,
    const ngx_http_tsface_exchange_result_t *result)
{
    ngx_http_tsface_token_t *token = data;

    token->exchange = NULL;

    ngx_http_tsface_slot_exchanged(token->slot, result->took);

    if (result->result == NGX_HTTP_TSFACE_EXCHANGE_OK) {
        ngx_http_tsface_token_store(token, result);

    } else {

        if (result->result == NGX_HTTP_TSFACE_EXCHANGE_REJECTED
            && ngx_http_tsface_token_other(token, result) == NGX_OK)
        {
            return;
        }

        ngx_http_tsface_token_failed(token, result);
    }

    token->fetching = 0;

    ngx_http_tsface_token_sync(token);
    ngx_http_tsface_token_release(token);
    ngx_http_tsface_token_poke(token);

    ngx_http_tsface_wake_all(ngx_cycle->log);
}


/* A secret was refused: tries the other one at once, if there is one. */
static ngx_int_t
ngx_http_tsface_token_other(ngx_http_tsface_token_t *token,
    const ngx_http_tsface_exchange_result_t *result)
{
    ngx_uint_t                   level, refused;
    ngx_http_tsface_rotation_t  *rotation;

    rotation = &token->rotation;

    if (token->second || rotation->secret[1].len == 0) {
        return NGX_DECLINED;
    }

    /* or another worker has taken over */

    if (ngx_http_tsface_slot_again(token->zone, token->slot, token->lease,
                                   result->result,
                                   ngx_http_tsface_token_until(token))
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    refused = token->secret + 1;

    token->second = 1;
    token->secret = !token->secret;

    if (ngx_http_tsface_token_exchange(token) != NGX_OK) {
        return NGX_ERROR;
    }

    level = token->info.fails ? NGX_LOG_INFO : NGX_LOG_WARN;

    ngx_log_error(level, ngx_cycle->log, 0,
                  "tsface secret %ui of credentials \"%V\" was refused with "
                  "status %ui, trying the other",
                  refused, &token->credentials->name, result->status);

    return NGX_OK;
}


static void
ngx_http_tsface_token_store(ngx_http_tsface_token_t *token,
    const ngx_http_tsface_exchange_result_t *result)
{
    ngx_int_t                           rc;
    ngx_msec_t                          now;
    ngx_http_tsface_plan_t              plan;
    ngx_http_tsface_slot_secret_t       secret;
    ngx_http_tsface_exchange_result_t   unkept;

    now = ngx_current_msec;

    /* the life time counts from when the token was asked for */

    ngx_http_tsface_plan_token(&plan, now - result->took, result->ttl,
                               token->credentials->min_interval,
                               (uint32_t) ngx_random());

    secret.number = token->rotation.secret[0].len ? token->secret + 1 : 0;
    secret.works = token->digest;

    rc = ngx_http_tsface_slot_store(token->zone, token->slot, token->lease,
                                    &result->token, &secret, now, &plan,
                                    now + token->credentials->min_interval);

    if (rc == NGX_ERROR) {
        unkept = *result;
        unkept.result = NGX_HTTP_TSFACE_EXCHANGE_UNKEPT;
        unkept.error = "the token was not kept";

        if (token->info.failure != NGX_HTTP_TSFACE_EXCHANGE_UNKEPT) {
            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                          "tsface_zone \"%V\" is full: the token of "
                          "credentials \"%V\" can't be kept, make the zone "
                          "larger",
                          &token->zone->shm.name, &token->credentials->name);
        }

        ngx_http_tsface_token_failed(token, &unkept);
        return;
    }

    if (rc != NGX_OK) {
        /* the lease was lost: the slot is another worker's matter */
        return;
    }

    /* info is of the time before */

    if (token->info.secret
        && (token->info.secret != secret.number
            || ngx_memcmp(token->info.works, secret.works,
                          NGX_HTTP_TSFACE_SECRET_DIGEST_LEN)
               != 0))
    {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "tsface uses secret %ui of credentials \"%V\" now",
                      secret.number, &token->credentials->name);
    }

    if (token->info.fails || token->info.generation == 0) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "tsface has a token for credentials \"%V\", after %ui "
                      "failed exchanges",
                      &token->credentials->name, token->info.fails);
    }
}


static void
ngx_http_tsface_token_failed(ngx_http_tsface_token_t *token,
    const ngx_http_tsface_exchange_result_t *result)
{
    ngx_msec_t     delay;
    ngx_uint_t     level;
    const u_char  *refused;

    refused = (result->result == NGX_HTTP_TSFACE_EXCHANGE_REJECTED)
              ? token->both : NULL;

    delay = ngx_http_tsface_plan_delay(result->result, token->info.fails + 1,
                                       result->retry_after,
                                       (uint32_t) ngx_random());

    (void) ngx_http_tsface_slot_fail(token->zone, token->slot, token->lease,
                                     result->result, refused,
                                     ngx_current_msec + delay);

    /* once per change of state; the rest is in the status */

    level = (token->info.fails == 0 || token->info.failure != result->result)
            ? NGX_LOG_ERR : NGX_LOG_INFO;

    ngx_log_error(level, ngx_cycle->log, 0,
                  "tsface exchange for credentials \"%V\" failed: %s, "
                  "status %ui, next in %M ms",
                  &token->credentials->name, result->error, result->status,
                  delay);
}
