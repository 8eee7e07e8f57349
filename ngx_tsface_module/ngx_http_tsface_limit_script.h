
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The decision of a shared store, as the store makes it: a script in Lua,
 * what it is asked and what it may answer.  Pure but for OpenSSL's SHA-1,
 * by which a store knows a script.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_SCRIPT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_SCRIPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <hiredis/hiredis.h>

#include "ngx_http_tsface_gcra.h"


#define NGX_HTTP_TSFACE_SCRIPT_MAX_KEYS   8

/* of each limit */
#define NGX_HTTP_TSFACE_SCRIPT_NUMBERS    6

/* EVAL, the script, how many keys, the keys, their numbers */
#define NGX_HTTP_TSFACE_SCRIPT_MAX_ARGS                                       \
    (3 + (1 + NGX_HTTP_TSFACE_SCRIPT_NUMBERS)                                 \
         * NGX_HTTP_TSFACE_SCRIPT_MAX_KEYS)

/*
 * Lua's numbers are exact up to 2^53, the time is 2^50.7 us in this century:
 * the most that a burst may take to fill up is 2^52 us, 142 years.
 */
#define NGX_HTTP_TSFACE_SCRIPT_MAX_TIME   ((uint64_t) 1 << 52)


/* One limit of a question.  Times in microseconds. */
typedef struct {
    ngx_str_t       key;          /* as the store knows it */
    uint64_t        interval;
    uint64_t        tolerance;
    uint64_t        queue;        /* how long it may wait */
    uint64_t        most;         /* that a key can be ahead */
    ngx_uint_t      dry_run;      /* 1: what it says has no effect */

    /*
     * How far the key's theoretical arrival time is ahead of now, before this
     * request: asked, the least that it is known to be; answered, what it is.
     */
    uint64_t        ahead;
} ngx_http_tsface_script_limit_t;


extern const ngx_str_t  ngx_http_tsface_script;

/* Its SHA-1 in hexadecimal: 40 bytes.  NGX_ERROR: OpenSSL has none. */
ngx_int_t ngx_http_tsface_script_sha1(u_char *hex);

/* What numbers of n limits take as text, at most. */
#define ngx_http_tsface_script_text_len(n)                                    \
    (NGX_HTTP_TSFACE_SCRIPT_NUMBERS * (n) * NGX_INT64_LEN)

/*
 * The arguments behind EVAL and the script (or EVALSHA and its SHA-1), which
 * are argv[0] and argv[1].  Keys are pointed to, numbers written to text.
 * Returns how many arguments there are.
 */
ngx_uint_t ngx_http_tsface_script_args(
    const ngx_http_tsface_script_limit_t *limits, ngx_uint_t n, u_char *text,
    const char **argv, size_t *argvlen);

/*
 * Reads the answer, which is one of the script's or none at all: NGX_OK
 * (taken from each limit) or NGX_BUSY (from none), with ahead of each limit;
 * NGX_ERROR: anything else, also a decision that its own numbers deny.
 */
ngx_int_t ngx_http_tsface_script_answer(const redisReply *reply,
    ngx_http_tsface_script_limit_t *limits, ngx_uint_t n);

/* An error's code, its first word: "" if that is no word of capitals. */
ngx_str_t ngx_http_tsface_script_error(const redisReply *reply);

/*
 * "MOVED 3999 127.0.0.1:6381" -> address (NUL-terminated, of at most
 * NGX_INET6_ADDRSTRLEN bytes with it) and port.  NGX_DECLINED: it is nothing
 * of the kind, or names no address but a host.
 */
ngx_int_t ngx_http_tsface_script_moved(const redisReply *reply,
    u_char *address, in_port_t *port);


#endif /* _NGX_HTTP_TSFACE_LIMIT_SCRIPT_H_INCLUDED_ */
