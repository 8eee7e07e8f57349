
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: ngx_http_tsface_plan.c ngx_http_tsface_json.c */


#include "tap.h"

#include "ngx_http_tsface_json.h"
#include "ngx_http_tsface_plan.h"


static void
classify(void)
{
    ngx_uint_t                  status;
    ngx_http_tsface_exchange_e  want;

    for (status = 0; status < 1100; status++) {

        want = NGX_HTTP_TSFACE_EXCHANGE_MALFORMED;

        if (status >= 200 && status <= 299) {
            want = NGX_HTTP_TSFACE_EXCHANGE_OK;
        }

        if (status >= 300 && status <= 399) {
            want = NGX_HTTP_TSFACE_EXCHANGE_SERVER;
        }

        if (status >= 400 && status <= 499) {
            want = NGX_HTTP_TSFACE_EXCHANGE_REJECTED;
        }

        if (status >= 500 && status <= 599) {
            want = NGX_HTTP_TSFACE_EXCHANGE_SERVER;
        }

        if (status == 429 || status == 503) {
            want = NGX_HTTP_TSFACE_EXCHANGE_THROTTLED;
        }

        check(ngx_http_tsface_plan_classify(status) == want, "%lu", status);
    }

    done("classes of statuses");
}


/* The end of a token's life, in which it is not used. */

static ngx_msec_t
margin(ngx_msec_t ttl)
{
    return ttl < 50000 ? ttl / 10 : 5000;
}


