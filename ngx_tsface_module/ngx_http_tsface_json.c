
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <yajl/yajl_parse.h>

#include "ngx_http_tsface_json.h"


#define NGX_HTTP_TSFACE_JSON_ALIGNMENT    16
#define NGX_HTTP_TSFACE_JSON_MAX_SECONDS  315360000


/* A key of an object that is still open. */
typedef struct {
    u_char                         *data;
    uint32_t                        len;
    uint32_t                        hash;
} ngx_http_tsface_json_key_t;


typedef struct {
    ngx_http_tsface_json_t         *json;
    ngx_http_tsface_json_member_t  *member;

    u_char                         *pos;      /* of the arena */
    u_char                         *end;

    yajl_handle                     yajl;
    size_t                          root;     /* where the root's text ends */

    ngx_http_tsface_json_status_e   status;
    ngx_uint_t                      depth;
    unsigned                        object:1; /* the root is one */

    /* keys is a stack: the keys of the object at depth d start at first[d] */
    ngx_http_tsface_json_key_t     *keys;
    ngx_uint_t                      nkeys;
    ngx_uint_t                      total;
    ngx_uint_t                      max_keys;
    ngx_uint_t                      first[NGX_HTTP_TSFACE_JSON_MAX_DEPTH + 1];
} ngx_http_tsface_json_ctx_t;


static void *ngx_http_tsface_json_alloc(void *data, size_t size);
static void *ngx_http_tsface_json_realloc(void *data, void *ptr, size_t size);
static void ngx_http_tsface_json_free(void *data, void *ptr);
static ngx_int_t ngx_http_tsface_json_copy(ngx_http_tsface_json_ctx_t *ctx,
    ngx_str_t *dst, const u_char *data, size_t len);

static void ngx_http_tsface_json_root(ngx_http_tsface_json_ctx_t *ctx);
static int ngx_http_tsface_json_value(ngx_http_tsface_json_ctx_t *ctx,
    ngx_http_tsface_json_type_e type, const void *data, size_t len);
static int ngx_http_tsface_json_null(void *data);
static int ngx_http_tsface_json_boolean(void *data, int value);
static int ngx_http_tsface_json_number(void *data, const char *value,
    size_t len);
static int ngx_http_tsface_json_string(void *data, const u_char *value,
    size_t len);
static int ngx_http_tsface_json_open(ngx_http_tsface_json_ctx_t *ctx,
    ngx_http_tsface_json_type_e type);
static int ngx_http_tsface_json_start_map(void *data);
static int ngx_http_tsface_json_map_key(void *data, const u_char *key,
    size_t len);
static int ngx_http_tsface_json_end_map(void *data);
static int ngx_http_tsface_json_start_array(void *data);
static int ngx_http_tsface_json_end_array(void *data);

static ngx_uint_t ngx_http_tsface_json_escapes_valid(const ngx_str_t *text);
static ngx_int_t ngx_http_tsface_json_hex4(const u_char *p,
    const u_char *last);


static const yajl_callbacks  ngx_http_tsface_json_callbacks = {
    ngx_http_tsface_json_null,
    ngx_http_tsface_json_boolean,
    NULL,                                  /* yajl_integer */
    NULL,                                  /* yajl_double: locale dependent */
    ngx_http_tsface_json_number,
    ngx_http_tsface_json_string,
    ngx_http_tsface_json_start_map,
    ngx_http_tsface_json_map_key,
    ngx_http_tsface_json_end_map,
    ngx_http_tsface_json_start_array,
    ngx_http_tsface_json_end_array
};


