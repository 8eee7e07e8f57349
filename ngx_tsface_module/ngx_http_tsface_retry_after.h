
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Retry-After of an answer: seconds, or a date.
 */


#ifndef _NGX_HTTP_TSFACE_RETRY_AFTER_H_INCLUDED_
#define _NGX_HTTP_TSFACE_RETRY_AFTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Milliseconds from now, at most max; 0 if it says nothing: it is neither, or
 * a date that is over.
 */
ngx_msec_t ngx_http_tsface_retry_after(const ngx_str_t *value, time_t now,
    ngx_msec_t max);


#endif /* _NGX_HTTP_TSFACE_RETRY_AFTER_H_INCLUDED_ */
