
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: meter.c */


#include "tap.h"

#include "ngx_http_tsface_meter.h"


int
main(void)
{
    ngx_uint_t                    i, sum;
    ngx_http_tsface_meter_t       meter;
    ngx_http_tsface_meter_stat_t  stat;

    static const ngx_msec_t  added[] = { 0, 5, 6, 10, 10000, 10001, 3600000 };

    memset(&meter, 0, sizeof(meter));
    sum = 0;

    ngx_http_tsface_meter_read(&meter, &stat);
    check(stat.count == 0 && stat.sum == 0, "empty");

    for (i = 0; i < sizeof(added) / sizeof(added[0]); i++) {
        ngx_http_tsface_meter_add(&meter, added[i]);
        sum += added[i];
    }

    ngx_http_tsface_meter_read(&meter, &stat);

    check(stat.sum == sum, "%lu", (unsigned long) stat.sum);
    check(stat.count == 7, "%lu", (unsigned long) stat.count);
    check(stat.buckets[0] == 2, "5 ms: %lu", (unsigned long) stat.buckets[0]);
    check(stat.buckets[1] == 4, "10 ms: %lu", (unsigned long) stat.buckets[1]);
    check(stat.buckets[9] == 4, "5 s: %lu", (unsigned long) stat.buckets[9]);
    check(stat.buckets[10] == 5, "10 s: %lu",
          (unsigned long) stat.buckets[10]);
    check(stat.buckets[11] == 7, "more: %lu",
          (unsigned long) stat.buckets[11]);

    for (i = 1; i < NGX_HTTP_TSFACE_METER_NBOUNDS; i++) {
        check(ngx_http_tsface_meter_bounds[i]
              > ngx_http_tsface_meter_bounds[i - 1], "bounds ascend");
    }

    done("a meter's buckets");

    return tap_end();
}
