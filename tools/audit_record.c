
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_record.h"


#define TSFACE_AUDIT_NUL     "\\u0000"
#define TSFACE_AUDIT_NO_NUL  "\\ufffd"

#define TSFACE_AUDIT_OTHERS                                                   \
    (sizeof(tsface_audit_others) / sizeof(tsface_audit_others[0]))


static ngx_str_t tsface_audit_record_text(tsface_audit_record_t *record,
    const ngx_str_t *line);
static ngx_int_t tsface_audit_record_user(tsface_audit_record_t *record,
    const ngx_str_t *line);
static ngx_uint_t tsface_audit_record_name(
    const ngx_http_tsface_json_member_t *member, const char *name);
static u_char *tsface_audit_record_value(u_char *p, const u_char *last);
static u_char *tsface_audit_record_string(u_char *p, const u_char *last);
static u_char *tsface_audit_record_blanks(u_char *p, const u_char *last);


static const char  *tsface_audit_names[] = {
    "seq", "time", "type", "request_id", "attempt", "caller", "operation",
    "result", "reason", "status", "region", "credentials", "client_addr",
    "trail", "host", "pid", "endpoint", "server", "method", "uri",
    "upstream_status", "upstream_addr", "sent", "duration_ms", "count",
    "first", "last", "trace_id", "parent_id", "mac"
};


/* Of those that a place of their own is kept for elsewhere. */
static const char  *tsface_audit_others[] = {
    "v", "user", "members", "token"
};


ngx_int_t
tsface_audit_record_read(tsface_audit_record_t *record, const ngx_str_t *line)
{
    ngx_uint_t                     i;
    ngx_http_tsface_json_member_t *member;

    record->line = tsface_audit_record_text(record, line);

    if (ngx_http_tsface_json_read(&record->json, &record->line, record->arena,
                                  sizeof(record->arena))
        != NGX_HTTP_TSFACE_JSON_OK)
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < TSFACE_AUDIT_MEMBERS; i++) {
        member = ngx_http_tsface_json_find(&record->json,
                                           tsface_audit_names[i]);

        if (member == NULL) {
            ngx_str_null(&record->members[i]);
            continue;
        }

        record->members[i] = member->value;
    }

    ngx_str_null(&record->user_hmac);
    ngx_str_null(&record->user_plain);

    member = ngx_http_tsface_json_find(&record->json, "user");

    if (member == NULL) {
        return NGX_OK;
    }

    return tsface_audit_record_user(record, &record->line);
}


/*
 * The module's reader of JSON is for bodies and takes no NUL.  What callers
 * are named by may have one, and whoever has must not be hidden by it.
 */
static ngx_str_t
tsface_audit_record_text(tsface_audit_record_t *record, const ngx_str_t *line)
{
    u_char     *p, *last;
    ngx_str_t   text;

    if (line->len > sizeof(record->text)
        || memmem(line->data, line->len, TSFACE_AUDIT_NUL,
                  sizeof(TSFACE_AUDIT_NUL) - 1)
           == NULL)
    {
        return *line;
    }

    ngx_memcpy(record->text, line->data, line->len);

    text.data = record->text;
    text.len = line->len;

    p = text.data;
    last = p + text.len;

    for ( ;; ) {
        p = memchr(p, '\\', last - p);

        if (p == NULL || last - p < (ssize_t) sizeof(TSFACE_AUDIT_NUL) - 1) {
            return text;
        }

        if (ngx_memcmp(p, TSFACE_AUDIT_NUL, sizeof(TSFACE_AUDIT_NUL) - 1)
            == 0)
        {
            ngx_memcpy(p, TSFACE_AUDIT_NO_NUL,
                       sizeof(TSFACE_AUDIT_NO_NUL) - 1);
        }

        p += 2;
    }
}


/* The reader of JSON keeps the outermost object's members only. */
static ngx_int_t
tsface_audit_record_user(tsface_audit_record_t *record, const ngx_str_t *line)
{
    ngx_str_t                       text;
    ngx_http_tsface_json_member_t  *member;
    static const ngx_str_t          name = ngx_string("user");

    if (tsface_audit_record_raw(line, &name, &text) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_http_tsface_json_read(&record->user, &text, record->user_arena,
                                  sizeof(record->user_arena))
        != NGX_HTTP_TSFACE_JSON_OK)
    {
        return NGX_DECLINED;
    }

    member = ngx_http_tsface_json_find(&record->user, "hmac");

    if (member) {
        record->user_hmac = member->value;
    }

    member = ngx_http_tsface_json_find(&record->user, "plain");

    if (member) {
        record->user_plain = member->value;
    }

    return NGX_OK;
}


