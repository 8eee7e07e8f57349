
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_zone_layout.h"


static ngx_http_tsface_zone_trail_t *ngx_http_tsface_zone_trail_find(
    ngx_http_tsface_zone_t *zone, const ngx_str_t *name);
static void ngx_http_tsface_zone_trail_add(
    ngx_http_tsface_zone_trail_t *trail, const ngx_uint_t *records,
    size_t bytes);
static ngx_uint_t ngx_http_tsface_zone_trail_error(ngx_err_t err);


static const ngx_err_t  ngx_http_tsface_zone_trail_errors[] = {
    ENOSPC, EDQUOT, EIO, EROFS, EACCES, EPERM, ENOENT, EMFILE, ENOMEM, EAGAIN
};


const char *const
    ngx_http_tsface_zone_trail_error_names[NGX_HTTP_TSFACE_NERRORS] =
{
    "ENOSPC",
    "EDQUOT",
    "EIO",
    "EROFS",
    "EACCES",
    "EPERM",
    "ENOENT",
    "EMFILE",
    "ENOMEM",
    "EAGAIN",
    "queue_full",
    "other"
};


ngx_http_tsface_zone_trail_t *
ngx_http_tsface_zone_trail(ngx_shm_zone_t *shm_zone, const ngx_str_t *name)
{
    ngx_http_tsface_zone_t        *zone;
    ngx_http_tsface_zone_trail_t  *trail;

    if (name->len > NGX_HTTP_TSFACE_ZONE_TRAIL_NAME) {
        return NULL;
    }

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    trail = ngx_http_tsface_zone_trail_find(zone, name);

    if (trail == NULL && zone->sh->ntrails < NGX_HTTP_TSFACE_ZONE_TRAILS) {
        trail = ngx_slab_calloc_locked(zone->shpool,
                                       sizeof(ngx_http_tsface_zone_trail_t));
        if (trail) {
            trail->len = name->len;
            ngx_memcpy(trail->name, name->data, name->len);

            trail->next = zone->sh->trails;
            ngx_memory_barrier();
            zone->sh->trails = trail;
            zone->sh->ntrails++;
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    /* a predecessor that still leaves after a reload is not heard any more */

    if (trail && ngx_worker < NGX_HTTP_TSFACE_ZONE_WORKERS) {
        trail->queued[ngx_worker] = 0;
        trail->err[ngx_worker] = 0;
        trail->pid[ngx_worker] = (ngx_atomic_uint_t) ngx_pid;
    }

    return trail;
}


/* They are kept for ever, under a name, so that counters only grow. */

static ngx_http_tsface_zone_trail_t *
ngx_http_tsface_zone_trail_find(ngx_http_tsface_zone_t *zone,
    const ngx_str_t *name)
{
    ngx_http_tsface_zone_trail_t  *trail;

    for (trail = zone->sh->trails; trail; trail = trail->next) {

        if (trail->len == name->len
            && ngx_memcmp(trail->name, name->data, name->len) == 0)
        {
            return trail;
        }
    }

    return NULL;
}


void
ngx_http_tsface_zone_trail_written(ngx_http_tsface_zone_trail_t *trail,
    const ngx_uint_t *records, size_t bytes, ngx_msec_t took)
{
    if (trail) {
        ngx_http_tsface_zone_trail_add(trail, records, bytes);
        ngx_http_tsface_meter_add(&trail->commit, (uint64_t) took * 1000);
    }
}


void
ngx_http_tsface_zone_trail_orphaned(ngx_http_tsface_zone_trail_t *trail,
    ngx_uint_t n, const ngx_uint_t *own, size_t bytes)
{
    if (trail == NULL) {
        return;
    }

    ngx_http_tsface_zone_trail_add(trail, own, bytes);

    (void) ngx_atomic_fetch_add(&trail->orphaned, (ngx_atomic_int_t) n);
    (void) ngx_atomic_fetch_add(
                           &trail->records[NGX_HTTP_TSFACE_RECORD_OUTCOME],
                           (ngx_atomic_int_t) n);
}


static void
ngx_http_tsface_zone_trail_add(ngx_http_tsface_zone_trail_t *trail,
    const ngx_uint_t *records, size_t bytes)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_TSFACE_RECORD_NTYPES; i++) {
        if (records[i]) {
            (void) ngx_atomic_fetch_add(&trail->records[i],
                                        (ngx_atomic_int_t) records[i]);
        }
    }

    (void) ngx_atomic_fetch_add(&trail->bytes, (ngx_atomic_int_t) bytes);

    /* of several workers whose is the last does not matter */

    if (records[NGX_HTTP_TSFACE_RECORD_CHECKPOINT]) {
        trail->signed_at = ngx_current_msec | 1;
    }
}


