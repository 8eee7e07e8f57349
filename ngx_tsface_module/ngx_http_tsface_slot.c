
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_zone_layout.h"


/* A place in a lane that was not used in time is lost. */
#define NGX_HTTP_TSFACE_PLACE_LATE     1000


static ngx_uint_t ngx_http_tsface_slot_place(ngx_http_tsface_zone_t *zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t urgent, ngx_msec_t now);
static ngx_uint_t ngx_http_tsface_slot_holds(
    const ngx_http_tsface_slot_t *slot, ngx_uint_t lease);


ngx_uint_t
ngx_http_tsface_slot_version(const ngx_http_tsface_slot_t *slot)
{
    return slot->version;
}


ngx_int_t
ngx_http_tsface_slot_read(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, ngx_http_tsface_slot_info_t *info,
    u_char *token, size_t size)
{
    ngx_int_t                rc;
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;
    rc = NGX_OK;

    ngx_shmtx_lock(&zone->shpool->mutex);

    slot->touched = ngx_current_msec;

    info->version = slot->version;
    info->generation = slot->generation;
    info->valid = slot->valid;
    info->obtained = slot->obtained;
    info->expires = slot->expires;
    info->refresh = slot->refresh;
    info->failure = slot->failure;
    info->fails = slot->fails;
    info->not_before = slot->not_before;
    info->leased = (slot->lease_pid != 0);

    info->secret = slot->secret;

    ngx_memcpy(info->works, slot->works, sizeof(info->works));
    ngx_memcpy(info->exchanges, slot->exchanges, sizeof(info->exchanges));

    info->len = slot->valid ? ngx_min(slot->len, NGX_HTTP_TSFACE_MAX_TOKEN) : 0;

    if (token && info->len) {

        if (info->len <= size) {
            ngx_memcpy(token, slot->token, info->len);

        } else {
            rc = NGX_AGAIN;
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


ngx_int_t
ngx_http_tsface_slot_lease(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t urgent, ngx_msec_t now,
    ngx_msec_t until, ngx_uint_t *lease, ngx_msec_t *next)
{
    ngx_int_t                rc;
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    slot->touched = now;

    if (slot->lease_pid && ngx_http_tsface_later(slot->lease_until, now)) {
        *next = slot->lease_until;
        rc = NGX_BUSY;

    } else if (slot->timed && ngx_http_tsface_later(slot->not_before, now)) {
        *next = slot->not_before;

        if (slot->valid && ngx_http_tsface_later(slot->refresh, *next)) {
            *next = slot->refresh;
        }

        rc = NGX_DECLINED;

    } else if (slot->valid && ngx_http_tsface_later(slot->refresh, now)) {
        *next = slot->refresh;
        rc = NGX_DECLINED;

    } else if (!ngx_http_tsface_slot_place(zone, slot, urgent, now)) {
        *next = slot->place;
        rc = NGX_AGAIN;

    } else {
        slot->placed = 0;
        slot->lease++;
        slot->lease_until = until;
        slot->lease_pid = ngx_pid;

        *lease = slot->lease;
        rc = NGX_OK;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


/*
 * Under the lock: whether the slot's turn has come.  It gets a place in its
 * lane once, instead of asking again and again, and another only if requests
 * have come to wait, or if nobody was there at its time: then all of the lane
 * may be late, and would come together.
 */
static ngx_uint_t
ngx_http_tsface_slot_place(ngx_http_tsface_zone_t *zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t urgent, ngx_msec_t now)
{
    ngx_msec_t              place;
    ngx_http_tsface_lane_e  lane;

    if (slot->placed != zone->sh->pace
        || ngx_http_tsface_later(now,
                                 slot->place + NGX_HTTP_TSFACE_PLACE_LATE))
    {
        slot->placed = 0;
    }

    lane = slot->fails ? NGX_HTTP_TSFACE_LANE_FAILING
                       : urgent ? NGX_HTTP_TSFACE_LANE_URGENT
                                : NGX_HTTP_TSFACE_LANE_NORMAL;

    if (!slot->placed || (lane == NGX_HTTP_TSFACE_LANE_URGENT
                          && slot->lane == NGX_HTTP_TSFACE_LANE_NORMAL
                          && ngx_http_tsface_later(slot->place, now)
                          && ngx_http_tsface_later(slot->place,
                                                   zone->sh->lanes[lane])))
    {
        place = ngx_http_tsface_plan_place(&zone->sh->lanes[lane], now,
                                           zone->sh->intervals[lane]);

        if (!slot->placed || ngx_http_tsface_later(slot->place, place)) {
            slot->place = place;
        }

        slot->lane = lane;
        slot->placed = zone->sh->pace;
    }

    return !ngx_http_tsface_later(slot->place, now);
}


/* Under the lock: whether that lease is this process's, and still the last. */
static ngx_uint_t
ngx_http_tsface_slot_holds(const ngx_http_tsface_slot_t *slot,
    ngx_uint_t lease)
{
    return slot->lease == lease && slot->lease_pid == ngx_pid;
}


ngx_uint_t
ngx_http_tsface_slot_hurry(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, const u_char *secrets, ngx_msec_t now)
{
    ngx_uint_t               hurried;
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    hurried = (slot->fails
               && slot->failure == NGX_HTTP_TSFACE_EXCHANGE_REJECTED
               && slot->lease_pid == 0
               && ngx_http_tsface_later(slot->not_before, now)
               && ngx_memcmp(slot->refused, secrets, sizeof(slot->refused))
                  != 0);

    if (hurried) {
        slot->not_before = now;
        slot->version++;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return hurried;
}


ngx_int_t
ngx_http_tsface_slot_again(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t lease,
    ngx_http_tsface_exchange_e result, ngx_msec_t until)
{
    ngx_int_t                rc;
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;
    rc = NGX_DECLINED;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (ngx_http_tsface_slot_holds(slot, lease)) {
        slot->lease_until = until;
        slot->exchanges[result]++;
        rc = NGX_OK;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


ngx_int_t
ngx_http_tsface_slot_store(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t lease, const ngx_str_t *token,
    const ngx_http_tsface_slot_secret_t *secret, ngx_msec_t now,
    const ngx_http_tsface_plan_t *plan, ngx_msec_t not_before)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (!ngx_http_tsface_slot_holds(slot, lease)) {
        ngx_shmtx_unlock(&zone->shpool->mutex);
        return NGX_DECLINED;
    }

    p = ngx_slab_alloc_locked(zone->shpool, token->len);

    if (p == NULL) {
        ngx_http_tsface_zone_expire(zone);
        p = ngx_slab_alloc_locked(zone->shpool, token->len);
    }

    if (p) {
        ngx_memcpy(p, token->data, token->len);

        /*
         * valid last: a worker killed half-way leaves a slot without a token,
         * never one with half a token
         */

        ngx_http_tsface_slot_drop(zone, slot);

        slot->token = p;
        slot->len = token->len;
        slot->obtained = now;
        slot->expires = plan->expires;
        slot->refresh = plan->refresh;
        slot->failure = NGX_HTTP_TSFACE_EXCHANGE_OK;
        slot->fails = 0;
        slot->not_before = not_before;
        slot->timed = 1;
        slot->generation++;
        slot->exchanges[NGX_HTTP_TSFACE_EXCHANGE_OK]++;

        if (secret->number) {
            slot->secret = secret->number;
            ngx_memcpy(slot->works, secret->works, sizeof(slot->works));
        }

        ngx_memory_barrier();
        slot->valid = 1;

        rc = NGX_OK;

        slot->lease_pid = 0;
        slot->version++;

    } else {
        rc = NGX_ERROR;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


ngx_int_t
ngx_http_tsface_slot_fail(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t lease,
    ngx_http_tsface_exchange_e failure, const u_char *refused,
    ngx_msec_t not_before)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (!ngx_http_tsface_slot_holds(slot, lease)) {
        ngx_shmtx_unlock(&zone->shpool->mutex);
        return NGX_DECLINED;
    }

    slot->failure = failure;
    slot->fails++;
    slot->not_before = not_before;
    slot->timed = 1;
    slot->exchanges[failure]++;

    if (refused) {
        ngx_memcpy(slot->refused, refused, sizeof(slot->refused));
    }

    slot->lease_pid = 0;
    slot->version++;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return NGX_OK;
}


ngx_uint_t
ngx_http_tsface_slot_reject(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t generation)
{
    ngx_uint_t               dropped;
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    dropped = (slot->valid && slot->generation == generation);

    if (dropped) {
        ngx_http_tsface_slot_drop(zone, slot);
        slot->version++;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return dropped;
}


ngx_uint_t
ngx_http_tsface_slot_reap_lease(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot)
{
    ngx_pid_t                pid;
    ngx_uint_t               reaped;
    ngx_http_tsface_zone_t  *zone;

    pid = slot->lease_pid;

    if (pid == 0 || pid == ngx_pid || ngx_http_tsface_zone_lives(pid)) {
        return 0;
    }

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    reaped = (slot->lease_pid == pid);

    if (reaped) {
        slot->lease_pid = 0;
        slot->version++;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return reaped;
}


/* Under the lock.  Tokens are wiped where they lay. */
void
ngx_http_tsface_slot_drop(ngx_http_tsface_zone_t *zone,
    ngx_http_tsface_slot_t *slot)
{
    u_char  *token;

    slot->valid = 0;

    token = slot->token;
    slot->token = NULL;

    if (token) {
        ngx_explicit_memzero(token, slot->len);
        ngx_slab_free_locked(zone->shpool, token);
    }

    slot->len = 0;
}


void
ngx_http_tsface_slot_exchanged(ngx_http_tsface_slot_t *slot, ngx_msec_t took)
{
    ngx_http_tsface_meter_add(&slot->exchange, (uint64_t) took * 1000);
}


void
ngx_http_tsface_slot_exchange_stat(const ngx_http_tsface_slot_t *slot,
    ngx_http_tsface_meter_stat_t *stat)
{
    ngx_http_tsface_meter_read(&slot->exchange, NGX_HTTP_TSFACE_METER_MS,
                               stat);
}


void
ngx_http_tsface_zone_worker_start(ngx_shm_zone_t *shm_zone)
{
    ngx_uint_t               i;
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    /* another rate: all queue up anew, and not behind what the old one left */

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (ngx_memcmp(zone->sh->intervals, zone->intervals,
                   sizeof(zone->intervals))
        != 0)
    {
        for (i = 0; i < NGX_HTTP_TSFACE_NLANES; i++) {
            zone->sh->intervals[i] = zone->intervals[i];
            zone->sh->lanes[i] = ngx_current_msec;
        }

        zone->sh->pace++;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    /* a predecessor that still leaves after a reload is not heard any more */

    if (ngx_worker < NGX_HTTP_TSFACE_ZONE_WORKERS) {
        zone->sh->workers[ngx_worker] = (ngx_atomic_uint_t) ngx_pid;
    }
}


void
ngx_http_tsface_slot_wait(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t n)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    /* no other process writes here: a plain store will do */

    if (ngx_worker < NGX_HTTP_TSFACE_ZONE_WORKERS
        && zone->sh->workers[ngx_worker] == (ngx_atomic_uint_t) ngx_pid)
    {
        slot->waiting[ngx_worker] = (uint32_t) n;
    }
}


ngx_uint_t
ngx_http_tsface_slot_waiting(ngx_shm_zone_t *shm_zone,
    const ngx_http_tsface_slot_t *slot)
{
    ngx_uint_t               i, n, sum;
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;
    sum = 0;

    for (i = 0; i < NGX_HTTP_TSFACE_ZONE_WORKERS; i++) {
        n = slot->waiting[i];

        if (n && ngx_http_tsface_zone_lives(
                                        (ngx_pid_t) zone->sh->workers[i]))
        {
            sum += n;
        }
    }

    return sum;
}


ngx_uint_t
ngx_http_tsface_zone_lives(ngx_pid_t pid)
{
    return pid && (kill(pid, 0) == 0 || ngx_errno != NGX_ESRCH);
}
