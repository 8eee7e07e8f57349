
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: ngx_http_tsface_gcra.c */


#include "tap.h"

#include "ngx_http_tsface_gcra.h"


static void
parse(void)
{
    size_t                  i;
    ngx_int_t               rc;
    ngx_str_t               value;
    ngx_http_tsface_gcra_t  gcra;

    static const struct {
        const char  *text;
        ngx_int_t    rc;
        ngx_uint_t   rate;
        ngx_uint_t   period;
    } rows[] = {
        { "1r/s", NGX_OK, 1, 1 },
        { "30r/m", NGX_OK, 30, 60 },
        { "5r/h", NGX_OK, 5, 3600 },
        { "1000000r/d", NGX_OK, 1000000, 86400 },
        { "10000r/s", NGX_OK, 10000, 1 },
        { "007r/s", NGX_OK, 7, 1 },
        { "0r/s", NGX_ERROR, 0, 0 },
        { "1000001r/s", NGX_ERROR, 0, 0 },
        { "18446744073709551617r/s", NGX_ERROR, 0, 0 },
        { "99999999999999999999999999r/s", NGX_ERROR, 0, 0 },
        { "r/s", NGX_ERROR, 0, 0 },
        { "", NGX_ERROR, 0, 0 },
        { "s", NGX_ERROR, 0, 0 },
        { "1r", NGX_ERROR, 0, 0 },
        { "1r/", NGX_ERROR, 0, 0 },
        { "10", NGX_ERROR, 0, 0 },
        { "1r/w", NGX_ERROR, 0, 0 },
        { "1r/S", NGX_ERROR, 0, 0 },
        { "1R/s", NGX_ERROR, 0, 0 },
        { "1r-s", NGX_ERROR, 0, 0 },
        { "1x/s", NGX_ERROR, 0, 0 },
        { "-1r/s", NGX_ERROR, 0, 0 },
        { "+1r/s", NGX_ERROR, 0, 0 },
        { " 1r/s", NGX_ERROR, 0, 0 },
        { "1 r/s", NGX_ERROR, 0, 0 },
        { "1r/s ", NGX_ERROR, 0, 0 },
        { "1.5r/s", NGX_ERROR, 0, 0 },
        { "0x1r/s", NGX_ERROR, 0, 0 },
        { "1r/sec", NGX_ERROR, 0, 0 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        value = text(rows[i].text);
        memset(&gcra, 0, sizeof(gcra));

        rc = ngx_http_tsface_gcra_parse_rate(&gcra, &value);

        check(rc == rows[i].rc && gcra.rate == rows[i].rate
              && gcra.period == rows[i].period, "\"%s\"", rows[i].text);
    }

    done("rates");
}


static void
init(void)
{
    size_t                  i;
    ngx_http_tsface_gcra_t  gcra;

    static const struct {
        ngx_uint_t  rate, period, burst;
        uint64_t    interval;
    } rows[] = {
        { 1, 1, 0, 1000000 },
        { 30, 60, 10, 2000000 },
        { 10000, 1, 5, 100 },
        { 7, 1, 3, 142858 },           /* rounded up */
        { 700000, 1, 3, 2 },
        { 1000000, 1, 0, 1 },
        { 1, 86400, 1000000, 86400000000ULL },
        { 1000000, 86400, 1, 86400 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        gcra.rate = rows[i].rate;
        gcra.period = rows[i].period;

        ngx_http_tsface_gcra_init(&gcra, rows[i].burst);

        check(gcra.interval == rows[i].interval, "row %zu: %llu", i,
              (unsigned long long) gcra.interval);
        check(gcra.burst == rows[i].burst, "row %zu", i);
        check(gcra.tolerance == rows[i].interval * rows[i].burst,
              "row %zu", i);
    }

    /* a burst that would wrap a time around */

    gcra.rate = 1;
    gcra.period = 86400;
    ngx_http_tsface_gcra_init(&gcra, (ngx_uint_t) -1);

    check(gcra.tolerance <= (uint64_t) 1 << 62, "tolerance");
    check(gcra.tolerance == gcra.burst * gcra.interval, "product");

    done("interval and tolerance");
}


static void
burst(void)
{
    ngx_uint_t                     n, b;
    uint64_t                       tat, now;
    ngx_http_tsface_gcra_t         gcra;
    ngx_http_tsface_gcra_result_t  r;

    now = 1700000000000000ULL;

    for (b = 0; b <= 20; b++) {
        gcra.rate = 30;
        gcra.period = 60;
        ngx_http_tsface_gcra_init(&gcra, b);

        tat = 0;

        for (n = 0; n <= b; n++) {
            ngx_http_tsface_gcra_decide(&gcra, 0, tat, now, &r);

            check(r.retry == 0, "burst %lu, request %lu", b, n);
            check(r.remaining == b - n, "remaining %lu", r.remaining);
            check(r.tat == now + (n + 1) * 2000000, "tat");
            check(r.reset == (n + 1) * 2000000, "reset");

            tat = r.tat;
        }

        ngx_http_tsface_gcra_decide(&gcra, 0, tat, now, &r);

        check(r.retry == 2000000, "retry %lu", (unsigned long) r.retry);
        check(r.tat == tat, "unchanged");
        check(r.remaining == 0, "none left");
        check(r.reset == (b + 1) * 2000000, "reset");

        /* one microsecond early, then in time */

        ngx_http_tsface_gcra_decide(&gcra, 0, tat, now + 1999999, &r);
        check(r.retry == 1, "one microsecond early");

        ngx_http_tsface_gcra_decide(&gcra, 0, tat, now + 2000000, &r);
        check(r.retry == 0 && r.remaining == 0, "in time");

        /* after reset it is a new key */

        ngx_http_tsface_gcra_decide(&gcra, 0, tat, now + (b + 1) * 2000000, &r);
        check(r.retry == 0 && r.remaining == b, "after reset");

        ngx_http_tsface_gcra_decide(&gcra, 0, tat, now + 86400000000ULL, &r);
        check(r.tat == now + 86400000000ULL + 2000000, "long idle");
    }

    done("burst + 1 at once");
}


/*
 * The reference is a leaky bucket in integers: level is the work still in it,
 * in microseconds; it leaks one per microsecond and a request adds interval.
 * What is told is checked by trying it.
 */

static void
reference(void)
{
    ngx_uint_t                     i, n, trace;
    uint64_t                       tat, now, level, step, t;
    ngx_http_tsface_gcra_t         gcra;
    ngx_http_tsface_gcra_result_t  r, s;

    static const ngx_uint_t  periods[] = { 1, 60, 3600, 86400 };

    for (trace = 0; trace < 400; trace++) {

        gcra.rate = 1 + below(trace % 3 ? 100 : 1000000);
        gcra.period = periods[below(4)];
        ngx_http_tsface_gcra_init(&gcra, below(trace % 2 ? 5 : 200));

        tat = 0;
        level = 0;
        now = 1 + below((uint64_t) 1 << 50);

        for (i = 0; i < 250; i++) {

            switch (below(4)) {
            case 0:
                step = 0;
                break;
            case 1:
                step = below(gcra.interval + 1);
                break;
            case 2:
                step = below(3 * gcra.interval + 2);
                break;
            default:
                step = below(20) ? 1 : gcra.tolerance + gcra.interval;
            }

            now += step;
            level = level > step ? level - step : 0;

            ngx_http_tsface_gcra_decide(&gcra, 0, tat, now, &r);

            check((r.retry == 0) == (level <= gcra.tolerance),
                  "trace %lu, step %lu", trace, i);

            if (r.retry) {
                check(r.tat == tat, "unchanged");
                check(r.retry == level - gcra.tolerance, "retry");

                ngx_http_tsface_gcra_decide(&gcra, 0, tat, now + r.retry, &s);
                check(s.retry == 0, "allowed after retry");

                ngx_http_tsface_gcra_decide(&gcra, 0, tat, now + r.retry - 1,
                                            &s);
                check(s.retry == 1, "refused before retry");

            } else {
                level += gcra.interval;
                tat = r.tat;
                check(tat == now + level, "tat");
            }

            check(r.reset == level, "reset");

            /* what remains, by taking it */

            t = tat;

            for (n = 0; n <= r.remaining; n++) {
                ngx_http_tsface_gcra_decide(&gcra, 0, t, now, &s);

                if (s.retry) {
                    break;
                }

                t = s.tat;
            }

            check(n == r.remaining, "remaining %lu, taken %lu", r.remaining,
                  n);
        }
    }

    done("random traces against a leaky bucket");
}


/* In no window more than its share and the burst. */

static void
rate(void)
{
    ngx_uint_t                     i, j, n;
    uint64_t                       tat, now, times[3000];
    ngx_http_tsface_gcra_t         gcra;
    ngx_http_tsface_gcra_result_t  r;

    gcra.rate = 7;
    gcra.period = 1;
    ngx_http_tsface_gcra_init(&gcra, 3);

    tat = 0;
    now = 1000;
    n = 0;

    for (i = 0; i < 20000; i++) {
        now += below(30000);
        ngx_http_tsface_gcra_decide(&gcra, 0, tat, now, &r);

        if (r.retry == 0) {
            tat = r.tat;
            if (n < 3000) {
                times[n++] = now;
            }
        }
    }

    for (i = 0; i < n; i++) {
        for (j = i; j < n && j < i + 200; j++) {
            check((times[j] - times[i]) * 7 / 1000000 + 3 + 1 >= j - i + 1,
                  "%lu requests from %lu", j - i + 1, i);
        }
    }

    check(n > 1900, "allowed %lu", n);

    done("the rate is never exceeded");
}


int
main(void)
{
    parse();
    init();
    burst();
    reference();
    rate();

    return tap_end();
}
