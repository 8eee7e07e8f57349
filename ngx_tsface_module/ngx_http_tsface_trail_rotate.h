
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The name that a trail's file gets when it has grown to its size.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_ROTATE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_ROTATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Renames name to name.SEQ, of twelve digits, so that names are in the order
 * of their records.  Never over another file: NGX_ERROR, as for all else that
 * fails, and errno tells.
 */
ngx_int_t ngx_http_tsface_trail_rotate(const char *name, uint64_t seq);


#endif /* _NGX_HTTP_TSFACE_TRAIL_ROTATE_H_INCLUDED_ */
