
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_text.h"


#define NGX_HTTP_TSFACE_RECORD_MAX_YEAR     9999


#define ngx_http_tsface_record_each(c)  (0x0101010101010101ULL * (c))

/*
 * Whether all eight bytes of x are printable ASCII that JSON has no escape
 * for: a subtraction that sets the highest bit of a byte has found one that is
 * not.  It borrows from the next byte only then.
 */
#define ngx_http_tsface_record_plain(x)                                       \
    ((((x)                                                                    \
       | ((x) - ngx_http_tsface_record_each(0x20))                            \
       | (((x) ^ ngx_http_tsface_record_each(0x7f))                           \
          - ngx_http_tsface_record_each(1))                                   \
       | (((x) ^ ngx_http_tsface_record_each('"'))                            \
          - ngx_http_tsface_record_each(1))                                   \
       | (((x) ^ ngx_http_tsface_record_each('\\'))                           \
          - ngx_http_tsface_record_each(1)))                                  \
      & ngx_http_tsface_record_each(0x80))                                    \
     == 0)


static u_char *ngx_http_tsface_record_as_is(u_char *p, const ngx_str_t *value);
static u_char *ngx_http_tsface_record_padded(u_char *p, ngx_uint_t n,
    ngx_uint_t width);


static const u_char  ngx_http_tsface_record_xdigits[] = "0123456789abcdef";


/*
 * A JSON string of at most limit bytes between its quotes.  Valid UTF-8 stays
 * as it is, but for what could forge or disguise a line where it is read:
 * control characters (C0, DEL, C1), line and paragraph separators and the
 * characters that turn the direction of writing.
 */

u_char *
ngx_http_tsface_record_quoted(u_char *p, const ngx_str_t *value, size_t limit)
{
    size_t         n, len;
    u_char         ch, *cut, *end;
    u_char         unit[6];
    uint32_t       code;
    const u_char  *s, *last;

    *p++ = '"';

    if (value->len == 0) {

        /* data may be NULL */

        *p++ = '"';

        return p;
    }

    end = (value->len <= limit) ? ngx_http_tsface_record_as_is(p, value)
                                : NULL;
    if (end) {
        *end++ = '"';

        return end;
    }

    s = value->data;
    last = s + value->len;

    /* cut is the last place that leaves room for the mark of a cut */

    end = p + limit;
    cut = p;

    while (s < last) {

        if ((size_t) (end - p) >= sizeof(NGX_HTTP_TSFACE_RECORD_CUT) - 1) {
            cut = p;
        }

        ch = *s;

        if (ch >= 0x20 && ch < 0x7f && ch != '"' && ch != '\\') {

            if (p == end) {
                goto full;
            }

            *p++ = ch;
            s++;
            continue;
        }

        n = ngx_http_tsface_record_utf8(s, last - s, &code);

        if (n == 0) {
            n = 1;
            code = 0xfffd;
            len = 6;

        } else if (code < 0x20
                   || (code >= 0x7f && code < 0xa0)
                   || (code >= 0x2028 && code <= 0x202e)
                   || (code >= 0x2066 && code <= 0x2069))
        {
            len = 6;

        } else if (code < 0x80) {
            unit[0] = '\\';
            unit[1] = ch;
            len = 2;

        } else {
            ngx_memcpy(unit, s, n);
            len = n;
        }

        if (len == 6) {
            unit[0] = '\\';
            unit[1] = 'u';
            unit[2] = ngx_http_tsface_record_xdigits[code >> 12];
            unit[3] = ngx_http_tsface_record_xdigits[(code >> 8) & 0xf];
            unit[4] = ngx_http_tsface_record_xdigits[(code >> 4) & 0xf];
            unit[5] = ngx_http_tsface_record_xdigits[code & 0xf];
        }

        if (len > (size_t) (end - p)) {
            goto full;
        }

        p = ngx_cpymem(p, unit, len);
        s += n;
    }

    *p++ = '"';

    return p;

full:

    return ngx_http_tsface_record_put(cut, NGX_HTTP_TSFACE_RECORD_CUT "\"");
}


/*
 * Most text needs no escape: it is copied eight bytes at a time, the last of
 * them some for a second time.  NULL: this one does need one.
 */

