
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <inttypes.h>

#include "audit_json.h"
#include "audit_text.h"
#include "ngx_http_tsface_record_text.h"


#define TSFACE_AUDIT_JSON_DIGITS  15


static void tsface_audit_json_path(tsface_audit_json_t *json,
    const char *path, ngx_uint_t whole);
static void tsface_audit_json_open(tsface_audit_json_t *json,
    const ngx_str_t *name);
static void tsface_audit_json_close(tsface_audit_json_t *json);
static void tsface_audit_json_name(tsface_audit_json_t *json,
    const ngx_str_t *name);
static void tsface_audit_json_quoted(tsface_audit_json_t *json,
    const ngx_str_t *text);
static void tsface_audit_json_copy(tsface_audit_json_t *json,
    const ngx_str_t *raw);
static ngx_uint_t tsface_audit_json_array(const ngx_str_t *name);


void
tsface_audit_json_begin(tsface_audit_json_t *json, FILE *out)
{
    json->out = out;
    json->depth = 0;
    json->first = 1;

    (void) putc('{', out);
}


void
tsface_audit_json_end(tsface_audit_json_t *json)
{
    while (json->depth) {
        tsface_audit_json_close(json);
    }

    (void) fputs("}\n", json->out);
}


void
tsface_audit_json_text(tsface_audit_json_t *json, const char *path,
    const ngx_str_t *value)
{
    if (value->data) {
        tsface_audit_json_path(json, path, 0);
        tsface_audit_json_quoted(json, value);
    }
}


void
tsface_audit_json_string(tsface_audit_json_t *json, const char *path,
    const char *value)
{
    ngx_str_t  text;

    text.data = (u_char *) value;
    text.len = ngx_strlen(value);

    tsface_audit_json_text(json, path, &text);
}


void
tsface_audit_json_number(tsface_audit_json_t *json, const char *path,
    uint64_t value)
{
    tsface_audit_json_path(json, path, 0);
    fprintf(json->out, "%" PRIu64, value);
}


ngx_int_t
tsface_audit_json_whole(const ngx_str_t *text, uint64_t *n)
{
    size_t  i;

    if (text->len == 0
        || text->len > TSFACE_AUDIT_JSON_DIGITS
        || (text->len > 1 && text->data[0] == '0'))
    {
        return NGX_DECLINED;
    }

    *n = 0;

    for (i = 0; i < text->len; i++) {

        if (text->data[i] < '0' || text->data[i] > '9') {
            return NGX_DECLINED;
        }

        *n = *n * 10 + text->data[i] - '0';
    }

    return NGX_OK;
}


void
tsface_audit_json_digits(tsface_audit_json_t *json, const char *path,
    const ngx_str_t *value)
{
    uint64_t  n;

    if (tsface_audit_json_whole(value, &n) == NGX_OK) {
        tsface_audit_json_number(json, path, n);
    }
}


void
tsface_audit_json_flag(tsface_audit_json_t *json, const char *path,
    const ngx_str_t *value)
{
    if ((value->len == 4 && ngx_memcmp(value->data, "true", 4) == 0)
        || (value->len == 5 && ngx_memcmp(value->data, "false", 5) == 0))
    {
        tsface_audit_json_raw(json, path, value);
    }
}


void
tsface_audit_json_raw(tsface_audit_json_t *json, const char *path,
    const ngx_str_t *value)
{
    if (value->data) {
        tsface_audit_json_path(json, path, 0);
        tsface_audit_json_copy(json, value);
    }
}


void
tsface_audit_json_member(tsface_audit_json_t *json, const char *path,
    const ngx_str_t *name, const ngx_str_t *raw)
{
    tsface_audit_json_path(json, path, 1);

    if (!json->first) {
        (void) putc(',', json->out);
    }

    json->first = 0;

    tsface_audit_json_quoted(json, name);
    (void) putc(':', json->out);
    tsface_audit_json_copy(json, raw);
}


/*
 * JSON as it is, but for what a terminal could be misled by: that can only be
 * within a string, except for blanks.
 */
static void
tsface_audit_json_copy(tsface_audit_json_t *json, const ngx_str_t *raw)
{
    uint32_t       ch;
    const u_char  *p, *start, *last;

    p = raw->data;
    last = p + raw->len;

    while (p < last) {
        start = p;
        ch = tsface_audit_text_next(&p, last);

        if (tsface_audit_text_printable(ch)) {
            (void) fwrite(start, 1, p - start, json->out);

        } else if (ch < 0x20) {
            (void) putc(' ', json->out);

        } else {
            fprintf(json->out, "\\u%04x", (unsigned) ch);
        }
    }
}


/*
 * Closes objects until those that are open begin the path, opens the others.
 * What is behind the last dot is the name of a value, unless whole is set.
 */
static void
tsface_audit_json_path(tsface_audit_json_t *json, const char *path,
    ngx_uint_t whole)
{
    ngx_str_t    name;
    ngx_uint_t   n;
    const char  *dot;

    for (n = 0; /* void */ ; n++) {
        dot = strchr(path, '.');

        name.data = (u_char *) path;
        name.len = dot ? (size_t) (dot - path) : ngx_strlen(path);

        if (dot == NULL && !whole) {
            break;
        }

        if (n >= json->depth
            || json->open[n].len != name.len
            || ngx_memcmp(json->open[n].data, name.data, name.len) != 0)
        {
            while (json->depth > n) {
                tsface_audit_json_close(json);
            }

            tsface_audit_json_open(json, &name);
        }

        if (dot == NULL) {
            n++;
            break;
        }

        path = dot + 1;
    }

    while (json->depth > n) {
        tsface_audit_json_close(json);
    }

    if (!whole) {
        tsface_audit_json_name(json, &name);
    }
}


static void
tsface_audit_json_open(tsface_audit_json_t *json, const ngx_str_t *name)
{
    ngx_str_t  text;

    json->open[json->depth++] = *name;

    text = *name;

    if (tsface_audit_json_array(name)) {
        text.len -= 2;
    }

    tsface_audit_json_name(json, &text);
    (void) fputs(text.len == name->len ? "{" : "[{", json->out);

    json->first = 1;
}


static void
tsface_audit_json_close(tsface_audit_json_t *json)
{
    json->depth--;

    (void) fputs(tsface_audit_json_array(&json->open[json->depth]) ? "}]"
                                                                   : "}",
                 json->out);
    json->first = 0;
}


static void
tsface_audit_json_name(tsface_audit_json_t *json, const ngx_str_t *name)
{
    fprintf(json->out, "%s\"%.*s\":", json->first ? "" : ",", (int) name->len,
            name->data);

    json->first = 0;
}


static void
tsface_audit_json_quoted(tsface_audit_json_t *json, const ngx_str_t *text)
{
    u_char  *p, buf[TSFACE_AUDIT_JSON_LIMIT + sizeof("\"\"")];

    p = ngx_http_tsface_record_quoted(buf, text, TSFACE_AUDIT_JSON_LIMIT);

    (void) fwrite(buf, 1, p - buf, json->out);
}


static ngx_uint_t
tsface_audit_json_array(const ngx_str_t *name)
{
    return name->len > 2 && name->data[name->len - 1] == ']';
}
