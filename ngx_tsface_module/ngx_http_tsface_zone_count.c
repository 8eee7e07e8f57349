
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_zone_layout.h"


static ngx_uint_t ngx_http_tsface_operation_index(
    const ngx_http_tsface_operation_t *operation);


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
        &zone->sh->upstream[ngx_http_tsface_operation_index(operation)],
        (uint64_t) took * 1000);
}


void
ngx_http_tsface_zone_upstream_stat(ngx_shm_zone_t *shm_zone,
    ngx_uint_t operation, ngx_http_tsface_meter_stat_t *stat)
{
    ngx_http_tsface_zone_t  *zone;

    zone = shm_zone->data;

    ngx_http_tsface_meter_read(&zone->sh->upstream[operation],
                               NGX_HTTP_TSFACE_METER_MS, stat);
}


static ngx_uint_t
ngx_http_tsface_operation_index(const ngx_http_tsface_operation_t *operation)
{
    return operation ? (ngx_uint_t) (operation - ngx_http_tsface_operations)
                     : NGX_HTTP_TSFACE_NO_OPERATION;
}
