
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Differences between the nginx versions that are supported (1.22 to 1.31),
 * and nothing else.
 */


#ifndef _NGX_HTTP_TSFACE_COMPAT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <nginx.h>


/* Response and request headers became linked lists in 1.23.0. */
#if (nginx_version >= 1023000)

#define ngx_http_tsface_header_end(h)    (h)->next = NULL

#else

#define ngx_http_tsface_header_end(h)

#endif


#endif /* _NGX_HTTP_TSFACE_COMPAT_H_INCLUDED_ */
