
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trace.h"


/* where the fields of a traceparent are */
#define NGX_HTTP_TSFACE_TRACE_AT_ID      3
#define NGX_HTTP_TSFACE_TRACE_AT_SPAN    36
#define NGX_HTTP_TSFACE_TRACE_AT_FLAGS   53

#define NGX_HTTP_TSFACE_TRACE_KEY        256
#define NGX_HTTP_TSFACE_TRACE_VALUE      256


static ngx_int_t ngx_http_tsface_trace_parent(const ngx_str_t *value,
    u_char *out);
static ngx_uint_t ngx_http_tsface_trace_hex(const u_char *p, size_t len);
static ngx_uint_t ngx_http_tsface_trace_zero(const u_char *p, size_t len);
static ngx_int_t ngx_http_tsface_trace_state(const ngx_str_t *value,
    ngx_uint_t *members);
static ngx_uint_t ngx_http_tsface_trace_member(const u_char *p,
    const u_char *last);
static ngx_uint_t ngx_http_tsface_trace_is(const ngx_table_elt_t *h,
    const char *name, size_t len);
static const ngx_table_elt_t *ngx_http_tsface_trace_next(
    const ngx_list_part_t **part, ngx_uint_t *i);


#define ngx_http_tsface_trace_header(h, name)                                 \
    ngx_http_tsface_trace_is(h, name, sizeof(name) - 1)


void
ngx_http_tsface_trace_read(ngx_http_tsface_trace_t *trace,
    const ngx_list_t *headers)
{
    size_t                  state;
    ngx_uint_t              i, valid, members;
    const ngx_list_part_t  *part;
    const ngx_table_elt_t  *h, *parent;

    ngx_str_null(&trace->id);
    ngx_str_null(&trace->parent);
    trace->state = 0;
    trace->headers = headers;

    parent = NULL;
    state = 0;
    members = 0;
    valid = 1;

    part = &headers->part;
    i = 0;

    while ((h = ngx_http_tsface_trace_next(&part, &i)) != NULL) {

        if (ngx_http_tsface_trace_header(h, "traceparent")) {

            /* whoever would choose one of two could be made to choose */

            if (parent) {
                return;
            }

            parent = h;

        } else if (ngx_http_tsface_trace_header(h, "tracestate")) {

            if (valid
                && ngx_http_tsface_trace_state(&h->value, &members) != NGX_OK)
            {
                valid = 0;
            }

            /* joined by commas, as if it had come in one */

            if (h->value.len) {
                state += (state != 0) + h->value.len;
            }
        }
    }

    if (parent == NULL
        || ngx_http_tsface_trace_parent(&parent->value, trace->traceparent)
           != NGX_OK)
    {
        return;
    }

    trace->id.data = trace->traceparent + NGX_HTTP_TSFACE_TRACE_AT_ID;
    trace->id.len = NGX_HTTP_TSFACE_TRACE_ID;

    trace->parent.data = trace->traceparent + NGX_HTTP_TSFACE_TRACE_AT_SPAN;
    trace->parent.len = NGX_HTTP_TSFACE_TRACE_SPAN;

    if (valid && members && state <= NGX_HTTP_TSFACE_TRACE_STATE) {
        trace->state = state;
    }
}


u_char *
ngx_http_tsface_trace_write(u_char *p, const ngx_http_tsface_trace_t *trace)
{
    ngx_uint_t              i, n;
    const ngx_list_part_t  *part;
    const ngx_table_elt_t  *h;

    if (trace->id.len == 0) {
        return p;
    }

    p = ngx_cpymem(p, "traceparent: ", sizeof("traceparent: ") - 1);
    p = ngx_cpymem(p, trace->traceparent, NGX_HTTP_TSFACE_TRACE_PARENT);
    p = ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);

    if (trace->state == 0) {
        return p;
    }

    p = ngx_cpymem(p, "tracestate: ", sizeof("tracestate: ") - 1);

    part = &trace->headers->part;
    i = 0;
    n = 0;

    while ((h = ngx_http_tsface_trace_next(&part, &i)) != NULL) {

        if (h->value.len == 0
            || !ngx_http_tsface_trace_header(h, "tracestate"))
        {
            continue;
        }

        if (n++) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, h->value.data, h->value.len);
    }

    p = ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);

    return p;
}


/*
 * What a version after 00 adds is behind another "-".  It is not understood,
 * so it is not sent on: the field becomes one of version 00, of whose flags
 * only "sampled" has a meaning in both.
 */

