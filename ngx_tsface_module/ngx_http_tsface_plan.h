
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * When a token is fetched, refreshed and given up (DESIGN 5).  Pure: times
 * are milliseconds of a monotonic clock, random numbers come in as arguments.
 */


#ifndef _NGX_HTTP_TSFACE_PLAN_H_INCLUDED_
#define _NGX_HTTP_TSFACE_PLAN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_TSFACE_PLAN_DEFAULT_TTL   300000
#define NGX_HTTP_TSFACE_PLAN_MIN_DELAY     500
#define NGX_HTTP_TSFACE_PLAN_MAX_DELAY     30000
#define NGX_HTTP_TSFACE_PLAN_COOLDOWN      60000
#define NGX_HTTP_TSFACE_PLAN_MAX_RETRY_AFTER  3600000


/* What became of an exchange. */
typedef enum {
    NGX_HTTP_TSFACE_EXCHANGE_OK = 0,
    NGX_HTTP_TSFACE_EXCHANGE_REJECTED,    /* 400, 401, 403, other 4xx */
    NGX_HTTP_TSFACE_EXCHANGE_THROTTLED,   /* 429, 503 */
    NGX_HTTP_TSFACE_EXCHANGE_SERVER,      /* other 5xx, 3xx */
    NGX_HTTP_TSFACE_EXCHANGE_NETWORK,     /* resolve, connect, TLS, reset */
    NGX_HTTP_TSFACE_EXCHANGE_TIMEOUT,
    NGX_HTTP_TSFACE_EXCHANGE_MALFORMED,   /* a 200 without a usable token */
    NGX_HTTP_TSFACE_EXCHANGE_UNKEPT,      /* no room for it in the zone */
    NGX_HTTP_TSFACE_EXCHANGE_NCLASSES
} ngx_http_tsface_exchange_e;


typedef struct {
    ngx_msec_t    expires;      /* not used from here on */
    ngx_msec_t    refresh;      /* refreshed in the background from here on */
} ngx_http_tsface_plan_t;


/* The class of a token endpoint's answer by its status. */
ngx_http_tsface_exchange_e ngx_http_tsface_plan_classify(ngx_uint_t status);

/*
 * Plans a token that lives ttl ms from now; it is not used in the last 10 % of
 * that, at most 5 s.  Refresh at max(20 % of ttl,
 * 60 s), at most 50 %, before expiry, minus up to 10 % of that lead as
 * jitter (random is any number); but not within min_interval of now unless
 * the token would be dead by then.
 */
void ngx_http_tsface_plan_token(ngx_http_tsface_plan_t *plan, ngx_msec_t now,
    ngx_msec_t ttl, ngx_msec_t min_interval, uint32_t random);

/*
 * How long to wait after the fails-th failure in a row (1, 2, ...).
 * retry_after is in ms, 0 when the answer had none; it is honored up to
 * MAX_RETRY_AFTER for THROTTLED.  REJECTED: COOLDOWN.  Others: exponential
 * from MIN_DELAY to MAX_DELAY with full jitter, never below 50 ms.
 */
ngx_msec_t ngx_http_tsface_plan_delay(ngx_http_tsface_exchange_e failure,
    ngx_uint_t fails, ngx_msec_t retry_after, uint32_t random);

/*
 * Exchanges of all credentials keep to one rate, in lanes of their own, so
 * that those that fail delay none of the others, and those that nobody waits
 * for none of those that requests wait for.
 */
typedef enum {
    NGX_HTTP_TSFACE_LANE_URGENT = 0,      /* requests wait: 1/4 of the rate */
    NGX_HTTP_TSFACE_LANE_NORMAL,          /* 1/2 */
    NGX_HTTP_TSFACE_LANE_FAILING,         /* the last one failed: 1/4 */
    NGX_HTTP_TSFACE_NLANES
} ngx_http_tsface_lane_e;

/*
 * Takes the next place in a lane whose *next place is a time or lies in the
 * past; places are interval ms apart.  Returns when it is.
 */
ngx_msec_t ngx_http_tsface_plan_place(ngx_msec_t *next, ngx_msec_t now,
    ngx_msec_t interval);

/* Between two places of a lane, in ms, when all make rate a period (s). */
ngx_msec_t ngx_http_tsface_plan_interval(ngx_http_tsface_lane_e lane,
    ngx_uint_t rate, ngx_uint_t period);

/*
 * The exp claim minus now (both Unix seconds) of a JWT, without checking its
 * signature: a hint when expires_in is missing.  Returns seconds, or 0 when
 * token is not a JWT with a usable exp.  arena: as json.h, for the payload.
 */
ngx_uint_t ngx_http_tsface_plan_jwt_ttl(const ngx_str_t *token, time_t now,
    u_char *arena, size_t size);


#endif /* _NGX_HTTP_TSFACE_PLAN_H_INCLUDED_ */
