
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: meter.c */


#include "tap.h"

#include "ngx_http_tsface_meter.h"


int
main(void)
{
    ngx_uint_t                            i, sum;
    ngx_http_tsface_meter_t               meter;
    ngx_http_tsface_meter_stat_t          stat;
    const ngx_http_tsface_meter_bound_t  *bound;

    static const uint64_t  added[] = {
        0, 250, 251, 999, 1000, 5000, 6000, 10000, 10000000, 10000001,
        3600000000
    };

    /* 0.25, 0.5, 1, 2.5 ms and so on */

    static const ngx_uint_t  expected[] = {
        2, 3, 5, 5, 6, 8, 8, 8, 8, 8, 8, 8, 8, 8, 9, 11
    };

    memset(&meter, 0, sizeof(meter));
    sum = 0;

    ngx_http_tsface_meter_read(&meter, NGX_HTTP_TSFACE_METER_US, &stat);
    check(stat.count == 0 && stat.sum == 0, "empty");

    for (i = 0; i < sizeof(added) / sizeof(added[0]); i++) {
        ngx_http_tsface_meter_add(&meter, added[i]);
        sum += added[i];
    }

    ngx_http_tsface_meter_read(&meter, NGX_HTTP_TSFACE_METER_US, &stat);

    check(stat.sum == sum, "%lu", (unsigned long) stat.sum);
    check(stat.count == 11, "%lu", (unsigned long) stat.count);

    for (i = 0; i < sizeof(stat.buckets) / sizeof(stat.buckets[0]); i++) {
        check(stat.buckets[i] == expected[i], "bucket %lu: %lu",
              (unsigned long) i, (unsigned long) stat.buckets[i]);
    }

    bound = ngx_http_tsface_meter_bounds;

    for (i = 0; i < NGX_HTTP_TSFACE_METER_NBOUNDS; i++) {
        check(i == 0 || bound[i].us > bound[i - 1].us, "bounds ascend");
        check(strtod(bound[i].ms, NULL) * 1000 == (double) bound[i].us,
              "%s ms", bound[i].ms);
        check(strtod(bound[i].seconds, NULL) == (double) bound[i].us / 1000000,
              "%s s", bound[i].seconds);
    }

    check(stat.first == 0, "all of them, where us were added");

    ngx_http_tsface_meter_read(&meter, NGX_HTTP_TSFACE_METER_MS, &stat);
    check(bound[stat.first].us == 5000, "from 5 ms on, where ms were");

    done("a meter's buckets");

    return tap_end();
}
