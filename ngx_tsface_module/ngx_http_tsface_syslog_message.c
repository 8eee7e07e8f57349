
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_text.h"
#include "ngx_http_tsface_syslog_message.h"


/* of "LEN ", as a frame has less than 100000 octets */
#define NGX_HTTP_TSFACE_SYSLOG_LEN_MAX   (sizeof("99999 ") - 1)

#define ngx_http_tsface_syslog_param(name)                                    \
    { ngx_string(#name), offsetof(ngx_http_tsface_syslog_record_t, name) }


typedef struct {
    ngx_str_t        name;
    size_t           offset;    /* of the ngx_str_t in the record */
} ngx_http_tsface_syslog_param_t;


static u_char *ngx_http_tsface_syslog_string(u_char *p, u_char *last);
static u_char *ngx_http_tsface_syslog_value(u_char *p, u_char *last);
static void ngx_http_tsface_syslog_member(
    ngx_http_tsface_syslog_record_t *record, const ngx_str_t *name,
    const ngx_str_t *value);
static ngx_int_t ngx_http_tsface_syslog_check(
    ngx_http_tsface_syslog_record_t *record);
static u_char *ngx_http_tsface_syslog_word(u_char *p, const ngx_str_t *value,
    size_t max);
static ngx_uint_t ngx_http_tsface_syslog_is_time(const ngx_str_t *time);
static u_char *ngx_http_tsface_syslog_escape(u_char *p,
    const ngx_str_t *value);


/* In the order of the structured data; the last two are no part of it. */
static const ngx_http_tsface_syslog_param_t  ngx_http_tsface_syslog_params[] =
{
    ngx_http_tsface_syslog_param(trail),
    ngx_http_tsface_syslog_param(seq),
    ngx_http_tsface_syslog_param(type),
    ngx_http_tsface_syslog_param(request_id),
    ngx_http_tsface_syslog_param(attempt),
    ngx_http_tsface_syslog_param(operation),
    ngx_http_tsface_syslog_param(credentials),
    ngx_http_tsface_syslog_param(region),
    ngx_http_tsface_syslog_param(result),
    ngx_http_tsface_syslog_param(reason),
    ngx_http_tsface_syslog_param(status),
    ngx_http_tsface_syslog_param(mac),
    ngx_http_tsface_syslog_param(time),
    ngx_http_tsface_syslog_param(pid)
};

#define NGX_HTTP_TSFACE_SYSLOG_NPARAMS                                        \
    (sizeof(ngx_http_tsface_syslog_params)                                    \
     / sizeof(ngx_http_tsface_syslog_param_t))


/*
 * Members of the object itself only: what a caller had written into a member
 * of a member, or into a string, must not be taken for the module's.
 */

ngx_int_t
ngx_http_tsface_syslog_message_parse(const ngx_str_t *line,
    ngx_http_tsface_syslog_record_t *record)
{
    u_char     *p, *last, *start;
    ngx_str_t   name, value;

    ngx_memzero(record, sizeof(ngx_http_tsface_syslog_record_t));

    p = line->data;
    last = line->data + line->len;

    if (line->len < 2 || line->len >= NGX_HTTP_TSFACE_RECORD_MAX
        || *p++ != '{')
    {
        return NGX_DECLINED;
    }

    for ( ;; ) {

        start = p;

        p = ngx_http_tsface_syslog_string(p, last);

        if (p == NULL || p == last || *p != ':') {
            return NGX_DECLINED;
        }

        name.data = start + 1;
        name.len = p - start - 2;

        start = ++p;

        p = ngx_http_tsface_syslog_value(p, last);

        if (p == NULL || p == last || p == start) {
            return NGX_DECLINED;
        }

        value.data = start;
        value.len = p - start;

        ngx_http_tsface_syslog_member(record, &name, &value);

        if (*p == '}') {
            break;
        }

        if (*p++ != ',') {
            return NGX_DECLINED;
        }
    }

    if (p + 1 != last) {
        return NGX_DECLINED;
    }

    return ngx_http_tsface_syslog_check(record);
}


/* What is behind the string that p begins, or NULL. */

static u_char *
ngx_http_tsface_syslog_string(u_char *p, u_char *last)
{
    if (p == last || *p != '"') {
        return NULL;
    }

    for (p++; p < last; p++) {

        if (*p == '"') {
            return p + 1;
        }

        if (*p < 0x20) {
            return NULL;
        }

        if (*p == '\\') {
            p++;
        }
    }

    return NULL;
}


/* What is behind the value that p begins, or NULL; nothing is copied. */

static u_char *
ngx_http_tsface_syslog_value(u_char *p, u_char *last)
{
    ngx_uint_t  depth;

    depth = 0;

    while (p < last) {

        switch (*p) {

        case '"':
            p = ngx_http_tsface_syslog_string(p, last);

            if (p == NULL) {
                return NULL;
            }

            continue;

        case '{':
        case '[':
            depth++;
            break;

        case '}':
        case ']':
            if (depth == 0) {
                return p;
            }

            depth--;
            break;

        case ',':
            if (depth == 0) {
                return p;
            }

            break;

        default:
            if (*p < 0x20) {
                return NULL;
            }
        }

        p++;
    }

    return NULL;
}


/* The first member of a name counts, in which a caller has no part. */

static void
ngx_http_tsface_syslog_member(ngx_http_tsface_syslog_record_t *record,
    const ngx_str_t *name, const ngx_str_t *value)
{
    ngx_str_t                             *field;
    ngx_uint_t                             i;
    const ngx_http_tsface_syslog_param_t  *param;

    for (i = 0; i < NGX_HTTP_TSFACE_SYSLOG_NPARAMS; i++) {
        param = &ngx_http_tsface_syslog_params[i];

        if (param->name.len != name->len
            || ngx_memcmp(param->name.data, name->data, name->len) != 0)
        {
            continue;
        }

        field = (ngx_str_t *) ((char *) record + param->offset);

        if (field->data || value->data[0] == '{' || value->data[0] == '[') {
            return;
        }

        *field = *value;

        if (value->len >= 2 && value->data[0] == '"') {
            field->data++;
            field->len -= 2;
        }

        return;
    }
}


static ngx_int_t
ngx_http_tsface_syslog_check(ngx_http_tsface_syslog_record_t *record)
{
    u_char      ch;
    ngx_uint_t  i;

    if (record->seq.len == 0 || record->seq.len > 19
        || record->mac.len != NGX_HTTP_TSFACE_RECORD_MAC_LEN)
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < record->seq.len; i++) {
        ch = record->seq.data[i];

        if (ch < '0' || ch > '9') {
            return NGX_DECLINED;
        }

        record->number = record->number * 10 + (ch - '0');
    }

    for (i = 0; i < record->mac.len; i++) {
        ch = record->mac.data[i];

        if ((ch < '0' || ch > '9') && (ch < 'a' || ch > 'f')) {
            return NGX_DECLINED;
        }
    }

    return record->number ? NGX_OK : NGX_DECLINED;
}


size_t
ngx_http_tsface_syslog_message_frame(const ngx_http_tsface_syslog_head_t *head,
    const ngx_str_t *line, const ngx_http_tsface_syslog_record_t *record,
    u_char *buf)
{
    u_char                                *p, *start, *last;
    u_char                                 len[NGX_HTTP_TSFACE_SYSLOG_LEN_MAX];
    ngx_uint_t                             i;
    const ngx_str_t                       *value;
    const ngx_http_tsface_syslog_param_t  *param;

    start = buf + NGX_HTTP_TSFACE_SYSLOG_LEN_MAX;

    p = start;

    *p++ = '<';
    p = ngx_http_tsface_record_decimal(p, head->pri);
    p = ngx_http_tsface_record_put(p, ">1 ");

    if (ngx_http_tsface_syslog_is_time(&record->time)) {
        p = ngx_cpymem(p, record->time.data, record->time.len);

    } else {
        *p++ = '-';
    }

    *p++ = ' ';
    p = ngx_cpymem(p, head->host.data, head->host.len);
    *p++ = ' ';
    p = ngx_cpymem(p, head->app_name.data, head->app_name.len);
    *p++ = ' ';
    p = ngx_http_tsface_syslog_word(p, &record->pid, 20);
    *p++ = ' ';
    p = ngx_http_tsface_syslog_word(p, &record->type, 32);
    p = ngx_http_tsface_record_put(p, " [");
    p = ngx_cpymem(p, head->sd_id.data, head->sd_id.len);

    for (i = 0; i < NGX_HTTP_TSFACE_SYSLOG_NPARAMS - 2; i++) {
        param = &ngx_http_tsface_syslog_params[i];

        value = (const ngx_str_t *) ((const char *) record + param->offset);

        if (value->data == NULL
            || value->len > NGX_HTTP_TSFACE_SYSLOG_VALUE_MAX)
        {
            continue;
        }

        *p++ = ' ';
        p = ngx_cpymem(p, param->name.data, param->name.len);
        p = ngx_http_tsface_record_put(p, "=\"");
        p = ngx_http_tsface_syslog_escape(p, value);
        *p++ = '"';
    }

    *p++ = ']';
    *p++ = ' ';
    p = ngx_cpymem(p, line->data, line->len);

    last = ngx_http_tsface_record_decimal(len, p - start);
    *last++ = ' ';

    ngx_memcpy(buf, len, last - len);
    ngx_memmove(buf + (last - len), start, p - start);

    return (last - len) + (p - start);
}


ngx_str_t
ngx_http_tsface_syslog_message_name(const ngx_str_t *name, u_char *buf,
    size_t max)
{
    ngx_str_t   value;
    ngx_uint_t  i;

    value.len = ngx_min(name->len, max);
    value.data = buf;

    for (i = 0; i < value.len; i++) {
        buf[i] = (name->data[i] > ' ' && name->data[i] < 0x7f)
                 ? name->data[i] : '?';
    }

    if (value.len == 0) {
        ngx_str_set(&value, "-");
    }

    return value;
}


/* Letters, digits and underscores, or "-": what types and numbers are. */

static u_char *
ngx_http_tsface_syslog_word(u_char *p, const ngx_str_t *value, size_t max)
{
    u_char      ch;
    ngx_uint_t  i;

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if (i == max
            || ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9')
                && ch != '_'))
        {
            break;
        }
    }

    if (value->len == 0 || i < value->len) {
        *p++ = '-';
        return p;
    }

    return ngx_cpymem(p, value->data, value->len);
}


static ngx_uint_t
ngx_http_tsface_syslog_is_time(const ngx_str_t *time)
{
    ngx_uint_t               i;
    static const ngx_str_t   form = ngx_string("dddd-dd-ddTdd:dd:dd.ddddddZ");

    if (time->len != form.len) {
        return 0;
    }

    for (i = 0; i < form.len; i++) {

        if (form.data[i] == 'd') {
            if (time->data[i] < '0' || time->data[i] > '9') {
                return 0;
            }

        } else if (time->data[i] != form.data[i]) {
            return 0;
        }
    }

    return 1;
}


/* RFC 5424 6.3.3: a backslash before these three, and nothing else. */

static u_char *
ngx_http_tsface_syslog_escape(u_char *p, const ngx_str_t *value)
{
    ngx_uint_t  i;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] == '"' || value->data[i] == '\\'
            || value->data[i] == ']')
        {
            *p++ = '\\';
        }

        *p++ = value->data[i];
    }

    return p;
}
