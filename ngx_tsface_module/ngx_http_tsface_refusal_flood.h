
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Refusals that come faster than they are written one by one: which are
 * counted instead, and what is kept of those.  Pure: time comes in as an
 * argument.
 */


#ifndef _NGX_HTTP_TSFACE_REFUSAL_FLOOD_H_INCLUDED_
#define _NGX_HTTP_TSFACE_REFUSAL_FLOOD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_gcra.h"
#include "ngx_http_tsface_problem.h"


/* names of a kind that are kept, and bytes of each, before escaping */
#define NGX_HTTP_TSFACE_FLOOD_NAMES      8
#define NGX_HTTP_TSFACE_FLOOD_NAME       160

/* what ngx_http_tsface_flood_write() writes at most */
#define NGX_HTTP_TSFACE_FLOOD_MAX        4096


/* The first different names that were met. */
typedef struct {
    ngx_uint_t   n;
    ngx_uint_t   more;                   /* there were others */
    size_t       len[NGX_HTTP_TSFACE_FLOOD_NAMES];
    u_char       data[NGX_HTTP_TSFACE_FLOOD_NAMES][NGX_HTTP_TSFACE_FLOOD_NAME];
} ngx_http_tsface_flood_names_t;


/*
 * Refusals counted; all zero: none.  Times are usec since the epoch, of the
 * first and the last one.
 */
typedef struct {
    uint64_t                        count;
    uint64_t                        reasons[NGX_HTTP_TSFACE_NPROBLEMS];
    uint64_t                        first;
    uint64_t                        last;
    ngx_http_tsface_flood_names_t   client_addrs;
    ngx_http_tsface_flood_names_t   callers;
} ngx_http_tsface_flood_t;


/*
 * Whether one more refusal is over the rate.  tat is the time of GCRA that is
 * kept between calls, 0 at first; now is in microseconds of a clock that does
 * not go back.
 */
ngx_uint_t ngx_http_tsface_flood_over(const ngx_http_tsface_gcra_t *gcra,
    uint64_t *tat, uint64_t now);

/* Counts a refusal; caller may be empty. */
void ngx_http_tsface_flood_add(ngx_http_tsface_flood_t *flood,
    ngx_http_tsface_problem_e reason, const ngx_str_t *client_addr,
    const ngx_str_t *caller, uint64_t usec);

/* Adds to flood all that other has counted. */
void ngx_http_tsface_flood_merge(ngx_http_tsface_flood_t *flood,
    const ngx_http_tsface_flood_t *other);

/*
 * Writes the members of a "refusals" record at p, from `"count":` on, without
 * braces or a comma around them.  Returns where they end.
 */
u_char *ngx_http_tsface_flood_write(u_char *p,
    const ngx_http_tsface_flood_t *flood);


#endif /* _NGX_HTTP_TSFACE_REFUSAL_FLOOD_H_INCLUDED_ */
