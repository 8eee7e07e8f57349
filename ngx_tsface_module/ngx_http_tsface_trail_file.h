
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A batch of records goes to a trail's file: lock, seal, write, sync, by
 * whichever thread does it.  System calls, record.c and plain memory only, as
 * in all that is below (trail_repair, trail_seal, trail_node, trail_chain,
 * trail_rotate, trail_io): no nginx object is needed to link it,
 * so that it can be tested alone, and nothing here may be called from two
 * threads at once for one ngx_http_tsface_trail_file_t.
 *
 * Three names belong to a trail:
 *
 *   PATH        the records.
 *   PATH.chain  the end of the chain: seq, mac, key, and which file of which
 *               size it ends in.  Its lock is the trail's lock.  It does not
 *               rotate, so that there is one lock and one end however often
 *               PATH is renamed, and whichever writers slept meanwhile.
 *   PATH.torn   what was cut off when a writer had died in write().
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_FILE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_FILE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_trail_chain.h"
#include "ngx_http_tsface_trail_result.h"


typedef struct ngx_http_tsface_trail_file_s  ngx_http_tsface_trail_file_t;


typedef struct {
    const ngx_str_t  *path;     /* NUL-terminated */
    const ngx_str_t  *key;
    const ngx_str_t  *previous; /* the key before it, or NULL */
    const ngx_str_t  *name;     /* for the trail's own records, as host, pid */
    const ngx_str_t  *host;
    ngx_int_t         pid;      /* -1: left out of them */
    ngx_uint_t        durable;  /* fdatasync() before a batch counts */
    EVP_PKEY         *signer;   /* Ed25519, or NULL: no checkpoints */
    ngx_uint_t        records;  /* at most, from one checkpoint to the next */
    ngx_msec_t        interval; /* the same, as long as records are written */
    const ngx_str_t  *copy;     /* for trail_copy.h, or NULL */
    off_t             rotate;   /* size at which PATH is renamed, 0: none */
    int               fd;       /* -1, or a descriptor for PATH and for */
    int               chain_fd; /* PATH.chain to fall back to; not owned */
} ngx_http_tsface_trail_file_conf_t;


/*
 * Copies all of conf, and keeps a reference to signer; NULL if there is no
 * memory.  Opens nothing.
 */
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
 *
 * A checkpoint is written as well if one is due, which is all that is done if
 * n is 0.  result->due says when to come back for the next.  What goes wrong
 * with rotation is no failure of the batch, and told by result->flags.
 */
ngx_int_t ngx_http_tsface_trail_file_write(ngx_http_tsface_trail_file_t *file,
    const ngx_str_t *bodies, ngx_uint_t n, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result);

/*
 * The same for one record of the trail's own (open or close, for that reason;
 * NULL: none), and a checkpoint if anything was written since the last.
 */
ngx_int_t ngx_http_tsface_trail_file_note(ngx_http_tsface_trail_file_t *file,
    ngx_http_tsface_record_type_e type, const char *reason, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result);


/*
 * Called under the trail's lock, with descriptors of PATH and PATH.chain that
 * are to be read only, and the trail's end.  Sets bodies and n to what is to
 * be appended; n is 0 before the call.
 */
typedef ngx_int_t (*ngx_http_tsface_trail_amend_pt)(void *data, int fd,
    int chain_fd, const ngx_http_tsface_trail_chain_t *end,
    ngx_str_t **bodies, ngx_uint_t *n);

/*
 * Appends what amend makes of the trail as it is now, as write() does.  For a
 * file of its own that never writes: this does not claim to be a writer.
 * NGX_DECLINED: records are missing at the end, which the next batch will tell
 * of, and amend was not called.
 */
ngx_int_t ngx_http_tsface_trail_file_amend(ngx_http_tsface_trail_file_t *file,
    ngx_http_tsface_trail_amend_pt amend, void *data,
    ngx_http_tsface_trail_result_t *result);


#endif /* _NGX_HTTP_TSFACE_TRAIL_FILE_H_INCLUDED_ */
