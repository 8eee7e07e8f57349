
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <sys/mman.h>

#include "ngx_http_tsface_gcra.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_zone_layout.h"


#define NGX_HTTP_TSFACE_ZONE_MAGIC     0x74736661
#define NGX_HTTP_TSFACE_ZONE_VERSION   4

/* A slot that no worker has touched for this long belongs to nobody. */
#define NGX_HTTP_TSFACE_SLOT_IDLE      600000

/*
 * A token there is wiped after this long.  Not the slot: a process that was
 * stopped for as long, by a debugger, finds it and fetches another token.
 */
#define NGX_HTTP_TSFACE_SLOT_STALE     180000

/* Exchanges a second, when the configuration does not say. */
#define NGX_HTTP_TSFACE_EXCHANGE_RATE  100


static ngx_int_t ngx_http_tsface_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);
static size_t ngx_http_tsface_zone_chunk(size_t size);
static ngx_int_t ngx_http_tsface_zone_rate(ngx_conf_t *cf,
    ngx_http_tsface_zone_t *zone, const ngx_str_t *param);
static ngx_http_tsface_slot_t **ngx_http_tsface_zone_chain(
    ngx_http_tsface_zone_t *zone, const u_char *fingerprint);
static ngx_http_tsface_slot_t *ngx_http_tsface_zone_find(
    ngx_http_tsface_zone_t *zone, const u_char *fingerprint);


char *
ngx_http_tsface_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_main_conf_t *tmcf = conf;

    u_char                  *p;
    ssize_t                  size;
    ngx_str_t               *value, name, s;
    ngx_http_tsface_zone_t  *zone;

    if (tmcf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "zone=", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", "
                           "\"tsface_zone zone=NAME:SIZE\" is expected",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    name.data = value[1].data + 5;
    p = (u_char *) ngx_strchr(name.data, ':');

    if (p == NULL || p == name.data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone \"%V\", NAME:SIZE is expected",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    name.len = p - name.data;

    s.data = p + 1;
    s.len = value[1].data + value[1].len - s.data;

    size = ngx_parse_size(&s);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (size < (ssize_t) ngx_http_tsface_zone_min_size(0, 0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small, at least %uzk "
                           "are needed", &name,
                           ngx_http_tsface_zone_min_size(0, 0) / 1024);
        return NGX_CONF_ERROR;
    }

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_tsface_zone_t));
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_tsface_zone_rate(cf, zone,
                                  cf->args->nelts == 3 ? &value[2] : NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    tmcf->zone = ngx_shared_memory_add(cf, &name, size,
                                       &ngx_http_tsface_module);
    if (tmcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (tmcf->zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is already used by another directive",
                           &name);
        return NGX_CONF_ERROR;
    }

    tmcf->zone->init = ngx_http_tsface_zone_init;
    tmcf->zone->data = zone;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_tsface_zone_rate(ngx_conf_t *cf, ngx_http_tsface_zone_t *zone,
    const ngx_str_t *param)
{
    ngx_str_t               value;
    ngx_uint_t              i;
    ngx_http_tsface_gcra_t  rate;

    rate.rate = NGX_HTTP_TSFACE_EXCHANGE_RATE;
    rate.period = 1;

    if (param) {
        value.data = param->data + 14;
        value.len = param->len - 14;

        if (ngx_strncmp(param->data, "exchange_rate=", 14) != 0
            || ngx_http_tsface_gcra_parse_rate(&rate, &value) != NGX_OK
            || rate.rate > 1000 * rate.period)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\": "
                               "\"exchange_rate=RATE\" is expected, of at "
                               "most 1000r/s", param);
            return NGX_ERROR;
        }
    }

    for (i = 0; i < NGX_HTTP_TSFACE_NLANES; i++) {
        zone->intervals[i] = ngx_http_tsface_plan_interval(i, rate.rate,
                                                           rate.period);
    }

    return NGX_OK;
}


