
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include "ngx_http_tsface_limit_script.h"


/* enough for 2^53, which no number of an answer reaches */
#define NGX_HTTP_TSFACE_SCRIPT_DIGITS   16


static ngx_int_t ngx_http_tsface_script_number(const redisReply *reply,
    uint64_t *number);


/*
 * KEYS are the limits' keys; ARGV has interval, tolerance, queue, most, dry
 * run and floor of each.  Answers "1" or "0", taken or not, and how far each
 * key was ahead of now.  It decides as limit_agree.c does.
 *
 * The time is the store's: gateways need not agree upon theirs.  Only "ahead"
 * goes in and out, as it means the same by any clock.  A key that seems to be
 * ahead of all that can be is cut down to that, and still lets nobody in: the
 * store's clock was set back, or the rate raised.  It is written back, or it
 * would be so for as long as that lasts, but not before it is ahead of what
 * any delay can explain (1 min): other gateways may have longer ones.  What is
 * no time is none: a key that somebody else wrote to heals.  Numbers go as
 * text, as Lua would round them, or drop what is behind the point.
 */
const ngx_str_t  ngx_http_tsface_script = ngx_string(
    "local time = redis.call('TIME')\n"
    "local now = time[1] * 1000000 + time[2]\n"
    "local answer, ahead, cut, refused, at = {'1'}, {}, {}, {}, 0\n"
    "for i = 1, #KEYS do\n"
    "  local n = {}\n"
    "  for j = 1, 6 do n[j] = tonumber(ARGV[6 * i - 6 + j]) end\n"
    "  local tat = redis.pcall('GET', KEYS[i])\n"
    "  tat = type(tat) == 'string' and tonumber(tat) or 0\n"
    "  local a = n[6]\n"
    "  if tat - now > a then a = tat - now end\n"
    "  cut[i] = a > n[4] + 60000000\n"
    "  if a > n[4] then a = n[4] end\n"
    "  ahead[i] = a\n"
    "  answer[i + 1] = string.format('%.0f', a)\n"
    "  local wait = a - n[2]\n"
    "  refused[i] = wait > n[3]\n"
    "  if n[5] == 0 then\n"
    "    if refused[i] then answer[1] = '0' end\n"
    "    if wait > at then at = wait end\n"
    "  end\n"
    "end\n"
    "for i = 1, #KEYS do\n"
    "  local a = cut[i] and ahead[i]\n"
    "  if answer[1] == '1' and not refused[i] then\n"
    "    a = math.max(ahead[i], at) + ARGV[6 * i - 5]\n"
    "  end\n"
    "  if a then\n"
    "    redis.call('SET', KEYS[i], string.format('%.0f', now + a),\n"
    "               'PX', string.format('%.0f', math.ceil(a / 1000) + 1))\n"
    "  end\n"
    "end\n"
    "return answer\n");


