
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A checkpoint's signature: Ed25519 (RFC 8032) over
 *
 *     tsface checkpoint 1 LF
 *     trail NAME LF
 *     after SEQ:MAC LF
 *     key ID LF
 *     time TIME LF
 *
 * without the indent: the trail, the record that it follows, the id of the
 * key of the MAC chain, and its own time.  None of them may have an LF, so
 * that there is one way only to read it.
 */


#ifndef _NGX_HTTP_TSFACE_RECORD_SIGN_H_INCLUDED_
#define _NGX_HTTP_TSFACE_RECORD_SIGN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>


#define NGX_HTTP_TSFACE_RECORD_SIGNER_LEN     16     /* hex digits, both */
#define NGX_HTTP_TSFACE_RECORD_SIGNATURE_LEN  128


typedef struct {
    ngx_str_t                       trail;
    ngx_str_t                       mark;      /* SEQ:MAC */
    ngx_str_t                       key_id;
    ngx_str_t                       time;
} ngx_http_tsface_record_signed_t;


/*
 * The key's name in records, the start of SHA-256 of the public key's 32
 * bytes, to id (SIGNER_LEN).  NGX_DECLINED: it is no Ed25519 key.
 */
ngx_int_t ngx_http_tsface_record_signer(EVP_PKEY *key, u_char *id);

/* To hex (SIGNATURE_LEN).  For any thread: key is only read. */
ngx_int_t ngx_http_tsface_record_sign(EVP_PKEY *key,
    const ngx_http_tsface_record_signed_t *what, u_char *hex);

/* NGX_OK, or NGX_DECLINED if hex is not key's signature of what. */
ngx_int_t ngx_http_tsface_record_sign_verify(EVP_PKEY *key,
    const ngx_http_tsface_record_signed_t *what, const ngx_str_t *hex);


#endif /* _NGX_HTTP_TSFACE_RECORD_SIGN_H_INCLUDED_ */
