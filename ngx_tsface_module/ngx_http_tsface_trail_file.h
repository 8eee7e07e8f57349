
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What is done to a trail's file, by whichever thread does it: locks,
 * rotation, repair, sealing, writing, syncing.  System calls, record.c and
 * plain memory only: no nginx object is needed to link it, so that it can be
 * tested alone, and nothing here may be called from two threads at once for
 * one ngx_http_tsface_trail_file_t.
 *
 * Three names belong to a trail:
 *
 *   PATH        the records.
 *   PATH.chain  the end of the chain: seq, mac, and which file of which size
 *               it ends in.  Its lock is the trail's lock.  It does not
 *               rotate, so that there is one lock and one end however often
 *               PATH is renamed, and whichever writers slept meanwhile.
 *   PATH.torn   what was cut off when a writer had died in write().
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_FILE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_FILE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"


/* What a batch came upon; also set when the batch itself failed later. */
#define NGX_HTTP_TSFACE_TRAIL_OPENED     0x01  /* an empty file was begun */
#define NGX_HTTP_TSFACE_TRAIL_TORN       0x02  /* a torn tail was cut off */
#define NGX_HTTP_TSFACE_TRAIL_TORN_LOST  0x04  /* and could not be kept */
#define NGX_HTTP_TSFACE_TRAIL_SHRUNK     0x08  /* records are missing */
#define NGX_HTTP_TSFACE_TRAIL_STRAY      0x10  /* PATH can't be followed */
#define NGX_HTTP_TSFACE_TRAIL_FOREIGN    0x20  /* PATH is no trail: untouched */


typedef struct ngx_http_tsface_trail_file_s  ngx_http_tsface_trail_file_t;


typedef struct {
    ngx_uint_t       flags;
    ngx_err_t        err;
    const char      *call;      /* the system call that failed, or NULL */
    const char      *suffix;    /* of the name it failed for: "", ".chain" */
    const char      *reason;    /* of the "open" record, or NULL */
    size_t           torn;      /* bytes cut off */
    uint64_t         seq;       /* of the last record written */
} ngx_http_tsface_trail_result_t;


typedef struct {
    const ngx_str_t  *path;     /* NUL-terminated */
    const ngx_str_t  *key;
    const ngx_str_t  *name;     /* for "open" records, as host and pid */
    const ngx_str_t  *host;
    ngx_int_t         pid;
    ngx_uint_t        durable;  /* fdatasync() before a batch counts */
    int               fd;       /* -1, or a descriptor for PATH and for */
    int               chain_fd; /* PATH.chain to fall back to; not owned */
} ngx_http_tsface_trail_file_conf_t;


/*
 * Opens PATH (chain: PATH.chain) and creates it with mode 0640 if need be;
 * gives it to uid unless that is -1.  Returns the descriptor, close-on-exec,
 * or -1 with the result filled in.  For the master: nothing is written.
 */
int ngx_http_tsface_trail_file_create(const ngx_str_t *path, ngx_uint_t chain,
    ngx_uid_t uid, ngx_http_tsface_trail_result_t *result);

/*
 * The same check for "nginx -t", which must leave nothing behind: a file made
 * and removed again could be one that a running worker has just written to.
 * NGX_OK if both names are, or could be made by this process.
 */
ngx_int_t ngx_http_tsface_trail_file_check(const ngx_str_t *path,
    ngx_http_tsface_trail_result_t *result);

/* Copies all of conf; NULL if there is no memory.  Opens nothing. */
ngx_http_tsface_trail_file_t *ngx_http_tsface_trail_file_new(
    const ngx_http_tsface_trail_file_conf_t *conf);

/* Wipes the key, closes the descriptors. */
void ngx_http_tsface_trail_file_free(ngx_http_tsface_trail_file_t *file);

/*
 * Opens this process's own descriptions, so that a failure shows at start
 * and not at the first request.  NGX_ERROR: as for a batch that failed; the
 * next batch tries again.
 */
ngx_int_t ngx_http_tsface_trail_file_open(ngx_http_tsface_trail_file_t *file,
    ngx_http_tsface_trail_result_t *result);

/*
 * Appends n records, given by their bodies, in this order.  NGX_OK: all of
 * them are in the file, and on disk if durable.  NGX_ERROR: none counts
 * (though some may be there if only syncing failed); result says why.
 * Blocks.  wait bounds the time for the lock, in milliseconds; 0: no bound.
 */
ngx_int_t ngx_http_tsface_trail_file_write(ngx_http_tsface_trail_file_t *file,
    const ngx_str_t *bodies, ngx_uint_t n, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result);


#endif /* _NGX_HTTP_TSFACE_TRAIL_FILE_H_INCLUDED_ */
