
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_text.h"
#include "ngx_http_tsface_refusal_flood.h"


/* of a name as it is written: docs/audit.md gives them */
#define NGX_HTTP_TSFACE_FLOOD_ADDR       64
#define NGX_HTTP_TSFACE_FLOOD_CALLER     128


static void ngx_http_tsface_flood_name(ngx_http_tsface_flood_names_t *names,
    const u_char *data, size_t len);
static void ngx_http_tsface_flood_merge_names(
    ngx_http_tsface_flood_names_t *names,
    const ngx_http_tsface_flood_names_t *other);
static u_char *ngx_http_tsface_flood_write_time(u_char *p, uint64_t usec);
static u_char *ngx_http_tsface_flood_write_names(u_char *p,
    const ngx_http_tsface_flood_names_t *names, size_t limit);


ngx_uint_t
ngx_http_tsface_flood_over(const ngx_http_tsface_gcra_t *gcra, uint64_t *tat,
    uint64_t now)
{
    ngx_http_tsface_gcra_result_t  result;

    ngx_http_tsface_gcra_decide(gcra, 0, *tat, now, &result);

    *tat = result.tat;

    return result.retry != 0;
}


void
ngx_http_tsface_flood_add(ngx_http_tsface_flood_t *flood,
    ngx_http_tsface_problem_e reason, const ngx_str_t *client_addr,
    const ngx_str_t *caller, uint64_t usec)
{
    if (flood->count == 0 || usec < flood->first) {
        flood->first = usec;
    }

    if (usec > flood->last) {
        flood->last = usec;
    }

    flood->count++;
    flood->reasons[reason]++;

    ngx_http_tsface_flood_name(&flood->client_addrs, client_addr->data,
                               client_addr->len);
    ngx_http_tsface_flood_name(&flood->callers, caller->data, caller->len);
}


void
ngx_http_tsface_flood_merge(ngx_http_tsface_flood_t *flood,
    const ngx_http_tsface_flood_t *other)
{
    ngx_uint_t  i;

    if (other->count == 0) {
        return;
    }

    if (flood->count == 0 || other->first < flood->first) {
        flood->first = other->first;
    }

    if (other->last > flood->last) {
        flood->last = other->last;
    }

    flood->count += other->count;

    for (i = 0; i < NGX_HTTP_TSFACE_NPROBLEMS; i++) {
        flood->reasons[i] += other->reasons[i];
    }

    ngx_http_tsface_flood_merge_names(&flood->client_addrs,
                                      &other->client_addrs);
    ngx_http_tsface_flood_merge_names(&flood->callers, &other->callers);
}


static void
ngx_http_tsface_flood_merge_names(ngx_http_tsface_flood_names_t *names,
    const ngx_http_tsface_flood_names_t *other)
{
    ngx_uint_t  i;

    for (i = 0; i < other->n; i++) {
        ngx_http_tsface_flood_name(names, other->data[i], other->len[i]);
    }

    names->more |= other->more;
}


/*
 * Names that differ only behind what is kept are one.  It is more than what
 * is written of a name, so that the mark of a cut is, too.
 */

static void
ngx_http_tsface_flood_name(ngx_http_tsface_flood_names_t *names,
    const u_char *data, size_t len)
{
    ngx_uint_t  i;

    if (len == 0) {
        return;
    }

    len = ngx_min(len, NGX_HTTP_TSFACE_FLOOD_NAME);

    for (i = 0; i < names->n; i++) {
        if (names->len[i] == len && ngx_memcmp(names->data[i], data, len) == 0)
        {
            return;
        }
    }

    if (names->n == NGX_HTTP_TSFACE_FLOOD_NAMES) {
        names->more = 1;
        return;
    }

    ngx_memcpy(names->data[names->n], data, len);
    names->len[names->n++] = len;
}


u_char *
ngx_http_tsface_flood_write(u_char *p, const ngx_http_tsface_flood_t *flood)
{
    ngx_uint_t        i, n;
    const ngx_str_t  *reason;

    p = ngx_http_tsface_record_put(p, "\"count\":");
    p = ngx_http_tsface_record_decimal(p, flood->count);

    p = ngx_http_tsface_record_put(p, ",\"reasons\":{");
    n = 0;

    for (i = 0; i < NGX_HTTP_TSFACE_NPROBLEMS; i++) {

        if (flood->reasons[i] == 0) {
            continue;
        }

        if (n++) {
            *p++ = ',';
        }

        reason = &ngx_http_tsface_problems[i].reason;

        *p++ = '"';
        p = ngx_cpymem(p, reason->data, reason->len);
        *p++ = '"';
        *p++ = ':';
        p = ngx_http_tsface_record_decimal(p, flood->reasons[i]);
    }

    p = ngx_http_tsface_record_put(p, "},\"first\":");
    p = ngx_http_tsface_flood_write_time(p, flood->first);

    p = ngx_http_tsface_record_put(p, ",\"last\":");
    p = ngx_http_tsface_flood_write_time(p, flood->last);

    p = ngx_http_tsface_record_put(p, ",\"client_addrs\":");
    p = ngx_http_tsface_flood_write_names(p, &flood->client_addrs,
                                          NGX_HTTP_TSFACE_FLOOD_ADDR);

    p = ngx_http_tsface_record_put(p, ",\"callers\":");
    p = ngx_http_tsface_flood_write_names(p, &flood->callers,
                                          NGX_HTTP_TSFACE_FLOOD_CALLER);

    return p;
}


static u_char *
ngx_http_tsface_flood_write_time(u_char *p, uint64_t usec)
{
    u_char  *end;

    *p++ = '"';

    /* no time beyond the year 9999: the line could not be sealed either */

    end = ngx_http_tsface_record_time(p, usec);

    if (end) {
        p = end;
    }

    *p++ = '"';

    return p;
}


static u_char *
ngx_http_tsface_flood_write_names(u_char *p,
    const ngx_http_tsface_flood_names_t *names, size_t limit)
{
    ngx_str_t   name;
    ngx_uint_t  i;

    *p++ = '[';

    for (i = 0; i < names->n; i++) {

        if (i) {
            *p++ = ',';
        }

        name.len = names->len[i];
        name.data = (u_char *) names->data[i];

        p = ngx_http_tsface_record_quoted(p, &name, limit);
    }

    if (names->more) {
        p = ngx_http_tsface_record_put(p, ",\"" NGX_HTTP_TSFACE_RECORD_CUT
                                          "\"");
    }

    *p++ = ']';

    return p;
}
