
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>

#include "ngx_http_tsface_record_line.h"
#include "ngx_http_tsface_record_text.h"


#define NGX_HTTP_TSFACE_RECORD_TIME         ",\"time\":\""
#define NGX_HTTP_TSFACE_RECORD_TIME_FORM    "dddd-dd-ddTdd:dd:dd.ddddddZ"
#define NGX_HTTP_TSFACE_RECORD_TIME_END     "\","
#define NGX_HTTP_TSFACE_RECORD_MAC          ",\"mac\":\""
#define NGX_HTTP_TSFACE_RECORD_END          "\"}"

/* the whole `,"mac":"..."}` */
#define NGX_HTTP_TSFACE_RECORD_TAIL                                           \
    (ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_MAC)                   \
     + NGX_HTTP_TSFACE_RECORD_MAC_LEN                                         \
     + ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_END))


static ngx_int_t ngx_http_tsface_record_parse(const ngx_str_t *line,
    uint64_t *seq, size_t *len);


size_t
ngx_http_tsface_record_seal(const ngx_str_t *body, uint64_t seq,
    uint64_t usec, ngx_http_tsface_record_key_t *key, u_char *mac,
    u_char *buf, size_t size)
{
    size_t      len;
    u_char     *p;
    u_char      head[128];
    ngx_str_t   parts[2];
    u_char      hex[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    p = ngx_http_tsface_record_put(head, NGX_HTTP_TSFACE_RECORD_HEAD);
    p = ngx_http_tsface_record_decimal(p, seq);
    p = ngx_http_tsface_record_put(p, NGX_HTTP_TSFACE_RECORD_TIME);

    p = ngx_http_tsface_record_time(p, usec);
    if (p == NULL) {
        return 0;
    }

    p = ngx_http_tsface_record_put(p, NGX_HTTP_TSFACE_RECORD_TIME_END);

    len = p - head;

    if (body->len == 0
        || body->len > NGX_HTTP_TSFACE_RECORD_BODY_MAX
        || size < len + body->len + NGX_HTTP_TSFACE_RECORD_TAIL + 1)
    {
        return 0;
    }

    p = ngx_cpymem(buf, head, len);
    p = ngx_cpymem(p, body->data, body->len);

    parts[0].data = mac;
    parts[0].len = NGX_HTTP_TSFACE_RECORD_MAC_LEN;
    parts[1].data = buf;
    parts[1].len = p - buf;

    if (ngx_http_tsface_record_hmac(key, parts, 2, hex) != NGX_OK) {
        return 0;
    }

    ngx_memcpy(mac, hex, sizeof(hex));

    p = ngx_http_tsface_record_put(p, NGX_HTTP_TSFACE_RECORD_MAC);
    p = ngx_cpymem(p, hex, sizeof(hex));
    p = ngx_http_tsface_record_put(p, NGX_HTTP_TSFACE_RECORD_END "\n");

    return p - buf;
}


ngx_int_t
ngx_http_tsface_record_parse_tail(const ngx_str_t *line, uint64_t *seq,
    u_char *mac)
{
    size_t    len;
    uint64_t  n;

    if (ngx_http_tsface_record_parse(line, &n, &len) != NGX_OK) {
        return NGX_ERROR;
    }

    *seq = n;

    ngx_memcpy(mac,
               line->data + len
               + ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_MAC),
               NGX_HTTP_TSFACE_RECORD_MAC_LEN);

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_record_split(const ngx_str_t *line, uint64_t *seq,
    ngx_str_t *time, ngx_str_t *body)
{
    size_t   len;
    u_char  *p;

    if (ngx_http_tsface_record_parse(line, seq, &len) != NGX_OK) {
        return NGX_ERROR;
    }

    p = line->data + ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_HEAD);

    while (*p >= '0' && *p <= '9') {
        p++;
    }

    time->data = p + ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_TIME);
    time->len = ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_TIME_FORM);

    body->data = time->data + time->len
                 + ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_TIME_END);
    body->len = line->data + len - body->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_record_verify(const ngx_str_t *line,
    ngx_http_tsface_record_key_t *key, const u_char *previous)
{
    size_t     len;
    uint64_t   seq;
    ngx_str_t  parts[2];
    u_char     hex[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    if (ngx_http_tsface_record_parse(line, &seq, &len) != NGX_OK) {
        return NGX_DECLINED;
    }

    parts[0].data = (u_char *) previous;
    parts[0].len = NGX_HTTP_TSFACE_RECORD_MAC_LEN;
    parts[1].data = line->data;
    parts[1].len = len;

    if (ngx_http_tsface_record_hmac(key, parts, 2, hex) != NGX_OK) {
        return NGX_DECLINED;
    }

    len += ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_MAC);

    if (CRYPTO_memcmp(hex, line->data + len, sizeof(hex)) != 0) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * Checks line's form from both ends; len is the length of what the mac
 * covers besides the previous mac.
 */

static ngx_int_t
ngx_http_tsface_record_parse(const ngx_str_t *line, uint64_t *seq,
    size_t *len)
{
    u_char       ch, *p, *last, *start;
    uint64_t     n, digit;
    ngx_uint_t   i;
    const char  *form;

    if (line->len >= NGX_HTTP_TSFACE_RECORD_MAX
        || line->len < ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_HEAD)
                       + NGX_HTTP_TSFACE_RECORD_TAIL)
    {
        return NGX_ERROR;
    }

    p = line->data;
    last = p + line->len - NGX_HTTP_TSFACE_RECORD_TAIL;

    *len = last - p;

    if (ngx_memcmp(p, NGX_HTTP_TSFACE_RECORD_HEAD,
                   ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_HEAD))
        != 0)
    {
        return NGX_ERROR;
    }

    p += ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_HEAD);

    start = p;
    n = 0;

    for ( /* void */ ; p < last && *p >= '0' && *p <= '9'; p++) {

        digit = *p - '0';

        if (n > (UINT64_MAX - digit) / 10) {
            return NGX_ERROR;
        }

        n = n * 10 + digit;
    }

    if (p == start || (p - start > 1 && *start == '0')) {
        return NGX_ERROR;
    }

    *seq = n;

    form = NGX_HTTP_TSFACE_RECORD_TIME NGX_HTTP_TSFACE_RECORD_TIME_FORM
           NGX_HTTP_TSFACE_RECORD_TIME_END NGX_HTTP_TSFACE_RECORD_TYPE;

    /* only TIME_FORM has a "d", which stands for any digit */

    for ( /* void */ ; *form; p++, form++) {

        if (p == last) {
            return NGX_ERROR;
        }

        if (*form == 'd' ? (*p < '0' || *p > '9') : *p != (u_char) *form) {
            return NGX_ERROR;
        }
    }

    p = last;

    if (ngx_memcmp(p, NGX_HTTP_TSFACE_RECORD_MAC,
                   ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_MAC))
        != 0)
    {
        return NGX_ERROR;
    }

    p += ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_MAC);

    for (i = 0; i < NGX_HTTP_TSFACE_RECORD_MAC_LEN; i++) {
        ch = *p++;

        if ((ch < '0' || ch > '9') && (ch < 'a' || ch > 'f')) {
            return NGX_ERROR;
        }
    }

    if (ngx_memcmp(p, NGX_HTTP_TSFACE_RECORD_END,
                   ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_END))
        != 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
