
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_record_text.h"


/*
 * Limits of strings count bytes as they are written, after escaping, and
 * docs/audit.md gives them.  A user id of 512 bytes that was let pass doubles
 * at most, so it is never cut.
 */
#define NGX_HTTP_TSFACE_RECORD_USER         1024
#define NGX_HTTP_TSFACE_RECORD_HEX          64
#define NGX_HTTP_TSFACE_RECORD_KIND         16
#define NGX_HTTP_TSFACE_RECORD_MEMBER       64
#define NGX_HTTP_TSFACE_RECORD_MAX_MEMBERS  16


typedef enum {
    ngx_http_tsface_record_string = 0,
    ngx_http_tsface_record_number,
    ngx_http_tsface_record_flag,
    ngx_http_tsface_record_user,
    ngx_http_tsface_record_members,
    ngx_http_tsface_record_token
} ngx_http_tsface_record_kind_e;


typedef struct {
    u_char                         key[24];  /* with its punctuation */
    size_t                         len;      /* of key */
    ngx_http_tsface_record_kind_e  kind;
    size_t                         offset;
    size_t                         limit;    /* of the value as written */
} ngx_http_tsface_record_field_t;


static ngx_inline u_char *ngx_http_tsface_record_put_key(u_char *p,
    const ngx_http_tsface_record_field_t *field);
static u_char *ngx_http_tsface_record_write_user(u_char *p,
    const ngx_http_tsface_record_t *record);
static u_char *ngx_http_tsface_record_write_members(u_char *p,
    const ngx_http_tsface_record_t *record);
static u_char *ngx_http_tsface_record_write_token(u_char *p,
    const ngx_http_tsface_record_t *record);


#define ngx_http_tsface_record_key(name)                                      \
    ",\"" #name "\":", ngx_http_tsface_record_len(",\"" #name "\":")

#define ngx_http_tsface_record_row(name, kind, limit)                         \
    { ngx_http_tsface_record_key(name), ngx_http_tsface_record_##kind,        \
      offsetof(ngx_http_tsface_record_t, name), limit }


/* The members behind "type", in their order. */
static const ngx_http_tsface_record_field_t  ngx_http_tsface_record_fields[] =
{
    ngx_http_tsface_record_row(trail, string, 64),
    ngx_http_tsface_record_row(host, string, 256),
    ngx_http_tsface_record_row(pid, number, 20),
    ngx_http_tsface_record_row(request_id, string, 64),
    ngx_http_tsface_record_row(trace_id, string, 32),
    ngx_http_tsface_record_row(parent_id, string, 16),
    ngx_http_tsface_record_row(attempt, number, 20),
    ngx_http_tsface_record_row(caller, string, 512),
    ngx_http_tsface_record_row(operation, string, 64),
    ngx_http_tsface_record_row(credentials, string, 128),
    ngx_http_tsface_record_row(region, string, 32),
    ngx_http_tsface_record_row(endpoint, string, 272),
    ngx_http_tsface_record_row(client_addr, string, 128),
    ngx_http_tsface_record_row(server, string, 256),
    ngx_http_tsface_record_row(method, string, 32),
    ngx_http_tsface_record_row(uri, string, 256),

    { ngx_http_tsface_record_key(user), ngx_http_tsface_record_user, 0,
      ngx_http_tsface_record_len("{\"plain\":\"\"}")
      + NGX_HTTP_TSFACE_RECORD_USER },

    ngx_http_tsface_record_row(members, members,
        (NGX_HTTP_TSFACE_RECORD_MAX_MEMBERS + 1)
        * (NGX_HTTP_TSFACE_RECORD_MEMBER
           + ngx_http_tsface_record_len("\"\","))
        + ngx_http_tsface_record_len("[]")),

    { ngx_http_tsface_record_key(token), ngx_http_tsface_record_token, 0,
      ngx_http_tsface_record_len("{\"kind\":\"\",\"generation\":,"
                                 "\"fingerprint\":\"\"}")
      + NGX_HTTP_TSFACE_RECORD_KIND + 20 + NGX_HTTP_TSFACE_RECORD_HEX },

    ngx_http_tsface_record_row(result, string, 32),
    ngx_http_tsface_record_row(reason, string, 64),
    ngx_http_tsface_record_row(status, number, 20),
    ngx_http_tsface_record_row(upstream_status, number, 20),
    ngx_http_tsface_record_row(upstream_addr, string, 128),
    ngx_http_tsface_record_row(sent, flag, 5),
    ngx_http_tsface_record_row(duration_ms, number, 20),
    ngx_http_tsface_record_row(key_id, string, 16),
    ngx_http_tsface_record_row(previous_key_id, string, 16),
    ngx_http_tsface_record_row(proof, string, 64),
    ngx_http_tsface_record_row(mark, string, 85),
    ngx_http_tsface_record_row(signer, string, 16),
    ngx_http_tsface_record_row(signature, string, 128)
};


