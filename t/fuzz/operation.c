
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Short strings out of headers and request lines: "METHOD target", and the
 * whole input as a target, a Content-Type, an Authorization, an Accept, a
 * challenge and a value of a form.
 */

/* link: operation.c problem.c json.c accept.c challenge.c form.c */


#include "fuzz.h"

#include <ctype.h>

#include "ngx_http_tsface_accept.h"
#include "ngx_http_tsface_challenge.h"
#include "ngx_http_tsface_form.h"
#include "ngx_http_tsface_operation.h"


#define PLAIN  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


static int
is(const ngx_str_t *str, const char *text)
{
    return str->len == strlen(text) && memcmp(str->data, text, str->len) == 0;
}


/* What a target must be refused for, as operation.h puts it. */

static ngx_http_tsface_problem_e
refusal(const ngx_str_t *target)
{
    char                       *path, *p, *query, *segment;
    size_t                      len;
    ngx_http_tsface_problem_e   problem;

    /* a NUL is refused as any control character is */

    path = strndup((char *) target->data, target->len);
    must(path != NULL);

    query = strchr(path, '?');
    len = strlen(path);
    problem = NGX_HTTP_TSFACE_PROBLEM_BAD_PATH;

    if (query) {
        *query = '\0';

    } else if (len != target->len) {
        goto done;
    }

    if (path[0] != '/' || strpbrk(path, "%#;\\ \x7f") || strstr(path, "//")) {
        goto done;
    }

    for (p = path; *p; p++) {
        if ((u_char) *p < 0x20 || (u_char) *p > 0x7f) {
            goto done;
        }
    }

    problem = query ? NGX_HTTP_TSFACE_PROBLEM_QUERY
                    : NGX_HTTP_TSFACE_PROBLEM_UNKNOWN_PATH;

    p = path;

    while ((segment = strsep(&p, "/")) != NULL) {
        if (strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0) {
            problem = NGX_HTTP_TSFACE_PROBLEM_BAD_PATH;
        }
    }

done:

    free(path);

    return problem;
}


static void
match(const ngx_str_t *method, const ngx_str_t *target)
{
    ngx_http_tsface_problem_e           problem;
    const ngx_http_tsface_operation_t  *op;

    op = NULL;
    problem = ngx_http_tsface_operation_match(target, method, &op);

    if (is(target, "/v1/users/face/revoke")
        || is(target, "/v1/users/me/face/revoke"))
    {
        must(op != NULL && fuzz_same(&op->path, target));
        must(problem == (is(method, "POST") ? NGX_HTTP_TSFACE_PROBLEM_NONE
                                            : NGX_HTTP_TSFACE_PROBLEM_METHOD));

        must((op->token == NGX_HTTP_TSFACE_TOKEN_CALLER)
             == (strstr((char *) op->path.data, "/me/") != NULL));
        return;
    }

    must(op == NULL);
    must(problem == refusal(target));
}


/* The same with its case turned, and with something behind it. */

static ngx_str_t
changed(const ngx_str_t *str, const char *suffix)
{
    size_t     i;
    ngx_str_t  copy;

    copy.len = str->len + strlen(suffix);
    copy.data = fuzz_alloc(copy.len);

    for (i = 0; i < str->len; i++) {
        copy.data[i] = str->data[i];

        if (str->data[i] < 0x80 && isalpha(str->data[i])) {
            copy.data[i] ^= 0x20;
        }
    }

    memcpy(copy.data + i, suffix, strlen(suffix));

    return copy;
}


static void
content_type(const ngx_str_t *value)
{
    size_t      i;
    ngx_str_t   other;
    ngx_uint_t  json;

    static const struct {
        const char   *suffix;
        ngx_uint_t    json;
    } rows[] = {
        { " \t", 1 },
        { ";", 1 },
        { ";a=\"\\\"\" ; b=c", 1 },
        { "; Charset=\"UTF-8\"", 1 },
        { ";charset=latin1", 0 },
        { ";a", 0 },
        { ";a=", 0 },
        { ";a=\"", 0 },
        { ",application/json", 0 }
    };

    json = ngx_http_tsface_operation_is_json(value);

    other = changed(value, "");
    must(ngx_http_tsface_operation_is_json(&other) == json);
    free(other.data);

    if (!json) {
        return;
    }

    must(value->len >= 16
         && strncasecmp((char *) value->data, "application/json", 16) == 0);

    for (i = 0; i < value->len; i++) {
        must(value->data[i] == '\t'
             || (value->data[i] >= 0x20 && value->data[i] != 0x7f));
    }

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        other = changed(value, rows[i].suffix);
        must(ngx_http_tsface_operation_is_json(&other) == rows[i].json);
        free(other.data);
    }
}


/* RFC 6750, 2.1 */

