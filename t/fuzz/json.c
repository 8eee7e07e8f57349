
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The body of a revoke.  A second reader, by recursive descent after RFC 8259
 * and with none of yajl's leniency, must take the same texts and find the same
 * members.
 */

/* link: operation.c problem.c json.c */


#include "fuzz.h"

#include "ngx_http_tsface_operation.h"


#define MAX_DEPTH    NGX_HTTP_TSFACE_JSON_MAX_DEPTH
#define MAX_KEYS     NGX_HTTP_TSFACE_JSON_MAX_KEYS
#define MAX_MEMBERS  NGX_HTTP_TSFACE_JSON_MAX_MEMBERS


typedef struct {
    ngx_str_t                     name;
    ngx_str_t                     value;
    ngx_http_tsface_json_type_e   type;
    size_t                        object;     /* whose: 1 is the root's */
} member_t;


/* The second reader. */
typedef struct {
    const u_char                 *p;
    const u_char                 *last;

    u_char                       *text;       /* decoded, the input's size */

    size_t                        depth;
    size_t                        deepest;
    unsigned                      duplicate;

    ngx_str_t                     value;      /* the last one's */
    ngx_http_tsface_json_type_e   type;

    member_t                     *members;    /* of all objects */
    size_t                        nmembers;
    size_t                        nobjects;
} reader_t;


static ngx_http_tsface_json_t  json, again;


static int read_value(reader_t *r);


static void
blanks(reader_t *r)
{
    while (r->p < r->last && *r->p != '\0' && strchr(" \t\r\n", *r->p)) {
        r->p++;
    }
}


static int
next_is(reader_t *r, u_char ch)
{
    if (r->p < r->last && *r->p == ch) {
        r->p++;
        return 1;
    }

    return 0;
}


static int
word(reader_t *r, const char *text)
{
    size_t  len;

    len = strlen(text);

    if ((size_t) (r->last - r->p) < len || memcmp(r->p, text, len) != 0) {
        return 0;
    }

    r->p += len;

    return 1;
}


static size_t
digits(reader_t *r)
{
    const u_char  *start;

    for (start = r->p; r->p < r->last && *r->p >= '0' && *r->p <= '9'; r->p++)
    {
        /* void */
    }

    return r->p - start;
}


static int
read_number(reader_t *r)
{
    const u_char  *start;

    start = r->p;

    (void) next_is(r, '-');

    if (!next_is(r, '0') && digits(r) == 0) {
        return 0;
    }

    if (next_is(r, '.') && digits(r) == 0) {
        return 0;
    }

    if (next_is(r, 'e') || next_is(r, 'E')) {

        if (!next_is(r, '+')) {
            (void) next_is(r, '-');
        }

        if (digits(r) == 0) {
            return 0;
        }
    }

    r->type = NGX_HTTP_TSFACE_JSON_NUMBER;
    r->value.data = (u_char *) start;
    r->value.len = r->p - start;

    return 1;
}


/* The length of the character at p by Unicode's table 3-7, 0 if it is none. */

static size_t
utf8(const u_char *p, const u_char *last)
{
    size_t  i, n, row;

    static const u_char  rows[][4] = {
        /* first byte, from .. to; second byte, from .. to */
        { 0x00, 0x7f, 0x00, 0x00 },
        { 0xc2, 0xdf, 0x80, 0xbf },
        { 0xe0, 0xe0, 0xa0, 0xbf },
        { 0xe1, 0xec, 0x80, 0xbf },
        { 0xed, 0xed, 0x80, 0x9f },
        { 0xee, 0xef, 0x80, 0xbf },
        { 0xf0, 0xf0, 0x90, 0xbf },
        { 0xf1, 0xf3, 0x80, 0xbf },
        { 0xf4, 0xf4, 0x80, 0x8f }
    };
    static const size_t  length[] = { 1, 2, 3, 3, 3, 3, 4, 4, 4 };

    for (row = 0; row < 9; row++) {

        if (*p < rows[row][0] || *p > rows[row][1]) {
            continue;
        }

        n = length[row];

        if ((size_t) (last - p) < n
            || (n > 1 && (p[1] < rows[row][2] || p[1] > rows[row][3])))
        {
            return 0;
        }

        for (i = 2; i < n; i++) {
            if (p[i] < 0x80 || p[i] > 0xbf) {
                return 0;
            }
        }

        return n;
    }

    return 0;
}


