
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/err.h>
#include <openssl/rand.h>

#include "ngx_http_tsface_limit_zone.h"


static void ngx_http_tsface_limit_zone_resized(ngx_shm_zone_t *shm_zone);
static int ngx_libc_cdecl ngx_http_tsface_limit_zone_compare(const void *one,
    const void *two);


/*
 * Runs before a reload is known to succeed, while the old workers go on: it
 * only links what is there, or makes what is nobody's yet.
 */

ngx_int_t
ngx_http_tsface_limit_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_tsface_limit_zone_t  *old = data;

    size_t                          size;
    uint64_t                        seed;
    ngx_http_tsface_limit_zone_t   *zone;
    ngx_http_tsface_limit_table_t  *table;

    zone = shm_zone->data;

    if (old) {

        /* times may go on under another rate, but not for another key */

        if (zone->key.value.len != old->key.value.len
            || ngx_memcmp(zone->key.value.data, old->key.value.data,
                          zone->key.value.len)
               != 0)
        {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "tsface_limit_zone \"%V\" uses the \"%V\" key "
                          "while previously it used the \"%V\" key: "
                          "give it another name", &shm_zone->shm.name,
                          &zone->key.value, &old->key.value);
            return NGX_ERROR;
        }

        zone->table = old->table;
        zone->shpool = old->shpool;

        return NGX_OK;
    }

    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        zone->table = zone->shpool->data;

        return NGX_OK;
    }

    ngx_http_tsface_limit_zone_resized(shm_zone);

    /* every page the pool has, so nothing is ever allocated later */

    size = zone->shpool->pfree << ngx_pagesize_shift;

    table = ngx_slab_alloc(zone->shpool, size);
    if (table == NULL) {
        return NGX_ERROR;
    }

    if (RAND_bytes((u_char *) &seed, sizeof(seed)) != 1) {
        ERR_clear_error();

        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "no random bytes for tsface_limit_zone \"%V\"",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    ngx_http_tsface_limit_table_init(table, size, seed);

    zone->table = table;
    zone->shpool->data = table;

    return NGX_OK;
}


/*
 * nginx gives a zone whose size has changed new memory, without a word; what
 * it was is known to the cycle that still is the current one.
 */

static void
ngx_http_tsface_limit_zone_resized(ngx_shm_zone_t *shm_zone)
{
    ngx_uint_t        i;
    ngx_shm_zone_t   *old;
    ngx_list_part_t  *part;

    for (part = (ngx_list_part_t *) &ngx_cycle->shared_memory.part;
         part;
         part = part->next)
    {
        old = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (&old[i] == shm_zone
                || old[i].tag != shm_zone->tag
                || old[i].shm.size == shm_zone->shm.size
                || old[i].shm.name.len != shm_zone->shm.name.len
                || ngx_memcmp(old[i].shm.name.data, shm_zone->shm.name.data,
                              shm_zone->shm.name.len)
                   != 0)
            {
                continue;
            }

            ngx_log_error(NGX_LOG_WARN, shm_zone->shm.log, 0,
                          "tsface_limit_zone \"%V\" has %uz bytes now instead "
                          "of %uz: its limits begin anew",
                          &shm_zone->shm.name, shm_zone->shm.size,
                          old[i].shm.size);
            return;
        }
    }
}


void
ngx_http_tsface_limit_zone_stat(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_limit_stat_t *stat)
{
    ngx_http_tsface_limit_zone_t   *zone;
    ngx_http_tsface_limit_table_t  *table;

    zone = shm_zone->data;
    table = zone->table;

    ngx_shmtx_lock(&zone->shpool->mutex);

    stat->keys = table->top;
    stat->keys_max = table->max;
    stat->full = table->full;
    stat->evicted = table->evicted;
    stat->returned = table->returned;

    ngx_memcpy(stat->decisions, table->decisions, sizeof(stat->decisions));
    ngx_memcpy(stat->refusals, table->refusals, sizeof(stat->refusals));

    ngx_shmtx_unlock(&zone->shpool->mutex);

    ngx_qsort(stat->refusals, NGX_HTTP_TSFACE_LIMIT_NTOP,
              sizeof(ngx_http_tsface_limit_top_t),
              ngx_http_tsface_limit_zone_compare);
}


static int ngx_libc_cdecl
ngx_http_tsface_limit_zone_compare(const void *one, const void *two)
{
    const ngx_http_tsface_limit_top_t  *a = one;
    const ngx_http_tsface_limit_top_t  *b = two;

    return (a->count < b->count) - (a->count > b->count);
}
