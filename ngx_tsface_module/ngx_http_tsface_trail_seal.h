
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Seals records, one behind the other, into the buffer that is written: the
 * requests' as they are given, and the trail's own, which say who seals.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_SEAL_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_SEAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_record_sign.h"
#include "ngx_http_tsface_trail_chain.h"
#include "ngx_http_tsface_trail_io.h"


/* room that a record of the trail's own needs, at most */
#define NGX_HTTP_TSFACE_TRAIL_SEAL_OWN    2048


/* Who seals.  Whose the members are is for the owner to know. */
typedef struct {
    ngx_http_tsface_record_key_t  *key;
    ngx_http_tsface_record_key_t  *previous;    /* NULL: none */
    EVP_PKEY                      *signer;      /* NULL: no checkpoints */
    u_char                         signer_id[NGX_HTTP_TSFACE_RECORD_SIGNER_LEN];
    ngx_str_t                      trail;
    ngx_str_t                      host;
    ngx_int_t                      pid;         /* -1: left out */
} ngx_http_tsface_trail_seal_t;


/*
 * Each appends one record at buf->data + *len, where there must be room, and
 * moves *len and end on.  NGX_ERROR: it can't be sealed, and nothing moved
 * that is told of.
 */
ngx_int_t ngx_http_tsface_trail_seal_body(
    const ngx_http_tsface_trail_seal_t *seal, const ngx_str_t *body,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_buf_t *buf,
    size_t *len);

/* A record of the trail's own that says no more than reason (may be NULL). */
ngx_int_t ngx_http_tsface_trail_seal_own(
    const ngx_http_tsface_trail_seal_t *seal,
    ngx_http_tsface_record_type_e type, const char *reason,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_buf_t *buf,
    size_t *len);

/*
 * Nothing, if the record before was sealed with the same key, or there is
 * none.  Else the record that brings in this one, with the proof that its
 * holder has the key before, if he has it.
 */
ngx_int_t ngx_http_tsface_trail_seal_key(
    const ngx_http_tsface_trail_seal_t *seal,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_buf_t *buf,
    size_t *len);

/* A checkpoint of the record before it, of which there must be one. */
ngx_int_t ngx_http_tsface_trail_seal_checkpoint(
    const ngx_http_tsface_trail_seal_t *seal,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_buf_t *buf,
    size_t *len);

/* Microseconds since the epoch; 0: there is no clock. */
uint64_t ngx_http_tsface_trail_seal_now(void);


#endif /* _NGX_HTTP_TSFACE_TRAIL_SEAL_H_INCLUDED_ */