static int
hex4(reader_t *r, uint32_t *code)
{
    size_t       i;
    const char  *digit;

    static const char  hex[] = "0123456789abcdefABCDEF";

    *code = 0;

    for (i = 0; i < 4; i++) {

        if (r->p == r->last || *r->p == '\0') {
            return 0;
        }

        digit = strchr(hex, *r->p++);
        if (digit == NULL) {
            return 0;
        }

        *code = *code * 16 + (digit - hex) - (digit - hex > 15 ? 6 : 0);
    }

    return 1;
}


static int
read_escape(reader_t *r)
{
    uint32_t     code, low;
    const char  *escape;

    static const char  escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";

    if (r->p == r->last || *r->p == '\0') {
        return 0;
    }

    if (!next_is(r, 'u')) {

        for (escape = escapes; *escape; escape += 2) {
            if (next_is(r, *escape)) {
                *r->text++ = escape[1];
                return 1;
            }
        }

        return 0;
    }

    if (!hex4(r, &code) || code == 0 || (code >> 10) == 0xdc00 >> 10) {
        return 0;
    }

    if ((code >> 10) == 0xd800 >> 10) {

        if (!next_is(r, '\\') || !next_is(r, 'u') || !hex4(r, &low)
            || (low >> 10) != 0xdc00 >> 10)
        {
            return 0;
        }

        code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
    }

    if (code < 0x80) {
        *r->text++ = code;
        return 1;
    }

    if (code < 0x800) {
        *r->text++ = 0xc0 | code >> 6;

    } else {

        if (code < 0x10000) {
            *r->text++ = 0xe0 | code >> 12;

        } else {
            *r->text++ = 0xf0 | code >> 18;
            *r->text++ = 0x80 | (code >> 12 & 0x3f);
        }

        *r->text++ = 0x80 | (code >> 6 & 0x3f);
    }

    *r->text++ = 0x80 | (code & 0x3f);

    return 1;
}


/* What is behind the first quote. */

static int
read_string(reader_t *r)
{
    size_t   n;
    u_char  *start;

    start = r->text;

    while (r->p < r->last) {

        if (next_is(r, '"')) {
            r->type = NGX_HTTP_TSFACE_JSON_STRING;
            r->value.data = start;
            r->value.len = r->text - start;
            return 1;
        }

        if (next_is(r, '\\')) {

            if (!read_escape(r)) {
                return 0;
            }

            continue;
        }

        n = utf8(r->p, r->last);

        if (n == 0 || *r->p < 0x20) {
            return 0;
        }

        memcpy(r->text, r->p, n);
        r->text += n;
        r->p += n;
    }

    return 0;
}


static int
read_object(reader_t *r)
{
    size_t     i, object;
    member_t  *member;

    object = ++r->nobjects;

    blanks(r);

    if (next_is(r, '}')) {
        goto done;
    }

    do {
        blanks(r);

        if (!next_is(r, '"') || !read_string(r)) {
            return 0;
        }

        for (i = 0; i < r->nmembers; i++) {
            r->duplicate |= r->members[i].object == object
                            && fuzz_same(&r->members[i].name, &r->value);
        }

        member = &r->members[r->nmembers++];
        member->object = object;
        member->name = r->value;

        blanks(r);

        if (!next_is(r, ':') || !read_value(r)) {
            return 0;
        }

        member->value = r->value;
        member->type = r->type;

        blanks(r);

    } while (next_is(r, ','));

    if (!next_is(r, '}')) {
        return 0;
    }

done:

    ngx_str_null(&r->value);
    r->type = NGX_HTTP_TSFACE_JSON_OBJECT;

    return 1;
}


static int
read_array(reader_t *r)
{
    blanks(r);

    if (next_is(r, ']')) {
        goto done;
    }

    do {
        if (!read_value(r)) {
            return 0;
        }

        blanks(r);

    } while (next_is(r, ','));

    if (!next_is(r, ']')) {
        return 0;
    }

done:

    ngx_str_null(&r->value);
    r->type = NGX_HTTP_TSFACE_JSON_ARRAY;

    return 1;
}


static int
read_nested(reader_t *r, int (*read)(reader_t *r))
{
    int  rc;

    r->depth++;
    r->deepest = ngx_max(r->deepest, r->depth);

    rc = read(r);

    r->depth--;

    return rc;
}


