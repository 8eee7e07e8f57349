
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A record's line: the body between seq and time, in front of it, and the MAC
 * of the chain behind it.
 */


#ifndef _NGX_HTTP_TSFACE_RECORD_LINE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_RECORD_LINE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_mac.h"


#define NGX_HTTP_TSFACE_RECORD_MAX       8192   /* a whole line with its LF */

/* what is around a body at most, and what every line begins with */
#define NGX_HTTP_TSFACE_RECORD_ENVELOPE  256
#define NGX_HTTP_TSFACE_RECORD_HEAD      "{\"v\":1,\"seq\":"

#define NGX_HTTP_TSFACE_RECORD_BODY_MAX                                       \
    (NGX_HTTP_TSFACE_RECORD_MAX - NGX_HTTP_TSFACE_RECORD_ENVELOPE)


/*
 * Joins `{"v":1,"seq":N,"time":"...",` + body + `,"mac":"..."}\n` at buf
 * (RECORD_MAX bytes), time being usec since the epoch in UTC; computes mac
 * over previous mac and line, and stores it in mac (MAC_LEN bytes, no NUL),
 * which on entry holds the previous one.  Returns the line's length, 0 on
 * error.
 */
size_t ngx_http_tsface_record_seal(const ngx_str_t *body, uint64_t seq,
    uint64_t usec, ngx_http_tsface_record_key_t *key, u_char *mac,
    u_char *buf, size_t size);

/*
 * Reads seq and mac back from a whole line (without its LF), for a writer
 * that continues a trail.  Returns NGX_OK or NGX_ERROR if it has not the
 * form this file writes.  Does not check the mac.
 */
ngx_int_t ngx_http_tsface_record_parse_tail(const ngx_str_t *line,
    uint64_t *seq, u_char *mac);

/*
 * The parts of a whole line (without its LF), which they point into: time is
 * what is between its quotes, body what seal() was given.  NGX_OK, or
 * NGX_ERROR if it has not the form this file writes.  Does not check the mac.
 */
ngx_int_t ngx_http_tsface_record_split(const ngx_str_t *line, uint64_t *seq,
    ngx_str_t *time, ngx_str_t *body);

/* NGX_OK if line's mac follows from previous and key, NGX_DECLINED if not. */
ngx_int_t ngx_http_tsface_record_verify(const ngx_str_t *line,
    ngx_http_tsface_record_key_t *key, const u_char *previous);


#endif /* _NGX_HTTP_TSFACE_RECORD_LINE_H_INCLUDED_ */
