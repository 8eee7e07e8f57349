
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: ngx_http_tsface_operation.c ngx_http_tsface_problem.c
         ngx_http_tsface_json.c */


#include "tap.h"

#include "ngx_http_tsface_operation.h"


#define P(name)  NGX_HTTP_TSFACE_PROBLEM_##name


static ngx_http_tsface_problem_e
matches(ngx_str_t target, const char *method,
    const ngx_http_tsface_operation_t **op)
{
    ngx_str_t  m;

    m = text(method);
    *op = NULL;

    return ngx_http_tsface_operation_match(&target, &m, op);
}


static void
match(void)
{
    char                                buf[64];
    size_t                              i, n;
    ngx_uint_t                          ch;
    ngx_http_tsface_problem_e           problem;
    const ngx_http_tsface_operation_t  *op;

    static const struct {
        const char                 *target;
        const char                 *method;
        ngx_http_tsface_problem_e   problem;
        const char                 *name;
    } rows[] = {
        { "/v1/users/face/revoke", "POST", P(NONE), "face.revoke" },
        { "/v1/users/me/face/revoke", "POST", P(NONE), "face.revoke_me" },

        { "/v1/users/face/revoke", "GET", P(METHOD), "face.revoke" },
        { "/v1/users/face/revoke", "post", P(METHOD), "face.revoke" },
        { "/v1/users/face/revoke", "POSTS", P(METHOD), "face.revoke" },
        { "/v1/users/face/revoke", "POS", P(METHOD), "face.revoke" },
        { "/v1/users/face/revoke", "", P(METHOD), "face.revoke" },
        { "/v1/users/me/face/revoke", "DELETE", P(METHOD),
          "face.revoke_me" },

        { "/", "POST", P(UNKNOWN_PATH), NULL },
        { "/v1/users/face/revoke/", "POST", P(UNKNOWN_PATH), NULL },
        { "/v1/users/face/revok", "POST", P(UNKNOWN_PATH), NULL },
        { "/v1/users/face/revokes", "POST", P(UNKNOWN_PATH), NULL },
        { "/V1/users/face/revoke", "POST", P(UNKNOWN_PATH), NULL },
        { "/v1/users/Me/face/revoke", "POST", P(UNKNOWN_PATH), NULL },
        { "/v1/users/face/revoke.", "POST", P(UNKNOWN_PATH), NULL },
        { "/v1/users/.../revoke", "POST", P(UNKNOWN_PATH), NULL },
        { "/v1/users/.hidden", "POST", P(UNKNOWN_PATH), NULL },
        { "/v1/users/a..b", "POST", P(UNKNOWN_PATH), NULL },
        { "/v1/users/x/totp/revoke", "GET", P(UNKNOWN_PATH), NULL },
        { "/cis/v1/users/face/revoke", "POST", P(UNKNOWN_PATH), NULL },
        { "/v1/users/face/revoke!$&'()*+,-.:=@_~", "POST",
          P(UNKNOWN_PATH), NULL },

        { "/v1/users/face/revoke?", "POST", P(QUERY), NULL },
        { "/v1/users/face/revoke?a=1", "POST", P(QUERY), NULL },
        { "/v1/users/face/revoke?a=%2e%2e//;", "POST", P(QUERY), NULL },
        { "/?", "POST", P(QUERY), NULL },
        { "/unknown?x", "POST", P(QUERY), NULL },
        { "/v1/?/../", "POST", P(QUERY), NULL },

        { "", "POST", P(BAD_PATH), NULL },
        { "*", "OPTIONS", P(BAD_PATH), NULL },
        { "?", "POST", P(BAD_PATH), NULL },
        { "v1/users/face/revoke", "POST", P(BAD_PATH), NULL },
        { "http://host/v1/users/face/revoke", "POST", P(BAD_PATH), NULL },
        { "//v1/users/face/revoke", "POST", P(BAD_PATH), NULL },
        { "//", "POST", P(BAD_PATH), NULL },
        { "/v1//users/face/revoke", "POST", P(BAD_PATH), NULL },
        { "/v1/users/face/revoke//", "POST", P(BAD_PATH), NULL },
        { "/v1/users/./face/revoke", "POST", P(BAD_PATH), NULL },
        { "/v1/users/me/../face/revoke", "POST", P(BAD_PATH), NULL },
        { "/../v1/users/face/revoke", "POST", P(BAD_PATH), NULL },
        { "/./v1/users/face/revoke", "POST", P(BAD_PATH), NULL },
        { "/v1/users/face/revoke/.", "POST", P(BAD_PATH), NULL },
        { "/v1/users/face/revoke/..", "POST", P(BAD_PATH), NULL },
        { "/.", "POST", P(BAD_PATH), NULL },
        { "/..", "POST", P(BAD_PATH), NULL },
        { "/..?", "POST", P(BAD_PATH), NULL },
        { "/v1/users/%66ace/revoke", "POST", P(BAD_PATH), NULL },
        { "/v1/users/face%2Frevoke", "POST", P(BAD_PATH), NULL },
        { "/v1/users/face/revoke%", "POST", P(BAD_PATH), NULL },
        { "/v1/users/face/revoke%3Fa", "POST", P(BAD_PATH), NULL },
        { "/v1/users/face/revoke;a", "POST", P(BAD_PATH), NULL },
        { "/v1/users;/face/revoke", "POST", P(BAD_PATH), NULL },
        { "/v1\\users/face/revoke", "POST", P(BAD_PATH), NULL },
        { "/v1/users/face/revoke#x", "POST", P(BAD_PATH), NULL },
        { "/v1/users/face/revoke ", "POST", P(BAD_PATH), NULL },
        { "/v1/users/f\xc3\xa4" "ce/revoke", "POST", P(BAD_PATH), NULL },
        { "/v1/users/face/revoke%20?a=1", "POST", P(BAD_PATH), NULL }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        problem = matches(text(rows[i].target), rows[i].method, &op);

        check(problem == rows[i].problem, "%s %s: %d", rows[i].method,
              rows[i].target, (int) problem);
        check((op == NULL) == (rows[i].name == NULL), "%s %s",
              rows[i].method, rows[i].target);

        if (op && rows[i].name) {
            check(same(&op->name, rows[i].name), "%s", rows[i].name);
        }
    }

    matches(text("/v1/users/face/revoke"), "POST", &op);
    check(same(&op->method, "POST") && op->body == 1
          && same(&op->path, "/v1/users/face/revoke")
          && op->token == NGX_HTTP_TSFACE_TOKEN_CREDENTIALS, "face.revoke");

    matches(text("/v1/users/me/face/revoke"), "POST", &op);
    check(same(&op->method, "POST") && op->body == 0
          && same(&op->path, "/v1/users/me/face/revoke")
          && op->token == NGX_HTTP_TSFACE_TOKEN_CALLER, "face.revoke_me");

    /* every byte, inserted at every place of a good path */

    for (n = 0; n <= sizeof("/v1/users/face/revoke") - 1; n++) {
        for (ch = 0; ch < 256; ch++) {
            memcpy(buf, "/v1/users/face/revoke", n);
            buf[n] = (char) ch;
            strcpy(buf + n + 1, &"/v1/users/face/revoke"[n]);

            problem = matches(bytes(buf, sizeof("/v1/users/face/revoke")),
                              "POST", &op);

            check(op == NULL, "%zu, %02lx", n, ch);

            if (ch == '?') {
                check(problem == (n ? P(QUERY) : P(BAD_PATH)), "?, %zu", n);

            } else if (ch <= 0x20 || ch >= 0x7f || strchr("%;\\#", (int) ch))
            {
                check(problem == P(BAD_PATH), "%zu, %02lx", n, ch);

            } else if (ch != '/' && ch != '.' && n) {
                check(problem == P(UNKNOWN_PATH), "%zu, %02lx", n, ch);
            }
        }

        tap_free();
    }

    done("paths and methods");
}