size_t
ngx_http_tsface_zone_min_size(ngx_uint_t credentials, ngx_uint_t trails)
{
    size_t  each;

    /*
     * a slot, its gate, and a token of usual size with its successor beside
     * it
     */

    each = ngx_http_tsface_zone_chunk(sizeof(ngx_http_tsface_slot_t))
           + ngx_http_tsface_zone_chunk(sizeof(ngx_http_tsface_zone_gate_t))
           + 2 * 2048;

    return 8 * ngx_pagesize
           + credentials * each
           + trails
             * ngx_http_tsface_zone_chunk(sizeof(ngx_http_tsface_zone_trail_t));
}


/* What the slab allocator takes for it: a power of two, or whole pages. */

static size_t
ngx_http_tsface_zone_chunk(size_t size)
{
    size_t  chunk;

    if (size > ngx_pagesize / 2) {
        return ngx_align(size, ngx_pagesize);
    }

    for (chunk = 64; chunk < size; chunk *= 2) {
        /* void */
    }

    return chunk;
}


/*
 * Runs in the master before a reload is committed: it may only add.  A reload
 * that fails after it must find the running workers' state untouched.
 */
static ngx_int_t
ngx_http_tsface_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_tsface_zone_t  *ozone = data;

    size_t                      len;
    ngx_http_tsface_zone_t     *zone;
    ngx_http_tsface_zone_sh_t  *sh;

    zone = shm_zone->data;

    if (ozone) {
        zone->sh = ozone->sh;
        zone->shpool = ozone->shpool;

    } else {
        zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

        if (shm_zone->shm.exists) {
            zone->sh = zone->shpool->data;
        }
    }

    if (zone->sh) {
        sh = zone->sh;

        if (sh->magic != NGX_HTTP_TSFACE_ZONE_MAGIC
            || sh->version != NGX_HTTP_TSFACE_ZONE_VERSION
            || sh->slot_size != sizeof(ngx_http_tsface_slot_t)
            || sh->root_size != sizeof(ngx_http_tsface_zone_sh_t))
        {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "tsface_zone \"%V\" was laid out by another version "
                          "of this module: restart nginx or rename the zone",
                          &shm_zone->shm.name);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    /* tokens have no place in a core dump */

#ifdef MADV_DONTDUMP
    if (madvise(shm_zone->shm.addr, shm_zone->shm.size, MADV_DONTDUMP) == -1) {
        ngx_log_error(NGX_LOG_WARN, shm_zone->shm.log, ngx_errno,
                      "madvise(MADV_DONTDUMP) of tsface_zone \"%V\" failed",
                      &shm_zone->shm.name);
    }
#endif

    sh = ngx_slab_calloc(zone->shpool, sizeof(ngx_http_tsface_zone_sh_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    len = sizeof(" in tsface_zone \"\"") + shm_zone->shm.name.len;

    zone->shpool->log_ctx = ngx_slab_alloc(zone->shpool, len);
    if (zone->shpool->log_ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(zone->shpool->log_ctx, " in tsface_zone \"%V\"%Z",
                &shm_zone->shm.name);

    /* a full zone is reported by name, once, by who needed the memory */

    zone->shpool->log_nomem = 0;

    sh->swept = ngx_current_msec;

    sh->root_size = sizeof(ngx_http_tsface_zone_sh_t);
    sh->slot_size = sizeof(ngx_http_tsface_slot_t);
    sh->version = NGX_HTTP_TSFACE_ZONE_VERSION;
    sh->magic = NGX_HTTP_TSFACE_ZONE_MAGIC;

    zone->sh = sh;
    zone->shpool->data = sh;

    return NGX_OK;
}


ngx_http_tsface_slot_t *
ngx_http_tsface_zone_slot(ngx_shm_zone_t *shm_zone, const u_char *fingerprint)
{
    ngx_http_tsface_zone_t   *zone;
    ngx_http_tsface_slot_t   *slot, **chain;

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    slot = ngx_http_tsface_zone_find(zone, fingerprint);

    if (slot == NULL) {
        slot = ngx_slab_calloc_locked(zone->shpool,
                                      sizeof(ngx_http_tsface_slot_t));

        if (slot == NULL) {
            ngx_http_tsface_zone_expire(zone);

            slot = ngx_slab_calloc_locked(zone->shpool,
                                          sizeof(ngx_http_tsface_slot_t));
        }

        if (slot) {
            ngx_memcpy(slot->fingerprint, fingerprint,
                       NGX_HTTP_TSFACE_FINGERPRINT_LEN);
            slot->version = 1;

            chain = ngx_http_tsface_zone_chain(zone, fingerprint);
            slot->next = *chain;
            ngx_memory_barrier();
            *chain = slot;
        }
    }

    if (slot) {
        slot->touched = ngx_current_msec;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return slot;
}


static ngx_http_tsface_slot_t **
ngx_http_tsface_zone_chain(ngx_http_tsface_zone_t *zone,
    const u_char *fingerprint)
{
    return &zone->sh->slots[fingerprint[0] % NGX_HTTP_TSFACE_ZONE_CHAINS];
}


static ngx_http_tsface_slot_t *
ngx_http_tsface_zone_find(ngx_http_tsface_zone_t *zone,
    const u_char *fingerprint)
{
    ngx_http_tsface_slot_t  *slot;

    for (slot = *ngx_http_tsface_zone_chain(zone, fingerprint);
         slot;
         slot = slot->next)
    {
        if (ngx_memcmp(slot->fingerprint, fingerprint,
                       NGX_HTTP_TSFACE_FINGERPRINT_LEN)
            == 0)
        {
            return slot;
        }
    }

    return NULL;
}


void
ngx_http_tsface_zone_expire(ngx_http_tsface_zone_t *zone)
{
    ngx_msec_t               now;
    ngx_uint_t               i;
    ngx_http_tsface_slot_t  *slot, **p;

    now = ngx_current_msec;

    for (i = 0; i < NGX_HTTP_TSFACE_ZONE_CHAINS; i++) {

        p = &zone->sh->slots[i];

        while (*p) {
            slot = *p;

            if (ngx_http_tsface_later(now,
                                      slot->touched
                                      + NGX_HTTP_TSFACE_SLOT_IDLE))
            {
                *p = slot->next;
                ngx_http_tsface_slot_drop(zone, slot);
                ngx_slab_free_locked(zone->shpool, slot);

            } else {
                p = &slot->next;
            }
        }
    }

    ngx_http_tsface_zone_gate_expire(zone);
}


void
ngx_http_tsface_zone_sweep(ngx_shm_zone_t *shm_zone)
{
    ngx_msec_t               now, second, last;
    ngx_uint_t               i;
    ngx_http_tsface_zone_t  *zone;
    ngx_http_tsface_slot_t  *slot;

    zone = shm_zone->data;
    now = ngx_current_msec;

    /* a chain for each second that has passed; without the lock: or twice */

    second = zone->sh->swept / 1000;
    last = now / 1000;

    /* or the clock of this worker is behind that of the one before */

    if (second == last || !ngx_http_tsface_later(now, zone->sh->swept)) {
        return;
    }

    zone->sh->swept = now;

    if (last - second > NGX_HTTP_TSFACE_ZONE_CHAINS) {
        second = last - NGX_HTTP_TSFACE_ZONE_CHAINS;
    }

    ngx_shmtx_lock(&zone->shpool->mutex);

    /* a lane that nobody used for long must not wrap into the future */

    for (i = 0; i < NGX_HTTP_TSFACE_NLANES; i++) {
        if (ngx_http_tsface_later(now, zone->sh->lanes[i])) {
            zone->sh->lanes[i] = now;
        }
    }

    while (second != last) {
        second++;

        for (slot = zone->sh->slots[second % NGX_HTTP_TSFACE_ZONE_CHAINS];
             slot;
             slot = slot->next)
        {
            if (!ngx_http_tsface_later(now, slot->touched
                                            + NGX_HTTP_TSFACE_SLOT_STALE))
            {
                continue;
            }

            /* times of a slot that comes back after weeks would be to come */

            slot->timed = 0;
            slot->placed = 0;

            if (slot->token) {
                ngx_http_tsface_slot_drop(zone, slot);
                slot->version++;
            }
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


size_t
ngx_http_tsface_zone_free_size(ngx_shm_zone_t *shm_zone)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    return zone->shpool->pfree * ngx_pagesize;
}
