
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_meter.h"


const ngx_http_tsface_meter_bound_t
    ngx_http_tsface_meter_bounds[NGX_HTTP_TSFACE_METER_NBOUNDS] =
{
    {      250,  "0.25", "0.00025" },
    {      500,   "0.5", "0.0005" },
    {     1000,     "1", "0.001" },
    {     2500,   "2.5", "0.0025" },
    {     5000,     "5", "0.005" },
    {    10000,    "10", "0.010" },
    {    25000,    "25", "0.025" },
    {    50000,    "50", "0.050" },
    {   100000,   "100", "0.100" },
    {   250000,   "250", "0.250" },
    {   500000,   "500", "0.500" },
    {  1000000,  "1000", "1.000" },
    {  2500000,  "2500", "2.500" },
    {  5000000,  "5000", "5.000" },
    { 10000000, "10000", "10.000" }
};


void
ngx_http_tsface_meter_add(ngx_http_tsface_meter_t *meter, uint64_t us)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_TSFACE_METER_NBOUNDS; i++) {
        if (us <= ngx_http_tsface_meter_bounds[i].us) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&meter->buckets[i], 1);
    (void) ngx_atomic_fetch_add(&meter->sum, (ngx_atomic_int_t) us);
}


void
ngx_http_tsface_meter_read(const ngx_http_tsface_meter_t *meter,
    ngx_uint_t first, ngx_http_tsface_meter_stat_t *stat)
{
    ngx_uint_t  i;

    stat->first = first;
    stat->sum = meter->sum;
    stat->count = 0;

    for (i = 0; i <= NGX_HTTP_TSFACE_METER_NBOUNDS; i++) {
        stat->count += meter->buckets[i];
        stat->buckets[i] = stat->count;
    }
}
