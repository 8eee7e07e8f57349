
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_chain.h"
#include "ngx_http_tsface_trail_io.h"


/* of fixed width: it is written over, never cut */
#define NGX_HTTP_TSFACE_TRAIL_CHAIN_LEN                                       \
    (sizeof(NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC) - 1 + 20 + 1                   \
     + NGX_HTTP_TSFACE_RECORD_MAC_LEN + 1 + 20 + 1 + 20 + 1)


static u_char *ngx_http_tsface_trail_chain_digits(u_char *p, uint64_t n);
static uint64_t ngx_http_tsface_trail_chain_number(const u_char *p,
    ngx_int_t *rc);


ngx_int_t
ngx_http_tsface_trail_chain_read(int fd, ngx_http_tsface_trail_chain_t *chain)
{
    u_char     buf[NGX_HTTP_TSFACE_TRAIL_CHAIN_LEN], *p;
    size_t     i;
    ngx_int_t  rc;

    if (ngx_http_tsface_trail_io_read(fd, buf, sizeof(buf), 0)
        != (ssize_t) sizeof(buf))
    {
        return NGX_DECLINED;
    }

    if (ngx_memcmp(buf, NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC,
                   sizeof(NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC) - 1)
        != 0)
    {
        return NGX_DECLINED;
    }

    rc = NGX_OK;
    p = buf + sizeof(NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC) - 1;

    chain->seq = ngx_http_tsface_trail_chain_number(p, &rc);
    p += 21;

    for (i = 0; i < NGX_HTTP_TSFACE_RECORD_MAC_LEN; i++) {
        if ((p[i] < '0' || p[i] > '9') && (p[i] < 'a' || p[i] > 'f')) {
            return NGX_DECLINED;
        }
    }

    ngx_memcpy(chain->mac, p, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    p += NGX_HTTP_TSFACE_RECORD_MAC_LEN + 1;

    chain->ino = ngx_http_tsface_trail_chain_number(p, &rc);
    p += 21;

    chain->size = ngx_http_tsface_trail_chain_number(p, &rc);

    return rc;
}


void
ngx_http_tsface_trail_chain_write(int fd,
    const ngx_http_tsface_trail_chain_t *chain)
{
    u_char  buf[NGX_HTTP_TSFACE_TRAIL_CHAIN_LEN], *p;

    p = ngx_cpymem(buf, NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC,
                   sizeof(NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC) - 1);

    p = ngx_http_tsface_trail_chain_digits(p, chain->seq);
    *p++ = ' ';
    p = ngx_cpymem(p, chain->mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    *p++ = ' ';
    p = ngx_http_tsface_trail_chain_digits(p, chain->ino);
    *p++ = ' ';
    p = ngx_http_tsface_trail_chain_digits(p, chain->size);
    *p++ = LF;

    (void) ngx_http_tsface_trail_io_write(fd, buf,
                                          NGX_HTTP_TSFACE_TRAIL_CHAIN_LEN, 0);
}


static u_char *
ngx_http_tsface_trail_chain_digits(u_char *p, uint64_t n)
{
    size_t  i;

    for (i = 20; i; i--) {
        p[i - 1] = (u_char) ('0' + n % 10);
        n /= 10;
    }

    return p + 20;
}


static uint64_t
ngx_http_tsface_trail_chain_number(const u_char *p, ngx_int_t *rc)
{
    size_t    i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < 20; i++) {
        if (p[i] < '0' || p[i] > '9') {
            *rc = NGX_DECLINED;
            return 0;
        }

        n = n * 10 + (p[i] - '0');
    }

    return n;
}