static void
token_rows(void)
{
    size_t                  i;
    ngx_http_tsface_plan_t  plan;

    static const struct {
        ngx_msec_t  ttl, min_interval;
        uint32_t    random;
        ngx_msec_t  refresh;
    } rows[] = {
        /* an hour: 20 % are 12 minutes */
        { 3600000, 5000, 0, 2880000 },
        { 3600000, 5000, 72000, 2880000 + 72000 },
        { 3600000, 5000, 72001, 2880000 },
        /* five minutes: 60 s */
        { 300000, 5000, 0, 240000 },
        /* 90 s: half of it */
        { 90000, 5000, 0, 45000 },
        { 120000, 5000, 0, 60000 },
        { 120002, 5000, 0, 60002 },
        /* the least interval, and a token that does not live that long */
        { 8000, 5000, 0, 5000 },
        { 5556, 5000, 0, 5000 },
        { 5555, 5000, 0, 2778 },
        { 5001, 5000, 0, 2501 },
        { 5000, 5000, 0, 2500 },
        { 1000, 5000, 0, 500 },
        { 1, 5000, 0, 1 },
        { 0, 5000, 0, 0 },
        { 0, 0, 0, 0 },
        { 3600000, 3000000, 0, 3000000 },
        { 3600000, 3600000, 0, 2880000 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ngx_http_tsface_plan_token(&plan, 1000000, rows[i].ttl,
                                   rows[i].min_interval, rows[i].random);

        check(plan.expires == 1000000 + rows[i].ttl - margin(rows[i].ttl),
              "row %zu", i);
        check(plan.refresh == 1000000 + rows[i].refresh, "row %zu: %lu", i,
              (unsigned long) (plan.refresh - 1000000));
    }

    done("plans of a token");
}


static void
token_random(void)
{
    ngx_uint_t              i;
    ngx_msec_t              now, ttl, min, lead, max;
    ngx_msec_int_t          refresh, expires, seen[2];
    ngx_http_tsface_plan_t  plan, wrapped;

    for (i = 0; i < 300000; i++) {

        ttl = below((uint64_t) 1 << (1 + below(40)));
        min = below(2) ? 5000 : below(100000);
        now = rnd();

        if (below(4) == 0) {

            /* the clock wraps around before the token expires */
            now = (ngx_msec_t) 0 - below(ttl + 1);
        }

        ngx_http_tsface_plan_token(&plan, now, ttl, min, (uint32_t) rnd());

        refresh = (ngx_msec_int_t) (plan.refresh - now);
        expires = (ngx_msec_int_t) (plan.expires - now);

        check(expires == (ngx_msec_int_t) (ttl - margin(ttl)), "expires");
        check(refresh >= 0 && refresh <= expires, "within its life");

        max = ttl / 5 > 60000 ? ttl / 5 : 60000;
        max = max > ttl / 2 ? ttl / 2 : max;
        lead = plan.expires + margin(ttl) - plan.refresh;

        check(lead <= max, "not earlier than planned, ttl %lu",
              (unsigned long) ttl);

        if ((ngx_msec_t) refresh != min) {
            check(lead >= max - max / 10, "jitter, ttl %lu lead %lu",
                  (unsigned long) ttl, (unsigned long) lead);
        }

        check((ngx_msec_t) refresh >= min || ttl - margin(ttl) <= min,
              "least interval");

        if (ttl > 1) {
            check(refresh > 0, "does not refresh at once");
        }
    }

    /* jitter reaches both ends */

    seen[0] = 1000000000;
    seen[1] = 0;

    for (i = 0; i < 300000; i++) {
        ngx_http_tsface_plan_token(&plan, 0, 300000, 5000, (uint32_t) rnd());
        seen[0] = ngx_min(seen[0], (ngx_msec_int_t) plan.refresh);
        seen[1] = ngx_max(seen[1], (ngx_msec_int_t) plan.refresh);
    }

    check(seen[0] == 240000 && seen[1] == 246000, "%ld %ld", (long) seen[0],
          (long) seen[1]);

    /* an absurd life stays comparable by sign */

    ngx_http_tsface_plan_token(&wrapped, 5, (ngx_msec_t) -1, 5000, 1);
    check((ngx_msec_int_t) (wrapped.expires - 5) > 0, "expires later");
    check((ngx_msec_int_t) (wrapped.expires - wrapped.refresh) > 0,
          "refreshed before");

    done("properties of plans");
}


static void
delay(void)
{
    ngx_uint_t  i, fails, failure;
    ngx_msec_t  d, max, least, most;

    for (fails = 0; fails < 100; fails++) {

        max = fails <= 1 ? 500
              : fails > 6 ? 30000 : (ngx_msec_t) 500 << (fails - 1);

        for (failure = NGX_HTTP_TSFACE_EXCHANGE_REJECTED;
             failure < NGX_HTTP_TSFACE_EXCHANGE_NCLASSES; failure++)
        {
            least = (ngx_msec_t) -1;
            most = 0;

            for (i = 0; i < 200; i++) {
                d = ngx_http_tsface_plan_delay(failure, fails, 0,
                                               (uint32_t) rnd());
                least = ngx_min(least, d);
                most = ngx_max(most, d);

                if (failure == NGX_HTTP_TSFACE_EXCHANGE_REJECTED) {
                    check(d == 60000, "cooldown");

                } else {
                    check(d >= 50 && d <= max, "%lu fails: %lu", fails,
                          (unsigned long) d);
                }
            }

            if (failure != NGX_HTTP_TSFACE_EXCHANGE_REJECTED) {
                check(least < max / 4 && most > max / 4 * 3, "full jitter");
            }
        }
    }

#define d(f, n, ra, r)                                                        \
    ngx_http_tsface_plan_delay(NGX_HTTP_TSFACE_EXCHANGE_##f, n, ra, r)

    check(d(OK, 3, 0, 7) == 0, "no failure, no delay");
    check(d(NETWORK, 1, 0, 0) == 50, "floor");
    check(d(NETWORK, 1, 0, 49) == 50, "floor");
    check(d(NETWORK, 1, 0, 51) == 51, "above the floor");
    check(d(NETWORK, 1, 0, 500) == 500, "whole range");
    check(d(NETWORK, 1, 0, 501) == 50, "modulus");
    check(d(NETWORK, 2, 0, 1000) == 1000, "doubled");
    check(d(NETWORK, 6, 0, 16000) == 16000, "doubled five times");
    check(d(NETWORK, 7, 0, 30000) == 30000, "highest");
    check(d(NETWORK, 7, 0, 30001) == 50, "highest");
    check(d(NETWORK, (ngx_uint_t) -1, 0, 30000) == 30000, "endless");

    check(d(THROTTLED, 1, 7000, 3) == 7000, "Retry-After");
    check(d(THROTTLED, 50, 7000, 3) == 7000, "Retry-After");
    check(d(THROTTLED, 1, 1, 3) == 50, "Retry-After, floor");
    check(d(THROTTLED, 1, 3600000, 3) == 3600000, "Retry-After, an hour");
    check(d(THROTTLED, 1, 3600001, 3) == 3600000, "Retry-After, capped");
    check(d(THROTTLED, 1, (ngx_msec_t) -1, 3) == 3600000, "capped");
    check(d(REJECTED, 1, 7000, 3) == 60000, "not for others");
    check(d(SERVER, 1, 7000, 300) == 300, "not for others");

    done("delays");
}


static ngx_str_t
jwt(const char *payload, const char *format)
{
    char         out[4096];
    size_t       i, n, len;
    char         encoded[2048];
    uint32_t     v;

    static const char  alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    len = strlen(payload);
    n = 0;

    for (i = 0; i < len; i += 3) {
        v = (uint32_t) (u_char) payload[i] << 16;

        if (i + 1 < len) {
            v |= (uint32_t) (u_char) payload[i + 1] << 8;
        }

        if (i + 2 < len) {
            v |= (u_char) payload[i + 2];
        }

        encoded[n++] = alphabet[v >> 18];
        encoded[n++] = alphabet[(v >> 12) & 63];

        if (i + 1 < len) {
            encoded[n++] = alphabet[(v >> 6) & 63];
        }

        if (i + 2 < len) {
            encoded[n++] = alphabet[v & 63];
        }
    }

    encoded[n] = '\0';

    snprintf(out, sizeof(out), format, encoded);

    return text(out);
}


static ngx_uint_t
ttl(ngx_str_t token, time_t now)
{
    size_t  size;

    size = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(token.len);

    return ngx_http_tsface_plan_jwt_ttl(&token, now, block(size), size);
}


static void
jwt_ttl(void)
{
    size_t      i, size;
    ngx_str_t   token;
    ngx_uint_t  n;

#define F  "eyJhbGciOiJSUzI1NiJ9.%s.c2ln"

    static const struct {
        const char  *payload;
        const char  *format;
        time_t       now;
        ngx_uint_t   ttl;
    } rows[] = {
        { "{\"exp\":1732480000}", F, 1732476400, 3600 },
        { "{\"iss\":\"x\",\"exp\":1732480000,\"n\":{\"exp\":1}}", F,
          1732479999, 1 },
        { "{\"exp\":1732480000.75}", F, 1732476400, 3600 },
        { "{\"exp\":1732480000}", "h.%s.", 1732476400, 3600 },
        { "{\"exp\":1732480000,\"s\":\">>>???\xc3\xbf\"}", F, 1732476400,
          3600 },
        { "{\"exp\":1732480000}", F, 1732480000, 0 },
        { "{\"exp\":1732480000}", F, 1732480001, 0 },
        { "{\"exp\":0}", F, 0, 0 },
        { "{\"exp\":1}", F, 0, 1 },
        { "{\"exp\":1}", F, -1, 0 },
        { "{\"exp\":9000000000}", F, 0, 315360000 },
        { "{\"exp\":288230376151711744}", F, 0, 315360000 },
        { "{\"exp\":99999999999999999999}", F, 0, 0 },
        { "{\"exp\":-1732480000}", F, 0, 0 },
        { "{\"exp\":1.7e9}", F, 0, 0 },
        { "{\"exp\":17E8}", F, 0, 0 },
        { "{\"exp\":1.5e3}", F, 0, 0 },
        { "{\"exp\":\"1732480000\"}", F, 1732476400, 0 },
        { "{\"exp\":null}", F, 0, 0 },
        { "{\"exp\":true}", F, 0, 0 },
        { "{\"nbf\":1732480000}", F, 0, 0 },
        { "{\"exp\":1732480000,\"exp\":1732480000}", F, 0, 0 },
        { "{\"exp\":1732480000", F, 0, 0 },
        { "[1732480000]", F, 0, 0 },
        { "1732480000", F, 0, 0 },
        { "", F, 0, 0 },
        { "{\"exp\":1732480000}", "%s", 0, 0 },
        { "{\"exp\":1732480000}", "h.%s", 0, 0 },
        { "{\"exp\":1732480000}", ".%s.s", 0, 0 },
        { "{\"exp\":1732480000}", "h.%s.s.t", 0, 0 },
        { "{\"exp\":1732480000}", "h.%s..", 0, 0 },
        { "{\"exp\":1732480000}", "h.%s=.s", 0, 0 },
        { "{\"exp\":1732480000}", "h.%s+.s", 0, 0 },
        { "{\"exp\":1732480000}", "h. %s.s", 0, 0 },
        { "{\"exp\":1732480000}", "h.%sA.s", 0, 0 },
        { "x", "opaque", 0, 0 },
        { "x", ".", 0, 0 },
        { "x", "..", 0, 0 },
        { "x", "a..", 0, 0 },
        { "x", "", 0, 0 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        n = ttl(jwt(rows[i].payload, rows[i].format), rows[i].now);
        check(n == rows[i].ttl, "row %zu: %s, %lu", i, rows[i].payload, n);
    }

    /* the last character has bits that nothing uses: only zeros are right */

    token = text("h.eyJleHAiOjEwfQ.s");
    check(ttl(token, 0) == 10, "canonical");

    token = text("h.eyJleHAiOjEwfR.s");
    check(ttl(token, 0) == 0, "stray bits");

    /* any shorter arena is refused, none is overrun */

    token = jwt("{\"exp\":1732480000}", F);

    for (size = 0; size < 700; size++) {
        check(ngx_http_tsface_plan_jwt_ttl(&token, 0, block(size), size) == 0,
              "arena of %zu", size);
    }

    tap_free();

    for (i = 0; i < 20000; i++) {
        token = jwt("{\"exp\":1732480000,\"aud\":\"a\"}", F);
        token.data[below(token.len)] = (u_char) rnd();
        token.len -= below(4) ? 0 : below(token.len);

        n = ttl(bytes(token.data, token.len), 1732476400);

        check(n <= 315360000, "bounded");

        if (i % 500 == 0) {
            tap_free();
        }
    }

    done("exp of a JWT");
}


/* In any window, all lanes together have no more places than the rate. */

static void
lanes(void)
{
    size_t      i;
    ngx_msec_t  next, now, interval, place;
    ngx_uint_t  lane, n;

    static const struct {
        ngx_uint_t  rate;
        ngx_uint_t  period;
    } rates[] = {
        { 1, 1 }, { 2, 1 }, { 3, 1 }, { 7, 1 }, { 100, 1 }, { 333, 1 },
        { 1000, 1 }, { 1, 60 }, { 7, 60 }, { 59, 60 }, { 1, 3600 },
        { 1, 86400 }, { 60000, 60 }
    };

    for (i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {

        n = 0;

        for (lane = 0; lane < NGX_HTTP_TSFACE_NLANES; lane++) {
            interval = ngx_http_tsface_plan_interval(lane, rates[i].rate,
                                                     rates[i].period);

            check(interval >= 1, "row %zu: %lu", i, (u_long) interval);

            n += (rates[i].period * 4000000 + interval - 1) / interval;
        }

        check(n <= rates[i].rate * 4000 + NGX_HTTP_TSFACE_NLANES,
              "row %zu: %lu in 4000 periods", i, (u_long) n);
        check(n > rates[i].rate * 2000 || rates[i].rate == 1000
              || rates[i].rate == 333 || rates[i].rate == 60000,
              "row %zu: %lu, nothing is lost", i, (u_long) n);
    }

    next = 0;
    now = 1000;

    place = ngx_http_tsface_plan_place(&next, now, 50);
    check(place == 1000 && next == 1050, "an idle lane: at once");

    place = ngx_http_tsface_plan_place(&next, now, 50);
    check(place == 1050 && next == 1100, "behind it");

    place = ngx_http_tsface_plan_place(&next, 1100, 50);
    check(place == 1100 && next == 1150, "at its very time");

    place = ngx_http_tsface_plan_place(&next, 9000, 50);
    check(place == 9000 && next == 9050, "what was not used is lost");

    next = (ngx_msec_t) -10;
    place = ngx_http_tsface_plan_place(&next, (ngx_msec_t) -30, 50);
    check(place == (ngx_msec_t) -10 && next == 40, "a clock that wraps");

    place = ngx_http_tsface_plan_place(&next, (ngx_msec_t) -5, 50);
    check(place == 40 && next == 90, "and has wrapped for the lane only");

    done("lanes");
}


int
main(void)
{
    classify();
    token_rows();
    token_random();
    delay();
    jwt_ttl();
    lanes();

    return tap_end();
}
