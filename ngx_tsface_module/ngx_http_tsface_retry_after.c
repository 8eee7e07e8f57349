
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
    time_t     date;
    uint64_t   ms;
    ngx_int_t  seconds;

    ms = 0;

    if (value->len == 0) {
        return 0;
    }

    seconds = value->len <= 9 ? ngx_atoi(value->data, value->len) : NGX_ERROR;

    if (seconds != NGX_ERROR) {
        ms = (uint64_t) seconds * 1000;

    } else {
        date = ngx_parse_http_time(value->data, value->len);

        if (date != NGX_ERROR && date > now) {
            ms = (uint64_t) (date - now) * 1000;
        }
    }

    return (ngx_msec_t) ngx_min(ms, (uint64_t) max);
}
