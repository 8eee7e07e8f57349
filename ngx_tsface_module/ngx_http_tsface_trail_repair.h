
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Finds the end of a trail, and mends it: a torn tail is cut off, a file that
 * was moved away is asked what it knows.  Under the trail's lock.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_REPAIR_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_REPAIR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_chain.h"
#include "ngx_http_tsface_trail_io.h"
#include "ngx_http_tsface_trail_node.h"
#include "ngx_http_tsface_trail_result.h"


/* A trail's three names, and the buffer for whatever is read and written. */
typedef struct {
    ngx_http_tsface_trail_node_t   log;
    ngx_http_tsface_trail_node_t   chain;
    char                          *torn;
    ngx_http_tsface_trail_buf_t    buf;
} ngx_http_tsface_trail_disk_t;


/*
 * Where the next record goes: end is set to the seq and mac that it follows
 * (0 and zeros if it is the first), to the id of the key that sealed that one
 * (CHAIN_NO_KEY if nothing tells), and to the inode and size of disk->log.
 * sb is what that was when its lock was taken.  Sets result->flags, torn, and
 * reason if an "open" record has to come first.  NGX_ERROR: nothing can be
 * appended, and result says why.
 */
ngx_int_t ngx_http_tsface_trail_repair(ngx_http_tsface_trail_disk_t *disk,
    const struct stat *sb, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_result_t *result);


#endif /* _NGX_HTTP_TSFACE_TRAIL_REPAIR_H_INCLUDED_ */
