
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog_position.h"
#include "ngx_http_tsface_trail_io.h"


#define NGX_HTTP_TSFACE_SYSLOG_POSITION_LEN                                   \
    (sizeof(NGX_HTTP_TSFACE_SYSLOG_POSITION_MAGIC) - 1 + 20 + 1               \
     + 2 * (NGX_HTTP_TSFACE_RECORD_MAC_LEN + 1) + 20 + 1)


static void ngx_http_tsface_syslog_position_print(
    const ngx_http_tsface_syslog_position_t *position, char *buf);
static uint64_t ngx_http_tsface_syslog_position_number(const u_char *p);


void
ngx_http_tsface_syslog_position_init(
    ngx_http_tsface_syslog_position_t *position)
{
    position->seq = 0;
    position->offset = 0;

    ngx_memset(position->mac, '0', NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    ngx_memset(position->file, '0', NGX_HTTP_TSFACE_RECORD_MAC_LEN);
}


ngx_int_t
ngx_http_tsface_syslog_position_read(int fd,
    ngx_http_tsface_syslog_position_t *position)
{
    char      back[NGX_HTTP_TSFACE_SYSLOG_POSITION_LEN + 1];
    u_char    buf[NGX_HTTP_TSFACE_SYSLOG_POSITION_LEN], *p;
    size_t    i;
    ssize_t   n;

    ngx_http_tsface_syslog_position_init(position);

    n = ngx_http_tsface_trail_io_read(fd, buf, sizeof(buf), 0);

    if (n <= 0) {
        return n ? NGX_ERROR : NGX_DONE;
    }

    if (n != sizeof(buf)) {
        return NGX_DECLINED;
    }

    p = buf + sizeof(NGX_HTTP_TSFACE_SYSLOG_POSITION_MAGIC) - 1;

    position->seq = ngx_http_tsface_syslog_position_number(p);
    p += 21;

    ngx_memcpy(position->mac, p, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    p += NGX_HTTP_TSFACE_RECORD_MAC_LEN + 1;

    ngx_memcpy(position->file, p, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    p += NGX_HTTP_TSFACE_RECORD_MAC_LEN + 1;

    position->offset = ngx_http_tsface_syslog_position_number(p);

    for (i = 0; i < NGX_HTTP_TSFACE_RECORD_MAC_LEN; i++) {
        if (position->mac[i] <= ' ' || position->file[i] <= ' ') {
            goto invalid;
        }
    }

    /* whatever isn't as it would be written is no position */

    ngx_http_tsface_syslog_position_print(position, back);

    if (position->offset <= NGX_MAX_OFF_T_VALUE
        && ngx_memcmp(buf, back, sizeof(buf)) == 0)
    {
        return NGX_OK;
    }

invalid:

    ngx_http_tsface_syslog_position_init(position);

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_tsface_syslog_position_write(int fd,
    const ngx_http_tsface_syslog_position_t *position)
{
    char  buf[NGX_HTTP_TSFACE_SYSLOG_POSITION_LEN + 1];

    ngx_http_tsface_syslog_position_print(position, buf);

    return ngx_http_tsface_trail_io_write(fd, (u_char *) buf,
                                       NGX_HTTP_TSFACE_SYSLOG_POSITION_LEN, 0);
}


static void
ngx_http_tsface_syslog_position_print(
    const ngx_http_tsface_syslog_position_t *position, char *buf)
{
    (void) snprintf(buf, NGX_HTTP_TSFACE_SYSLOG_POSITION_LEN + 1,
                    NGX_HTTP_TSFACE_SYSLOG_POSITION_MAGIC
                    "%020llu %.*s %.*s %020llu\n",
                    (unsigned long long) position->seq,
                    NGX_HTTP_TSFACE_RECORD_MAC_LEN, position->mac,
                    NGX_HTTP_TSFACE_RECORD_MAC_LEN, position->file,
                    (unsigned long long) position->offset);
}


/* Wraps on what isn't a number, which then isn't printed as it was read. */

static uint64_t
ngx_http_tsface_syslog_position_number(const u_char *p)
{
    size_t    i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < 20; i++) {
        n = n * 10 + (uint64_t) (p[i] - '0');
    }

    return n;
}
