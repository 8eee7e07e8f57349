
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_accept.h"


static void ngx_http_tsface_accept_range(ngx_http_tsface_accept_t *accept,
    const u_char *p, const u_char *last);
static const u_char *ngx_http_tsface_accept_next(const u_char *p,
    const u_char *last, u_char ch);
static ngx_uint_t ngx_http_tsface_accept_quality(const u_char *p,
    const u_char *last);
static void ngx_http_tsface_accept_trim(const u_char **p,
    const u_char **last);
static ngx_uint_t ngx_http_tsface_accept_equal(const u_char *p,
    const u_char *last, const char *lowercase);


void
ngx_http_tsface_accept_line(ngx_http_tsface_accept_t *accept,
    const ngx_str_t *value)
{
    const u_char  *p, *last, *next;

    p = value->data;
    last = p + value->len;

    while (p < last) {
        next = ngx_http_tsface_accept_next(p, last, ',');
        ngx_http_tsface_accept_range(accept, p, next);
        p = next + 1;
    }
}


ngx_uint_t
ngx_http_tsface_accept_prometheus(const ngx_http_tsface_accept_t *accept)
{
    ngx_uint_t  json, text;

    json = accept->json ? accept->json
           : accept->application ? accept->application
           : accept->any;

    text = accept->plain ? accept->plain
           : accept->text ? accept->text
           : accept->any;

    text = ngx_max(text, accept->openmetrics);

    /* 1 is "q=0": not acceptable */

    return text > 1 && text > json;
}


/* One media range with its parameters. */
static void
ngx_http_tsface_accept_range(ngx_http_tsface_accept_t *accept,
    const u_char *p, const u_char *last)
{
    size_t         i;
    ngx_uint_t     quality;
    const u_char  *end, *param, *next;

    const struct {
        const char   *name;
        ngx_uint_t   *quality;
    } ranges[] = {
        { "application/json", &accept->json },
        { "application/*", &accept->application },
        { "text/plain", &accept->plain },
        { "application/openmetrics-text", &accept->openmetrics },
        { "text/*", &accept->text },
        { "*/*", &accept->any }
    };

    end = ngx_http_tsface_accept_next(p, last, ';');
    quality = 1000;

    for (param = end; param < last; param = next) {
        param++;
        next = ngx_http_tsface_accept_next(param, last, ';');

        while (param < next && (*param == ' ' || *param == '\t')) {
            param++;
        }

        if (next - param > 2 && (*param | 0x20) == 'q' && param[1] == '=') {
            quality = ngx_http_tsface_accept_quality(param + 2, next);
        }
    }

    ngx_http_tsface_accept_trim(&p, &end);

    for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {

        /* one that is named twice, with other parameters: the better one */

        if (ngx_http_tsface_accept_equal(p, end, ranges[i].name)) {
            *ranges[i].quality = ngx_max(*ranges[i].quality, quality + 1);
        }
    }
}


/* Where ch is, outside of quotes; or last. */
static const u_char *
ngx_http_tsface_accept_next(const u_char *p, const u_char *last, u_char ch)
{
    ngx_uint_t  quoted;

    quoted = 0;

    for ( /* void */ ; p < last; p++) {

        if (*p == '"') {
            quoted = !quoted;

        } else if (quoted && *p == '\\' && p + 1 < last) {
            p++;

        } else if (*p == ch && !quoted) {
            break;
        }
    }

    return p;
}


/* In thousandths; 0 for what is none. */
static ngx_uint_t
ngx_http_tsface_accept_quality(const u_char *p, const u_char *last)
{
    ngx_uint_t  quality, unit;

    while (last > p && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    if (p == last || (*p != '0' && *p != '1')) {
        return 0;
    }

    quality = (*p++ == '1') ? 1000 : 0;

    if (p == last) {
        return quality;
    }

    if (*p++ != '.' || last - p > 3) {
        return 0;
    }

    for (unit = 100; p < last; p++, unit /= 10) {

        if (*p < '0' || *p > '9') {
            return 0;
        }

        quality += unit * (*p - '0');
    }

    return quality > 1000 ? 0 : quality;
}


static void
ngx_http_tsface_accept_trim(const u_char **p, const u_char **last)
{
    while (*p < *last && (**p == ' ' || **p == '\t')) {
        (*p)++;
    }

    while (*p < *last && ((*last)[-1] == ' ' || (*last)[-1] == '\t')) {
        (*last)--;
    }
}


static ngx_uint_t
ngx_http_tsface_accept_equal(const u_char *p, const u_char *last,
    const char *lowercase)
{
    u_char  ch;

    for ( /* void */ ; p < last && *lowercase; p++, lowercase++) {
        ch = *p;

        if (ch >= 'A' && ch <= 'Z') {
            ch |= 0x20;
        }

        if (ch != (u_char) *lowercase) {
            return 0;
        }
    }

    return p == last && *lowercase == '\0';
}
