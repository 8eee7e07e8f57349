
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * HMAC-SHA256 under a trail's key, in hex.
 */


#ifndef _NGX_HTTP_TSFACE_RECORD_MAC_H_INCLUDED_
#define _NGX_HTTP_TSFACE_RECORD_MAC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_TSFACE_RECORD_MAC_LEN   64     /* hex digits */
#define NGX_HTTP_TSFACE_RECORD_ID_LEN    16     /* the same, of a key's id */


/*
 * A MAC key, ready for use: setting one up costs more than the MAC of a line.
 * In one thread's hands at a time.  Functions that take one fail if it is
 * NULL.
 */
typedef struct ngx_http_tsface_record_key_s  ngx_http_tsface_record_key_t;

/* NULL: it is empty, or there is no memory.  value need not stay. */
ngx_http_tsface_record_key_t *ngx_http_tsface_record_key_new(
    const ngx_str_t *value);

/* Wipes it; NULL is none. */
void ngx_http_tsface_record_key_free(ngx_http_tsface_record_key_t *key);

/* Of the parts, one after the other, to hex (MAC_LEN bytes, no NUL). */
ngx_int_t ngx_http_tsface_record_hmac(ngx_http_tsface_record_key_t *key,
    const ngx_str_t *parts, ngx_uint_t nparts, u_char *hex);

/*
 * hex(HMAC-SHA256(key, label || NUL || value)), the first n hex digits
 * (n <= 64), to out.  Labels: "tsface user", "tsface token", "tsface key",
 * "tsface key change".
 */
ngx_int_t ngx_http_tsface_record_fingerprint(
    ngx_http_tsface_record_key_t *key, const char *label,
    const ngx_str_t *value, u_char *out, size_t n);

/* Its name in records: the fingerprint of nothing, ID_LEN hex digits. */
const u_char *ngx_http_tsface_record_key_id(
    const ngx_http_tsface_record_key_t *key);

/*
 * What only a holder of both keys can say: that record seq, which follows the
 * one with mac, brings in the key with this id.  The fingerprint, under the
 * key before, of id || mac || seq in decimal; to proof, MAC_LEN hex digits.
 */
ngx_int_t ngx_http_tsface_record_key_proof(
    ngx_http_tsface_record_key_t *previous, const u_char *id,
    const u_char *mac, uint64_t seq, u_char *proof);


#endif /* _NGX_HTTP_TSFACE_RECORD_MAC_H_INCLUDED_ */