ngx_http_tsface_json_status_e
ngx_http_tsface_json_read(ngx_http_tsface_json_t *json, const ngx_str_t *text,
    u_char *arena, size_t size)
{
    size_t                      root;
    yajl_status                 rc;
    yajl_handle                 yajl;
    yajl_alloc_funcs            funcs;
    ngx_http_tsface_json_ctx_t  ctx;

    json->nmembers = 0;

    if (text->len > NGX_HTTP_TSFACE_JSON_MAX_INPUT
        || size < NGX_HTTP_TSFACE_JSON_ARENA_SIZE(text->len))
    {
        return NGX_HTTP_TSFACE_JSON_LIMIT;
    }

    if (text->len == 0) {
        return NGX_HTTP_TSFACE_JSON_INVALID;
    }

    /*
     * yajl's lexer checks only lead and continuation bits, and its decoder
     * turns what it cannot pair into "?": both are judged on the raw text.
     */

    if (!ngx_http_tsface_utf8_valid(text, 0)
        || !ngx_http_tsface_json_escapes_valid(text))
    {
        return NGX_HTTP_TSFACE_JSON_TEXT;
    }

    /* blanks for yajl, but not for RFC 8259 */

    if (memchr(text->data, '\v', text->len) != NULL
        || memchr(text->data, '\f', text->len) != NULL)
    {
        return NGX_HTTP_TSFACE_JSON_INVALID;
    }

    ctx.json = json;
    ctx.member = NULL;
    ctx.pos = arena;
    ctx.end = arena + size;
    ctx.status = NGX_HTTP_TSFACE_JSON_OK;
    ctx.root = text->len;
    ctx.depth = 0;
    ctx.object = 0;
    ctx.nkeys = 0;
    ctx.total = 0;

    /* the shortest key with its punctuation takes four bytes: `"":{` */

    ctx.max_keys = ngx_min(text->len / 4 + 1, NGX_HTTP_TSFACE_JSON_MAX_KEYS);
    ctx.keys = ngx_http_tsface_json_alloc(&ctx,
                          ctx.max_keys * sizeof(ngx_http_tsface_json_key_t));
    if (ctx.keys == NULL) {
        return NGX_HTTP_TSFACE_JSON_NO_MEMORY;
    }

    funcs.malloc = ngx_http_tsface_json_alloc;
    funcs.realloc = ngx_http_tsface_json_realloc;
    funcs.free = ngx_http_tsface_json_free;
    funcs.ctx = &ctx;

    yajl = yajl_alloc(&ngx_http_tsface_json_callbacks, &funcs, &ctx);
    if (yajl == NULL) {
        return NGX_HTTP_TSFACE_JSON_NO_MEMORY;
    }

    ctx.yajl = yajl;

    /*
     * yajl_get_error() is never called: it quotes the text, which may be a
     * token.  yajl_free() is for form's sake, everything is in the arena.
     */

    rc = yajl_parse(yajl, text->data, text->len);

    /* yajl_complete_parse() counts bytes of its own */

    root = ctx.root;

    if (rc == yajl_status_ok) {
        rc = yajl_complete_parse(yajl);
    }

    yajl_free(yajl);

    if (ctx.status != NGX_HTTP_TSFACE_JSON_OK) {
        return ctx.status;
    }

    if (rc != yajl_status_ok) {
        return NGX_HTTP_TSFACE_JSON_INVALID;
    }

    /*
     * yajl refuses a whole token behind the root, but not the beginning of a
     * string or of a word.
     */

    for ( /* void */ ; root < text->len; root++) {
        if (text->data[root] != ' ' && text->data[root] != '\t'
            && text->data[root] != '\n' && text->data[root] != '\r')
        {
            return NGX_HTTP_TSFACE_JSON_INVALID;
        }
    }

    if (!ctx.object) {
        return NGX_HTTP_TSFACE_JSON_NOT_OBJECT;
    }

    return NGX_HTTP_TSFACE_JSON_OK;
}


