
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_gcra.h"


#define NGX_HTTP_TSFACE_GCRA_MAX_RATE  1000000


ngx_int_t
ngx_http_tsface_gcra_parse_rate(ngx_http_tsface_gcra_t *gcra,
    const ngx_str_t *value)
{
    u_char      *p, *last;
    ngx_uint_t   rate, period;

    /* at least "1r/s" */

    if (value->len < 4) {
        return NGX_ERROR;
    }

    last = value->data + value->len - 3;

    if (last[0] != 'r' || last[1] != '/') {
        return NGX_ERROR;
    }

    switch (last[2]) {

    case 's':
        period = 1;
        break;

    case 'm':
        period = 60;
        break;

    case 'h':
        period = 3600;
        break;

    case 'd':
        period = 86400;
        break;

    default:
        return NGX_ERROR;
    }

    rate = 0;

    for (p = value->data; p < last; p++) {

        if (*p < '0' || *p > '9') {
            return NGX_ERROR;
        }

        rate = rate * 10 + (*p - '0');

        if (rate > NGX_HTTP_TSFACE_GCRA_MAX_RATE) {
            return NGX_ERROR;
        }
    }

    if (rate == 0) {
        return NGX_ERROR;
    }

    gcra->rate = rate;
    gcra->period = period;

    return NGX_OK;
}


void
ngx_http_tsface_gcra_init(ngx_http_tsface_gcra_t *gcra, ngx_uint_t burst)
{
    uint64_t  period, max;

    period = (uint64_t) gcra->period * 1000000;

    /* rounded up: a limit may be kept a little, but never exceeded */

    gcra->interval = (period + gcra->rate - 1) / gcra->rate;

    /* far beyond any sensible burst, and far from wrapping a time around */

    max = ((uint64_t) 1 << 62) / gcra->interval;

    gcra->burst = (burst > max) ? (ngx_uint_t) max : burst;
    gcra->tolerance = gcra->burst * gcra->interval;
}


void
ngx_http_tsface_gcra_decide(const ngx_http_tsface_gcra_t *gcra,
    uint64_t queue, uint64_t tat, uint64_t now,
    ngx_http_tsface_gcra_result_t *result)
{
    uint64_t  ahead, wait;

    ahead = (tat > now) ? tat - now : 0;
    wait = (ahead > gcra->tolerance) ? ahead - gcra->tolerance : 0;

    if (wait > queue) {
        ngx_http_tsface_gcra_look(gcra, tat, now, result);

        result->retry = wait - queue;

        return;
    }

    ngx_http_tsface_gcra_take(gcra, tat, now + wait, now, result);

    result->wait = wait;
}


void
ngx_http_tsface_gcra_take(const ngx_http_tsface_gcra_t *gcra, uint64_t tat,
    uint64_t at, uint64_t now, ngx_http_tsface_gcra_result_t *result)
{
    tat = ngx_max(tat, at) + gcra->interval;

    ngx_http_tsface_gcra_look(gcra, tat, now, result);

    result->wait = at - now;
}


void
ngx_http_tsface_gcra_look(const ngx_http_tsface_gcra_t *gcra, uint64_t tat,
    uint64_t now, ngx_http_tsface_gcra_result_t *result)
{
    uint64_t  ahead;

    ahead = (tat > now) ? tat - now : 0;

    result->tat = tat;
    result->wait = 0;
    result->retry = 0;
    result->reset = ahead;
    result->remaining = (ahead > gcra->tolerance)
                        ? 0
                        : (ngx_uint_t) ((gcra->tolerance - ahead)
                                        / gcra->interval) + 1;
}