static int
read_value(reader_t *r)
{
    blanks(r);

    if (next_is(r, '{')) {
        return read_nested(r, read_object);
    }

    if (next_is(r, '[')) {
        return read_nested(r, read_array);
    }

    if (next_is(r, '"')) {
        return read_string(r);
    }

    if (word(r, "null")) {
        ngx_str_null(&r->value);
        r->type = NGX_HTTP_TSFACE_JSON_NULL;
        return 1;
    }

    if (word(r, "true")) {
        ngx_str_set(&r->value, "true");
        r->type = NGX_HTTP_TSFACE_JSON_BOOLEAN;
        return 1;
    }

    if (word(r, "false")) {
        ngx_str_set(&r->value, "false");
        r->type = NGX_HTTP_TSFACE_JSON_BOOLEAN;
        return 1;
    }

    return read_number(r);
}


/* The module's members must be the second reader's. */

static void
compare(const reader_t *r)
{
    size_t                                i, n;
    const ngx_http_tsface_json_member_t  *member;

    n = 0;

    for (i = 0; i < r->nmembers; i++) {

        if (r->members[i].object != 1) {
            continue;
        }

        must(n < json.nmembers);
        member = &json.members[n++];

        must(member->type == r->members[i].type);
        must(fuzz_same(&member->name, &r->members[i].name));
        must(fuzz_same(&member->value, &r->members[i].value));
    }

    must(n == json.nmembers);
}


static void
check_body(const ngx_str_t *text, ngx_http_tsface_json_status_e status,
    u_char *arena, size_t size)
{
    size_t                          i;
    u_char                          ch;
    ngx_str_t                       user_id;
    ngx_http_tsface_problem_e       problem;
    ngx_http_tsface_json_member_t  *member;

    problem = ngx_http_tsface_operation_check_body(text, &again, &user_id,
                                                   arena, size);

    must(problem != NGX_HTTP_TSFACE_PROBLEM_INTERNAL);

    if (problem != NGX_HTTP_TSFACE_PROBLEM_NONE) {
        return;
    }

    must(status == NGX_HTTP_TSFACE_JSON_OK);

    member = ngx_http_tsface_json_find(&json, "user_id");

    must(member != NULL && member->type == NGX_HTTP_TSFACE_JSON_STRING);
    must(fuzz_same(&member->value, &user_id));
    must(user_id.len >= 1 && user_id.len <= NGX_HTTP_TSFACE_MAX_USER_ID);

    for (i = 0; i < user_id.len; i++) {
        ch = user_id.data[i];

        must(ch >= 0x20 && ch != 0x7f);
        must(ch != 0xc2 || user_id.data[i + 1] >= 0xa0);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                             valid;
    size_t                          room, max;
    u_char                         *arena, *other, *start;
    reader_t                        r;
    ngx_str_t                       text;
    ngx_http_tsface_json_status_e   status;

    text = fuzz_copy(data, size);

    room = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(size);
    arena = fuzz_alloc(room);
    other = fuzz_alloc(room);

    /* what was in the arena before does not matter */

    memset(arena, 0xa5, room);
    memset(other, 0x00, room);

    status = ngx_http_tsface_json_read(&json, &text, arena, room);

    check_body(&text, status, other, room);

    memset(&r, 0, sizeof(reader_t));

    max = size / 4 + 1;

    r.p = text.data;
    r.last = text.data + size;
    r.text = start = fuzz_alloc(size);
    r.members = malloc(max * sizeof(member_t));
    must(r.members != NULL);

    valid = read_value(&r);

    must(r.nmembers <= max);

    blanks(&r);

    valid = valid && r.p == r.last;

    must(status != NGX_HTTP_TSFACE_JSON_NO_MEMORY);
    must(status != NGX_HTTP_TSFACE_JSON_LIMIT
         || r.deepest > MAX_DEPTH || r.nmembers > MAX_MEMBERS);

    if (!valid) {
        must(status != NGX_HTTP_TSFACE_JSON_OK);

    } else if (status == NGX_HTTP_TSFACE_JSON_OK) {
        must(r.type == NGX_HTTP_TSFACE_JSON_OBJECT);
        must(r.deepest <= MAX_DEPTH && r.nmembers <= MAX_KEYS);
        must(!r.duplicate);
        compare(&r);

    } else if (status != NGX_HTTP_TSFACE_JSON_LIMIT) {
        must(status == NGX_HTTP_TSFACE_JSON_DUPLICATE
             ? r.duplicate
             : status == NGX_HTTP_TSFACE_JSON_NOT_OBJECT
               && r.type != NGX_HTTP_TSFACE_JSON_OBJECT);
    }

    free(r.members);
    free(start);
    free(other);
    free(arena);
    free(text.data);

    return 0;
}
