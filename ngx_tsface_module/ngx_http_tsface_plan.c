
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_json.h"
#include "ngx_http_tsface_plan.h"


#define NGX_HTTP_TSFACE_PLAN_MIN_LEAD     60000
#define NGX_HTTP_TSFACE_PLAN_FLOOR        50

/*
 * A token is not sent in its last seconds: on its way, or by a clock that is
 * ahead of ours, it would expire.
 */
#define NGX_HTTP_TSFACE_PLAN_MARGIN       5000
#define NGX_HTTP_TSFACE_PLAN_MAX_SECONDS  315360000

/*
 * Times are compared by the sign of their difference, as a clock may wrap
 * (on 32 bits it does after 49 days): no span may come near half its range.
 */
#define NGX_HTTP_TSFACE_PLAN_MAX_SPAN     ((ngx_msec_t) -1 / 4)


static ngx_int_t ngx_http_tsface_plan_base64url(u_char *dst, size_t *len,
    const u_char *src, size_t n);
static ngx_int_t ngx_http_tsface_plan_sextet(u_char ch);


ngx_http_tsface_exchange_e
ngx_http_tsface_plan_classify(ngx_uint_t status)
{
    if (status == 429 || status == 503) {
        return NGX_HTTP_TSFACE_EXCHANGE_THROTTLED;
    }

    switch (status / 100) {

    case 2:
        return NGX_HTTP_TSFACE_EXCHANGE_OK;

    case 3:
    case 5:
        return NGX_HTTP_TSFACE_EXCHANGE_SERVER;

    case 4:
        return NGX_HTTP_TSFACE_EXCHANGE_REJECTED;

    default:
        return NGX_HTTP_TSFACE_EXCHANGE_MALFORMED;
    }
}


void
ngx_http_tsface_plan_token(ngx_http_tsface_plan_t *plan, ngx_msec_t now,
    ngx_msec_t ttl, ngx_msec_t min_interval, uint32_t random)
{
    ngx_msec_t  life, lead, delay;

    ttl = ngx_min(ttl, NGX_HTTP_TSFACE_PLAN_MAX_SPAN);
    life = ttl - ngx_min(ttl / 10, NGX_HTTP_TSFACE_PLAN_MARGIN);

    lead = ngx_max(ttl / 5, NGX_HTTP_TSFACE_PLAN_MIN_LEAD);
    lead = ngx_min(lead, ttl / 2);
    lead -= random % (lead / 10 + 1);

    delay = ttl - lead;

    if (delay < min_interval && min_interval < life) {
        delay = min_interval;
    }

    plan->expires = now + life;
    plan->refresh = now + delay;
}


ngx_msec_t
ngx_http_tsface_plan_delay(ngx_http_tsface_exchange_e failure,
    ngx_uint_t fails, ngx_msec_t retry_after, uint32_t random)
{
    ngx_msec_t  max, delay;

    switch (failure) {

    case NGX_HTTP_TSFACE_EXCHANGE_OK:
        return 0;

    case NGX_HTTP_TSFACE_EXCHANGE_REJECTED:
        return NGX_HTTP_TSFACE_PLAN_COOLDOWN;

    case NGX_HTTP_TSFACE_EXCHANGE_THROTTLED:

        if (retry_after == 0) {
            break;
        }

        delay = ngx_min(retry_after, NGX_HTTP_TSFACE_PLAN_MAX_RETRY_AFTER);

        return ngx_max(delay, NGX_HTTP_TSFACE_PLAN_FLOOR);

    default:
        break;
    }

    max = NGX_HTTP_TSFACE_PLAN_MIN_DELAY;

    while (fails > 1 && max < NGX_HTTP_TSFACE_PLAN_MAX_DELAY) {
        max *= 2;
        fails--;
    }

    max = ngx_min(max, NGX_HTTP_TSFACE_PLAN_MAX_DELAY);

    delay = random % (max + 1);

    return ngx_max(delay, NGX_HTTP_TSFACE_PLAN_FLOOR);
}


ngx_msec_t
ngx_http_tsface_plan_place(ngx_msec_t *next, ngx_msec_t now,
    ngx_msec_t interval)
{
    ngx_msec_t  place;

    place = (ngx_msec_int_t) (*next - now) > 0 ? *next : now;

    *next = place + interval;

    return place;
}


