
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_record.h"


#define TSFACE_AUDIT_USER  ",\"user\":{"


static ngx_int_t tsface_audit_record_user(tsface_audit_record_t *record,
    const ngx_str_t *line);


static const char  *tsface_audit_names[] = {
    "seq", "time", "type", "request_id", "attempt", "caller", "operation",
    "result", "reason", "status", "count"
};


ngx_int_t
tsface_audit_record_read(tsface_audit_record_t *record, const ngx_str_t *line)
{
    ngx_uint_t                     i;
    ngx_http_tsface_json_member_t *member;

    if (ngx_http_tsface_json_read(&record->json, line, record->arena,
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

    return tsface_audit_record_user(record, line);
}


/*
 * The reader of JSON keeps the outermost object's members only.  The bytes
 * looked for can't be within a string: there a quote has a backslash before
 * it.
 */
static ngx_int_t
tsface_audit_record_user(tsface_audit_record_t *record, const ngx_str_t *line)
{
    u_char                         *p, *last;
    ngx_str_t                       text;
    ngx_uint_t                      quoted;
    ngx_http_tsface_json_member_t  *member;

    p = memmem(line->data, line->len, TSFACE_AUDIT_USER,
               sizeof(TSFACE_AUDIT_USER) - 1);

    if (p == NULL) {
        return NGX_DECLINED;
    }

    last = line->data + line->len;

    p += sizeof(TSFACE_AUDIT_USER) - 2;
    text.data = p;
    quoted = 0;

    for ( /* void */ ; p < last; p++) {

        if (*p == '"') {
            quoted = !quoted;

        } else if (quoted && *p == '\\') {
            p++;

        } else if (!quoted && *p == '}') {
            break;
        }
    }

    if (p >= last) {
        return NGX_DECLINED;
    }

    text.len = p + 1 - text.data;

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