/* of no given size: one that is missing does not compile */
const ngx_str_t  ngx_http_tsface_record_types[] = {
    ngx_string("intent"),
    ngx_string("outcome"),
    ngx_string("refusal"),
    ngx_string("open"),
    ngx_string("close"),
    ngx_string("refusals"),
    ngx_string("key"),
    ngx_string("checkpoint"),
    ngx_string("rotate")
};


void
ngx_http_tsface_record_init(ngx_http_tsface_record_t *record,
    ngx_http_tsface_record_type_e type)
{
    ngx_memzero(record, sizeof(ngx_http_tsface_record_t));

    record->type = type;
    record->pid = -1;
    record->attempt = -1;
    record->token_generation = -1;
    record->status = -1;
    record->upstream_status = -1;
    record->sent = -1;
    record->duration_ms = -1;
}


size_t
ngx_http_tsface_record_body(const ngx_http_tsface_record_t *record,
    u_char *buf, size_t size)
{
    size_t                                 len;
    u_char                                *p, *end;
    ngx_int_t                              number;
    ngx_uint_t                             i;
    const u_char                          *member;
    const ngx_str_t                       *value;
    const ngx_http_tsface_record_field_t  *field;
    u_char                       whole[NGX_HTTP_TSFACE_RECORD_BODY_MAX];

    if (size < NGX_HTTP_TSFACE_RECORD_BODY_MAX) {

        /* write it where it fits for certain, then see how long it became */

        len = ngx_http_tsface_record_body(record, whole, sizeof(whole));

        if (len > size) {
            return 0;
        }

        ngx_memcpy(buf, whole, len);

        return len;
    }

    value = &ngx_http_tsface_record_types[record->type];

    p = ngx_http_tsface_record_put(buf, NGX_HTTP_TSFACE_RECORD_TYPE);
    p = ngx_cpymem(p, value->data, value->len);
    *p++ = '"';

    end = buf + size;

    for (i = 0;
         i < sizeof(ngx_http_tsface_record_fields)
             / sizeof(ngx_http_tsface_record_fields[0]);
         i++)
    {
        field = &ngx_http_tsface_record_fields[i];

        /*
         * The longest values of all fields together fit, so this is never
         * true, unless somebody changes the limits.
         */

        if ((size_t) (end - p)
            < sizeof(field->key) + field->limit
              + ngx_http_tsface_record_len("\"\""))
        {
            return 0;
        }

        member = (const u_char *) record + field->offset;

        switch (field->kind) {

        case ngx_http_tsface_record_string:
            value = (const ngx_str_t *) (const void *) member;

            if (value->data) {
                p = ngx_http_tsface_record_put_key(p, field);
                p = ngx_http_tsface_record_quoted(p, value, field->limit);
            }

            break;

        case ngx_http_tsface_record_number:
        case ngx_http_tsface_record_flag:
            number = *(const ngx_int_t *) (const void *) member;

            if (number < 0) {
                break;
            }

            p = ngx_http_tsface_record_put_key(p, field);

            if (field->kind == ngx_http_tsface_record_number) {
                p = ngx_http_tsface_record_decimal(p, (uint64_t) number);

            } else if (number) {
                p = ngx_http_tsface_record_put(p, "true");

            } else {
                p = ngx_http_tsface_record_put(p, "false");
            }

            break;

        case ngx_http_tsface_record_user:

            if (record->user_hmac.data || record->user_plain.data) {
                p = ngx_http_tsface_record_put_key(p, field);
                p = ngx_http_tsface_record_write_user(p, record);
            }

            break;

        case ngx_http_tsface_record_members:

            if (record->members) {
                p = ngx_http_tsface_record_put_key(p, field);
                p = ngx_http_tsface_record_write_members(p, record);
            }

            break;

        case ngx_http_tsface_record_token:

            if (record->token_kind.data) {
                p = ngx_http_tsface_record_put_key(p, field);
                p = ngx_http_tsface_record_write_token(p, record);
            }

            break;
        }
    }

    if (record->refusals.data) {

        if ((size_t) (end - p) < record->refusals.len + 1) {
            return 0;
        }

        *p++ = ',';
        p = ngx_cpymem(p, record->refusals.data, record->refusals.len);
    }

    return p - buf;
}


