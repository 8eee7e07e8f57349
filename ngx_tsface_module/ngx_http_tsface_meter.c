
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_meter.h"


const ngx_msec_t
    ngx_http_tsface_meter_bounds[NGX_HTTP_TSFACE_METER_NBOUNDS] =
{
    5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000
};


void
ngx_http_tsface_meter_add(ngx_http_tsface_meter_t *meter, ngx_msec_t ms)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_TSFACE_METER_NBOUNDS; i++) {
        if (ms <= ngx_http_tsface_meter_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&meter->buckets[i], 1);
    (void) ngx_atomic_fetch_add(&meter->sum, (ngx_atomic_int_t) ms);
}


void
ngx_http_tsface_meter_read(const ngx_http_tsface_meter_t *meter,
    ngx_http_tsface_meter_stat_t *stat)
{
    ngx_uint_t  i;

    stat->sum = meter->sum;
    stat->count = 0;

    for (i = 0; i <= NGX_HTTP_TSFACE_METER_NBOUNDS; i++) {
        stat->count += meter->buckets[i];
        stat->buckets[i] = stat->count;
    }
}
