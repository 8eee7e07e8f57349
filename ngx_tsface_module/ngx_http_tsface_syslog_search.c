
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog_message.h"
#include "ngx_http_tsface_syslog_search.h"
#include "ngx_http_tsface_trail_io.h"


/* bytes read at a time: more than one line */
#define NGX_HTTP_TSFACE_SYSLOG_CHUNK   65536


static uint64_t ngx_http_tsface_syslog_search_near(int fd, uint64_t size,
    uint64_t seq);


ngx_int_t
ngx_http_tsface_syslog_search_check(int fd, uint64_t offset, uint64_t seq,
    const u_char *mac)
{
    u_char                            buf[NGX_HTTP_TSFACE_RECORD_MAX], *p;
    size_t                            size;
    ngx_str_t                         line;
    ngx_http_tsface_syslog_record_t   record;

    size = ngx_min(offset, sizeof(buf));

    if (ngx_http_tsface_trail_io_read(fd, buf, size, offset - size)
        != (ssize_t) size
        || size == 0 || buf[size - 1] != LF)
    {
        return NGX_DECLINED;
    }

    for (p = buf + size - 1; p > buf && p[-1] != LF; p--) { /* void */ }

    if (ngx_http_tsface_syslog_search_line(p, buf + size, &line, &record)
        != NGX_OK
        || record.number != seq
        || ngx_memcmp(record.mac.data, mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN)
           != 0)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_syslog_search(int fd, uint64_t seq, u_char *mac,
    uint64_t *offset)
{
    u_char                            buf[NGX_HTTP_TSFACE_SYSLOG_CHUNK];
    u_char                           *p, *last;
    ssize_t                           n;
    ngx_str_t                         line;
    struct stat                       sb;
    ngx_http_tsface_syslog_record_t   record;

    *offset = 0;

    if (fstat(fd, &sb) == -1) {
        return NGX_DECLINED;
    }

    *offset = ngx_http_tsface_syslog_search_near(fd, sb.st_size, seq);

    for ( ;; ) {

        n = ngx_http_tsface_trail_io_read(fd, buf, sizeof(buf), *offset);

        if (n <= 0) {
            return NGX_DECLINED;
        }

        last = buf + n;

        for (p = buf; p < last; p = line.data + line.len + 1) {

            if (ngx_http_tsface_syslog_search_line(p, last, &line, &record)
                != NGX_OK)
            {
                if (line.data == NULL) {
                    break;
                }

                continue;
            }

            if (record.number == seq) {
                *offset += line.data + line.len + 1 - buf;
                ngx_memcpy(mac, record.mac.data,
                           NGX_HTTP_TSFACE_RECORD_MAC_LEN);
                return NGX_OK;
            }

            if (record.number > seq) {
                *offset += p - buf;
                return NGX_AGAIN;
            }
        }

        if (p == buf) {

            if (n < (ssize_t) sizeof(buf)) {
                return NGX_DECLINED;
            }

            /* no line at all in so many bytes: no trail's */

            p = last;
        }

        *offset += p - buf;
    }
}


/*
 * Where a line begins that is in front of the record, or the record itself,
 * by halves: files may have gigabytes.
 */

static uint64_t
ngx_http_tsface_syslog_search_near(int fd, uint64_t size, uint64_t seq)
{
    u_char                            buf[4 * NGX_HTTP_TSFACE_RECORD_MAX], *p;
    ssize_t                           n;
    uint64_t                          low, high, middle;
    ngx_str_t                         line;
    ngx_http_tsface_syslog_record_t   record;

    low = 0;
    high = size;

    while (high - low > NGX_HTTP_TSFACE_SYSLOG_CHUNK) {

        middle = low + (high - low) / 2;

        n = ngx_http_tsface_trail_io_read(fd, buf, sizeof(buf), middle);

        p = n > 0 ? ngx_strlchr(buf, buf + n, LF) : NULL;

        if (p == NULL
            || ngx_http_tsface_syslog_search_line(p + 1, buf + n, &line,
                                                 &record)
               != NGX_OK)
        {
            break;
        }

        middle += p + 1 - buf;

        if (middle >= high) {
            break;
        }

        if (record.number <= seq) {
            low = middle;

        } else {
            high = middle;
        }
    }

    return low;
}


ngx_int_t
ngx_http_tsface_syslog_search_line(u_char *p, u_char *last, ngx_str_t *line,
    ngx_http_tsface_syslog_record_t *record)
{
    u_char  *end;

    end = ngx_strlchr(p, last, LF);

    if (end == NULL) {
        line->data = NULL;
        line->len = 0;
        return NGX_DECLINED;
    }

    line->data = p;
    line->len = end - p;

    return ngx_http_tsface_syslog_message_parse(line, record);
}
