
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_chars.h"
#include "ngx_http_tsface_operation.h"


#define NGX_HTTP_TSFACE_MAX_BEARER  8192


static ngx_uint_t ngx_http_tsface_operation_equal(const u_char *s, size_t len,
    const char *lowercase);
static u_char *ngx_http_tsface_operation_token(u_char *p, u_char *last);


/*
 * Fixed paths only.  When one with a path variable comes, it has to stand
 * behind those with "me": "me" must never be taken for a user's id, or our
 * token would be sent where the caller's belongs.
 */
const ngx_http_tsface_operation_t
    ngx_http_tsface_operations[NGX_HTTP_TSFACE_NOPERATIONS] =
{
    { ngx_string("face.revoke"),
      ngx_string("/v1/users/face/revoke"),
      ngx_string("POST"),
      NGX_HTTP_TSFACE_TOKEN_CREDENTIALS,
      1 },

    { ngx_string("face.revoke_me"),
      ngx_string("/v1/users/me/face/revoke"),
      ngx_string("POST"),
      NGX_HTTP_TSFACE_TOKEN_CALLER,
      0 }
};


/* What may not be in a path: controls, space, "#", "%", ";", "\", non-ASCII. */
static const uint32_t  ngx_http_tsface_path_refused[] = {
    0xffffffff, /* 1111 1111 1111 1111  1111 1111 1111 1111 */

                /* ?>=< ;:98 7654 3210  /.-, +*)( '&%$ #"!  */
    0x08000029, /* 0000 1000 0000 0000  0000 0000 0010 1001 */

                /* _^]\ [ZYX WVUT SRQP  ONML KJIH GFED CBA@ */
    0x10000000, /* 0001 0000 0000 0000  0000 0000 0000 0000 */

                /*  ~}| {zyx wvut srqp  onml kjih gfed cba` */
    0x80000000, /* 1000 0000 0000 0000  0000 0000 0000 0000 */

    0xffffffff, /* 1111 1111 1111 1111  1111 1111 1111 1111 */
    0xffffffff, /* 1111 1111 1111 1111  1111 1111 1111 1111 */
    0xffffffff, /* 1111 1111 1111 1111  1111 1111 1111 1111 */
    0xffffffff  /* 1111 1111 1111 1111  1111 1111 1111 1111 */
};


/* token68 of RFC 9110, which is RFC 6750's b64token, without its "=". */
static const uint32_t  ngx_http_tsface_b64token[] = {
    0x00000000, /* 0000 0000 0000 0000  0000 0000 0000 0000 */

                /* ?>=< ;:98 7654 3210  /.-, +*)( '&%$ #"!  */
    0x03ffe800, /* 0000 0011 1111 1111  1110 1000 0000 0000 */

                /* _^]\ [ZYX WVUT SRQP  ONML KJIH GFED CBA@ */
    0x87fffffe, /* 1000 0111 1111 1111  1111 1111 1111 1110 */

                /*  ~}| {zyx wvut srqp  onml kjih gfed cba` */
    0x47fffffe, /* 0100 0111 1111 1111  1111 1111 1111 1110 */

    0x00000000, /* 0000 0000 0000 0000  0000 0000 0000 0000 */
    0x00000000, /* 0000 0000 0000 0000  0000 0000 0000 0000 */
    0x00000000, /* 0000 0000 0000 0000  0000 0000 0000 0000 */
    0x00000000  /* 0000 0000 0000 0000  0000 0000 0000 0000 */
};


ngx_http_tsface_problem_e
ngx_http_tsface_operation_match(const ngx_str_t *target,
    const ngx_str_t *method, const ngx_http_tsface_operation_t **op)
{
    u_char                             *p, *last, *segment;
    ngx_uint_t                          i;
    const ngx_http_tsface_operation_t  *row;

    for (i = 0;
         i < sizeof(ngx_http_tsface_operations)
             / sizeof(ngx_http_tsface_operations[0]);
         i++)
    {
        row = &ngx_http_tsface_operations[i];

        if (row->path.len != target->len
            || ngx_memcmp(row->path.data, target->data, target->len) != 0)
        {
            continue;
        }

        *op = row;

        if (row->method.len != method->len
            || ngx_memcmp(row->method.data, method->data, method->len) != 0)
        {
            return NGX_HTTP_TSFACE_PROBLEM_METHOD;
        }

        return NGX_HTTP_TSFACE_PROBLEM_NONE;
    }

    /* it is refused in any case; which way only helps whoever sent it */

    p = target->data;
    last = p + target->len;

    if (p == last || *p != '/') {
        return NGX_HTTP_TSFACE_PROBLEM_BAD_PATH;
    }

    segment = ++p;

    for ( ;; ) {

        if (p == last || *p == '/' || *p == '?') {

            if ((p - segment == 0 && p != last && *p == '/')
                || (p - segment == 1 && segment[0] == '.')
                || (p - segment == 2 && segment[0] == '.'
                    && segment[1] == '.'))
            {
                return NGX_HTTP_TSFACE_PROBLEM_BAD_PATH;
            }

            if (p == last) {
                return NGX_HTTP_TSFACE_PROBLEM_UNKNOWN_PATH;
            }

            if (*p == '?') {
                return NGX_HTTP_TSFACE_PROBLEM_QUERY;
            }

            segment = p + 1;

        } else if (ngx_http_tsface_chars_in(ngx_http_tsface_path_refused,
                                                *p))
        {
            return NGX_HTTP_TSFACE_PROBLEM_BAD_PATH;
        }

        p++;
    }
}


