
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_text.h"
#include "ngx_http_tsface_trail_seal.h"


static ngx_int_t ngx_http_tsface_trail_seal_record(
    const ngx_http_tsface_trail_seal_t *seal,
    ngx_http_tsface_record_t *record, uint64_t usec,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_buf_t *buf,
    size_t *len);
static ngx_int_t ngx_http_tsface_trail_seal_line(
    const ngx_http_tsface_trail_seal_t *seal, const ngx_str_t *body,
    uint64_t usec, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_buf_t *buf, size_t *len);


ngx_int_t
ngx_http_tsface_trail_seal_body(const ngx_http_tsface_trail_seal_t *seal,
    const ngx_str_t *body, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_buf_t *buf, size_t *len)
{
    return ngx_http_tsface_trail_seal_line(seal, body,
                                           ngx_http_tsface_trail_seal_now(),
                                           end, buf, len);
}


ngx_int_t
ngx_http_tsface_trail_seal_own(const ngx_http_tsface_trail_seal_t *seal,
    ngx_http_tsface_record_type_e type, const char *reason,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_buf_t *buf,
    size_t *len)
{
    ngx_http_tsface_record_t  record;

    ngx_http_tsface_record_init(&record, type);

    if (reason) {
        record.reason.data = (u_char *) reason;
        record.reason.len = ngx_strlen(reason);
    }

    return ngx_http_tsface_trail_seal_record(seal, &record,
                                             ngx_http_tsface_trail_seal_now(),
                                             end, buf, len);
}


ngx_int_t
ngx_http_tsface_trail_seal_key(const ngx_http_tsface_trail_seal_t *seal,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_buf_t *buf,
    size_t *len)
{
    ngx_int_t                  known;
    const u_char              *id;
    ngx_http_tsface_record_t   record;
    u_char                     proof[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    id = ngx_http_tsface_record_key_id(seal->key);

    if (end->seq == 0
        || ngx_memcmp(end->key_id, id, NGX_HTTP_TSFACE_RECORD_ID_LEN) == 0)
    {
        return NGX_OK;
    }

    ngx_http_tsface_record_init(&record, NGX_HTTP_TSFACE_RECORD_KEY);

    known = (ngx_memcmp(end->key_id, NGX_HTTP_TSFACE_TRAIL_CHAIN_NO_KEY,
                        NGX_HTTP_TSFACE_RECORD_ID_LEN)
             != 0);

    if (known) {
        record.previous_key_id.data = end->key_id;
        record.previous_key_id.len = NGX_HTTP_TSFACE_RECORD_ID_LEN;
    }

    if (seal->previous) {
        id = ngx_http_tsface_record_key_id(seal->previous);

        /*
         * Where the key before isn't known it may as well be this writer's
         * own: a verifier knows, and looks at the proof if it needs one.
         */

        if (!known
            || ngx_memcmp(end->key_id, id, NGX_HTTP_TSFACE_RECORD_ID_LEN)
               == 0)
        {
            record.previous_key_id.data = (u_char *) id;
            record.previous_key_id.len = NGX_HTTP_TSFACE_RECORD_ID_LEN;

            id = ngx_http_tsface_record_key_id(seal->key);

            if (ngx_http_tsface_record_key_proof(seal->previous, id, end->mac,
                                                 end->seq + 1, proof)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            record.proof.data = proof;
            record.proof.len = sizeof(proof);
        }
    }

    return ngx_http_tsface_trail_seal_record(seal, &record,
                                             ngx_http_tsface_trail_seal_now(),
                                             end, buf, len);
}


ngx_int_t
ngx_http_tsface_trail_seal_checkpoint(
    const ngx_http_tsface_trail_seal_t *seal,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_buf_t *buf,
    size_t *len)
{
    u_char                           *p;
    u_char                            mark[20 + 1
                                           + NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char                            when[sizeof("2026-11-25T00:00:00.000000Z")
                                           - 1];
    u_char                            signature[
                                        NGX_HTTP_TSFACE_RECORD_SIGNATURE_LEN];
    uint64_t                          usec;
    ngx_http_tsface_record_t          record;
    ngx_http_tsface_record_signed_t   what;

    usec = ngx_http_tsface_trail_seal_now();

    if (usec == 0 || ngx_http_tsface_record_time(when, usec) == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_tsface_record_decimal(mark, end->seq);
    *p++ = ':';
    p = ngx_cpymem(p, end->mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN);

    what.trail = seal->trail;
    what.mark.data = mark;
    what.mark.len = p - mark;
    what.key_id.data = (u_char *) ngx_http_tsface_record_key_id(seal->key);
    what.key_id.len = NGX_HTTP_TSFACE_RECORD_ID_LEN;
    what.time.data = when;
    what.time.len = sizeof(when);

    if (ngx_http_tsface_record_sign(seal->signer, &what, signature)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_tsface_record_init(&record, NGX_HTTP_TSFACE_RECORD_CHECKPOINT);

    record.mark = what.mark;
    record.signer.data = (u_char *) seal->signer_id;
    record.signer.len = sizeof(seal->signer_id);
    record.signature.data = signature;
    record.signature.len = sizeof(signature);

    if (ngx_http_tsface_trail_seal_record(seal, &record, usec, end, buf, len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    end->checkpoint = end->seq;
    end->checkpoint_usec = usec;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_trail_seal_record(const ngx_http_tsface_trail_seal_t *seal,
    ngx_http_tsface_record_t *record, uint64_t usec,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_buf_t *buf,
    size_t *len)
{
    u_char     data[NGX_HTTP_TSFACE_TRAIL_SEAL_OWN
                    - NGX_HTTP_TSFACE_RECORD_ENVELOPE];
    ngx_str_t  body;

    record->trail = seal->trail;
    record->host = seal->host;
    record->pid = seal->pid;
    record->key_id.data = (u_char *) ngx_http_tsface_record_key_id(seal->key);
    record->key_id.len = NGX_HTTP_TSFACE_RECORD_ID_LEN;

    body.data = data;
    body.len = ngx_http_tsface_record_body(record, data, sizeof(data));

    if (body.len == 0) {
        return NGX_ERROR;
    }

    return ngx_http_tsface_trail_seal_line(seal, &body, usec, end, buf, len);
}


static ngx_int_t
ngx_http_tsface_trail_seal_line(const ngx_http_tsface_trail_seal_t *seal,
    const ngx_str_t *body, uint64_t usec, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_buf_t *buf, size_t *len)
{
    size_t  n;

    if (usec == 0) {
        return NGX_ERROR;
    }

    n = ngx_http_tsface_record_seal(body, end->seq + 1, usec, seal->key,
                                    end->mac, buf->data + *len,
                                    buf->size - *len);
    if (n == 0) {
        return NGX_ERROR;
    }

    end->seq++;
    ngx_memcpy(end->key_id, ngx_http_tsface_record_key_id(seal->key),
               NGX_HTTP_TSFACE_RECORD_ID_LEN);

    *len += n;

    return NGX_OK;
}


uint64_t
ngx_http_tsface_trail_seal_now(void)
{
    struct timespec  ts;

    if (clock_gettime(CLOCK_REALTIME, &ts) == -1) {
        return 0;
    }

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
