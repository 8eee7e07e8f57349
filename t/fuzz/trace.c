
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * W3C Trace Context, and refusals that are counted.  Lines of the input are
 * header fields: a line that begins with "p" is a traceparent, "s" a
 * tracestate, the rest of it the value.  Whatever they are, what is sent on is
 * nothing, or fields that are valid and bounded, and that are read back as the
 * same.  The lines are also names in a record that counts refusals.
 */

/* link: trace.c refusal_flood.c gcra.c problem.c record_text.c */


#include "fuzz.h"

#include "ngx_http_tsface_refusal_flood.h"
#include "ngx_http_tsface_trace.h"


#define MAX_FIELDS  64

#define PARENT      "traceparent: "
#define STATE       "tracestate: "


static ngx_table_elt_t  elts[MAX_FIELDS];


static ngx_list_t
list(ngx_uint_t n)
{
    ngx_list_t  l;

    memset(&l, 0, sizeof(l));
    l.part.elts = elts;
    l.part.nelts = n;

    return l;
}


static void
field(ngx_uint_t i, const char *name, ngx_str_t value)
{
    elts[i].key.data = elts[i].lowcase_key = (u_char *) name;
    elts[i].key.len = strlen(name);
    elts[i].value = value;
}


static void
hex(const u_char *p, size_t n)
{
    for ( /* void */ ; n; n--, p++) {
        must((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f'));
    }
}


/* What was written is one traceparent, and one tracestate or none. */

static void
check_sent(const u_char *p, size_t len, const ngx_http_tsface_trace_t *trace)
{
    size_t                    n;
    u_char                    again[NGX_HTTP_TSFACE_TRACE_MAX];
    ngx_str_t                 value;
    ngx_list_t                l;
    const u_char             *start, *end;
    ngx_http_tsface_trace_t   same;

    must(len <= NGX_HTTP_TSFACE_TRACE_MAX);

    if (len == 0) {
        must(trace->id.len == 0 && trace->parent.len == 0);
        return;
    }

    start = p;
    end = p + len;

    must(len >= sizeof(PARENT CRLF) - 1 + 55);
    must(memcmp(p, PARENT "00-", sizeof(PARENT "00-") - 1) == 0);
    p += sizeof(PARENT) - 1;

    value.data = (u_char *) p;
    value.len = 55;
    field(0, "traceparent", value);

    hex(p + 3, 32);
    must(p[35] == '-');
    hex(p + 36, 16);
    must(p[52] == '-');
    hex(p + 53, 2);
    must(memcmp(p + 3, "00000000000000000000000000000000", 32) != 0);
    must(memcmp(p + 36, "0000000000000000", 16) != 0);
    must(trace->id.len == 32 && memcmp(trace->id.data, p + 3, 32) == 0);
    must(trace->parent.len == 16);
    must(memcmp(trace->parent.data, p + 36, 16) == 0);

    p += 55;
    must(memcmp(p, CRLF, 2) == 0);
    p += 2;

    n = 1;

    if (p < end) {
        must(end - p > (ptrdiff_t) sizeof(STATE CRLF) - 1);
        must(memcmp(p, STATE, sizeof(STATE) - 1) == 0);
        p += sizeof(STATE) - 1;

        value.data = (u_char *) p;
        value.len = end - 2 - p;
        must(value.len <= 512);
        field(n++, "tracestate", value);

        for ( /* void */ ; p < end - 2; p++) {
            must((*p >= 0x20 && *p <= 0x7e) || *p == '\t');
        }

        must(memcmp(p, CRLF, 2) == 0);
        p += 2;
    }

    must(p == end);

    l = list(n);
    ngx_http_tsface_trace_read(&same, &l);
    must((size_t) (ngx_http_tsface_trace_write(again, &same) - again) == len);
    must(memcmp(again, start, len) == 0);
}


static void
check_flood(const ngx_http_tsface_flood_t *flood)
{
    size_t         i;
    u_char        *p;
    static u_char  out[NGX_HTTP_TSFACE_FLOOD_MAX];

    p = ngx_http_tsface_flood_write(out, flood);

    must(p - out <= NGX_HTTP_TSFACE_FLOOD_MAX);
    must(p[-1] == ']');

    for (i = 0; i < (size_t) (p - out); i++) {
        must(out[i] >= 0x20 && out[i] != 0x7f);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                    *p, *out;
    size_t                     i, n, len;
    ngx_str_t                  values[MAX_FIELDS];
    ngx_list_t                 l;
    const uint8_t             *line, *last, *lf;
    ngx_http_tsface_trace_t    trace;
    ngx_http_tsface_flood_t    flood, sum;

    last = data + size;
    n = 0;

    memset(&flood, 0, sizeof(flood));
    memset(&sum, 0, sizeof(sum));

    for (line = data; line < last && n < MAX_FIELDS; line = lf + 1) {

        lf = memchr(line, '\n', last - line);

        if (lf == NULL) {
            lf = last;
        }

        if (lf == line) {
            continue;
        }

        values[n] = fuzz_copy(line + 1, lf - line - 1);
        field(n, *line == 'p' ? "traceparent" : *line == 's' ? "tracestate"
                                                             : "x",
              values[n]);

        ngx_http_tsface_flood_add(n & 1 ? &flood : &sum,
                                  *line % NGX_HTTP_TSFACE_NPROBLEMS,
                                  &values[n], &values[n], *line);
        n++;
    }

    l = list(n);
    out = fuzz_alloc(NGX_HTTP_TSFACE_TRACE_MAX);

    ngx_http_tsface_trace_read(&trace, &l);
    p = ngx_http_tsface_trace_write(out, &trace);
    len = p - out;

    check_sent(out, len, &trace);

    check_flood(&flood);
    ngx_http_tsface_flood_merge(&sum, &flood);
    must(sum.count == n && sum.callers.n <= NGX_HTTP_TSFACE_FLOOD_NAMES);
    check_flood(&sum);

    free(out);

    for (i = 0; i < n; i++) {
        free(values[i].data);
    }

    return 0;
}