ngx_uint_t
ngx_http_tsface_operation_is_json(const ngx_str_t *content_type)
{
    size_t   len;
    u_char  *p, *last, *name, *value;

    len = sizeof("application/json") - 1;

    if (content_type->len < len
        || !ngx_http_tsface_operation_equal(content_type->data, len,
                                            "application/json"))
    {
        return 0;
    }

    p = content_type->data + len;
    last = content_type->data + content_type->len;

    /* *( OWS ";" OWS [ parameter ] ), RFC 9110, 5.6.6 */

    for ( ;; ) {

        while (p < last && (*p == ' ' || *p == '\t')) {
            p++;
        }

        if (p == last) {
            return 1;
        }

        if (*p++ != ';') {
            return 0;
        }

        while (p < last && (*p == ' ' || *p == '\t')) {
            p++;
        }

        name = p;
        p = ngx_http_tsface_operation_token(p, last);
        len = p - name;

        if (len == 0) {
            continue;
        }

        if (p == last || *p++ != '=') {
            return 0;
        }

        value = p;

        if (p < last && *p == '"') {

            for (p++; p < last && *p != '"'; p++) {

                if (*p == '\\' && ++p == last) {
                    return 0;
                }

                if ((*p < 0x20 && *p != '\t') || *p == 0x7f) {
                    return 0;
                }
            }

            if (p == last) {
                return 0;
            }

            p++;

        } else {
            p = ngx_http_tsface_operation_token(p, last);

            if (p == value) {
                return 0;
            }
        }

        if (len == sizeof("charset") - 1
            && ngx_http_tsface_operation_equal(name, len, "charset")
            && !((p - value == 5
                  && ngx_http_tsface_operation_equal(value, 5, "utf-8"))
                 || (p - value == 7
                     && ngx_http_tsface_operation_equal(value, 7,
                                                        "\"utf-8\""))))
        {
            return 0;
        }
    }
}


ngx_http_tsface_problem_e
ngx_http_tsface_operation_check_body(const ngx_str_t *body,
    ngx_http_tsface_json_t *json, ngx_str_t *user_id, u_char *arena,
    size_t size)
{
    ngx_http_tsface_json_member_t  *member;

    if (body->len > NGX_HTTP_TSFACE_MAX_BODY) {
        return NGX_HTTP_TSFACE_PROBLEM_BODY_TOO_LARGE;
    }

    if (size < NGX_HTTP_TSFACE_JSON_ARENA_SIZE(body->len)) {
        return NGX_HTTP_TSFACE_PROBLEM_INTERNAL;
    }

    switch (ngx_http_tsface_json_read(json, body, arena, size)) {

    case NGX_HTTP_TSFACE_JSON_OK:
        break;

    case NGX_HTTP_TSFACE_JSON_NOT_OBJECT:
        return NGX_HTTP_TSFACE_PROBLEM_BODY_NOT_OBJECT;

    case NGX_HTTP_TSFACE_JSON_DUPLICATE:
        return NGX_HTTP_TSFACE_PROBLEM_DUPLICATE_KEY;

    case NGX_HTTP_TSFACE_JSON_NO_MEMORY:
        return NGX_HTTP_TSFACE_PROBLEM_INTERNAL;

    default: /* JSON_INVALID, JSON_TEXT, JSON_LIMIT */
        return NGX_HTTP_TSFACE_PROBLEM_BODY_NOT_JSON;
    }

    member = ngx_http_tsface_json_find(json, "user_id");

    if (member == NULL) {
        return NGX_HTTP_TSFACE_PROBLEM_USER_ID_MISSING;
    }

    if (member->type != NGX_HTTP_TSFACE_JSON_STRING) {
        return NGX_HTTP_TSFACE_PROBLEM_USER_ID_NOT_STRING;
    }

    if (member->value.len == 0) {
        return NGX_HTTP_TSFACE_PROBLEM_USER_ID_EMPTY;
    }

    if (member->value.len > NGX_HTTP_TSFACE_MAX_USER_ID) {
        return NGX_HTTP_TSFACE_PROBLEM_USER_ID_TOO_LONG;
    }

    if (!ngx_http_tsface_utf8_valid(&member->value, 1)) {
        return NGX_HTTP_TSFACE_PROBLEM_USER_ID_INVALID;
    }

    *user_id = member->value;

    return NGX_HTTP_TSFACE_PROBLEM_NONE;
}


ngx_int_t
ngx_http_tsface_operation_bearer(const ngx_str_t *value, ngx_str_t *token)
{
    size_t   len;
    u_char  *p, *last, *start;

    len = sizeof("bearer ") - 1;

    if (value->len <= len
        || !ngx_http_tsface_operation_equal(value->data, len, "bearer "))
    {
        return NGX_DECLINED;
    }

    p = value->data + len;
    last = value->data + value->len;

    while (p < last && *p == ' ') {
        p++;
    }

    start = p;

    while (p < last
           && ngx_http_tsface_chars_in(ngx_http_tsface_b64token, *p))
    {
        p++;
    }

    if (p == start) {
        return NGX_DECLINED;
    }

    while (p < last && *p == '=') {
        p++;
    }

    if (p != last || last - start > NGX_HTTP_TSFACE_MAX_BEARER) {
        return NGX_DECLINED;
    }

    token->data = start;
    token->len = last - start;

    return NGX_OK;
}


/* Whether s, of lowercase's length, equals it in any case of ASCII. */

static ngx_uint_t
ngx_http_tsface_operation_equal(const u_char *s, size_t len,
    const char *lowercase)
{
    for ( /* void */ ; len; s++, lowercase++, len--) {
        if (ngx_tolower(*s) != (u_char) *lowercase) {
            return 0;
        }
    }

    return 1;
}


static u_char *
ngx_http_tsface_operation_token(u_char *p, u_char *last)
{
    while (p < last
           && ngx_http_tsface_chars_in(ngx_http_tsface_tchar, *p))
    {
        p++;
    }

    return p;
}
