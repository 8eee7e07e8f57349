
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A name, the descriptor that follows it, and the lock on what it means.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_NODE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_NODE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_result.h"


/*
 * What is locked: all that a file can have, and not what is beyond, which is
 * locked by those that are alive (trail_alive.h).
 */
#define NGX_HTTP_TSFACE_TRAIL_LOCK_LEN   ((off_t) 1 << 62)


typedef struct {
    int              fd;        /* -1: not open */
    int              previous;  /* what it was before the name moved, or -1 */
    int              flags;     /* of open() */
    int              inherited; /* to fall back to, or -1; not owned */
    ngx_uint_t       nameless;  /* may go on after its name is gone */
    ngx_uint_t       opened;    /* the descriptions that it has had */
    ngx_uint_t       known;     /* dev and ino are the descriptor's */
    dev_t            dev;
    ino_t            ino;
    char            *name;
    const char      *suffix;
} ngx_http_tsface_trail_node_t;


/*
 * Opens nothing.  inherited is a descriptor of the same file, or -1.  name is
 * NULL if there was no memory.
 */
void ngx_http_tsface_trail_node_init(ngx_http_tsface_trail_node_t *node,
    const ngx_str_t *path, const char *suffix, int flags, int inherited);

/* Closes it and frees name. */
void ngx_http_tsface_trail_node_free(ngx_http_tsface_trail_node_t *node);

/*
 * Makes node->fd the file that its name means now, and sb what it is.  If the
 * name means another one, or nothing, that may not be opened or made, the old
 * one will do (STRAY): for records as long as a directory somewhere lists it.
 */
ngx_int_t ngx_http_tsface_trail_node_follow(
    ngx_http_tsface_trail_node_t *node, struct stat *sb,
    ngx_http_tsface_trail_result_t *result);

/*
 * Locks the file that node's name means, which sb then describes.  Blocks for
 * wait milliseconds at most, 0: no bound.
 */
ngx_int_t ngx_http_tsface_trail_node_hold(ngx_http_tsface_trail_node_t *node,
    struct stat *sb, ngx_msec_t wait, ngx_http_tsface_trail_result_t *result);

/* Ends hold(), whether it succeeded or not. */
void ngx_http_tsface_trail_node_release(ngx_http_tsface_trail_node_t *node);

/* The next follow() opens it anew. */
void ngx_http_tsface_trail_node_close(ngx_http_tsface_trail_node_t *node);


#endif /* _NGX_HTTP_TSFACE_TRAIL_NODE_H_INCLUDED_ */