static void
is_json(void)
{
    char        buf[64];
    size_t      i;
    ngx_str_t   value;
    ngx_uint_t  ch;

    static const struct {
        const char  *value;
        ngx_uint_t   json;
    } rows[] = {
        { "application/json", 1 },
        { "Application/JSON", 1 },
        { "application/json;", 1 },
        { "application/json ", 1 },
        { "application/json ; ", 1 },
        { "application/json;;", 1 },
        { "application/json; charset=utf-8", 1 },
        { "application/json;charset=UTF-8", 1 },
        { "application/json\t;\tCharSet=\"Utf-8\"\t", 1 },
        { "application/json; version=1", 1 },
        { "application/json; version=1; charset=utf-8; x=\"a;\\\"b\"", 1 },
        { "application/json; x=\"\"", 1 },
        { "application/json; x=\"charset=latin1\"", 1 },
        { "application/json; xcharset=latin1", 1 },
        { "application/json; charset=utf-8; charset=utf-8", 1 },

        { "", 0 },
        { "application", 0 },
        { "application/jso", 0 },
        { "application/jsonp", 0 },
        { "application/json-patch+json", 0 },
        { "application/vnd.api+json", 0 },
        { "application/problem+json", 0 },
        { "text/json", 0 },
        { "text/plain", 0 },
        { "application/x-www-form-urlencoded", 0 },
        { " application/json", 0 },
        { "application /json", 0 },
        { "application/json, text/html", 0 },
        { "application/json; charset", 0 },
        { "application/json; charset=", 0 },
        { "application/json; charset =utf-8", 0 },
        { "application/json; charset= utf-8", 0 },
        { "application/json; charset=utf8", 0 },
        { "application/json; charset=utf-16", 0 },
        { "application/json; charset=iso-8859-1", 0 },
        { "application/json; charset=\"utf-16\"", 0 },
        { "application/json; charset=\"utf-8", 0 },
        { "application/json; charset=utf-8\"", 0 },
        { "application/json; charset=\"ut\\f-8\"", 0 },
        { "application/json; charset='utf-8'", 0 },
        { "application/json; charset=\"\"", 0 },
        { "application/json; charset=utf-8; charset=latin1", 0 },
        { "application/json; charset=latin1; charset=utf-8", 0 },
        { "application/json; charset=utf-8 x", 0 },
        { "application/json charset=utf-8", 0 },
        { "application/json; =utf-8", 0 },
        { "application/json; x=\"a", 0 },
        { "application/json; x=\"a\\", 0 },
        { "application/json; x=\"a\\\"", 0 },
        { "application/json; x=\"a\x01\"", 0 },
        { "application/json; x=\"\\\x7f\"", 0 },
        { "application/json; x=a=b", 0 },
        { "application/json; x=\"a\"b", 0 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        value = text(rows[i].value);
        check(ngx_http_tsface_operation_is_json(&value) == rows[i].json,
              "\"%s\"", rows[i].value);
    }

    value.data = NULL;
    value.len = 0;
    check(!ngx_http_tsface_operation_is_json(&value), "none");

    /* a name and a value of one byte: token characters only */

    for (ch = 0; ch < 256; ch++) {
        ngx_uint_t  tchar;

        tchar = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z')
                || (ch >= 'A' && ch <= 'Z')
                || (ch && ch < 0x80 && strchr("!#$%&'*+-.^_`|~", (int) ch));

        sprintf(buf, "application/json;?=x");
        buf[17] = (char) ch;
        value = bytes(buf, 20);

        check(ngx_http_tsface_operation_is_json(&value) == tchar,
              "name %02lx", ch);

        sprintf(buf, "application/json;x=?");
        buf[19] = (char) ch;
        value = bytes(buf, 20);

        check(ngx_http_tsface_operation_is_json(&value) == tchar,
              "value %02lx", ch);
    }

    done("content types");
}


static ngx_http_tsface_json_t  json;
static ngx_str_t               user_id;


static ngx_http_tsface_problem_e
body_problem(ngx_str_t body)
{
    size_t  size;

    size = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(body.len);
    user_id.len = 0;

    return ngx_http_tsface_operation_check_body(&body, &json, &user_id,
                                                block(size), size);
}


#define row(s, problem)  { s, sizeof(s) - 1, P(problem) }


static void
check_body(void)
{
    char                       buf[70000], id[600];
    size_t                     i, n, size;
    ngx_str_t                  s;
    ngx_http_tsface_problem_e  problem;

    static const struct {
        const char                 *body;
        size_t                      len;
        ngx_http_tsface_problem_e   problem;
    } rows[] = {
        row("{\"user_id\":\"u1\"}", NONE),
        row(" { \"x\" : [ 1 , { } ] , \"user_id\" : \"u1\" } ", NONE),
        row("{\"\\u0075ser_id\":\"u1\"}", NONE),
        row("{\"user_id\":\"u1\",\"o\":{\"user_id\":\"u2\"}}", NONE),

        row("", BODY_NOT_JSON),
        row("  ", BODY_NOT_JSON),
        row("user_id=u1", BODY_NOT_JSON),
        row("{\"user_id\":\"u1\"", BODY_NOT_JSON),
        row("{\"user_id\":\"u1\"}}", BODY_NOT_JSON),
        row("{\"user_id\":\"u1\"}{\"user_id\":\"u2\"}", BODY_NOT_JSON),
        row("{\"user_id\":\"u\xff\"}", BODY_NOT_JSON),
        row("{\"user_id\":\"u1\",\"x\":\"\xed\xa0\x80\"}", BODY_NOT_JSON),
        row("{\"user_id\":\"\\ud800\"}", BODY_NOT_JSON),
        row("{\"user_id\":\"u\\u0000\"}", BODY_NOT_JSON),
        row("{\"user_id\":\"u\0\"}", BODY_NOT_JSON),
        row("\xef\xbb\xbf{\"user_id\":\"u1\"}", BODY_NOT_JSON),
        row("{\"user_id\":\"u1\",\"x\":[[[[[[[[[]]]]]]]]]}", BODY_NOT_JSON),

        row("[]", BODY_NOT_OBJECT),
        row("[{\"user_id\":\"u1\"}]", BODY_NOT_OBJECT),
        row("\"u1\"", BODY_NOT_OBJECT),
        row("null", BODY_NOT_OBJECT),
        row("17", BODY_NOT_OBJECT),

        row("{}", USER_ID_MISSING),
        row("{\"User_id\":\"u1\"}", USER_ID_MISSING),
        row("{\"userId\":\"u1\"}", USER_ID_MISSING),
        row("{\"user_id \":\"u1\"}", USER_ID_MISSING),
        row("{\"o\":{\"user_id\":\"u1\"}}", USER_ID_MISSING),

        row("{\"user_id\":1}", USER_ID_NOT_STRING),
        row("{\"user_id\":null}", USER_ID_NOT_STRING),
        row("{\"user_id\":true}", USER_ID_NOT_STRING),
        row("{\"user_id\":[\"u1\"]}", USER_ID_NOT_STRING),
        row("{\"user_id\":{\"user_id\":\"u1\"}}", USER_ID_NOT_STRING),

        row("{\"user_id\":\"\"}", USER_ID_EMPTY),

        row("{\"user_id\":\"a\\u0001\"}", USER_ID_INVALID),
        row("{\"user_id\":\"a\\n\"}", USER_ID_INVALID),
        row("{\"user_id\":\"\\u001f\"}", USER_ID_INVALID),
        row("{\"user_id\":\"\x7f\"}", USER_ID_INVALID),
        row("{\"user_id\":\"\\u007f\"}", USER_ID_INVALID),
        row("{\"user_id\":\"\\u0080\"}", USER_ID_INVALID),
        row("{\"user_id\":\"\xc2\x9f\"}", USER_ID_INVALID),
        row("{\"user_id\":\"\xc2\xa0\"}", NONE),
        row("{\"user_id\":\" \"}", NONE),
        row("{\"user_id\":\"u1\",\"x\":\"\\n\"}", NONE),

        row("{\"user_id\":\"u1\",\"user_id\":\"u2\"}", DUPLICATE_KEY),
        row("{\"user_id\":\"u1\",\"user_i\\u0064\":\"u2\"}", DUPLICATE_KEY),
        row("{\"user_id\":\"u1\",\"x\":{\"a\":1,\"a\":2}}", DUPLICATE_KEY)
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        problem = body_problem(bytes(rows[i].body, rows[i].len));
        check(problem == rows[i].problem, "%.*s: %d", (int) rows[i].len,
              rows[i].body, (int) problem);
    }

    check(body_problem(text("{\"a\":1,\"user_id\":\"\\u00e9\\\"\\ud83d\\ude00"
                            "\",\"b\":\"c\"}")) == P(NONE), "decoded");
    check(same(&user_id, "\xc3\xa9\"\xf0\x9f\x98\x80"), "%.*s",
          (int) user_id.len, user_id.data);
    check(json.nmembers == 3 && same(&json.members[0].name, "a")
          && same(&json.members[2].name, "b"), "other members");

    /* 512 bytes after decoding, however they are written */

    for (n = 510; n <= 514; n++) {
        memset(id, 'x', n);
        id[n] = '\0';
        sprintf(buf, "{\"user_id\":\"%s\"}", id);
        check(body_problem(text(buf))
              == (n <= 512 ? P(NONE) : P(USER_ID_TOO_LONG)), "%zu bytes", n);
    }

    for (n = 255; n <= 257; n++) {
        size = sprintf(buf, "{\"user_id\":\"");

        for (i = 0; i < n; i++) {
            size += sprintf(buf + size, "\\u00e9");
        }

        sprintf(buf + size, "\"}");
        check(body_problem(text(buf))
              == (n <= 256 ? P(NONE) : P(USER_ID_TOO_LONG)), "%zu chars", n);
    }

    /* the whole body */

    memset(buf, ' ', sizeof(buf));
    memcpy(buf, "{\"user_id\":\"u1\"}", 16);

    check(body_problem(bytes(buf, 65536)) == P(NONE), "64 KiB");
    check(body_problem(bytes(buf, 65537)) == P(BODY_TOO_LARGE), "more");

    /* an arena that is too small is the gateway's mistake */

    s = text("{\"user_id\":\"u1\"}");
    size = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(s.len) - 1;
    check(ngx_http_tsface_operation_check_body(&s, &json, &user_id,
                                               block(size), size)
          == P(INTERNAL), "arena");

    done("bodies");
}


static void
bearer(void)
{
    char        buf[9000];
    size_t      i, n;
    ngx_int_t   rc;
    ngx_str_t   value, token;
    ngx_uint_t  ch, good;

    static const struct {
        const char  *value;
        const char  *token;
    } rows[] = {
        { "Bearer abc", "abc" },
        { "bearer abc", "abc" },
        { "BEARER abc", "abc" },
        { "Bearer    abc", "abc" },
        { "Bearer a", "a" },
        { "Bearer abc=", "abc=" },
        { "Bearer abc==", "abc==" },
        { "Bearer eyJ.e30.-_~+/", "eyJ.e30.-_~+/" },
        { "", NULL },
        { "Bearer", NULL },
        { "Bearer ", NULL },
        { "Bearer  ", NULL },
        { "Bearer\tabc", NULL },
        { "Bearer \tabc", NULL },
        { "Bearerabc", NULL },
        { " Bearer abc", NULL },
        { "Bearer abc ", NULL },
        { "Bearer abc def", NULL },
        { "Bearer abc,def", NULL },
        { "Bearer =", NULL },
        { "Bearer ==", NULL },
        { "Bearer a=b", NULL },
        { "Bearer \"abc\"", NULL },
        { "Bearer abc, Bearer def", NULL },
        { "Basic dTpw", NULL },
        { "Beare abc", NULL },
        { "Bearer: abc", NULL },
        { "Token abc", NULL }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        value = text(rows[i].value);
        rc = ngx_http_tsface_operation_bearer(&value, &token);

        check((rc == NGX_OK) == (rows[i].token != NULL), "\"%s\"",
              rows[i].value);
        check(rc == NGX_OK || rc == NGX_DECLINED, "\"%s\"", rows[i].value);

        if (rc == NGX_OK && rows[i].token) {
            check(same(&token, rows[i].token), "\"%s\"", rows[i].value);
            check(token.data >= value.data && token.data + token.len
                  == value.data + value.len, "points into value");
        }
    }

    for (ch = 0; ch < 256; ch++) {
        good = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z')
               || (ch >= 'A' && ch <= 'Z')
               || (ch && ch < 0x80 && strchr("-._~+/", (int) ch));

        sprintf(buf, "Bearer a?b");
        buf[8] = (char) ch;
        value = bytes(buf, 10);

        check((ngx_http_tsface_operation_bearer(&value, &token) == NGX_OK)
              == good, "%02lx", ch);
    }

    for (n = 8190; n <= 8194; n++) {
        memcpy(buf, "Bearer ", 7);
        memset(buf + 7, 'x', n);
        value = bytes(buf, 7 + n);

        check((ngx_http_tsface_operation_bearer(&value, &token) == NGX_OK)
              == (n <= 8192), "%zu", n);
    }

    value.data = NULL;
    value.len = 0;
    check(ngx_http_tsface_operation_bearer(&value, &token) == NGX_DECLINED,
          "none");

    done("bearer tokens");
}


static void
problems(void)
{
    size_t                            i, j, k;
    const ngx_str_t                  *s[3];
    const ngx_http_tsface_problem_t  *p;

    static const struct {
        ngx_http_tsface_problem_e   problem;
        const char                 *reason;
        ngx_uint_t                  status;
    } rows[] = {
        { P(NO_CALLER), "no_caller", 401 },
        { P(NO_BEARER), "no_bearer", 401 },
        { P(BAD_PATH), "bad_path", 400 },
        { P(QUERY), "query", 400 },
        { P(UNKNOWN_PATH), "unknown_path", 404 },
        { P(METHOD), "method", 405 },
        { P(BAD_REQUEST), "bad_request", 400 },
        { P(LENGTH_REQUIRED), "length_required", 411 },
        { P(BODY_TOO_LARGE), "body_too_large", 413 },
        { P(NOT_JSON), "not_json", 415 },
        { P(BODY_NOT_ALLOWED), "body_not_allowed", 400 },
        { P(BODY_NOT_JSON), "body_not_json", 400 },
        { P(BODY_NOT_OBJECT), "body_not_object", 400 },
        { P(USER_ID_MISSING), "user_id_missing", 400 },
        { P(USER_ID_NOT_STRING), "user_id_not_string", 400 },
        { P(USER_ID_EMPTY), "user_id_empty", 400 },
        { P(USER_ID_TOO_LONG), "user_id_too_long", 400 },
        { P(USER_ID_INVALID), "user_id_invalid", 400 },
        { P(DUPLICATE_KEY), "duplicate_key", 400 },
        { P(LIMITED), "limited", 429 },
        { P(ENDPOINT_THROTTLED), "endpoint_throttled", 503 },
        { P(ENDPOINT_UNAVAILABLE), "endpoint_unavailable", 503 },
        { P(ENDPOINT_BUSY), "endpoint_busy", 503 },
        { P(LIMIT_UNDECIDED), "limit_undecided", 503 },
        { P(UNKNOWN_CREDENTIALS), "unknown_credentials", 503 },
        { P(NO_TOKEN), "no_token", 503 },
        { P(AUDIT_FAILED), "audit_failed", 503 },
        { P(OUTCOME_UNRECORDED), "outcome_unrecorded", 503 },
        { P(SHUTTING_DOWN), "shutting_down", 503 },
        { P(UPSTREAM_UNREACHABLE), "upstream_unreachable", 502 },
        { P(UPSTREAM_INVALID), "upstream_invalid", 502 },
        { P(UPSTREAM_TIMEOUT), "upstream_timeout", 504 },
        { P(INTERNAL), "internal", 500 },
        { P(CLIENT_CLOSED), "client_closed", 499 }
    };

    check(sizeof(rows) / sizeof(rows[0]) == NGX_HTTP_TSFACE_NPROBLEMS - 1,
          "every problem has its row");

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check(rows[i].problem == i + 1, "order of %s", rows[i].reason);

        p = &ngx_http_tsface_problems[rows[i].problem];

        check(same(&p->reason, rows[i].reason), "%s", rows[i].reason);
        check(p->status == rows[i].status, "%s", rows[i].reason);
        check(p->title.len >= 10 && p->title.len <= 60, "%s",
              rows[i].reason);
        check(p->detail.len >= 30 && p->detail.len <= 300, "%s: %zu",
              rows[i].reason, p->detail.len);
        check(p->detail.data[p->detail.len - 1] == '.', "%s",
              rows[i].reason);

        s[0] = &p->reason;
        s[1] = &p->title;
        s[2] = &p->detail;

        for (j = 0; j < 3; j++) {
            for (k = 0; k < s[j]->len; k++) {
                check(s[j]->data[k] >= 0x20 && s[j]->data[k] < 0x7f
                      && s[j]->data[k] != '"' && s[j]->data[k] != '\\',
                      "%s: needs no escapes", rows[i].reason);
            }
        }
    }

    done("problems");
}


int
main(void)
{
    match();
    is_json();
    check_body();
    bearer();
    problems();

    return tap_end();
}
