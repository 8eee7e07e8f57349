
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Checkpoints in a second place: a file that lags behind a trail, and catches
 * up with it.  What is missing there is read back from the trail, so nothing
 * has to be remembered of it, by nobody who may be killed.  As with
 * trail_file.h no nginx object is needed to link this.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_COPY_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_COPY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_file.h"


typedef struct ngx_http_tsface_trail_copy_s  ngx_http_tsface_trail_copy_t;


/*
 * Copies all of conf, whose copy is the file's name; NULL if there is no
 * memory.  Opens nothing.
 */
ngx_http_tsface_trail_copy_t *ngx_http_tsface_trail_copy_new(
    const ngx_http_tsface_trail_file_conf_t *conf);

void ngx_http_tsface_trail_copy_free(ngx_http_tsface_trail_copy_t *copy);

/*
 * Appends the checkpoints that are on disk in the trail, behind the last one
 * of the trail that the file has, in their order; and syncs it.  It is made
 * with mode 0640 if need be.
 *
 * NGX_ERROR: result says why; whole lines that were written stay, and the next
 * call goes on behind them.  Blocks, for as long as the file's disk likes, or
 * whoever else is at it; the trail's lock is held only to look where the trail
 * ends.
 */
ngx_int_t ngx_http_tsface_trail_copy_run(ngx_http_tsface_trail_copy_t *copy,
    ngx_http_tsface_trail_result_t *result);


#endif /* _NGX_HTTP_TSFACE_TRAIL_COPY_H_INCLUDED_ */
