
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The names of a trail's files, while the configuration is read: full, no two
 * trails in each other's way, and there.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_PATH_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_PATH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_trail.h"


/*
 * Makes the names of trail full, and the files if need be ("nginx -t": only
 * looks whether that could be done), and has nginx tell when they are to be
 * reopened.  trails: those before it, pointers.  NGX_ERROR: it was logged.
 */
ngx_int_t ngx_http_tsface_trail_path(ngx_conf_t *cf,
    const ngx_array_t *trails, ngx_http_tsface_trail_t *trail);


#endif /* _NGX_HTTP_TSFACE_TRAIL_PATH_H_INCLUDED_ */