static void
bearer(const ngx_str_t *value)
{
    char       *text, *p, *start;
    size_t      len;
    ngx_int_t   rc;
    ngx_str_t   token;

    text = strndup((char *) value->data, value->len);
    must(text != NULL);

    rc = ngx_http_tsface_operation_bearer(value, &token);

    p = text;
    len = 0;

    if (strncasecmp(p, "bearer ", 7) == 0) {
        p += 7;
        p += strspn(p, " ");

        start = p;
        len = strspn(p, PLAIN "-._~+/");
        p += len;

        if (len) {
            p += strspn(p, "=");
            len = p - start;
        }
    }

    if (len == 0 || len > 8192 || p != text + value->len) {
        must(rc == NGX_DECLINED);

    } else {
        must(rc == NGX_OK);
        must(token.len == len);
        must(token.data == value->data + (value->len - len));
    }

    free(text);
}


/* Whether what is written behind str is outside of its quotes. */

static int
unquoted(const ngx_str_t *str)
{
    size_t  i, quotes;

    quotes = 0;

    for (i = 0; i < str->len; i++) {

        if (str->data[i] == '\\') {
            /* not told apart here */
            return 0;
        }

        quotes += (str->data[i] == '"');
    }

    return quotes % 2 == 0;
}


static ngx_uint_t
prometheus(const ngx_str_t *one, const ngx_str_t *two)
{
    ngx_http_tsface_accept_t  accept;

    memset(&accept, 0, sizeof(ngx_http_tsface_accept_t));

    ngx_http_tsface_accept_line(&accept, one);
    ngx_http_tsface_accept_line(&accept, two);

    must(accept.json <= 1001 && accept.application <= 1001
         && accept.plain <= 1001 && accept.openmetrics <= 1001
         && accept.text <= 1001 && accept.any <= 1001);

    return ngx_http_tsface_accept_prometheus(&accept);
}


static void
accept_lines(const ngx_str_t *value)
{
    size_t      i;
    ngx_str_t   other, suffix, empty;
    ngx_uint_t  wanted, quoted;

    ngx_str_set(&empty, "");
    wanted = prometheus(value, &empty);

    must(prometheus(value, value) == wanted);

    other = changed(value, "");
    must(prometheus(&other, &empty) == wanted);
    free(other.data);

    /* a second line is the first one's continuation */

    ngx_str_set(&suffix, "text/plain;q=0.7, */*;q=0.3");

    if (unquoted(value)) {
        other = changed(value, ",text/plain;q=0.7, */*;q=0.3");
        must(prometheus(&other, &empty) == prometheus(value, &suffix));
        free(other.data);

        /* nor does it matter what is in quotes */

        other = changed(value, "");
        quoted = 0;

        for (i = 0; i < other.len; i++) {
            if (other.data[i] == '"') {
                quoted = !quoted;

            } else if (quoted) {
                other.data[i] = 'x';
            }
        }

        must(prometheus(&other, &empty) == wanted);
        free(other.data);
    }

    ngx_str_set(&suffix, "application/json");
    must(prometheus(value, &suffix) == 0);
}


static void
challenge(const ngx_str_t *value)
{
    ngx_str_t                    other;
    ngx_http_tsface_challenge_e  error;

    error = ngx_http_tsface_challenge_error(value);

    other = changed(value, "");
    must(ngx_http_tsface_challenge_error(&other) == error);
    free(other.data);

    if (error == NGX_HTTP_TSFACE_CHALLENGE_NONE) {
        return;
    }

    /* the first one counts, whatever follows if it is not in its quotes */

    if (!unquoted(value)) {
        return;
    }

    other = changed(value, ", error=\"other\"");
    must(ngx_http_tsface_challenge_error(&other) == error);
    free(other.data);
}


static void
form(const ngx_str_t *value)
{
    size_t   i, len;
    u_char  *buf, *p, *end, ch;

    static const char  hex[] = "0123456789ABCDEF";

    len = ngx_http_tsface_form_len(value);
    buf = fuzz_alloc(len);
    end = ngx_http_tsface_form_encode(buf, value);

    must(end == buf + len);

    for (p = buf, i = 0; p < end; p++, i++) {
        ch = *p;

        if (ch == '%') {
            must(end - p > 2 && strchr(hex, p[1]) && strchr(hex, p[2]));

            ch = (strchr(hex, p[1]) - hex) * 16 + (strchr(hex, p[2]) - hex);
            p += 2;

        } else if (ch == '+') {
            ch = ' ';

        } else {
            must(ch != '\0' && strchr(PLAIN "-._*", ch) != NULL);
        }

        must(i < value->len && value->data[i] == ch);
    }

    must(i == value->len);

    free(buf);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const void  *blank;
    ngx_str_t    whole, method, target;

    whole = fuzz_copy(data, size);

    ngx_str_set(&method, "POST");
    match(&method, &whole);

    content_type(&whole);
    bearer(&whole);
    accept_lines(&whole);
    challenge(&whole);
    form(&whole);

    free(whole.data);

    blank = size ? memchr(data, ' ', size) : NULL;

    if (blank) {
        method = fuzz_copy(data, (const uint8_t *) blank - data);
        target = fuzz_copy((const uint8_t *) blank + 1,
                           size - method.len - 1);

        match(&method, &target);

        free(method.data);
        free(target.data);
    }

    return 0;
}