ngx_http_tsface_json_member_t *
ngx_http_tsface_json_find(ngx_http_tsface_json_t *json, const char *name)
{
    size_t                          len;
    ngx_uint_t                      i;
    ngx_http_tsface_json_member_t  *member;

    len = ngx_strlen(name);

    for (i = 0; i < json->nmembers; i++) {
        member = &json->members[i];

        if (member->name.len == len
            && ngx_memcmp(member->name.data, name, len) == 0)
        {
            return member;
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_tsface_json_seconds(const ngx_http_tsface_json_member_t *member,
    ngx_uint_t *seconds)
{
    size_t        len;
    u_char       *p;
    ngx_uint_t    n;

    if (member->type != NGX_HTTP_TSFACE_JSON_NUMBER
        && member->type != NGX_HTTP_TSFACE_JSON_STRING)
    {
        return NGX_DECLINED;
    }

    p = member->value.data;
    len = member->value.len;

    if (len > 2 && p[len - 2] == '.' && p[len - 1] == '0') {
        len -= 2;
    }

    if (len == 0) {
        return NGX_DECLINED;
    }

    for (n = 0; len; p++, len--) {

        if (*p < '0' || *p > '9') {
            return NGX_DECLINED;
        }

        /* the cap keeps n below the overflow of a 32-bit ngx_uint_t */

        n = ngx_min(n, NGX_HTTP_TSFACE_JSON_MAX_SECONDS) * 10 + (*p - '0');
    }

    *seconds = ngx_min(n, NGX_HTTP_TSFACE_JSON_MAX_SECONDS);

    return NGX_OK;
}


ngx_uint_t
ngx_http_tsface_utf8_valid(const ngx_str_t *text, ngx_uint_t control)
{
    size_t         n;
    u_char         ch, *p, *last;
    uint32_t       code;
    uint64_t       block;

    p = text->data;
    last = p + text->len;

    while (p < last) {

        if (!control) {

            /* most text is ASCII: eight bytes at a time */

            while (last - p >= 8) {
                ngx_memcpy(&block, p, 8);

                if (block & 0x8080808080808080ULL) {
                    break;
                }

                p += 8;
            }

            if (p == last) {
                break;
            }
        }

        ch = *p++;

        if (ch < 0x80) {
            if (control && (ch < 0x20 || ch == 0x7f)) {
                return 0;
            }

            continue;
        }

        if (ch >= 0xc2 && ch <= 0xdf) {
            code = ch & 0x1f;
            n = 1;

        } else if (ch >= 0xe0 && ch <= 0xef) {
            code = ch & 0x0f;
            n = 2;

        } else if (ch >= 0xf0 && ch <= 0xf4) {
            code = ch & 0x07;
            n = 3;

        } else {
            return 0;
        }

        if ((size_t) (last - p) < n) {
            return 0;
        }

        while (n--) {
            if ((*p & 0xc0) != 0x80) {
                return 0;
            }

            code = (code << 6) | (*p++ & 0x3f);
        }

        if (ch >= 0xe0) {

            /* overlong, surrogate, beyond Unicode */

            if (code < (ch < 0xf0 ? 0x800u : 0x10000u)
                || (code >= 0xd800 && code <= 0xdfff)
                || code > 0x10ffff)
            {
                return 0;
            }

        } else if (control && code < 0xa0) {
            return 0;
        }
    }

    return 1;
}


/*
 * The arena is a bump allocator: nothing is given back.  yajl's two buffers
 * start at 2048 bytes and double, so that all their copies together take less
 * than four bytes for each byte of text; with the keys (at most four), the
 * copied strings (one) and yajl's structures this gives ARENA_SIZE, which
 * t/unit/json.c measures.
 */

static void *
ngx_http_tsface_json_alloc(void *data, size_t size)
{
    ngx_http_tsface_json_ctx_t *ctx = data;

    u_char  *p;

    p = ngx_align_ptr(ctx->pos, NGX_HTTP_TSFACE_JSON_ALIGNMENT);

    /* room for the size of the block, which realloc needs */

    if (p >= ctx->end
        || size > (size_t) (ctx->end - p)
        || (size_t) (ctx->end - p) - size < NGX_HTTP_TSFACE_JSON_ALIGNMENT)
    {
        return NULL;
    }

    *(size_t *) p = size;
    p += NGX_HTTP_TSFACE_JSON_ALIGNMENT;

    ctx->pos = p + size;

    return p;
}


static void *
ngx_http_tsface_json_realloc(void *data, void *ptr, size_t size)
{
    void    *new;
    size_t   old;

    new = ngx_http_tsface_json_alloc(data, size);

    if (new != NULL && ptr != NULL) {
        old = *(size_t *) ((u_char *) ptr - NGX_HTTP_TSFACE_JSON_ALIGNMENT);
        ngx_memcpy(new, ptr, ngx_min(old, size));
    }

    return new;
}


static void
ngx_http_tsface_json_free(void *data, void *ptr)
{
    /* void */
}


static ngx_int_t
ngx_http_tsface_json_copy(ngx_http_tsface_json_ctx_t *ctx, ngx_str_t *dst,
    const u_char *data, size_t len)
{
    if (len > (size_t) (ctx->end - ctx->pos)) {
        ctx->status = NGX_HTTP_TSFACE_JSON_NO_MEMORY;
        return NGX_ERROR;
    }

    dst->data = ctx->pos;
    dst->len = len;

    ctx->pos = ngx_cpymem(ctx->pos, data, len);

    return NGX_OK;
}


static void
ngx_http_tsface_json_root(ngx_http_tsface_json_ctx_t *ctx)
{
    if (ctx->depth == 0) {
        ctx->root = yajl_get_bytes_consumed(ctx->yajl);
    }
}


static int
ngx_http_tsface_json_value(ngx_http_tsface_json_ctx_t *ctx,
    ngx_http_tsface_json_type_e type, const void *data, size_t len)
{
    ngx_http_tsface_json_root(ctx);

    if (ctx->depth != 1 || !ctx->object) {
        return 1;
    }

    ctx->member->type = type;

    return ngx_http_tsface_json_copy(ctx, &ctx->member->value, data, len)
           == NGX_OK;
}


static int
ngx_http_tsface_json_null(void *data)
{
    return ngx_http_tsface_json_value(data, NGX_HTTP_TSFACE_JSON_NULL, "", 0);
}


static int
ngx_http_tsface_json_boolean(void *data, int value)
{
    return ngx_http_tsface_json_value(data, NGX_HTTP_TSFACE_JSON_BOOLEAN,
                                      value ? "true" : "false",
                                      value ? 4 : 5);
}


static int
ngx_http_tsface_json_number(void *data, const char *value, size_t len)
{
    return ngx_http_tsface_json_value(data, NGX_HTTP_TSFACE_JSON_NUMBER,
                                      value, len);
}


static int
ngx_http_tsface_json_string(void *data, const u_char *value, size_t len)
{
    return ngx_http_tsface_json_value(data, NGX_HTTP_TSFACE_JSON_STRING,
                                      value, len);
}


static int
ngx_http_tsface_json_open(ngx_http_tsface_json_ctx_t *ctx,
    ngx_http_tsface_json_type_e type)
{
    if (ctx->depth == NGX_HTTP_TSFACE_JSON_MAX_DEPTH) {
        ctx->status = NGX_HTTP_TSFACE_JSON_LIMIT;
        return 0;
    }

    if (ctx->depth == 0) {
        ctx->object = (type == NGX_HTTP_TSFACE_JSON_OBJECT);

    } else if (!ngx_http_tsface_json_value(ctx, type, "", 0)) {
        return 0;
    }

    ctx->depth++;
    ctx->first[ctx->depth] = ctx->nkeys;

    return 1;
}


static int
ngx_http_tsface_json_start_map(void *data)
{
    return ngx_http_tsface_json_open(data, NGX_HTTP_TSFACE_JSON_OBJECT);
}


static int
ngx_http_tsface_json_map_key(void *data, const u_char *key, size_t len)
{
    ngx_http_tsface_json_ctx_t *ctx = data;

    size_t                       n;
    uint32_t                     hash;
    ngx_str_t                    name;
    ngx_uint_t                   i;
    ngx_http_tsface_json_t      *json;
    ngx_http_tsface_json_key_t  *seen;

    hash = 2166136261u;

    for (n = 0; n < len; n++) {
        hash = (hash ^ key[n]) * 16777619u;
    }

    for (i = ctx->first[ctx->depth]; i < ctx->nkeys; i++) {
        seen = &ctx->keys[i];

        if (seen->hash == hash
            && seen->len == len
            && ngx_memcmp(seen->data, key, len) == 0)
        {
            ctx->status = NGX_HTTP_TSFACE_JSON_DUPLICATE;
            return 0;
        }
    }

    if (ctx->total == ctx->max_keys) {
        ctx->status = NGX_HTTP_TSFACE_JSON_LIMIT;
        return 0;
    }

    if (ngx_http_tsface_json_copy(ctx, &name, key, len) != NGX_OK) {
        return 0;
    }

    seen = &ctx->keys[ctx->nkeys++];
    ctx->total++;

    seen->data = name.data;
    seen->len = (uint32_t) len;
    seen->hash = hash;

    if (ctx->depth != 1) {
        return 1;
    }

    json = ctx->json;

    if (json->nmembers == NGX_HTTP_TSFACE_JSON_MAX_MEMBERS) {
        ctx->status = NGX_HTTP_TSFACE_JSON_LIMIT;
        return 0;
    }

    ctx->member = &json->members[json->nmembers++];
    ctx->member->name = name;

    return 1;
}


static int
ngx_http_tsface_json_end_map(void *data)
{
    ngx_http_tsface_json_ctx_t *ctx = data;

    ctx->nkeys = ctx->first[ctx->depth];
    ctx->depth--;

    ngx_http_tsface_json_root(ctx);

    return 1;
}


static int
ngx_http_tsface_json_start_array(void *data)
{
    return ngx_http_tsface_json_open(data, NGX_HTTP_TSFACE_JSON_ARRAY);
}


static int
ngx_http_tsface_json_end_array(void *data)
{
    ngx_http_tsface_json_ctx_t *ctx = data;

    ctx->depth--;

    ngx_http_tsface_json_root(ctx);

    return 1;
}


/*
 * No \u0000 and no unpaired surrogate.  A backslash outside a string and an
 * escape that is none are left to yajl, which refuses them.
 */

static ngx_uint_t
ngx_http_tsface_json_escapes_valid(const ngx_str_t *text)
{
    u_char     *p, *last;
    ngx_int_t   code;

    p = text->data;
    last = p + text->len;

    for ( ;; ) {
        p = memchr(p, '\\', last - p);

        if (p == NULL || last - p < 2) {
            return 1;
        }

        if (p[1] != 'u') {
            p += 2;
            continue;
        }

        code = ngx_http_tsface_json_hex4(p + 2, last);

        if (code == 0 || (code >= 0xdc00 && code <= 0xdfff)) {
            return 0;
        }

        if (code < 0xd800 || code > 0xdbff) {
            p += (code == NGX_ERROR) ? 2 : 6;
            continue;
        }

        if (last - p < 12 || p[6] != '\\' || p[7] != 'u') {
            return 0;
        }

        code = ngx_http_tsface_json_hex4(p + 8, last);

        if (code < 0xdc00 || code > 0xdfff) {
            return 0;
        }

        p += 12;
    }
}


static ngx_int_t
ngx_http_tsface_json_hex4(const u_char *p, const u_char *last)
{
    u_char      ch;
    ngx_int_t   code;
    ngx_uint_t  i;

    if (last - p < 4) {
        return NGX_ERROR;
    }

    code = 0;

    for (i = 0; i < 4; i++) {
        ch = *p++;

        if (ch >= '0' && ch <= '9') {
            code = code * 16 + (ch - '0');
            continue;
        }

        ch |= 0x20;

        if (ch >= 'a' && ch <= 'f') {
            code = code * 16 + (ch - 'a' + 10);
            continue;
        }

        return NGX_ERROR;
    }

    return code;
}
