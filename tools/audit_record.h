
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The members of one record.
 */


#ifndef _TSFACE_AUDIT_RECORD_H_INCLUDED_
#define _TSFACE_AUDIT_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_json.h"
#include "ngx_http_tsface_record.h"


/* In the order of the names in audit_record.c; strings decoded. */
typedef enum {
    TSFACE_AUDIT_SEQ = 0,
    TSFACE_AUDIT_TIME,
    TSFACE_AUDIT_TYPE,
    TSFACE_AUDIT_REQUEST_ID,
    TSFACE_AUDIT_ATTEMPT,
    TSFACE_AUDIT_CALLER,
    TSFACE_AUDIT_OPERATION,
    TSFACE_AUDIT_RESULT,
    TSFACE_AUDIT_REASON,
    TSFACE_AUDIT_STATUS,
    TSFACE_AUDIT_REGION,
    TSFACE_AUDIT_CREDENTIALS,
    TSFACE_AUDIT_CLIENT_ADDR,
    TSFACE_AUDIT_TRAIL,
    TSFACE_AUDIT_HOST,
    TSFACE_AUDIT_PID,
    TSFACE_AUDIT_ENDPOINT,
    TSFACE_AUDIT_SERVER,
    TSFACE_AUDIT_METHOD,
    TSFACE_AUDIT_URI,
    TSFACE_AUDIT_UPSTREAM_STATUS,
    TSFACE_AUDIT_UPSTREAM_ADDR,
    TSFACE_AUDIT_SENT,
    TSFACE_AUDIT_DURATION_MS,
    TSFACE_AUDIT_COUNT,
    TSFACE_AUDIT_FIRST,
    TSFACE_AUDIT_LAST,
    TSFACE_AUDIT_TRACE_ID,
    TSFACE_AUDIT_PARENT_ID,
    TSFACE_AUDIT_MAC,
    TSFACE_AUDIT_MEMBERS
} tsface_audit_member_e;


/* Some 200 KB: one is enough. */
typedef struct {
    ngx_str_t                members[TSFACE_AUDIT_MEMBERS];   /* NULL: none */
    ngx_str_t                user_hmac;
    ngx_str_t                user_plain;

    ngx_http_tsface_json_t   json;
    ngx_http_tsface_json_t   user;
    ngx_str_t                line;     /* as it was, or text without NUL */
    u_char                   text[NGX_HTTP_TSFACE_RECORD_MAX];
    u_char                   arena[NGX_HTTP_TSFACE_JSON_ARENA_SIZE(
                                       NGX_HTTP_TSFACE_RECORD_MAX)];
    u_char                   user_arena[NGX_HTTP_TSFACE_JSON_ARENA_SIZE(
                                       NGX_HTTP_TSFACE_RECORD_MAX)];
} tsface_audit_record_t;


/*
 * NGX_DECLINED: line is not a JSON object such as the gateway writes.  What
 * members point to is in record.
 */
ngx_int_t tsface_audit_record_read(tsface_audit_record_t *record,
    const ngx_str_t *line);

/*
 * The text of a member as it stands in line, which record_read() took: objects
 * and arrays, too, of which the reader keeps nothing.  NGX_DECLINED: there is
 * none with that name, or the name is written with escapes.
 */
ngx_int_t tsface_audit_record_raw(const ngx_str_t *line,
    const ngx_str_t *name, ngx_str_t *raw);

/*
 * The next member, from *n on, that this version does not know; NULL: none
 * is left.
 */
const ngx_http_tsface_json_member_t *tsface_audit_record_unknown(
    const tsface_audit_record_t *record, ngx_uint_t *n);

ngx_uint_t tsface_audit_record_is(const tsface_audit_record_t *record,
    tsface_audit_member_e member, const char *value);


#endif /* _TSFACE_AUDIT_RECORD_H_INCLUDED_ */
