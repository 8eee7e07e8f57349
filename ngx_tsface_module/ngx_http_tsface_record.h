
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The audit record: canonical bytes and the MAC chain (DESIGN 6).  Pure, and
 * shared with tools that verify a trail: needs OpenSSL's libcrypto only.
 *
 * A record is built in two halves, because its place in the trail is known
 * last: the body (everything that the request knows) is built on the event
 * loop, seq and mac are added by whoever writes the file, under its lock.
 */


#ifndef _NGX_HTTP_TSFACE_RECORD_H_INCLUDED_
#define _NGX_HTTP_TSFACE_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_line.h"
#include "ngx_http_tsface_record_mac.h"


typedef enum {
    NGX_HTTP_TSFACE_RECORD_INTENT = 0,
    NGX_HTTP_TSFACE_RECORD_OUTCOME,
    NGX_HTTP_TSFACE_RECORD_REFUSAL,
    NGX_HTTP_TSFACE_RECORD_OPEN,
    NGX_HTTP_TSFACE_RECORD_CLOSE,
    NGX_HTTP_TSFACE_RECORD_REFUSALS,
    NGX_HTTP_TSFACE_RECORD_KEY,
    NGX_HTTP_TSFACE_RECORD_CHECKPOINT,
    NGX_HTTP_TSFACE_RECORD_ROTATE,
    NGX_HTTP_TSFACE_RECORD_NTYPES
} ngx_http_tsface_record_type_e;


/* The names of the types. */
extern const ngx_str_t
    ngx_http_tsface_record_types[NGX_HTTP_TSFACE_RECORD_NTYPES];


/*
 * What a record says.  An ngx_str_t with data == NULL and a negative number
 * mean "left out"; strings are any bytes: they are escaped, and cut at the
 * limits that docs/audit.md gives (in bytes as written), so that no caller can
 * forge or flood a line.  members may be set with nmembers 0: "[]".
 */
typedef struct {
    ngx_http_tsface_record_type_e   type;
    ngx_str_t                       trail;
    ngx_str_t                       host;
    ngx_int_t                       pid;
    ngx_str_t                       request_id;
    ngx_str_t                       trace_id;
    ngx_str_t                       parent_id;
    ngx_int_t                       attempt;
    ngx_str_t                       caller;
    ngx_str_t                       operation;
    ngx_str_t                       credentials;
    ngx_str_t                       region;
    ngx_str_t                       endpoint;
    ngx_str_t                       client_addr;
    ngx_str_t                       server;
    ngx_str_t                       method;
    ngx_str_t                       uri;
    ngx_str_t                       user_hmac;     /* hex; or */
    ngx_str_t                       user_plain;
    const ngx_str_t                *members;       /* other body members */
    ngx_uint_t                      nmembers;
    ngx_str_t                       token_kind;
    ngx_int_t                       token_generation;
    ngx_str_t                       token_fingerprint;
    ngx_str_t                       result;
    ngx_str_t                       reason;
    ngx_int_t                       status;
    ngx_int_t                       upstream_status;
    ngx_str_t                       upstream_addr;
    ngx_int_t                       sent;          /* -1, 0, 1 */
    ngx_int_t                       duration_ms;
    ngx_str_t                       refusals;      /* members, as written */

    /* of the trail's own records */
    ngx_str_t                       key_id;
    ngx_str_t                       previous_key_id;
    ngx_str_t                       proof;
    ngx_str_t                       mark;          /* SEQ:MAC */
    ngx_str_t                       signer;
    ngx_str_t                       signature;
} ngx_http_tsface_record_t;


/* Sets every member to "left out". */
void ngx_http_tsface_record_init(ngx_http_tsface_record_t *record,
    ngx_http_tsface_record_type_e type);

/*
 * Writes the body, from `"type":` to the last member without a closing brace,
 * to buf (size >= RECORD_MAX - ENVELOPE always suffices).  Returns its length,
 * 0 if it does not fit.
 */
size_t ngx_http_tsface_record_body(const ngx_http_tsface_record_t *record,
    u_char *buf, size_t size);


#endif /* _NGX_HTTP_TSFACE_RECORD_H_INCLUDED_ */
