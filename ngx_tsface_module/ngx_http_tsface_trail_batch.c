
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_batch.h"


/*
 * Of the trail's own records: key, open and its checkpoint, a note, the last
 * checkpoint; rotation and its checkpoint.
 */
#define NGX_HTTP_TSFACE_TRAIL_BATCH_OWN   7


static ngx_int_t ngx_http_tsface_trail_batch_own(
    ngx_http_tsface_trail_batch_t *batch, ngx_http_tsface_record_type_e type,
    const char *reason, ngx_http_tsface_trail_chain_t *end);
static ngx_int_t ngx_http_tsface_trail_batch_key(
    ngx_http_tsface_trail_batch_t *batch, ngx_http_tsface_trail_chain_t *end);
static ngx_int_t ngx_http_tsface_trail_batch_checkpoint(
    ngx_http_tsface_trail_batch_t *batch, ngx_http_tsface_trail_chain_t *end);


ngx_int_t
ngx_http_tsface_trail_batch_start(ngx_http_tsface_trail_batch_t *batch,
    const ngx_http_tsface_trail_work_t *work)
{
    size_t      own, size;
    ngx_uint_t  i;

    batch->len = 0;
    ngx_memzero(batch->own, sizeof(batch->own));

    own = NGX_HTTP_TSFACE_TRAIL_BATCH_OWN;

    if (batch->seal.signer) {
        own += work->n / batch->records;
    }

    own *= NGX_HTTP_TSFACE_TRAIL_SEAL_OWN;
    size = own + NGX_HTTP_TSFACE_RECORD_MAX;

    for (i = 0; i < work->n; i++) {
        size += work->bodies[i].len + NGX_HTTP_TSFACE_RECORD_ENVELOPE;
    }

    return ngx_http_tsface_trail_io_room(batch->buf, size);
}


ngx_int_t
ngx_http_tsface_trail_batch_seal(ngx_http_tsface_trail_batch_t *batch,
    const ngx_http_tsface_trail_work_t *work, const char *reason,
    ngx_http_tsface_trail_chain_t *end)
{
    ngx_uint_t  i;

    if ((work->n || work->reason || reason)
        && ngx_http_tsface_trail_batch_key(batch, end) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* a file begins with a checkpoint: of where the one before it ended */

    if (reason
        && (ngx_http_tsface_trail_batch_own(batch,
                                            NGX_HTTP_TSFACE_RECORD_OPEN,
                                            reason, end)
            != NGX_OK
            || ngx_http_tsface_trail_batch_checkpoint(batch, end) != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (work->reason
        && ngx_http_tsface_trail_batch_own(batch, work->type, work->reason,
                                           end)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < work->n; i++) {
        if (ngx_http_tsface_trail_seal_body(&batch->seal, &work->bodies[i],
                                            end, batch->buf, &batch->len)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (end->seq - end->checkpoint >= batch->records
            && ngx_http_tsface_trail_batch_checkpoint(batch, end) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    switch (ngx_http_tsface_trail_batch_due(batch, end)) {

    case 0:
        return NGX_OK;

    case 1:
        break;

    default:
        if (!work->last) {
            return NGX_OK;
        }
    }

    if (ngx_http_tsface_trail_batch_key(batch, end) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_tsface_trail_batch_checkpoint(batch, end);
}


ngx_int_t
ngx_http_tsface_trail_batch_rotate(ngx_http_tsface_trail_batch_t *batch,
    ngx_http_tsface_trail_chain_t *end)
{
    batch->len = 0;

    if (ngx_http_tsface_trail_batch_own(batch, NGX_HTTP_TSFACE_RECORD_ROTATE,
                                        NULL, end)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_tsface_trail_batch_checkpoint(batch, end);
}


ngx_msec_t
ngx_http_tsface_trail_batch_due(const ngx_http_tsface_trail_batch_t *batch,
    const ngx_http_tsface_trail_chain_t *end)
{
    uint64_t  now, age;

    if (batch->seal.signer == NULL || end->seq == 0
        || end->seq == end->checkpoint)
    {
        return 0;
    }

    now = ngx_http_tsface_trail_seal_now();

    /* the clock may have been set back */

    if (now < end->checkpoint_usec) {
        return 1;
    }

    age = (now - end->checkpoint_usec) / 1000;

    return age + 1 < batch->interval ? batch->interval - (ngx_msec_t) age : 1;
}


static ngx_int_t
ngx_http_tsface_trail_batch_own(ngx_http_tsface_trail_batch_t *batch,
    ngx_http_tsface_record_type_e type, const char *reason,
    ngx_http_tsface_trail_chain_t *end)
{
    batch->own[type]++;

    return ngx_http_tsface_trail_seal_own(&batch->seal, type, reason, end,
                                          batch->buf, &batch->len);
}


static ngx_int_t
ngx_http_tsface_trail_batch_key(ngx_http_tsface_trail_batch_t *batch,
    ngx_http_tsface_trail_chain_t *end)
{
    uint64_t  seq;

    seq = end->seq;

    if (ngx_http_tsface_trail_seal_key(&batch->seal, end, batch->buf,
                                       &batch->len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    batch->own[NGX_HTTP_TSFACE_RECORD_KEY] += (ngx_uint_t) (end->seq - seq);

    return NGX_OK;
}


/* None without a key for it. */

static ngx_int_t
ngx_http_tsface_trail_batch_checkpoint(ngx_http_tsface_trail_batch_t *batch,
    ngx_http_tsface_trail_chain_t *end)
{
    if (batch->seal.signer == NULL) {
        return NGX_OK;
    }

    if (ngx_http_tsface_trail_seal_checkpoint(&batch->seal, end, batch->buf,
                                              &batch->len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    batch->own[NGX_HTTP_TSFACE_RECORD_CHECKPOINT]++;

    return NGX_OK;
}
