
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <sys/mman.h>

#include "ngx_http_tsface_gcra.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_zone.h"


#define NGX_HTTP_TSFACE_ZONE_MAGIC     0x74736661
#define NGX_HTTP_TSFACE_ZONE_VERSION   3

/* A slot that no worker has touched for this long belongs to nobody. */
#define NGX_HTTP_TSFACE_SLOT_IDLE      600000

/*
 * A token there is wiped after this long.  Not the slot: a process that was
 * stopped for as long, by a debugger, finds it and fetches another token.
 */
#define NGX_HTTP_TSFACE_SLOT_STALE     180000

/* Chains of slots, by the first byte of the fingerprint. */
#define NGX_HTTP_TSFACE_ZONE_CHAINS    64

/* A place in a lane that was not used in time is lost. */
#define NGX_HTTP_TSFACE_PLACE_LATE     1000

/* Exchanges a second, when the configuration does not say. */
#define NGX_HTTP_TSFACE_EXCHANGE_RATE  100

/* Workers whose waiting requests are counted. */
#define NGX_HTTP_TSFACE_ZONE_WORKERS   64

/* COUNT_SUCCESS to COUNT_REFUSED. */
#define NGX_HTTP_TSFACE_NRESULTS       (NGX_HTTP_TSFACE_COUNT_REFUSED         \
                                        - NGX_HTTP_TSFACE_COUNT_SUCCESS + 1)


struct ngx_http_tsface_slot_s {
    ngx_http_tsface_slot_t      *next;
    u_char                       fingerprint[NGX_HTTP_TSFACE_FINGERPRINT_LEN];
    ngx_atomic_t                 version;
    ngx_msec_t                   touched;

    ngx_uint_t                   generation;
    ngx_uint_t                   valid;
    ngx_msec_t                   obtained;
    ngx_msec_t                   expires;
    ngx_msec_t                   refresh;
    u_char                      *token;
    size_t                       len;

    ngx_pid_t                    lease_pid;     /* 0: free */
    ngx_msec_t                   lease_until;
    ngx_uint_t                   lease;

    ngx_http_tsface_exchange_e   failure;
    ngx_uint_t                   fails;
    ngx_msec_t                   not_before;
    ngx_uint_t                   timed;         /* not_before counts */

    ngx_uint_t                   placed;        /* place and lane count */
    ngx_http_tsface_lane_e       lane;
    ngx_msec_t                   place;

    ngx_uint_t                   secret;        /* that worked, 1 or 2 */
    u_char                       works[NGX_HTTP_TSFACE_SECRET_DIGEST_LEN];
    u_char                       refused[NGX_HTTP_TSFACE_SECRET_DIGEST_LEN];

    ngx_uint_t                   exchanges[NGX_HTTP_TSFACE_EXCHANGE_NCLASSES];

    /* without the lock */
    ngx_http_tsface_meter_t      exchange;
    uint32_t                     waiting[NGX_HTTP_TSFACE_ZONE_WORKERS];
};


/* The root of the zone. */
typedef struct {
    ngx_uint_t                   magic;
    ngx_uint_t                   version;
    size_t                       slot_size;
    size_t                       root_size;

    /*
     * A slot is linked by one store, and unlinked by one: a worker that is
     * killed in between leaves a whole chain.
     */
    ngx_http_tsface_slot_t      *slots[NGX_HTTP_TSFACE_ZONE_CHAINS];

    ngx_msec_t                   lanes[NGX_HTTP_TSFACE_NLANES];
    ngx_msec_t                   swept;

    /* without the lock */
    ngx_atomic_t                 workers[NGX_HTTP_TSFACE_ZONE_WORKERS];
    ngx_atomic_t                 counters[NGX_HTTP_TSFACE_NCOUNTERS];
    ngx_atomic_t                 requests[NGX_HTTP_TSFACE_NOPERATIONS + 1]
                                         [NGX_HTTP_TSFACE_NRESULTS];
    ngx_atomic_t                 refusals[NGX_HTTP_TSFACE_NPROBLEMS];
    ngx_http_tsface_meter_t      upstream[NGX_HTTP_TSFACE_NOPERATIONS];
} ngx_http_tsface_zone_sh_t;


/* Cycle memory; only the pointers lead into the zone. */
struct ngx_http_tsface_zone_s {
    ngx_http_tsface_zone_sh_t   *sh;
    ngx_slab_pool_t             *shpool;
    ngx_msec_t                   intervals[NGX_HTTP_TSFACE_NLANES];
};


static ngx_int_t ngx_http_tsface_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_tsface_zone_rate(ngx_conf_t *cf,
    ngx_http_tsface_zone_t *zone, const ngx_str_t *param);