static ngx_int_t
ngx_http_tsface_trace_parent(const ngx_str_t *value, u_char *out)
{
    const u_char  *p;

    p = value->data;

    if (value->len < NGX_HTTP_TSFACE_TRACE_PARENT
        || !ngx_http_tsface_trace_hex(p, 2)
        || p[2] != '-'
        || !ngx_http_tsface_trace_hex(p + NGX_HTTP_TSFACE_TRACE_AT_ID,
                                      NGX_HTTP_TSFACE_TRACE_ID)
        || p[NGX_HTTP_TSFACE_TRACE_AT_SPAN - 1] != '-'
        || !ngx_http_tsface_trace_hex(p + NGX_HTTP_TSFACE_TRACE_AT_SPAN,
                                      NGX_HTTP_TSFACE_TRACE_SPAN)
        || p[NGX_HTTP_TSFACE_TRACE_AT_FLAGS - 1] != '-'
        || !ngx_http_tsface_trace_hex(p + NGX_HTTP_TSFACE_TRACE_AT_FLAGS, 2)
        || ngx_http_tsface_trace_zero(p + NGX_HTTP_TSFACE_TRACE_AT_ID,
                                      NGX_HTTP_TSFACE_TRACE_ID)
        || ngx_http_tsface_trace_zero(p + NGX_HTTP_TSFACE_TRACE_AT_SPAN,
                                      NGX_HTTP_TSFACE_TRACE_SPAN)
        || (p[0] == 'f' && p[1] == 'f'))
    {
        return NGX_ERROR;
    }

    if (p[0] == '0' && p[1] == '0') {

        if (value->len != NGX_HTTP_TSFACE_TRACE_PARENT) {
            return NGX_ERROR;
        }

        ngx_memcpy(out, p, NGX_HTTP_TSFACE_TRACE_PARENT);

        return NGX_OK;
    }

    if (value->len > NGX_HTTP_TSFACE_TRACE_PARENT
        && p[NGX_HTTP_TSFACE_TRACE_PARENT] != '-')
    {
        return NGX_ERROR;
    }

    ngx_memcpy(out, p, NGX_HTTP_TSFACE_TRACE_PARENT);

    out[0] = '0';
    out[1] = '0';

    /* the last digit is odd: '1', '3', ... 'b', 'd', 'f' */

    p += NGX_HTTP_TSFACE_TRACE_PARENT - 1;

    out[NGX_HTTP_TSFACE_TRACE_AT_FLAGS] = '0';
    out[NGX_HTTP_TSFACE_TRACE_AT_FLAGS + 1] =
        (*p <= '9' ? *p - '0' : *p - 'a' + 10) & 1 ? '1' : '0';

    return NGX_OK;
}


static ngx_uint_t
ngx_http_tsface_trace_hex(const u_char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if ((p[i] < '0' || p[i] > '9') && (p[i] < 'a' || p[i] > 'f')) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_http_tsface_trace_zero(const u_char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (p[i] != '0') {
            return 0;
        }
    }

    return 1;
}


/* A list of members, of which some may be empty; adds to their number. */

static ngx_int_t
ngx_http_tsface_trace_state(const ngx_str_t *value, ngx_uint_t *members)
{
    const u_char  *p, *last, *end, *next;

    p = value->data;
    last = p + value->len;

    while (p < last) {

        for (next = p; next < last && *next != ','; next++) { /* void */ }

        end = next;

        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }

        while (end > p && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }

        if (p < end) {

            if (!ngx_http_tsface_trace_member(p, end)
                || ++*members > NGX_HTTP_TSFACE_TRACE_MEMBERS)
            {
                return NGX_ERROR;
            }
        }

        p = next + 1;
    }

    return NGX_OK;
}


/* key=value, without blanks around it. */

static ngx_uint_t
ngx_http_tsface_trace_member(const u_char *p, const u_char *last)
{
    u_char         ch;
    const u_char  *start;

    for (start = p; p < last && *p != '='; p++) {

        ch = *p;

        if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9')) {
            continue;
        }

        if (p == start
            || (ch != '_' && ch != '-' && ch != '*' && ch != '/' && ch != '@'))
        {
            return 0;
        }
    }

    if (p == start || p == last || p - start > NGX_HTTP_TSFACE_TRACE_KEY) {
        return 0;
    }

    start = ++p;

    if (p == last || last - p > NGX_HTTP_TSFACE_TRACE_VALUE) {
        return 0;
    }

    for ( /* void */ ; p < last; p++) {

        /* the comma ended the member, so it is not met here */

        if (*p < 0x20 || *p > 0x7e || *p == '=') {
            return 0;
        }
    }

    return p > start;
}


static ngx_uint_t
ngx_http_tsface_trace_is(const ngx_table_elt_t *h, const char *name,
    size_t len)
{
    return h->key.len == len && ngx_memcmp(h->lowcase_key, name, len) == 0;
}


/* The i-th field of a part or the first of those behind it; NULL: no more. */

static const ngx_table_elt_t *
ngx_http_tsface_trace_next(const ngx_list_part_t **part, ngx_uint_t *i)
{
    const ngx_table_elt_t  *h;

    while (*i >= (*part)->nelts) {

        *part = (*part)->next;
        *i = 0;

        if (*part == NULL) {
            return NULL;
        }
    }

    h = (*part)->elts;

    return &h[(*i)++];
}
