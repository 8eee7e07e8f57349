
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The clock of limits, gates and meters.  ngx_current_msec is the time of the
 * last event, and too coarse for them.
 */


#ifndef _NGX_HTTP_TSFACE_CLOCK_H_INCLUDED_
#define _NGX_HTTP_TSFACE_CLOCK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* In microseconds: the host's, alike in all processes, and never set back. */
static ngx_inline uint64_t
ngx_http_tsface_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


#endif /* _NGX_HTTP_TSFACE_CLOCK_H_INCLUDED_ */
