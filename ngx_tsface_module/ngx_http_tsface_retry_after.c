
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_retry_after.h"


ngx_msec_t
ngx_http_tsface_retry_after(const ngx_str_t *value, time_t now,
    ngx_msec_t max)
{
    size_t    i;
    time_t    date;
    uint64_t  ms;

    ms = 0;

    /* any number of digits: what is more than max stays more than max */

    for (i = 0; i < value->len; i++) {

        if (value->data[i] < '0' || value->data[i] > '9') {
            break;
        }

        ms = ms * 10 + (value->data[i] - '0') * 1000;
        ms = ngx_min(ms, (uint64_t) max);
    }

    if (i < value->len) {
        ms = 0;
        date = ngx_parse_http_time(value->data, value->len);

        if (date != NGX_ERROR && date > now) {
            ms = (uint64_t) (date - now) * 1000;
        }
    }

    return (ngx_msec_t) ngx_min(ms, (uint64_t) max);
}