/* What it walks over is known to be an object, so no byte needs a check. */
ngx_int_t
tsface_audit_record_raw(const ngx_str_t *line, const ngx_str_t *name,
    ngx_str_t *raw)
{
    u_char     *p, *last;
    ngx_str_t   key;

    p = line->data;
    last = p + line->len;

    p = tsface_audit_record_blanks(p, last);

    while (p < last && *p != '}') {

        /* behind "{" or "," */

        p = tsface_audit_record_blanks(p + 1, last);

        if (p >= last || *p != '"') {
            break;
        }

        key.data = p + 1;
        p = tsface_audit_record_string(p, last);
        key.len = p - key.data - 1;

        p = tsface_audit_record_blanks(p, last);
        p = tsface_audit_record_blanks(p + 1, last);

        raw->data = p;
        p = tsface_audit_record_value(p, last);

        if (p > last) {
            break;
        }

        raw->len = p - raw->data;

        if (key.len == name->len
            && ngx_memcmp(key.data, name->data, key.len) == 0)
        {
            return NGX_OK;
        }

        p = tsface_audit_record_blanks(p, last);
    }

    return NGX_DECLINED;
}


/* Behind the value that begins at p. */
static u_char *
tsface_audit_record_value(u_char *p, const u_char *last)
{
    size_t   depth;
    u_char  *start;

    depth = 0;
    start = p;

    while (p < last) {

        if (*p == '"') {
            p = tsface_audit_record_string(p, last);

            if (depth == 0) {
                return p;
            }

            continue;
        }

        if (*p == '{' || *p == '[') {
            depth++;

        } else if (*p == '}' || *p == ']') {

            if (depth == 0) {
                break;
            }

            if (--depth == 0) {
                return p + 1;
            }

        } else if (depth == 0 && (*p == ',' || *p == ' ' || *p == '\t'
                                  || *p == '\r'))
        {
            break;
        }

        p++;
    }

    return p > start ? p : (u_char *) last + 1;
}


/* Behind the string whose quote is at p. */
static u_char *
tsface_audit_record_string(u_char *p, const u_char *last)
{
    for (p++; p < last; p++) {

        if (*p == '\\') {
            p++;

        } else if (*p == '"') {
            return p + 1;
        }
    }

    return (u_char *) last;
}


static u_char *
tsface_audit_record_blanks(u_char *p, const u_char *last)
{
    while (p < last && (*p == ' ' || *p == '\t' || *p == '\r')) {
        p++;
    }

    return p;
}


const ngx_http_tsface_json_member_t *
tsface_audit_record_unknown(const tsface_audit_record_t *record,
    ngx_uint_t *n)
{
    ngx_uint_t                            i;
    const ngx_http_tsface_json_member_t  *member;

    while (*n < record->json.nmembers) {
        member = &record->json.members[(*n)++];

        for (i = 0; i < TSFACE_AUDIT_MEMBERS; i++) {
            if (tsface_audit_record_name(member, tsface_audit_names[i])) {
                break;
            }
        }

        if (i < TSFACE_AUDIT_MEMBERS) {
            continue;
        }

        for (i = 0; i < TSFACE_AUDIT_OTHERS; i++) {
            if (tsface_audit_record_name(member, tsface_audit_others[i])) {
                break;
            }
        }

        if (i == TSFACE_AUDIT_OTHERS) {
            return member;
        }
    }

    return NULL;
}


static ngx_uint_t
tsface_audit_record_name(const ngx_http_tsface_json_member_t *member,
    const char *name)
{
    return member->name.len == ngx_strlen(name)
           && ngx_memcmp(member->name.data, name, member->name.len) == 0;
}


ngx_uint_t
tsface_audit_record_is(const tsface_audit_record_t *record,
    tsface_audit_member_e member, const char *value)
{
    const ngx_str_t  *text;

    text = &record->members[member];

    return text->data != NULL
           && text->len == ngx_strlen(value)
           && ngx_memcmp(text->data, value, text->len) == 0;
}
