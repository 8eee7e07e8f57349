
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A histogram of durations that many processes add to without a lock.  Pure:
 * whoever embeds one decides where it lives.
 */


#ifndef _NGX_HTTP_TSFACE_METER_H_INCLUDED_
#define _NGX_HTTP_TSFACE_METER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_TSFACE_METER_NBOUNDS   15

/* The first bound to tell of, by the clock: the first of all, or 5 ms. */
#define NGX_HTTP_TSFACE_METER_US        0
#define NGX_HTTP_TSFACE_METER_MS        4


/* An upper bound, inclusive. */
typedef struct {
    uint64_t        us;
    const char     *ms;                                    /* as a number */
    const char     *seconds;
} ngx_http_tsface_meter_bound_t;


/* All zero is an empty one.  Not cumulative; the last bucket has no bound. */
typedef struct {
    ngx_atomic_t    buckets[NGX_HTTP_TSFACE_METER_NBOUNDS + 1];
    ngx_atomic_t    sum;                                   /* us */
} ngx_http_tsface_meter_t;


/* A copy to show: cumulative, so that the last bucket is the count. */
typedef struct {
    ngx_uint_t      buckets[NGX_HTTP_TSFACE_METER_NBOUNDS + 1];
    ngx_uint_t      first;                                 /* to be told */
    ngx_uint_t      count;
    ngx_uint_t      sum;                                   /* us */
} ngx_http_tsface_meter_stat_t;


/* Ascending. */
extern const ngx_http_tsface_meter_bound_t
    ngx_http_tsface_meter_bounds[NGX_HTTP_TSFACE_METER_NBOUNDS];


void ngx_http_tsface_meter_add(ngx_http_tsface_meter_t *meter, uint64_t us);

/*
 * count is what the buckets of this copy add up to, whatever is added
 * meanwhile; sum may be ahead of it, or behind.  first is METER_US or
 * METER_MS, by what was added: in ms nothing is known of what is below.
 */
void ngx_http_tsface_meter_read(const ngx_http_tsface_meter_t *meter,
    ngx_uint_t first, ngx_http_tsface_meter_stat_t *stat);


#endif /* _NGX_HTTP_TSFACE_METER_H_INCLUDED_ */