static u_char *
ngx_http_tsface_record_as_is(u_char *p, const ngx_str_t *value)
{
    size_t         i, last;
    uint64_t       block;
    const u_char  *s;

    s = value->data;

    if (value->len < 8) {
        block = ngx_http_tsface_record_each(' ');
        ngx_memcpy(&block, s, value->len);

        return ngx_http_tsface_record_plain(block)
               ? ngx_cpymem(p, s, value->len) : NULL;
    }

    last = value->len - 8;
    i = 0;

    for ( ;; ) {
        ngx_memcpy(&block, s + i, 8);

        if (!ngx_http_tsface_record_plain(block)) {
            return NULL;
        }

        ngx_memcpy(p + i, &block, 8);

        if (i == last) {
            return p + value->len;
        }

        i = ngx_min(i + 8, last);
    }
}


u_char *
ngx_http_tsface_record_decimal(u_char *p, uint64_t n)
{
    u_char  *d, digits[20];

    d = digits + sizeof(digits);

    do {
        *--d = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    return ngx_cpymem(p, d, digits + sizeof(digits) - d);
}


u_char *
ngx_http_tsface_record_hex(u_char *p, const u_char *bytes, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        *p++ = ngx_http_tsface_record_xdigits[bytes[i] >> 4];
        *p++ = ngx_http_tsface_record_xdigits[bytes[i] & 0xf];
    }

    return p;
}


/*
 * The proleptic Gregorian calendar, counted from March 1 of the year 0: a
 * leap day is then the last of its year, and 400 years have 146097 days.
 */

u_char *
ngx_http_tsface_record_time(u_char *p, uint64_t usec)
{
    uint64_t    days, era, year;
    ngx_uint_t  sec, day, yoe, month;

    sec = (ngx_uint_t) (usec / 1000000 % 86400);

    days = usec / 1000000 / 86400 + 719468;
    era = days / 146097;
    day = (ngx_uint_t) (days % 146097);

    yoe = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * yoe + yoe / 4 - yoe / 100;

    month = (5 * day + 2) / 153;
    day = day - (153 * month + 2) / 5 + 1;
    month = (month < 10) ? month + 3 : month - 9;

    year = era * 400 + yoe + (month <= 2);

    if (year > NGX_HTTP_TSFACE_RECORD_MAX_YEAR) {
        return NULL;
    }

    p = ngx_http_tsface_record_padded(p, (ngx_uint_t) year, 4);
    *p++ = '-';
    p = ngx_http_tsface_record_padded(p, month, 2);
    *p++ = '-';
    p = ngx_http_tsface_record_padded(p, day, 2);
    *p++ = 'T';
    p = ngx_http_tsface_record_padded(p, sec / 3600, 2);
    *p++ = ':';
    p = ngx_http_tsface_record_padded(p, sec / 60 % 60, 2);
    *p++ = ':';
    p = ngx_http_tsface_record_padded(p, sec % 60, 2);
    *p++ = '.';
    p = ngx_http_tsface_record_padded(p, (ngx_uint_t) (usec % 1000000), 6);
    *p++ = 'Z';

    return p;
}


static u_char *
ngx_http_tsface_record_padded(u_char *p, ngx_uint_t n, ngx_uint_t width)
{
    ngx_uint_t  i;

    for (i = width; i; i--) {
        p[i - 1] = (u_char) ('0' + n % 10);
        n /= 10;
    }

    return p + width;
}


size_t
ngx_http_tsface_record_utf8(const u_char *p, size_t len, uint32_t *code)
{
    size_t    i, n;
    uint32_t  c, min;

    c = p[0];

    if (c < 0x80) {
        *code = c;
        return 1;
    }

    if (c >= 0xc2 && c <= 0xdf) {
        n = 2;
        c &= 0x1f;
        min = 0x80;

    } else if (c >= 0xe0 && c <= 0xef) {
        n = 3;
        c &= 0x0f;
        min = 0x800;

    } else if (c >= 0xf0 && c <= 0xf4) {
        n = 4;
        c &= 0x07;
        min = 0x10000;

    } else {
        return 0;
    }

    if (len < n) {
        return 0;
    }

    for (i = 1; i < n; i++) {

        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = (c << 6) | (p[i] & 0x3f);
    }

    if (c < min || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff) {
        return 0;
    }

    *code = c;

    return n;
}
