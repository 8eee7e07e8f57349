
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Checkpoints in a second place: lines that are in a trail already go to
 * another file too, so that a trail that lost its end can be told from one
 * that ends there.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_COPY_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_COPY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Appends whole lines to the file at name, made with mode 0640 if need be,
 * and syncs it.  NGX_ERROR: errno tells.  Blocks.
 */
ngx_int_t ngx_http_tsface_trail_copy(const char *name, const u_char *lines,
    size_t len);


#endif /* _NGX_HTTP_TSFACE_TRAIL_COPY_H_INCLUDED_ */