/* All of its room: a copy of a size that is known takes no call. */

static ngx_inline u_char *
ngx_http_tsface_record_put_key(u_char *p,
    const ngx_http_tsface_record_field_t *field)
{
    ngx_memcpy(p, field->key, sizeof(field->key));

    return p + field->len;
}


static u_char *
ngx_http_tsface_record_write_user(u_char *p,
    const ngx_http_tsface_record_t *record)
{
    if (record->user_hmac.data) {
        p = ngx_http_tsface_record_put(p, "{\"hmac\":");
        p = ngx_http_tsface_record_quoted(p, &record->user_hmac,
                                          NGX_HTTP_TSFACE_RECORD_HEX);

    } else {
        p = ngx_http_tsface_record_put(p, "{\"plain\":");
        p = ngx_http_tsface_record_quoted(p, &record->user_plain,
                                          NGX_HTTP_TSFACE_RECORD_USER);
    }

    *p++ = '}';

    return p;
}


static u_char *
ngx_http_tsface_record_write_members(u_char *p,
    const ngx_http_tsface_record_t *record)
{
    ngx_uint_t  i;

    *p++ = '[';

    for (i = 0; i < record->nmembers; i++) {

        if (i) {
            *p++ = ',';
        }

        if (i == NGX_HTTP_TSFACE_RECORD_MAX_MEMBERS) {
            p = ngx_http_tsface_record_put(p, "\"" NGX_HTTP_TSFACE_RECORD_CUT
                                              "\"");
            break;
        }

        p = ngx_http_tsface_record_quoted(p, &record->members[i],
                                          NGX_HTTP_TSFACE_RECORD_MEMBER);
    }

    *p++ = ']';

    return p;
}


static u_char *
ngx_http_tsface_record_write_token(u_char *p,
    const ngx_http_tsface_record_t *record)
{
    p = ngx_http_tsface_record_put(p, "{\"kind\":");
    p = ngx_http_tsface_record_quoted(p, &record->token_kind,
                                      NGX_HTTP_TSFACE_RECORD_KIND);

    if (record->token_generation >= 0) {
        p = ngx_http_tsface_record_put(p, ",\"generation\":");
        p = ngx_http_tsface_record_decimal(p,
                                       (uint64_t) record->token_generation);
    }

    if (record->token_fingerprint.data) {
        p = ngx_http_tsface_record_put(p, ",\"fingerprint\":");
        p = ngx_http_tsface_record_quoted(p, &record->token_fingerprint,
                                          NGX_HTTP_TSFACE_RECORD_HEX);
    }

    *p++ = '}';

    return p;
}
