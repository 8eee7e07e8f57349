
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * GCRA, the generic cell rate algorithm (ITU-T I.371): one timestamp a key.
 * Pure: time comes in as an argument.
 */


#ifndef _NGX_HTTP_TSFACE_GCRA_H_INCLUDED_
#define _NGX_HTTP_TSFACE_GCRA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Times are in microseconds: 10000 r/s leaves 100 us between two cells. */
typedef struct {
    uint64_t      interval;     /* emission interval: period / rate */
    uint64_t      tolerance;    /* burst * interval */
    ngx_uint_t    burst;
    ngx_uint_t    rate;         /* N of N r/period */
    ngx_uint_t    period;       /* seconds: 1, 60, 3600, 86400 */
} ngx_http_tsface_gcra_t;


typedef struct {
    uint64_t      tat;          /* theoretical arrival time after this one */
    uint64_t      wait;         /* us until it may go on, once let in */
    uint64_t      retry;        /* us until it would be allowed; 0: allowed */
    uint64_t      reset;        /* us until the whole burst is back */
    ngx_uint_t    remaining;    /* requests that would be allowed at once */
} ngx_http_tsface_gcra_result_t;


/*
 * "30r/m" -> rate and period.  Returns NGX_OK, or NGX_ERROR unless
 * 1 <= N <= 1000000 and the unit is s, m, h or d.
 */
ngx_int_t ngx_http_tsface_gcra_parse_rate(ngx_http_tsface_gcra_t *gcra,
    const ngx_str_t *value);

/* Sets interval and tolerance from rate, period and burst. */
void ngx_http_tsface_gcra_init(ngx_http_tsface_gcra_t *gcra, ngx_uint_t burst);

/*
 * Decides for a key whose stored time is tat (0: unknown key) at now.
 * A request is allowed while tat - now <= tolerance; result->tat is what to
 * store if it is let in (unchanged when refused).  burst+1 requests pass at
 * once on a new key.
 *
 * One that comes too early for that, but by no more than queue, is let in for
 * later: result->wait says when.  Its place is taken now, so those who come
 * after it wait longer.
 */
void ngx_http_tsface_gcra_decide(const ngx_http_tsface_gcra_t *gcra,
    uint64_t queue, uint64_t tat, uint64_t now,
    ngx_http_tsface_gcra_result_t *result);

/*
 * What taking a place at the time at makes of a key, which is not before now
 * and not before decide() lets it in.  at may be later than that, when there
 * is another limit to wait for.
 *
 * Whatever the order of these times, no more than burst + 1 + t / interval of
 * them are within any time t: of those that are, the first to be stored makes
 * tat at least its own time plus interval, each other adds an interval, and
 * the last one's time is not before what tat was then less the tolerance.
 */
void ngx_http_tsface_gcra_take(const ngx_http_tsface_gcra_t *gcra,
    uint64_t tat, uint64_t at, uint64_t now,
    ngx_http_tsface_gcra_result_t *result);


/* How it stands with a key that nothing is taken from. */
void ngx_http_tsface_gcra_look(const ngx_http_tsface_gcra_t *gcra,
    uint64_t tat, uint64_t now, ngx_http_tsface_gcra_result_t *result);


#endif /* _NGX_HTTP_TSFACE_GCRA_H_INCLUDED_ */