void
ngx_http_tsface_zone_trail_failed(ngx_http_tsface_zone_trail_t *trail,
    ngx_err_t err, ngx_uint_t lost)
{
    if (trail == NULL) {
        return;
    }

    (void) ngx_atomic_fetch_add(
                  &trail->failures[ngx_http_tsface_zone_trail_error(err)], 1);
    (void) ngx_atomic_fetch_add(&trail->lost, (ngx_atomic_int_t) lost);
}


void
ngx_http_tsface_zone_trail_uncopied(ngx_http_tsface_zone_trail_t *trail)
{
    if (trail) {
        (void) ngx_atomic_fetch_add(&trail->uncopied, 1);
    }
}


void
ngx_http_tsface_zone_trail_owes(ngx_http_tsface_zone_trail_t *trail,
    ngx_msec_t since)
{
    if (trail) {
        (void) ngx_atomic_cmp_set(&trail->owed_since, 0, since);
    }
}


void
ngx_http_tsface_zone_trail_copied(ngx_http_tsface_zone_trail_t *trail,
    ngx_msec_t since)
{
    if (trail) {
        trail->owed_since = since;
    }
}


static ngx_uint_t
ngx_http_tsface_zone_trail_error(ngx_err_t err)
{
    ngx_uint_t  i, n;

    if (err == NGX_HTTP_TSFACE_QUEUE_FULL) {
        return NGX_HTTP_TSFACE_NERRORS - 2;
    }

    n = sizeof(ngx_http_tsface_zone_trail_errors) / sizeof(ngx_err_t);

    for (i = 0; i < n; i++) {
        if (ngx_http_tsface_zone_trail_errors[i] == err) {
            return i;
        }
    }

    return NGX_HTTP_TSFACE_NERRORS - 1;
}


void
ngx_http_tsface_zone_trail_now(ngx_http_tsface_zone_trail_t *trail,
    ngx_uint_t queued, ngx_err_t err)
{
    /* no other process writes here: a plain store will do */

    if (trail
        && ngx_worker < NGX_HTTP_TSFACE_ZONE_WORKERS
        && trail->pid[ngx_worker] == (ngx_atomic_uint_t) ngx_pid)
    {
        trail->queued[ngx_worker] = (uint32_t) queued;
        trail->err[ngx_worker] = (uint32_t) err;
    }
}


void
ngx_http_tsface_zone_trail_stat(const ngx_http_tsface_zone_trail_t *trail,
    ngx_http_tsface_zone_trail_stat_t *stat)
{
    ngx_uint_t      i;
    ngx_msec_t      since;
    ngx_msec_int_t  ago;

    ngx_memzero(stat, sizeof(ngx_http_tsface_zone_trail_stat_t));

    for (i = 0; i < NGX_HTTP_TSFACE_RECORD_NTYPES; i++) {
        stat->records[i] = trail->records[i];
    }

    for (i = 0; i < NGX_HTTP_TSFACE_NERRORS; i++) {
        stat->failures[i] = trail->failures[i];
    }

    stat->orphaned = trail->orphaned;
    stat->bytes = trail->bytes;
    stat->lost = trail->lost;
    stat->uncopied = trail->uncopied;

    if (trail->signed_at) {
        ago = (ngx_msec_int_t) (ngx_current_msec - trail->signed_at);

        stat->has_signed = 1;
        stat->signed_ago = (ago > 0) ? ago / 1000 : 0;
    }

    since = trail->owed_since;

    if (since) {
        ago = (ngx_msec_int_t) (ngx_current_msec - since);
        stat->copy_lag = (ago > 0) ? ago / 1000 : 0;
    }

    ngx_http_tsface_meter_read(&trail->commit, NGX_HTTP_TSFACE_METER_MS,
                               &stat->commit);

    for (i = 0; i < NGX_HTTP_TSFACE_ZONE_WORKERS; i++) {

        if ((trail->queued[i] || trail->err[i])
            && ngx_http_tsface_zone_lives((ngx_pid_t) trail->pid[i]))
        {
            stat->queued += trail->queued[i];

            if (trail->err[i]) {
                stat->err = (ngx_err_t) trail->err[i];
                stat->failing++;
            }
        }
    }
}
