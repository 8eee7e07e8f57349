
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A JSON object reader with limits, on top of yajl.
 *
 * yajl is lenient where an audit trail must not be: it accepts duplicate
 * keys, overlong and surrogate UTF-8, NUL and lone \ud800 escapes.  Whatever
 * is accepted here has exactly one meaning, so that what is recorded is what
 * the receiver will read.  Pure: no nginx function is called.
 */


#ifndef _NGX_HTTP_TSFACE_JSON_H_INCLUDED_
#define _NGX_HTTP_TSFACE_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_TSFACE_JSON_MAX_INPUT    65536
#define NGX_HTTP_TSFACE_JSON_MAX_DEPTH    8
#define NGX_HTTP_TSFACE_JSON_MAX_MEMBERS  64
#define NGX_HTTP_TSFACE_JSON_MAX_KEYS     1024   /* at all depths together */


typedef enum {
    NGX_HTTP_TSFACE_JSON_STRING = 0,
    NGX_HTTP_TSFACE_JSON_NUMBER,
    NGX_HTTP_TSFACE_JSON_BOOLEAN,
    NGX_HTTP_TSFACE_JSON_NULL,
    NGX_HTTP_TSFACE_JSON_OBJECT,
    NGX_HTTP_TSFACE_JSON_ARRAY
} ngx_http_tsface_json_type_e;


typedef enum {
    NGX_HTTP_TSFACE_JSON_OK = 0,
    NGX_HTTP_TSFACE_JSON_INVALID,     /* not JSON, or trailing bytes */
    NGX_HTTP_TSFACE_JSON_NOT_OBJECT,  /* JSON, but not an object */
    NGX_HTTP_TSFACE_JSON_DUPLICATE,   /* a key occurs twice, at any depth */
    NGX_HTTP_TSFACE_JSON_TEXT,        /* bad UTF-8, lone surrogate or NUL */
    NGX_HTTP_TSFACE_JSON_LIMIT,       /* too deep, too many, too large */
    NGX_HTTP_TSFACE_JSON_NO_MEMORY
} ngx_http_tsface_json_status_e;


/*
 * One top-level member.  name is decoded.  value holds the decoded bytes of a
 * string, the literal text of a number, "true"/"false", and is empty for
 * null, objects and arrays.  Both point into the reader's arena.
 */
typedef struct {
    ngx_str_t                       name;
    ngx_str_t                       value;
    ngx_http_tsface_json_type_e     type;
} ngx_http_tsface_json_member_t;


typedef struct {
    ngx_http_tsface_json_member_t   members[NGX_HTTP_TSFACE_JSON_MAX_MEMBERS];
    ngx_uint_t                      nmembers;
} ngx_http_tsface_json_t;


/*
 * Reads the object in text (at most JSON_MAX_INPUT bytes).  Every allocation,
 * yajl's included, comes from arena, which the caller owns, keeps as long as
 * it reads json, and wipes if the text was secret.  ARENA_SIZE(len) is always
 * enough, and a smaller arena is refused up front with JSON_LIMIT: yajl does
 * not check what its allocator returns.  Returns JSON_OK or the first thing
 * that is wrong; json is undefined then.
 */
#define NGX_HTTP_TSFACE_JSON_ARENA_SIZE(len)  (8192 + 10 * (size_t) (len))

ngx_http_tsface_json_status_e ngx_http_tsface_json_read(
    ngx_http_tsface_json_t *json, const ngx_str_t *text, u_char *arena,
    size_t size);

/* The member with that exact name, or NULL. */
ngx_http_tsface_json_member_t *ngx_http_tsface_json_find(
    ngx_http_tsface_json_t *json, const char *name);

/*
 * A member as a whole number of seconds: digits, optionally ".0", as a number
 * or in quotes (both are met in the field for expires_in).  Returns NGX_OK
 * with *seconds in 0 .. 315360000 (ten years; more is capped), or NGX_DECLINED
 * when the member is of another form.
 */
ngx_int_t ngx_http_tsface_json_seconds(
    const ngx_http_tsface_json_member_t *member, ngx_uint_t *seconds);

/*
 * Strict UTF-8 (RFC 3629: no overlong forms, surrogates or code points above
 * U+10FFFF).  Returns 1 if valid.  With control set, characters below 0x20
 * and U+007F to U+009F are not valid.
 */
ngx_uint_t ngx_http_tsface_utf8_valid(const ngx_str_t *text,
    ngx_uint_t control);


#endif /* _NGX_HTTP_TSFACE_JSON_H_INCLUDED_ */
