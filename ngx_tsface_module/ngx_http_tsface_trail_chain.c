
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_chain.h"
#include "ngx_http_tsface_trail_io.h"


/* of fixed width: it is written over, never cut */
#define NGX_HTTP_TSFACE_TRAIL_CHAIN_1_LEN                                     \
    (sizeof(NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC "1 ") - 1 + 20 + 1              \
     + NGX_HTTP_TSFACE_RECORD_MAC_LEN + 1 + 20 + 1 + 20 + 1)

#define NGX_HTTP_TSFACE_TRAIL_CHAIN_LEN                                       \
    (NGX_HTTP_TSFACE_TRAIL_CHAIN_1_LEN                                        \
     + NGX_HTTP_TSFACE_RECORD_ID_LEN + 1 + 20 + 1 + 20 + 1)


static u_char *ngx_http_tsface_trail_chain_digits(u_char *p, uint64_t n);
static uint64_t ngx_http_tsface_trail_chain_number(const u_char **pp,
    ngx_int_t *rc);
static void ngx_http_tsface_trail_chain_hex(const u_char **pp, u_char *dst,
    size_t len, ngx_int_t *rc);


void
ngx_http_tsface_trail_chain_init(ngx_http_tsface_trail_chain_t *chain)
{
    ngx_memzero(chain, sizeof(ngx_http_tsface_trail_chain_t));

    ngx_memset(chain->mac, '0', NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    ngx_memcpy(chain->key_id, NGX_HTTP_TSFACE_TRAIL_CHAIN_NO_KEY,
               NGX_HTTP_TSFACE_RECORD_ID_LEN);
}


ngx_int_t
ngx_http_tsface_trail_chain_read(int fd, ngx_http_tsface_trail_chain_t *chain)
{
    u_char         buf[NGX_HTTP_TSFACE_TRAIL_CHAIN_LEN], version;
    ssize_t        n;
    ngx_int_t      rc;
    const u_char  *p;

    ngx_http_tsface_trail_chain_init(chain);

    n = ngx_http_tsface_trail_io_read(fd, buf, sizeof(buf), 0);

    if (n < (ssize_t) NGX_HTTP_TSFACE_TRAIL_CHAIN_1_LEN
        || ngx_memcmp(buf, NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC,
                      sizeof(NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC) - 1)
           != 0)
    {
        return NGX_DECLINED;
    }

    p = buf + sizeof(NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC) - 1;

    version = p[0];

    /* a version 1 that was written over a 2 has the end of that behind it */

    if (p[1] != ' '
        || (version != '1'
            && (version != '2' || n != (ssize_t) sizeof(buf))))
    {
        return NGX_DECLINED;
    }

    p += 2;
    rc = NGX_OK;

    chain->seq = ngx_http_tsface_trail_chain_number(&p, &rc);
    ngx_http_tsface_trail_chain_hex(&p, chain->mac,
                                    NGX_HTTP_TSFACE_RECORD_MAC_LEN, &rc);
    chain->ino = ngx_http_tsface_trail_chain_number(&p, &rc);
    chain->size = ngx_http_tsface_trail_chain_number(&p, &rc);

    if (version != '1') {
        ngx_http_tsface_trail_chain_hex(&p, chain->key_id,
                                        NGX_HTTP_TSFACE_RECORD_ID_LEN, &rc);
        chain->checkpoint = ngx_http_tsface_trail_chain_number(&p, &rc);
        chain->checkpoint_usec = ngx_http_tsface_trail_chain_number(&p, &rc);
    }

    if (rc != NGX_OK) {
        ngx_http_tsface_trail_chain_init(chain);
    }

    return rc;
}


void
ngx_http_tsface_trail_chain_write(int fd,
    const ngx_http_tsface_trail_chain_t *chain)
{
    u_char  buf[NGX_HTTP_TSFACE_TRAIL_CHAIN_LEN], *p;

    p = ngx_cpymem(buf, NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC,
                   sizeof(NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC) - 1);
    *p++ = '2';
    *p++ = ' ';

    p = ngx_http_tsface_trail_chain_digits(p, chain->seq);
    *p++ = ' ';
    p = ngx_cpymem(p, chain->mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    *p++ = ' ';
    p = ngx_http_tsface_trail_chain_digits(p, chain->ino);
    *p++ = ' ';
    p = ngx_http_tsface_trail_chain_digits(p, chain->size);
    *p++ = ' ';
    p = ngx_cpymem(p, chain->key_id, NGX_HTTP_TSFACE_RECORD_ID_LEN);
    *p++ = ' ';
    p = ngx_http_tsface_trail_chain_digits(p, chain->checkpoint);
    *p++ = ' ';
    p = ngx_http_tsface_trail_chain_digits(p, chain->checkpoint_usec);
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


/* Both step over what they read and the blank, or the LF, behind it. */

static uint64_t
ngx_http_tsface_trail_chain_number(const u_char **pp, ngx_int_t *rc)
{
    size_t         i;
    uint64_t       n;
    const u_char  *p;

    n = 0;
    p = *pp;

    for (i = 0; i < 20; i++) {
        if (p[i] < '0' || p[i] > '9') {
            *rc = NGX_DECLINED;
            break;
        }

        n = n * 10 + (p[i] - '0');
    }

    *pp = p + 20 + 1;

    return n;
}


static void
ngx_http_tsface_trail_chain_hex(const u_char **pp, u_char *dst, size_t len,
    ngx_int_t *rc)
{
    size_t         i;
    const u_char  *p;

    p = *pp;

    for (i = 0; i < len; i++) {
        if ((p[i] < '0' || p[i] > '9') && (p[i] < 'a' || p[i] > 'f')) {
            *rc = NGX_DECLINED;
        }
    }

    ngx_memcpy(dst, p, len);

    *pp = p + len + 1;
}
