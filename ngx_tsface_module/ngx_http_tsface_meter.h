
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


#define NGX_HTTP_TSFACE_METER_NBOUNDS   11


/* All zero is an empty one.  Not cumulative; the last bucket has no bound. */
typedef struct {
    ngx_atomic_t    buckets[NGX_HTTP_TSFACE_METER_NBOUNDS + 1];
    ngx_atomic_t    sum;                                         /* ms */
} ngx_http_tsface_meter_t;


/* A copy to show: cumulative, so that the last bucket is the count. */
typedef struct {
    ngx_uint_t      buckets[NGX_HTTP_TSFACE_METER_NBOUNDS + 1];
    ngx_uint_t      count;
    ngx_uint_t      sum;                                         /* ms */
} ngx_http_tsface_meter_stat_t;


/* Upper bounds of the buckets in ms, inclusive, ascending. */
extern const ngx_msec_t
    ngx_http_tsface_meter_bounds[NGX_HTTP_TSFACE_METER_NBOUNDS];


void ngx_http_tsface_meter_add(ngx_http_tsface_meter_t *meter, ngx_msec_t ms);

/*
 * count is what the buckets of this copy add up to, whatever is added
 * meanwhile; sum may be ahead of it, or behind.
 */
void ngx_http_tsface_meter_read(const ngx_http_tsface_meter_t *meter,
    ngx_http_tsface_meter_stat_t *stat);


#endif /* _NGX_HTTP_TSFACE_METER_H_INCLUDED_ */
