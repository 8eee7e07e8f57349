
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_token_refresh.h"
#include "ngx_http_tsface_wake.h"


/* A first guess: tokens of Transmit are JWTs of about a thousand bytes. */
#define NGX_HTTP_TSFACE_TOKEN_SIZE      1536

/* Waiters resumed in one turn of the event loop. */
#define NGX_HTTP_TSFACE_TOKEN_BATCH     64


static ngx_uint_t ngx_http_tsface_token_usable(
    const ngx_http_tsface_token_t *token);
static ngx_uint_t ngx_http_tsface_token_hopeless(
    const ngx_http_tsface_token_t *token, ngx_msec_t *retry);
static void ngx_http_tsface_token_woken(void);
static ngx_uint_t ngx_http_tsface_token_outdated(
    const ngx_http_tsface_token_t *token);
static void ngx_http_tsface_token_resume(ngx_event_t *ev);


/* The worker's tokens, for the wake-up that belongs to none of them. */
static ngx_http_tsface_token_t  *ngx_http_tsface_tokens;
static ngx_uint_t                ngx_http_tsface_ntokens;


ngx_int_t
ngx_http_tsface_token_start(ngx_cycle_t *cycle, ngx_shm_zone_t *zone,
    const ngx_array_t *credentials)
{
    ngx_uint_t                       i;
    ngx_http_tsface_token_t         *token;
    ngx_http_tsface_credentials_t  **cp;

    ngx_http_tsface_tokens = NULL;
    ngx_http_tsface_ntokens = 0;

    if (credentials->nelts == 0) {
        return NGX_OK;
    }

    token = ngx_pcalloc(cycle->pool,
                        credentials->nelts * sizeof(ngx_http_tsface_token_t));
    if (token == NULL) {
        return NGX_ERROR;
    }

    ngx_http_tsface_zone_worker_start(zone);

    cp = credentials->elts;

    for (i = 0; i < credentials->nelts; i++) {
        token[i].credentials = cp[i];
        token[i].waiting = &token[cp[i]->first->index].count;
        token[i].zone = zone;

        ngx_queue_init(&token[i].waiters);
        ngx_queue_init(&token[i].ready);

        token[i].timer.handler = ngx_http_tsface_token_timer;
        token[i].timer.data = &token[i];
        token[i].timer.log = cycle->log;
        token[i].timer.cancelable = 1;

        token[i].resume.handler = ngx_http_tsface_token_resume;
        token[i].resume.data = &token[i];
        token[i].resume.log = cycle->log;

        token[i].rotation.credentials = cp[i];
        token[i].rotation.handler = ngx_http_tsface_token_reread;
        token[i].rotation.data = &token[i];

        if (ngx_http_tsface_rotation_start(&token[i].rotation, cycle->log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        token[i].slot = ngx_http_tsface_zone_slot(zone, cp[i]->fingerprint);

        if (token[i].slot
            && ngx_http_tsface_slot_gate(zone, token[i].slot, cp[i]->gate_key)
               != NGX_OK)
        {
            token[i].slot = NULL;
        }

        if (token[i].slot == NULL) {
            ngx_log_error(NGX_LOG_CRIT, cycle->log, 0,
                          "tsface_zone \"%V\" is full: credentials \"%V\" "
                          "can't be used, make the zone larger",
                          &zone->shm.name, &cp[i]->name);

        } else {
            /*
             * The master has just replaced a worker that died, maybe in an
             * exchange or at the endpoint: its lease and its requests in
             * flight end without waiting for their time.
             */

            (void) ngx_http_tsface_slot_reap_lease(zone, token[i].slot);
            ngx_http_tsface_slot_reap_gate(zone, token[i].slot);

            /*
             * And a reload may have brought a secret that is not refused.
             * Where workers read it again, the master's may be an old one.
             */

            if (!ngx_http_tsface_rotation_rereads(cp[i])) {
                (void) ngx_http_tsface_slot_hurry(zone, token[i].slot,
                                                  token[i].rotation.both,
                                                  ngx_current_msec);
            }

            ngx_http_tsface_token_sync(&token[i]);

            /* connecting needs the event loop */

            ngx_add_timer(&token[i].timer, 1);
        }

        cp[i]->token = &token[i];
    }

    ngx_http_tsface_tokens = token;
    ngx_http_tsface_ntokens = credentials->nelts;

    return ngx_http_tsface_wake_start(cycle, ngx_http_tsface_token_woken);
}


void
ngx_http_tsface_token_stop(void)
{
    ngx_uint_t                i;
    ngx_http_tsface_token_t  *token;

    for (i = 0; i < ngx_http_tsface_ntokens; i++) {
        token = &ngx_http_tsface_tokens[i];

        if (token->exchange) {
            ngx_http_tsface_exchange_cancel(token->exchange);
            token->exchange = NULL;
        }

        ngx_http_tsface_rotation_stop(&token->rotation);

        if (token->value) {
            ngx_explicit_memzero(token->value, token->size);
            ngx_free(token->value);
            token->value = NULL;
        }
    }

    ngx_http_tsface_ntokens = 0;
}


ngx_http_tsface_slot_t *
ngx_http_tsface_token_slot(const ngx_http_tsface_token_t *token)
{
    return token->slot;
}


ngx_int_t
ngx_http_tsface_token_get(ngx_http_tsface_token_t *token,
    ngx_http_tsface_token_value_t *value, ngx_msec_t *retry)
{
    if (token->slot == NULL) {
        *retry = NGX_HTTP_TSFACE_PLAN_COOLDOWN;
        return NGX_DECLINED;
    }

    if (token->info.version != ngx_http_tsface_slot_version(token->slot)) {
        ngx_http_tsface_token_sync(token);

        /* the wake-up on its way will find nothing new: others wait for this */

        ngx_http_tsface_token_release(token);
    }

    if (ngx_http_tsface_token_usable(token)) {
        value->value.data = token->value;
        value->value.len = token->info.len;
        value->generation = token->info.generation;
        value->age = ngx_http_tsface_token_age(token->info.obtained);
        return NGX_OK;
    }

    return ngx_http_tsface_token_hopeless(token, retry) ? NGX_DECLINED
                                                        : NGX_AGAIN;
}


void
ngx_http_tsface_token_wait(ngx_http_tsface_token_t *token,
    ngx_http_tsface_token_waiter_t *waiter)
{
    ngx_queue_insert_tail(&token->waiters, &waiter->queue);

    (*token->waiting)++;
    ngx_http_tsface_slot_wait(token->zone, token->slot, *token->waiting);

    /* the first of them sees to it that somebody fetches a token */

    if (ngx_queue_head(&token->waiters) == &waiter->queue) {
        ngx_http_tsface_token_poke(token);
    }
}


void
ngx_http_tsface_token_unwait(ngx_http_tsface_token_t *token,
    ngx_http_tsface_token_waiter_t *waiter)
{
    /* out of either queue */

    ngx_queue_remove(&waiter->queue);

    (*token->waiting)--;
    ngx_http_tsface_slot_wait(token->zone, token->slot, *token->waiting);
}


void
ngx_http_tsface_token_reject(ngx_http_tsface_token_t *token,
    ngx_uint_t generation)
{
    if (!ngx_http_tsface_slot_reject(token->zone, token->slot, generation)) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "tsface token %ui of credentials \"%V\" was rejected by the "
                  "endpoint, fetching another",
                  generation, &token->credentials->name);

    ngx_http_tsface_token_sync(token);
    ngx_http_tsface_token_poke(token);
}


void
ngx_http_tsface_token_stat(ngx_http_tsface_token_t *token,
    ngx_http_tsface_token_stat_t *stat)
{
    ngx_msec_int_t  left;

    ngx_memzero(stat, sizeof(ngx_http_tsface_token_stat_t));

    if (token->slot == NULL) {
        return;
    }

    (void) ngx_http_tsface_slot_read(token->zone, token->slot, &stat->slot,
                                     NULL, 0);

    ngx_http_tsface_slot_exchange_stat(token->slot, &stat->exchange);

    ngx_http_tsface_slot_gate_stat(token->zone, token->slot,
                                   &token->credentials->gate, &stat->gate);

    stat->waiting = ngx_http_tsface_slot_waiting(token->zone, token->slot);

    left = (ngx_msec_int_t) (stat->slot.expires - ngx_current_msec);

    if (stat->slot.valid && left > 0) {
        stat->usable = 1;
        stat->serves = (ngx_msec_t) left;
    }
}


/* The worker that obtained the token may be ahead: it has read the clock. */
ngx_msec_t
ngx_http_tsface_token_age(ngx_msec_t obtained)
{
    ngx_msec_int_t  age;

    age = (ngx_msec_int_t) (ngx_current_msec - obtained);

    return age > 0 ? (ngx_msec_t) age : 0;
}


/* Copies the zone's state, and the token if there is one. */
void
ngx_http_tsface_token_sync(ngx_http_tsface_token_t *token)
{
    u_char  *value;
    size_t   size;

    size = token->size ? token->size : NGX_HTTP_TSFACE_TOKEN_SIZE;

    /* at most twice, unless the token grows meanwhile */

    for ( ;; ) {

        if (token->size < size) {
            value = ngx_alloc(size, ngx_cycle->log);
            if (value == NULL) {
                return;
            }

            if (token->value) {
                ngx_explicit_memzero(token->value, token->size);
                ngx_free(token->value);
            }

            token->value = value;
            token->size = size;
        }

        if (ngx_http_tsface_slot_read(token->zone, token->slot, &token->info,
                                      token->value, token->size)
            == NGX_OK)
        {
            break;
        }

        size = token->info.len;
        token->info.len = 0;
        token->info.version = 0;
    }

    /* of an older one that was longer */

    ngx_explicit_memzero(token->value + token->info.len,
                         token->size - token->info.len);
}


static ngx_uint_t
ngx_http_tsface_token_usable(const ngx_http_tsface_token_t *token)
{
    return token->info.valid && token->info.len
           && (ngx_msec_int_t) (token->info.expires - ngx_current_msec) > 0;
}


/* Whether the next exchange is further away than a request would wait. */
static ngx_uint_t
ngx_http_tsface_token_hopeless(const ngx_http_tsface_token_t *token,
    ngx_msec_t *retry)
{
    ngx_msec_int_t  left;

    if (token->info.leased
        || token->info.failure == NGX_HTTP_TSFACE_EXCHANGE_OK)
    {
        return 0;
    }

    left = (ngx_msec_int_t) (token->info.not_before - ngx_current_msec);

    if (left <= (ngx_msec_int_t) token->credentials->token_wait) {
        return 0;
    }

    *retry = (ngx_msec_t) left;

    return 1;
}


/* Some worker changed some slot. */
static void
ngx_http_tsface_token_woken(void)
{
    ngx_uint_t                i;
    ngx_http_tsface_token_t  *token;

    for (i = 0; i < ngx_http_tsface_ntokens; i++) {
        token = &ngx_http_tsface_tokens[i];

        if (token->slot == NULL
            || token->info.version == ngx_http_tsface_slot_version(token->slot))
        {
            continue;
        }

        ngx_http_tsface_token_sync(token);
        ngx_http_tsface_token_release(token);

        /* another worker has read a changed secret: this one has the old */

        if (ngx_http_tsface_token_outdated(token)
            && ngx_http_tsface_rotation_read(&token->rotation) == NGX_AGAIN)
        {
            continue;
        }

        ngx_http_tsface_token_poke(token);
    }
}


static ngx_uint_t
ngx_http_tsface_token_outdated(const ngx_http_tsface_token_t *token)
{
    ngx_uint_t  i;

    if (token->fetching || token->info.secret == 0) {
        return 0;
    }

    for (i = 0; i < 2; i++) {
        if (ngx_memcmp(token->info.works, token->rotation.digest[i],
                       NGX_HTTP_TSFACE_SECRET_DIGEST_LEN)
            == 0)
        {
            return 0;
        }
    }

    return 1;
}


/*
 * If waiting has come to an end, for better or worse, lets the waiters look
 * again, a batch in each turn of the event loop.
 */
void
ngx_http_tsface_token_release(ngx_http_tsface_token_t *token)
{
    ngx_msec_t  retry;

    if (ngx_queue_empty(&token->waiters)
        || (!ngx_http_tsface_token_usable(token)
            && !ngx_http_tsface_token_hopeless(token, &retry)))
    {
        return;
    }

    ngx_queue_add(&token->ready, &token->waiters);
    ngx_queue_init(&token->waiters);

    ngx_post_event(&token->resume, &ngx_posted_next_events);
}


static void
ngx_http_tsface_token_resume(ngx_event_t *ev)
{
    ngx_http_tsface_token_t *token = ev->data;

    ngx_uint_t                       n;
    ngx_queue_t                     *q;
    ngx_http_tsface_token_waiter_t  *waiter;

    for (n = 0; n < NGX_HTTP_TSFACE_TOKEN_BATCH; n++) {

        if (ngx_queue_empty(&token->ready)) {
            return;
        }

        q = ngx_queue_head(&token->ready);
        waiter = ngx_queue_data(q, ngx_http_tsface_token_waiter_t, queue);

        ngx_http_tsface_token_unwait(token, waiter);

        waiter->handler(waiter->data);
    }

    if (!ngx_queue_empty(&token->ready)) {
        ngx_post_event(&token->resume, &ngx_posted_next_events);
    }
}
