
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What a token endpoint answers: the members that the exchange looks for, and
 * the life of a JWT.  As the payload of a JWT the input must give what its own
 * "exp" says.
 */

/* link: json.c plan.c */


#include "fuzz.h"

#include "ngx_http_tsface_json.h"
#include "ngx_http_tsface_plan.h"


#define NOW      1700000000
#define DECADE   315360000


static ngx_http_tsface_json_t  json;


/* The life of token by its exp, in an arena as the exchange has it. */

static ngx_uint_t
jwt_ttl(const ngx_str_t *token, size_t size)
{
    u_char      *arena;
    ngx_uint_t   ttl;

    arena = fuzz_alloc(size);
    memset(arena, 0xa5, size);

    ttl = ngx_http_tsface_plan_jwt_ttl(token, NOW, arena, size);

    must(ttl <= DECADE);

    free(arena);

    return ttl;
}


/* RFC 4648, table 2, as plainly as can be. */

static const char  alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz"
                                "0123456789-_";


static size_t
base64url(u_char *dst, const uint8_t *src, size_t size)
{
    size_t    i, bit, len;
    unsigned  sextet;

    len = 0;

    for (i = 0; i < size * 8; i += 6) {
        sextet = 0;

        for (bit = i; bit < i + 6; bit++) {
            sextet = sextet * 2
                     + (bit < size * 8
                        ? src[bit / 8] >> (7 - bit % 8) & 1 : 0);
        }

        dst[len++] = alphabet[sextet];
    }

    return len;
}


/*
 * As the payload of a token, "e30" being an empty object, the input has the
 * life that its "exp" gives it; a second way to write the same payload has
 * none.
 */

static void
payload(const uint8_t *data, size_t size, ngx_uint_t ttl)
{
    size_t      room;
    u_char     *last;
    ngx_str_t   jwt;

    jwt.data = fuzz_alloc(size * 2 + 8);

    memcpy(jwt.data, "e30.", 4);
    jwt.len = 4 + base64url(jwt.data + 4, data, size);
    jwt.data[jwt.len++] = '.';

    room = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(jwt.len);

    must(jwt_ttl(&jwt, room) == ttl);

    last = jwt.data + jwt.len - 2;

    if (size % 3) {
        /* the bits behind the last byte are 0 */
        *last = strchr(alphabet, *last)[1];
        must(jwt_ttl(&jwt, room) == 0);

    } else {
        /* a character alone has no byte */
        memcpy(last + 1, "A.", 2);
        jwt.len++;
        must(jwt_ttl(&jwt, room) == 0);
    }

    free(jwt.data);
}


/* What the life of a JWT with the members of json must be. */

static ngx_uint_t
expected(ngx_http_tsface_json_status_e status)
{
    char                           *end, *number;
    ngx_uint_t                      ttl;
    unsigned long long              exp;
    ngx_http_tsface_json_member_t  *member;

    if (status != NGX_HTTP_TSFACE_JSON_OK) {
        return 0;
    }

    member = ngx_http_tsface_json_find(&json, "exp");

    if (member == NULL || member->type != NGX_HTTP_TSFACE_JSON_NUMBER
        || member->value.data[0] == '-')
    {
        return 0;
    }

    number = strndup((char *) member->value.data, member->value.len);
    must(number != NULL);

    errno = 0;
    exp = strtoull(number, &end, 10);

    if (*end == '.') {
        end += 1 + strspn(end + 1, "0123456789");
    }

    ttl = 0;

    if (errno == 0 && *end == '\0' && exp > NOW && exp <= 1ULL << 58) {
        ttl = ngx_min(exp - NOW, DECADE);
    }

    free(number);

    return ttl;
}


/* What exchange.c asks of an answer that is an object. */

static void
answer(const ngx_str_t *text, size_t size)
{
    size_t                          i;
    ngx_int_t                       rc;
    ngx_uint_t                      seconds;
    ngx_http_tsface_json_member_t  *token, *expires;

    token = ngx_http_tsface_json_find(&json, "access_token");
    expires = ngx_http_tsface_json_find(&json, "expires_in");

    if (token != NULL && token->type == NGX_HTTP_TSFACE_JSON_STRING) {
        must(token->value.len <= text->len);
        (void) jwt_ttl(&token->value, size);
    }

    if (expires == NULL) {
        return;
    }

    seconds = 12345;
    rc = ngx_http_tsface_json_seconds(expires, &seconds);

    if (rc != NGX_OK) {
        must(rc == NGX_DECLINED && seconds == 12345);
        return;
    }

    must(seconds <= DECADE);
    must(expires->type == NGX_HTTP_TSFACE_JSON_NUMBER
         || expires->type == NGX_HTTP_TSFACE_JSON_STRING);
    must(expires->value.len > 0);

    for (i = 0; i < expires->value.len; i++) {
        must(strchr("0123456789.", expires->value.data[i]) != NULL
             && expires->value.data[i] != '\0');
    }

    if (expires->value.len <= 9
        && memchr(expires->value.data, '.', expires->value.len) == NULL)
    {
        rc = 0;

        for (i = 0; i < expires->value.len; i++) {
            rc = rc * 10 + (expires->value.data[i] - '0');
        }

        must(seconds == (ngx_uint_t) ngx_min(rc, DECADE));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                          room;
    u_char                         *arena;
    ngx_str_t                       text;
    ngx_uint_t                      ttl;
    ngx_http_tsface_json_status_e   status;

    text = fuzz_copy(data, size);

    room = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(size);
    arena = fuzz_alloc(room);
    memset(arena, 0xa5, room);

    status = ngx_http_tsface_json_read(&json, &text, arena, room);

    must(status != NGX_HTTP_TSFACE_JSON_NO_MEMORY);

    if (status == NGX_HTTP_TSFACE_JSON_OK) {
        answer(&text, room);
    }

    ttl = expected(status);

    free(arena);

    /* as a token itself */

    (void) jwt_ttl(&text, room);

    free(text.data);

    payload(data, size, ttl);

    return 0;
}
