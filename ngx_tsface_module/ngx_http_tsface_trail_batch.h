
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What is written at once: the records of a batch, with those of the trail's
 * own that belong in front of, between and behind them.  Seals into memory,
 * no more.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_BATCH_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_BATCH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_seal.h"


/* What there is to write. */
typedef struct {
    const ngx_str_t               *bodies;
    ngx_uint_t                     n;
    ngx_http_tsface_record_type_e  type;         /* with reason, or NULL */
    const char                    *reason;
    ngx_uint_t                     last;         /* checkpoint it in any case */
} ngx_http_tsface_trail_work_t;


/* How it is sealed, set by the owner, who frees buf; and what came of it. */
typedef struct {
    ngx_http_tsface_trail_seal_t   seal;
    ngx_uint_t                     records;      /* between checkpoints */
    ngx_msec_t                     interval;

    ngx_http_tsface_trail_buf_t   *buf;
    size_t                         len;
    ngx_uint_t                     own[NGX_HTTP_TSFACE_RECORD_NTYPES];
} ngx_http_tsface_trail_batch_t;


/* Empties it, and makes room for work and a rotation; or NGX_ERROR. */
ngx_int_t ngx_http_tsface_trail_batch_start(
    ngx_http_tsface_trail_batch_t *batch,
    const ngx_http_tsface_trail_work_t *work);

/*
 * Seals work behind end, after a "key" record if the key is another, and an
 * "open" record for reason, if there is one; with the checkpoints that are
 * due.  NGX_ERROR: it can't be sealed.
 */
ngx_int_t ngx_http_tsface_trail_batch_seal(
    ngx_http_tsface_trail_batch_t *batch,
    const ngx_http_tsface_trail_work_t *work, const char *reason,
    ngx_http_tsface_trail_chain_t *end);

/* Seals, at the beginning of buf, what a file ends with that is rotated. */
ngx_int_t ngx_http_tsface_trail_batch_rotate(
    ngx_http_tsface_trail_batch_t *batch, ngx_http_tsface_trail_chain_t *end);

/* How long a checkpoint can wait: 1 if no more, 0 if there need be none. */
ngx_msec_t ngx_http_tsface_trail_batch_due(
    const ngx_http_tsface_trail_batch_t *batch,
    const ngx_http_tsface_trail_chain_t *end);


#endif /* _NGX_HTTP_TSFACE_TRAIL_BATCH_H_INCLUDED_ */
