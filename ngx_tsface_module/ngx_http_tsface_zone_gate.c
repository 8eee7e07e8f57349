
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_clock.h"
#include "ngx_http_tsface_zone_gate.h"
#include "ngx_http_tsface_zone_layout.h"


/* While requests are refused, how often to look for dead processes, in us. */
#define NGX_HTTP_TSFACE_GATE_REAP   100000


static ngx_http_tsface_zone_gate_t *ngx_http_tsface_zone_gate_find(
    ngx_http_tsface_zone_t *zone, const u_char *key);
static ngx_http_tsface_zone_gate_t *ngx_http_tsface_zone_gate_add(
    ngx_http_tsface_zone_t *zone, const u_char *key);
static ngx_http_tsface_zone_gate_t **ngx_http_tsface_zone_gate_chain(
    ngx_http_tsface_zone_t *zone, const u_char *key);
static ngx_uint_t ngx_http_tsface_zone_gate_reap(ngx_http_tsface_zone_t *zone,
    ngx_http_tsface_zone_gate_t *zg, uint64_t now, ngx_uint_t often);


ngx_int_t
ngx_http_tsface_slot_gate(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, const u_char *key)
{
    ngx_http_tsface_zone_t       *zone;
    ngx_http_tsface_zone_gate_t  *zg;

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    zg = slot->gate;

    if (zg == NULL) {
        zg = ngx_http_tsface_zone_gate_find(zone, key);

        if (zg == NULL) {
            zg = ngx_http_tsface_zone_gate_add(zone, key);
        }

        slot->gate = zg;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return zg ? NGX_OK : NGX_ERROR;
}


static ngx_http_tsface_zone_gate_t *
ngx_http_tsface_zone_gate_find(ngx_http_tsface_zone_t *zone,
    const u_char *key)
{
    ngx_http_tsface_zone_gate_t  *zg;

    for (zg = *ngx_http_tsface_zone_gate_chain(zone, key); zg; zg = zg->next) {
        if (ngx_memcmp(zg->key, key, NGX_HTTP_TSFACE_FINGERPRINT_LEN) == 0) {
            return zg;
        }
    }

    return NULL;
}


static ngx_http_tsface_zone_gate_t *
ngx_http_tsface_zone_gate_add(ngx_http_tsface_zone_t *zone, const u_char *key)
{
    ngx_http_tsface_zone_gate_t  *zg, **chain;

    zg = ngx_slab_calloc_locked(zone->shpool,
                                sizeof(ngx_http_tsface_zone_gate_t));

    if (zg == NULL) {
        ngx_http_tsface_zone_expire(zone);

        zg = ngx_slab_calloc_locked(zone->shpool,
                                    sizeof(ngx_http_tsface_zone_gate_t));
        if (zg == NULL) {
            return NULL;
        }
    }

    ngx_memcpy(zg->key, key, NGX_HTTP_TSFACE_FINGERPRINT_LEN);

    chain = ngx_http_tsface_zone_gate_chain(zone, key);
    zg->next = *chain;
    ngx_memory_barrier();
    *chain = zg;

    return zg;
}


static ngx_http_tsface_zone_gate_t **
ngx_http_tsface_zone_gate_chain(ngx_http_tsface_zone_t *zone,
    const u_char *key)
{
    return &zone->sh->gates[key[0] % NGX_HTTP_TSFACE_ZONE_CHAINS];
}


void
ngx_http_tsface_zone_gate_expire(ngx_http_tsface_zone_t *zone)
{
    ngx_uint_t                    i;
    ngx_http_tsface_slot_t       *slot;
    ngx_http_tsface_zone_gate_t  *zg, **p;

    for (i = 0; i < NGX_HTTP_TSFACE_ZONE_CHAINS; i++) {
        for (zg = zone->sh->gates[i]; zg; zg = zg->next) {
            zg->used = 0;
        }
    }

    for (i = 0; i < NGX_HTTP_TSFACE_ZONE_CHAINS; i++) {
        for (slot = zone->sh->slots[i]; slot; slot = slot->next) {
            if (slot->gate) {
                slot->gate->used = 1;
            }
        }
    }

    for (i = 0; i < NGX_HTTP_TSFACE_ZONE_CHAINS; i++) {

        p = &zone->sh->gates[i];

        while (*p) {
            zg = *p;

            if (zg->used) {
                p = &zg->next;
                continue;
            }

            *p = zg->next;
            ngx_slab_free_locked(zone->shpool, zg);
        }
    }
}


ngx_http_tsface_gate_verdict_e
ngx_http_tsface_slot_enter(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_gate_ticket_t *ticket, uint64_t *retry,
    ngx_uint_t *events)
{
    uint64_t                         now;
    ngx_uint_t                       n, before;
    ngx_http_tsface_zone_t          *zone;
    ngx_http_tsface_zone_gate_t     *zg;
    ngx_http_tsface_gate_verdict_e   verdict;

    zone = shm_zone->data;
    zg = slot->gate;
    before = 0;

    for (n = 0; /* void */ ; n++) {
        now = ngx_http_tsface_clock();

        ngx_shmtx_lock(&zone->shpool->mutex);

        verdict = ngx_http_tsface_gate_enter(&zg->gate, conf, ngx_pid, now,
                                             ticket, retry, events);

        ngx_shmtx_unlock(&zone->shpool->mutex);

        *events |= before;
        before = *events;

        if (verdict == NGX_HTTP_TSFACE_GATE_OK) {
            return verdict;
        }

        if (n || verdict == NGX_HTTP_TSFACE_GATE_THROTTLED
            || !ngx_http_tsface_zone_gate_reap(zone, zg, now, 0))
        {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&zg->refused[verdict], 1);

    return verdict;
}


/*
 * kill() is a system call: not under the lock, and not for each of the many
 * that are refused.  Returns whether any had died.
 */
static ngx_uint_t
ngx_http_tsface_zone_gate_reap(ngx_http_tsface_zone_t *zone,
    ngx_http_tsface_zone_gate_t *zg, uint64_t now, ngx_uint_t often)
{
    ngx_pid_t   pids[NGX_HTTP_TSFACE_GATE_HOLDERS + 1];
    ngx_uint_t  i, n, dead;

    n = 0;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (often || now - zg->reaped >= NGX_HTTP_TSFACE_GATE_REAP) {
        zg->reaped = now;

        for (i = 0; i < NGX_HTTP_TSFACE_GATE_HOLDERS; i++) {
            if (zg->gate.holders[i].pid) {
                pids[n++] = zg->gate.holders[i].pid;
            }
        }

        if (zg->gate.probe) {
            pids[n++] = zg->gate.probe_pid;
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    dead = 0;

    for (i = 0; i < n; i++) {

        if (pids[i] == ngx_pid || ngx_http_tsface_zone_lives(pids[i])) {
            continue;
        }

        ngx_shmtx_lock(&zone->shpool->mutex);
        (void) ngx_http_tsface_gate_reap(&zg->gate, pids[i]);
        ngx_shmtx_unlock(&zone->shpool->mutex);

        dead = 1;
    }

    return dead;
}


ngx_http_tsface_gate_verdict_e
ngx_http_tsface_slot_send(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_gate_ticket_t *ticket, uint64_t *wait, uint64_t *retry,
    ngx_uint_t *events)
{
    uint64_t                         now;
    ngx_http_tsface_zone_t          *zone;
    ngx_http_tsface_zone_gate_t     *zg;
    ngx_http_tsface_gate_verdict_e   verdict;

    zone = shm_zone->data;
    zg = slot->gate;

    now = ngx_http_tsface_clock();

    ngx_shmtx_lock(&zone->shpool->mutex);

    verdict = ngx_http_tsface_gate_send(&zg->gate, conf, ticket, now, wait,
                                        retry, events);

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (verdict != NGX_HTTP_TSFACE_GATE_OK) {
        (void) ngx_atomic_fetch_add(&zg->refused[verdict], 1);
    }

    return verdict;
}


void
ngx_http_tsface_slot_enter_again(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_gate_ticket_t *ticket)
{
    uint64_t                 now;
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;
    now = ngx_http_tsface_clock();

    ngx_shmtx_lock(&zone->shpool->mutex);
    ngx_http_tsface_gate_again(&slot->gate->gate, conf, ticket, now);
    ngx_shmtx_unlock(&zone->shpool->mutex);
}


ngx_uint_t
ngx_http_tsface_slot_leave(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, const ngx_http_tsface_gate_conf_t *conf,
    const ngx_http_tsface_gate_ticket_t *ticket,
    ngx_http_tsface_gate_result_e result, uint64_t retry_after)
{
    uint32_t                      chance;
    uint64_t                      now;
    ngx_uint_t                    events;
    ngx_http_tsface_zone_t       *zone;
    ngx_http_tsface_zone_gate_t  *zg;

    zone = shm_zone->data;
    zg = slot->gate;

    chance = (uint32_t) ngx_random();
    now = ngx_http_tsface_clock();

    ngx_shmtx_lock(&zone->shpool->mutex);

    events = ngx_http_tsface_gate_leave(&zg->gate, conf, ticket, ngx_pid,
                                        result, retry_after, now, chance);

    if (events & (NGX_HTTP_TSFACE_GATE_EV_OPENED
                  |NGX_HTTP_TSFACE_GATE_EV_REOPENED))
    {
        zg->opened++;
    }

    if (events & NGX_HTTP_TSFACE_GATE_EV_THROTTLED) {
        zg->pauses++;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return events;
}


void
ngx_http_tsface_slot_reap_gate(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    /* a single process has its requests over a reload */

    if (ngx_process == NGX_PROCESS_WORKER) {
        ngx_shmtx_lock(&zone->shpool->mutex);
        (void) ngx_http_tsface_gate_reap(&slot->gate->gate, ngx_pid);
        ngx_shmtx_unlock(&zone->shpool->mutex);
    }

    (void) ngx_http_tsface_zone_gate_reap(zone, slot->gate,
                                          ngx_http_tsface_clock(), 1);
}


void
ngx_http_tsface_slot_gate_stat(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_zone_gate_stat_t *stat)
{
    uint64_t                      now;
    ngx_uint_t                    i;
    ngx_http_tsface_zone_t       *zone;
    ngx_http_tsface_gate_stat_t   gate;
    ngx_http_tsface_zone_gate_t  *zg;

    zone = shm_zone->data;
    zg = slot->gate;

    now = ngx_http_tsface_clock();

    ngx_shmtx_lock(&zone->shpool->mutex);

    ngx_http_tsface_gate_stat(&zg->gate, conf, now, &gate);

    for (i = 0; i < NGX_HTTP_TSFACE_GATE_NVERDICTS; i++) {
        stat->refused[i] = zg->refused[i];
    }

    stat->opened = zg->opened;
    stat->pauses = zg->pauses;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    stat->breaker = gate.breaker;
    stat->open = (ngx_msec_t) ((gate.open + 999) / 1000);
    stat->paused = (ngx_msec_t) ((gate.throttled + 999) / 1000);
    stat->failures = gate.failures;
    stat->in_flight = gate.in_flight;
}
