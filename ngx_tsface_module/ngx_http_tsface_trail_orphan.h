
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * After a crash: intents whose writer is dead get the outcome that it can't
 * write any more, "unknown" and "orphaned".  No nginx object is needed to link
 * this, as with trail_file.h.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_ORPHAN_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_ORPHAN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_file.h"


/* how much of a trail's end is looked at: 0.13 s of a CPU, in a thread */
#define NGX_HTTP_TSFACE_TRAIL_ORPHAN_WINDOW   (64 * 1024 * 1024)


typedef struct ngx_http_tsface_trail_orphan_s  ngx_http_tsface_trail_orphan_t;


typedef struct {
    ngx_uint_t       closed;    /* intents that were given an outcome */
    size_t           bytes;     /* that this took, with these around them: */
    ngx_uint_t       own[NGX_HTTP_TSFACE_RECORD_NTYPES];
    ngx_uint_t       alive;     /* whose writers live */
    ngx_uint_t       left_out;  /* more than are kept in memory */
} ngx_http_tsface_trail_orphan_stat_t;


/* Copies all of conf; NULL if there is no memory.  Opens nothing. */
ngx_http_tsface_trail_orphan_t *ngx_http_tsface_trail_orphan_new(
    const ngx_http_tsface_trail_file_conf_t *conf);

void ngx_http_tsface_trail_orphan_free(ngx_http_tsface_trail_orphan_t *orphan);

/*
 * Reads back the last window bytes of the trail, the files before included if
 * they are in the same directory, and closes what is open and nobody's.  May be
 * called by many processes at once: one of them does it.  NGX_ERROR: result
 * says why, stat what was done nevertheless.  Blocks; holds the trail's lock
 * only to look once more, and to append.
 */
ngx_int_t ngx_http_tsface_trail_orphan_close(
    ngx_http_tsface_trail_orphan_t *orphan, uint64_t window,
    ngx_http_tsface_trail_orphan_stat_t *stat,
    ngx_http_tsface_trail_result_t *result);


#endif /* _NGX_HTTP_TSFACE_TRAIL_ORPHAN_H_INCLUDED_ */
