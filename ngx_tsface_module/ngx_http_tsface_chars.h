
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Sets of characters: a bit for each, as ngx_escape_uri() has them.  Pure.
 */


#ifndef _NGX_HTTP_TSFACE_CHARS_H_INCLUDED_
#define _NGX_HTTP_TSFACE_CHARS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Whether ch is in set, which has 256 bits. */
static ngx_inline ngx_uint_t
ngx_http_tsface_chars_in(const uint32_t *set, u_char ch)
{
    return (set[ch >> 5] & ((uint32_t) 1 << (ch & 0x1f))) != 0;
}


/* tchar: what a token is made of, RFC 9110 5.6.2. */
static const uint32_t  ngx_http_tsface_tchar[] = {
    0x00000000, /* 0000 0000 0000 0000  0000 0000 0000 0000 */

                /* ?>=< ;:98 7654 3210  /.-, +*)( '&%$ #"!  */
    0x03ff6cfa, /* 0000 0011 1111 1111  0110 1100 1111 1010 */

                /* _^]\ [ZYX WVUT SRQP  ONML KJIH GFED CBA@ */
    0xc7fffffe, /* 1100 0111 1111 1111  1111 1111 1111 1110 */

                /*  ~}| {zyx wvut srqp  onml kjih gfed cba` */
    0x57ffffff, /* 0101 0111 1111 1111  1111 1111 1111 1111 */

    0x00000000, /* 0000 0000 0000 0000  0000 0000 0000 0000 */
    0x00000000, /* 0000 0000 0000 0000  0000 0000 0000 0000 */
    0x00000000, /* 0000 0000 0000 0000  0000 0000 0000 0000 */
    0x00000000  /* 0000 0000 0000 0000  0000 0000 0000 0000 */
};


#endif /* _NGX_HTTP_TSFACE_CHARS_H_INCLUDED_ */