/* Rounded up: the lanes together never make more than the rate. */

ngx_msec_t
ngx_http_tsface_plan_interval(ngx_http_tsface_lane_e lane, ngx_uint_t rate,
    ngx_uint_t period)
{
    uint64_t  share;

    share = (lane == NGX_HTTP_TSFACE_LANE_NORMAL) ? 2 : 4;

    return (ngx_msec_t) ((share * period * 1000 + rate - 1) / rate);
}


ngx_uint_t
ngx_http_tsface_plan_jwt_ttl(const ngx_str_t *token, time_t now,
    u_char *arena, size_t size)
{
    u_char                         *p, *last, *dot, *dot2;
    uint64_t                        exp;
    ngx_str_t                       text;
    ngx_http_tsface_json_t          json;
    ngx_http_tsface_json_member_t  *member;

    if (token->len == 0 || now < 0) {
        return 0;
    }

    last = token->data + token->len;

    /* header "." payload "." signature, where only a signature may be empty */

    dot = memchr(token->data, '.', token->len);
    if (dot == NULL || dot == token->data) {
        return 0;
    }

    dot++;

    dot2 = memchr(dot, '.', last - dot);
    if (dot2 == NULL || dot2 == dot
        || memchr(dot2 + 1, '.', last - dot2 - 1) != NULL)
    {
        return 0;
    }

    /* the decoded payload is shorter; json_read() has the arena behind it */

    if ((size_t) (dot2 - dot) > size) {
        return 0;
    }

    text.data = arena;

    if (ngx_http_tsface_plan_base64url(text.data, &text.len, dot, dot2 - dot)
        != NGX_OK)
    {
        return 0;
    }

    if (ngx_http_tsface_json_read(&json, &text, arena + text.len,
                                  size - text.len)
        != NGX_HTTP_TSFACE_JSON_OK)
    {
        return 0;
    }

    member = ngx_http_tsface_json_find(&json, "exp");

    if (member == NULL || member->type != NGX_HTTP_TSFACE_JSON_NUMBER) {
        return 0;
    }

    /* a NumericDate may have a fraction; an exponent is nobody's habit */

    p = member->value.data;
    last = p + member->value.len;
    exp = 0;

    for ( /* void */ ; p < last && *p >= '0' && *p <= '9'; p++) {
        exp = exp * 10 + (*p - '0');

        if (exp > (uint64_t) 1 << 58) {
            return 0;
        }
    }

    if (p < last) {

        if (*p++ != '.') {
            return 0;
        }

        for ( /* void */ ; p < last; p++) {
            if (*p < '0' || *p > '9') {
                return 0;
            }
        }
    }

    if (exp <= (uint64_t) now) {
        return 0;
    }

    return (ngx_uint_t) ngx_min(exp - (uint64_t) now,
                                NGX_HTTP_TSFACE_PLAN_MAX_SECONDS);
}


/* RFC 7515: no padding, no line breaks, and one encoding for each value. */

static ngx_int_t
ngx_http_tsface_plan_base64url(u_char *dst, size_t *len, const u_char *src,
    size_t n)
{
    u_char      *start;
    uint32_t     bits;
    ngx_int_t    sextet;
    ngx_uint_t   nbits;

    start = dst;
    bits = 0;
    nbits = 0;

    for ( /* void */ ; n; src++, n--) {

        sextet = ngx_http_tsface_plan_sextet(*src);

        if (sextet == NGX_ERROR) {
            return NGX_ERROR;
        }

        bits = (bits << 6) | (uint32_t) sextet;
        nbits += 6;

        if (nbits >= 8) {
            nbits -= 8;
            *dst++ = (u_char) (bits >> nbits);
            bits &= ((uint32_t) 1 << nbits) - 1;
        }
    }

    /* a single character too many, or bits that would be lost */

    if (nbits == 6 || bits != 0) {
        return NGX_ERROR;
    }

    *len = dst - start;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_plan_sextet(u_char ch)
{
    if (ch >= 'A' && ch <= 'Z') {
        return ch - 'A';
    }

    if (ch >= 'a' && ch <= 'z') {
        return ch - 'a' + 26;
    }

    if (ch >= '0' && ch <= '9') {
        return ch - '0' + 52;
    }

    if (ch == '-') {
        return 62;
    }

    if (ch == '_') {
        return 63;
    }

    return NGX_ERROR;
}