static ngx_http_tsface_slot_t **ngx_http_tsface_zone_chain(
    ngx_http_tsface_zone_t *zone, const u_char *fingerprint);
static ngx_http_tsface_slot_t *ngx_http_tsface_zone_find(
    ngx_http_tsface_zone_t *zone, const u_char *fingerprint);
static void ngx_http_tsface_zone_expire(ngx_http_tsface_zone_t *zone);
static ngx_uint_t ngx_http_tsface_slot_place(ngx_http_tsface_zone_t *zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t urgent, ngx_msec_t now);
static void ngx_http_tsface_slot_drop(ngx_http_tsface_zone_t *zone,
    ngx_http_tsface_slot_t *slot);
static ngx_uint_t ngx_http_tsface_later(ngx_msec_t a, ngx_msec_t b);
static ngx_uint_t ngx_http_tsface_operation_index(
    const ngx_http_tsface_operation_t *operation);
static ngx_uint_t ngx_http_tsface_zone_lives(ngx_pid_t pid);


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

    if (size < (ssize_t) ngx_http_tsface_zone_min_size(0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small, at least %uzk "
                           "are needed", &name,
                           ngx_http_tsface_zone_min_size(0) / 1024);
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
ngx_http_tsface_zone_min_size(ngx_uint_t n)
{
    size_t  slot;

    /* the slab allocator rounds a slot up to a power of two */

    for (slot = 64; slot < sizeof(ngx_http_tsface_slot_t); slot *= 2) {
        /* void */
    }

    /* a slot, and a token of usual size with its successor beside it */

    return 8 * ngx_pagesize + n * (slot + 2 * 2048);
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


static void
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
}


void
ngx_http_tsface_zone_sweep(ngx_shm_zone_t *shm_zone)
{
    ngx_msec_t               now;
    ngx_http_tsface_zone_t  *zone;
    ngx_http_tsface_slot_t  *slot;

    zone = shm_zone->data;
    now = ngx_current_msec;

    /* without the lock: at worst two workers sweep */

    if (now / 1000 == zone->sh->swept / 1000) {
        return;
    }

    zone->sh->swept = now;

    ngx_shmtx_lock(&zone->shpool->mutex);

    for (slot = zone->sh->slots[now / 1000 % NGX_HTTP_TSFACE_ZONE_CHAINS];
         slot;
         slot = slot->next)
    {
        if (slot->token
            && ngx_http_tsface_later(now,
                                     slot->touched
                                     + NGX_HTTP_TSFACE_SLOT_STALE))
        {
            ngx_http_tsface_slot_drop(zone, slot);
            slot->version++;
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


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
        rc = NGX_DECLINED;

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

    if (slot->placed
        && ngx_http_tsface_later(now,
                                 slot->place + NGX_HTTP_TSFACE_PLACE_LATE))
    {
        slot->placed = 0;
    }

    lane = slot->fails ? NGX_HTTP_TSFACE_LANE_FAILING
                       : urgent ? NGX_HTTP_TSFACE_LANE_URGENT
                                : NGX_HTTP_TSFACE_LANE_NORMAL;

    if (!slot->placed || (lane == NGX_HTTP_TSFACE_LANE_URGENT
                          && slot->lane == NGX_HTTP_TSFACE_LANE_NORMAL
                          && ngx_http_tsface_later(slot->place, now)))
    {
        place = ngx_http_tsface_plan_place(&zone->sh->lanes[lane], now,
                                           zone->intervals[lane]);

        if (!slot->placed || ngx_http_tsface_later(slot->place, place)) {
            slot->place = place;
        }

        slot->lane = lane;
        slot->placed = 1;
    }

    return !ngx_http_tsface_later(slot->place, now);
}


void
ngx_http_tsface_slot_secret(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_slot_t *slot, const ngx_http_tsface_slot_secret_t *secret,
    const u_char *refused)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (secret) {
        slot->secret = secret->number;
        ngx_memcpy(slot->works, secret->works, sizeof(slot->works));

    } else {
        ngx_memcpy(slot->refused, refused, sizeof(slot->refused));
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
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

    if (slot->lease == lease && slot->lease_pid == ngx_pid) {
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
    ngx_msec_t now, const ngx_http_tsface_plan_t *plan, ngx_msec_t not_before)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (slot->lease != lease || slot->lease_pid != ngx_pid) {
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
    ngx_http_tsface_exchange_e failure, ngx_msec_t not_before)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (slot->lease != lease || slot->lease_pid != ngx_pid) {
        ngx_shmtx_unlock(&zone->shpool->mutex);
        return NGX_DECLINED;
    }

    slot->failure = failure;
    slot->fails++;
    slot->not_before = not_before;
    slot->timed = 1;
    slot->exchanges[failure]++;
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

    if (pid == 0 || pid == ngx_pid
        || kill(pid, 0) == 0 || ngx_errno != NGX_ESRCH)
    {
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
static void
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


/* Whether a is later than b; ngx_msec_t wraps on 32-bit systems. */
static ngx_uint_t
ngx_http_tsface_later(ngx_msec_t a, ngx_msec_t b)
{
    return (ngx_msec_int_t) (a - b) > 0;
}


void
ngx_http_tsface_zone_count(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_counter_e counter)
{
    ngx_http_tsface_zone_t  *zone;

    if (shm_zone == NULL) {
        return;
    }

    zone = shm_zone->data;

    (void) ngx_atomic_fetch_add(&zone->sh->counters[counter], 1);
}


ngx_uint_t
ngx_http_tsface_zone_counter(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_counter_e counter)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    return zone->sh->counters[counter];
}


void
ngx_http_tsface_zone_request(ngx_shm_zone_t *shm_zone,
    const ngx_http_tsface_operation_t *operation,
    ngx_http_tsface_counter_e result)
{
    ngx_uint_t               i, n;
    ngx_http_tsface_zone_t  *zone;

    if (shm_zone == NULL) {
        return;
    }

    zone = shm_zone->data;

    i = ngx_http_tsface_operation_index(operation);
    n = result - NGX_HTTP_TSFACE_COUNT_SUCCESS;

    (void) ngx_atomic_fetch_add(&zone->sh->requests[i][n], 1);
}


ngx_uint_t
ngx_http_tsface_zone_requests(ngx_shm_zone_t *shm_zone, ngx_uint_t operation,
    ngx_http_tsface_counter_e result)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    return zone->sh->requests[operation]
                             [result - NGX_HTTP_TSFACE_COUNT_SUCCESS];
}


void
ngx_http_tsface_zone_refuse(ngx_shm_zone_t *shm_zone,
    const ngx_http_tsface_operation_t *operation,
    ngx_http_tsface_problem_e reason)
{
    ngx_http_tsface_zone_t  *zone;

    if (shm_zone == NULL) {
        return;
    }

    zone = shm_zone->data;

    (void) ngx_atomic_fetch_add(&zone->sh->refusals[reason], 1);

    ngx_http_tsface_zone_count(shm_zone, NGX_HTTP_TSFACE_COUNT_REFUSED);
    ngx_http_tsface_zone_request(shm_zone, operation,
                                 NGX_HTTP_TSFACE_COUNT_REFUSED);
}


ngx_uint_t
ngx_http_tsface_zone_refusals(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_problem_e reason)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    return zone->sh->refusals[reason];
}


void
ngx_http_tsface_zone_upstream(ngx_shm_zone_t *shm_zone,
    const ngx_http_tsface_operation_t *operation, ngx_msec_t took)
{
    ngx_http_tsface_zone_t  *zone;

    if (shm_zone == NULL) {
        return;
    }

    zone = shm_zone->data;

    ngx_http_tsface_meter_add(
        &zone->sh->upstream[ngx_http_tsface_operation_index(operation)], took);
}


void
ngx_http_tsface_zone_upstream_stat(ngx_shm_zone_t *shm_zone,
    ngx_uint_t operation, ngx_http_tsface_meter_stat_t *stat)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    ngx_http_tsface_meter_read(&zone->sh->upstream[operation], stat);
}


static ngx_uint_t
ngx_http_tsface_operation_index(const ngx_http_tsface_operation_t *operation)
{
    return operation ? (ngx_uint_t) (operation - ngx_http_tsface_operations)
                     : NGX_HTTP_TSFACE_NO_OPERATION;
}


void
ngx_http_tsface_slot_exchanged(ngx_http_tsface_slot_t *slot, ngx_msec_t took)
{
    ngx_http_tsface_meter_add(&slot->exchange, took);
}


void
ngx_http_tsface_slot_exchange_stat(const ngx_http_tsface_slot_t *slot,
    ngx_http_tsface_meter_stat_t *stat)
{
    ngx_http_tsface_meter_read(&slot->exchange, stat);
}


void
ngx_http_tsface_zone_worker_start(ngx_shm_zone_t *shm_zone)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

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


static ngx_uint_t
ngx_http_tsface_zone_lives(ngx_pid_t pid)
{
    return pid && (kill(pid, 0) == 0 || ngx_errno != NGX_ESRCH);
}


size_t
ngx_http_tsface_zone_free_size(ngx_shm_zone_t *shm_zone)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    return zone->shpool->pfree * ngx_pagesize;
}