ngx_int_t
ngx_http_tsface_script_sha1(u_char *hex)
{
    u_char        digest[EVP_MAX_MD_SIZE];
    unsigned int  len;

    if (!EVP_Digest(ngx_http_tsface_script.data, ngx_http_tsface_script.len,
                    digest, &len, EVP_sha1(), NULL))
    {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(hex, digest, len);

    return NGX_OK;
}


ngx_uint_t
ngx_http_tsface_script_args(const ngx_http_tsface_script_limit_t *limits,
    ngx_uint_t n, u_char *text, const char **argv, size_t *argvlen)
{
    u_char      *p;
    uint64_t     numbers[NGX_HTTP_TSFACE_SCRIPT_NUMBERS];
    ngx_uint_t   i, j, argc;

    static const char *const  digits[] = {
        "0", "1", "2", "3", "4", "5", "6", "7", "8"
    };

    argv[2] = digits[n];
    argvlen[2] = 1;
    argc = 3;

    for (i = 0; i < n; i++, argc++) {
        argv[argc] = (const char *) limits[i].key.data;
        argvlen[argc] = limits[i].key.len;
    }

    for (i = 0; i < n; i++) {
        numbers[0] = limits[i].interval;
        numbers[1] = limits[i].tolerance;
        numbers[2] = limits[i].queue;
        numbers[3] = limits[i].most;
        numbers[4] = limits[i].dry_run;
        numbers[5] = limits[i].ahead;

        for (j = 0; j < NGX_HTTP_TSFACE_SCRIPT_NUMBERS; j++, argc++) {
            p = ngx_sprintf(text, "%uL", numbers[j]);

            argv[argc] = (const char *) text;
            argvlen[argc] = p - text;

            text = p;
        }
    }

    return argc;
}


ngx_int_t
ngx_http_tsface_script_answer(const redisReply *reply,
    ngx_http_tsface_script_limit_t *limits, ngx_uint_t n)
{
    uint64_t    taken, ahead;
    ngx_uint_t  i, fits;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n + 1) {
        return NGX_ERROR;
    }

    if (ngx_http_tsface_script_number(reply->element[0], &taken) != NGX_OK
        || taken > 1)
    {
        return NGX_ERROR;
    }

    fits = 1;

    for (i = 0; i < n; i++) {

        if (ngx_http_tsface_script_number(reply->element[i + 1], &ahead)
            != NGX_OK
            || ahead < limits[i].ahead
            || ahead > limits[i].most)
        {
            return NGX_ERROR;
        }

        limits[i].ahead = ahead;

        if (!limits[i].dry_run
            && ahead > limits[i].tolerance + limits[i].queue)
        {
            fits = 0;
        }
    }

    if (taken != fits) {
        return NGX_ERROR;
    }

    return taken ? NGX_OK : NGX_BUSY;
}


static ngx_int_t
ngx_http_tsface_script_number(const redisReply *reply, uint64_t *number)
{
    size_t    i;
    uint64_t  n;

    if (reply == NULL
        || reply->type != REDIS_REPLY_STRING
        || reply->len == 0
        || reply->len > NGX_HTTP_TSFACE_SCRIPT_DIGITS)
    {
        return NGX_ERROR;
    }

    n = 0;

    for (i = 0; i < reply->len; i++) {

        if (reply->str[i] < '0' || reply->str[i] > '9') {
            return NGX_ERROR;
        }

        n = n * 10 + (reply->str[i] - '0');
    }

    *number = n;

    return NGX_OK;
}


ngx_str_t
ngx_http_tsface_script_error(const redisReply *reply)
{
    size_t     i;
    ngx_str_t  code;

    ngx_str_null(&code);

    for (i = 0; i < reply->len && reply->str[i] != ' '; i++) {

        if (i == 32 || reply->str[i] < 'A' || reply->str[i] > 'Z') {
            return code;
        }
    }

    code.data = (u_char *) reply->str;
    code.len = i;

    return code;
}


ngx_int_t
ngx_http_tsface_script_moved(const redisReply *reply, u_char *address,
    in_port_t *port)
{
    char       *p, *host, *last;
    size_t      len;
    u_char      binary[sizeof(struct in6_addr)];
    ngx_int_t   n;

    if (reply->len < 6 || ngx_strncmp(reply->str, "MOVED ", 6) != 0) {
        return NGX_DECLINED;
    }

    last = reply->str + reply->len;
    host = (char *) ngx_strlchr((u_char *) reply->str + 6, (u_char *) last,
                                ' ');
    if (host == NULL) {
        return NGX_DECLINED;
    }

    host++;

    /* the last colon: an IPv6 address stands there without brackets */

    for (p = last - 1; p > host && *p != ':'; p--) { /* void */ }

    len = p - host;

    if (len == 0 || len >= NGX_INET6_ADDRSTRLEN) {
        return NGX_DECLINED;
    }

    n = ngx_atoi((u_char *) p + 1, last - p - 1);

    if (n < 1 || n > 65535) {
        return NGX_DECLINED;
    }

    ngx_memcpy(address, host, len);
    address[len] = '\0';

    if (ngx_inet_addr(address, len) == INADDR_NONE
        && ngx_inet6_addr(address, len, binary) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    *port = (in_port_t) n;

    return NGX_OK;
}
