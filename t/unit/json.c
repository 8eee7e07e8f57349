
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: ngx_http_tsface_json.c */


#include "tap.h"

#include "ngx_http_tsface_json.h"


#define OK          NGX_HTTP_TSFACE_JSON_OK
#define INVALID     NGX_HTTP_TSFACE_JSON_INVALID
#define NOT_OBJECT  NGX_HTTP_TSFACE_JSON_NOT_OBJECT
#define DUPLICATE   NGX_HTTP_TSFACE_JSON_DUPLICATE
#define TEXT        NGX_HTTP_TSFACE_JSON_TEXT
#define LIMIT       NGX_HTTP_TSFACE_JSON_LIMIT


static ngx_http_tsface_json_t  json;
static size_t                  used, used_len, used_base;


/* Reads in an arena of exactly ARENA_SIZE and measures how much was used. */

static ngx_http_tsface_json_status_e
reads(ngx_str_t text)
{
    size_t                         size, n;
    u_char                        *arena;
    ngx_http_tsface_json_status_e  status;

    size = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(text.len);
    arena = block(size);

    memset(arena, 0xa5, size);

    status = ngx_http_tsface_json_read(&json, &text, arena, size);

    for (n = size; n && arena[n - 1] == 0xa5; n--) { /* void */ }

    check(n <= size - 1024, "arena used up by %zu bytes: %zu of %zu",
          text.len, n, size);

    if (n * 1000 / size > used) {
        used = n * 1000 / size;
        used_len = text.len;
    }

    if (text.len < 100) {
        used_base = ngx_max(used_base, n);
    }

    return status;
}


#define row(s, status)  { s, sizeof(s) - 1, status }


static void
statuses(void)
{
    size_t                         i, n;
    ngx_http_tsface_json_status_e  status;

    static const struct {
        const char                     *text;
        size_t                          len;
        ngx_http_tsface_json_status_e   status;
    } rows[] = {
        row("{}", OK),
        row(" \t\r\n{ } \n", OK),
        row("{\"a\":1}", OK),
        row("{\"\":\"\"}", OK),
        row("{\"a\":[1,2,{\"a\":3}],\"b\":{\"a\":1,\"b\":{\"a\":1}}}", OK),
        row("{\"a\":[{\"x\":1},{\"x\":1}]}", OK),
        row("{\"a\":-0.5e+10}", OK),
        row("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"}", OK),
        row("{\"a\":\"\\\\u0000\"}", OK),
        row("{\"a\":\"\\\\ud800\"}", OK),
        row("{\"a\":\"\\ud83d\\ude00\"}", OK),
        row("{\"a\":\"\\uD83D\\uDE00\"}", OK),
        row("{\"a\":\"\\udbff\\udfff\"}", OK),
        row("{\"a\":\"\\uffff\"}", OK),
        row("{\"a\":\"\xf0\x9f\x98\x80\"}", OK),
        row("{\"a\":\"\x7f\"}", OK),

        row("", INVALID),
        row(" ", INVALID),
        row("{", INVALID),
        row("}", INVALID),
        row("{\"a\"", INVALID),
        row("{\"a\":", INVALID),
        row("{\"a\":1", INVALID),
        row("{\"a\":1,", INVALID),
        row("{\"a\":1,}", INVALID),
        row("{,}", INVALID),
        row("{\"a\" 1}", INVALID),
        row("{a:1}", INVALID),
        row("{'a':1}", INVALID),
        row("{1:1}", INVALID),
        row("{\"a\":01}", INVALID),
        row("{\"a\":1.}", INVALID),
        row("{\"a\":.5}", INVALID),
        row("{\"a\":+1}", INVALID),
        row("{\"a\":-}", INVALID),
        row("{\"a\":1e}", INVALID),
        row("{\"a\":0x10}", INVALID),
        row("{\"a\":NaN}", INVALID),
        row("{\"a\":True}", INVALID),
        row("{\"a\":nul}", INVALID),
        row("{\"a\":\"b}", INVALID),
        row("{\"a\":\"\n\"}", INVALID),
        row("{\"a\":\"\x1f\"}", INVALID),
        row("{\"a\":\"\\x41\"}", INVALID),
        row("{\"a\":\"\\u12g4\"}", INVALID),
        row("{\"a\":\"\\u12\"}", INVALID),
        row("{\"a\":\"\\u", INVALID),
        row("{\"a\":\"\\", INVALID),
        row("{\"a\":1}x", INVALID),
        row("{} {}", INVALID),
        row("{}{}", INVALID),
        row("{},", INVALID),
        row("{}\0", INVALID),
        row("{} \"", INVALID),
        row("{} \"x", INVALID),
        row("{} t", INVALID),
        row("{} \"}", INVALID),
        row("{\"a\":{}} nul", INVALID),
        row("[] \"", INVALID),
        row("85\"}", INVALID),
        row("\"a\" \"", INVALID),
        row("true f", INVALID),
        row("{\"a\":\v1}", INVALID),
        row("{\f}", INVALID),
        row("{}\v", INVALID),
        row("\0{}", INVALID),
        row("{\"a\":\"\0\"}", INVALID),
        row("/* c */{}", INVALID),
        row("{} // c", INVALID),
        row("\xef\xbb\xbf{}", INVALID),
        row("[1", INVALID),
        row("12x", INVALID),
        row("{\"a\":[1}]", INVALID),
        row("{\"a\":{]}", INVALID),
        row("\\u0041", INVALID),

        row("[]", NOT_OBJECT),
        row("[{\"a\":1}]", NOT_OBJECT),
        row("12", NOT_OBJECT),
        row("-1.5", NOT_OBJECT),
        row("\"user_id\"", NOT_OBJECT),
        row("true", NOT_OBJECT),
        row("null", NOT_OBJECT),
        row(" false ", NOT_OBJECT),

        row("{\"a\":1,\"a\":1}", DUPLICATE),
        row("{\"a\":1,\"b\":2,\"a\":1}", DUPLICATE),
        row("{\"a\":1,\"\\u0061\":1}", DUPLICATE),
        row("{\"\\u00e9\":1,\"\xc3\xa9\":1}", DUPLICATE),
        row("{\"\":1,\"\":1}", DUPLICATE),
        row("{\"a\":{\"b\":1,\"b\":2}}", DUPLICATE),
        row("{\"a\":[[{\"b\":1,\"b\":2}]]}", DUPLICATE),
        row("{\"a\":{\"b\":{\"c\":1,\"c\":1}}}", DUPLICATE),
        row("{\"a\":{\"b\":1},\"a\":2}", DUPLICATE),
        row("{\"a\":[{\"b\":1},{\"c\":1}],\"c\":1,\"a\":2}", DUPLICATE),
        row("[{\"a\":1,\"a\":1}]", DUPLICATE),
        row("{\"a\":1,\"A\":1}", OK),
        row("{\"a\":1,\"ab\":1,\"\":1,\"b\":1}", OK),
        row("{\"a\":{\"a\":{\"a\":1}}}", OK),

        /* the same FNV-1a hash */
        row("{\"costarring\":1,\"liquid\":1}", OK),
        row("{\"declinate\":1,\"macallums\":1}", OK),

        row("{\"a\":\"\\u0000\"}", TEXT),
        row("{\"a\\u0000\":1}", TEXT),
        row("{\"a\":[\"\\u0000\"]}", TEXT),
        row("{\"a\":\"\\ud800\"}", TEXT),
        row("{\"a\":\"\\udbff\"}", TEXT),
        row("{\"a\":\"\\udc00\"}", TEXT),
        row("{\"a\":\"\\uDFFF\"}", TEXT),
        row("{\"a\":\"\\ud800x\"}", TEXT),
        row("{\"a\":\"\\ud800\\n\"}", TEXT),
        row("{\"a\":\"\\ud800\\u0041\"}", TEXT),
        row("{\"a\":\"\\ud800\\ud800\"}", TEXT),
        row("{\"a\":\"\\ud800\\ue000\"}", TEXT),
        row("{\"a\":\"\\ud800\\ud800\\udc00\"}", TEXT),
        row("{\"a\":\"\\udc00\\ud800\"}", TEXT),
        row("{\"a\":\"\\ud83d\\ude00\\ude00\"}", TEXT),
        row("{\"\\ud800\":1}", TEXT),
        row("{\"a\":{\"b\":\"\\ud800\"}}", TEXT),
        row("{\"a\":\"\\\\\\ud800\"}", TEXT),
        row("{\"a\":\"\xc0\x80\"}", TEXT),
        row("{\"a\":\"\xed\xa0\x80\"}", TEXT),
        row("{\"a\":\"\xf4\x90\x80\x80\"}", TEXT),
        row("{\"a\":\"\xf5\x80\x80\x80\"}", TEXT),
        row("{\"a\":\"\xff\"}", TEXT),
        row("{\"a\":\"\x80\"}", TEXT),
        row("{\"a\":\"\xc3\"}", TEXT),
        row("{\"a\":\"\xc3", TEXT),
        row("{}\x80", TEXT),

        row("{\"a\":[[[[[[[]]]]]]]}", OK),
        row("{\"a\":[[[[[[[[]]]]]]]]}", LIMIT),
        row("{\"a\":[[[[[[[{}]]]]]]]}", LIMIT),
        row("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
            "}}}}}}}}", OK),
        row("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
            "}}}}}}}}}", LIMIT),
        row("[[[[[[[[[", LIMIT),
        row("[[],[],[],[],[],[],[],[],[],[]]", NOT_OBJECT),
        row("{\"a\":[[],[],[],[],[],[],[],[],[],[],{},{},{}]}", OK)
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        status = reads(bytes(rows[i].text, rows[i].len));

        check(status == rows[i].status, "row %zu: %.*s: %d", i,
              (int) rows[i].len, rows[i].text, (int) status);

        if (rows[i].status != OK) {
            continue;
        }

        /* no prefix of an object is one */

        for (n = 0; n < rows[i].len; n++) {
            status = reads(bytes(rows[i].text, n));

            if (status == OK) {
                for (status = INVALID; n < rows[i].len; n++) {
                    if (!strchr(" \t\r\n", rows[i].text[n])) {
                        status = OK;
                    }
                }

                check(status != OK, "row %zu: a prefix", i);
            }
        }

        tap_free();
    }

    done("what is and is not read");
}


static void
members(void)
{
    size_t                          i;
    ngx_http_tsface_json_member_t  *m;

    static const struct {
        const char                   *name;
        ngx_http_tsface_json_type_e   type;
        const char                   *value;
    } rows[] = {
        { "s", NGX_HTTP_TSFACE_JSON_STRING, "text" },
        { "esc", NGX_HTTP_TSFACE_JSON_STRING,
          "\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
        { "raw", NGX_HTTP_TSFACE_JSON_STRING,
          "\xc3\xa9\xf0\x9f\x98\x80" },
        { "empty", NGX_HTTP_TSFACE_JSON_STRING, "" },
        { "n", NGX_HTTP_TSFACE_JSON_NUMBER, "-12.50e+3" },
        { "big", NGX_HTTP_TSFACE_JSON_NUMBER,
          "123456789012345678901234567890" },
        { "t", NGX_HTTP_TSFACE_JSON_BOOLEAN, "true" },
        { "f", NGX_HTTP_TSFACE_JSON_BOOLEAN, "false" },
        { "z", NGX_HTTP_TSFACE_JSON_NULL, "" },
        { "o", NGX_HTTP_TSFACE_JSON_OBJECT, "" },
        { "a", NGX_HTTP_TSFACE_JSON_ARRAY, "" },
        { "k\xc3\xa9y\n", NGX_HTTP_TSFACE_JSON_NUMBER, "7" },
        { "", NGX_HTTP_TSFACE_JSON_NUMBER, "8" },
        { "last", NGX_HTTP_TSFACE_JSON_STRING, "x" }
    };

    check(reads(text("{\"s\":\"text\",\"esc\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t"
                     "\\u00e9\\u20ac\\ud83d\\ude00\",\"raw\":"
                     "\"\xc3\xa9\xf0\x9f\x98\x80\",\"empty\":\"\","
                     "\"n\":-12.50e+3,\"big\":"
                     "123456789012345678901234567890,\"t\":true,"
                     "\"f\":false,\"z\":null,\"o\":{\"s\":\"inner\","
                     "\"q\":[1]},\"a\":[\"s\",2,{\"last\":0}],"
                     "\"k\\u00e9y\\n\":7,\"\":8,\"last\":\"x\"}")) == OK,
          "read");

    check(json.nmembers == sizeof(rows) / sizeof(rows[0]), "%lu members",
          json.nmembers);

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        m = ngx_http_tsface_json_find(&json, rows[i].name);

        if (!check(m == &json.members[i], "found \"%s\"", rows[i].name)) {
            continue;
        }

        check(same(&m->name, rows[i].name), "name \"%s\"", rows[i].name);
        check(m->type == rows[i].type, "type of \"%s\"", rows[i].name);
        check(same(&m->value, rows[i].value),
              "value of \"%s\": %.*s", rows[i].name, (int) m->value.len,
              m->value.data);
    }

    check(ngx_http_tsface_json_find(&json, "q") == NULL, "inner member");
    check(ngx_http_tsface_json_find(&json, "las") == NULL, "prefix");
    check(ngx_http_tsface_json_find(&json, "last ") == NULL, "longer");
    check(ngx_http_tsface_json_find(&json, "S") == NULL, "case");

    done("members");
}


static void
limits(void)
{
    char                            buf[NGX_HTTP_TSFACE_JSON_MAX_INPUT + 64];
    size_t                          n, i, size;
    ngx_str_t                       s;
    ngx_http_tsface_json_member_t  *m;

    for (i = 63; i <= 66; i++) {
        size_t  k;

        n = sprintf(buf, "{\"k0\":0");

        for (k = 1; k < i; k++) {
            n += sprintf(buf + n, ",\"k%zu\":%zu", k, k);
        }

        buf[n++] = '}';

        check(reads(bytes(buf, n)) == (i <= 64 ? OK : LIMIT), "%zu members",
              i);
    }

    /* inner keys: 1 + 1023 pass, 1 + 1024 do not, in one object or many */

    for (i = 1022; i <= 1025; i++) {
        size_t  k;

        n = sprintf(buf, "{\"a\":{\"x\":0");

        for (k = 1; k < i; k++) {
            n += sprintf(buf + n, ",\"%zu\":0", k);
        }

        n += sprintf(buf + n, "}}");

        check(reads(bytes(buf, n)) == (i <= 1023 ? OK : LIMIT), "%zu keys",
              i);

        n = sprintf(buf, "{\"a\":[{\"x\":0}");

        for (k = 1; k < i; k++) {
            n += sprintf(buf + n, ",{\"x\":0}");
        }

        n += sprintf(buf + n, "]}");

        check(reads(bytes(buf, n)) == (i <= 1023 ? OK : LIMIT),
              "%zu objects", i);
    }

    /* the longest text */

    memset(buf, 'x', sizeof(buf));
    memcpy(buf, "{\"k\":\"", 6);
    buf[65536 - 2] = '"';
    buf[65536 - 1] = '}';

    check(reads(bytes(buf, 65536)) == OK, "64 KiB");

    m = ngx_http_tsface_json_find(&json, "k");
    check(m && m->value.len == 65536 - 8, "the whole value");

    buf[65536] = ' ';
    check(reads(bytes(buf, 65537)) == LIMIT, "64 KiB and a byte");

    /* one that yajl has to decode, and to move while its buffer grows */

    n = sprintf(buf, "{\"k\":\"");

    for (i = 0; n < 65000; i++) {
        n += sprintf(buf + n, "%05zu\\n", i);
    }

    n += sprintf(buf + n, "\"}");

    check(reads(bytes(buf, n)) == OK, "a long escaped string");

    m = ngx_http_tsface_json_find(&json, "k");
    check(m && m->value.len == i * 6, "its length");

    for (n = 0; m && n < i; n++) {
        sprintf(buf, "%05zu\n", n);
        check(memcmp(m->value.data + n * 6, buf, 6) == 0, "at %zu", n * 6);
    }

    s = text("{\"a\":1}");
    size = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(s.len);

    check(ngx_http_tsface_json_read(&json, &s, block(size - 1), size - 1)
          == LIMIT, "an arena too small");
    check(ngx_http_tsface_json_read(&json, &s, block(0), 0) == LIMIT,
          "no arena");

    /* an arena that is not aligned */

    for (i = 1; i < 16; i++) {
        check(ngx_http_tsface_json_read(&json, &s, block(size + i) + i, size)
              == OK, "unaligned arena");
    }

    done("limits");
}


/* Texts made to use as much of the arena as they can. */

static void
arena(void)
{
    char    buf[NGX_HTTP_TSFACE_JSON_MAX_INPUT + 64];
    size_t  n, i, len, step, total;

    for (total = 16; total <= NGX_HTTP_TSFACE_JSON_MAX_INPUT;
         total += 1 + total / 7)
    {
        /* one escaped string, closed or cut (yajl's two buffers) */

        for (i = 0; i < 4; i++) {
            memset(buf, 'x', total);
            memcpy(buf, "{\"\":\"\\n", 7);

            if (i & 1) {
                memcpy(buf + total - 2, "\"}", 2);
            }

            if (i & 2 && total > 40) {
                memcpy(buf + total / 2, "\",\"y\":\"\\n", 9);
            }

            reads(bytes(buf, total));
        }

        /* escaped strings that grow, with keys between their copies */

        for (step = 1; step < 40; step += 6) {
            n = sprintf(buf, "{\"a\":[0");
            i = 0;

            for (len = step; n + len + 40 < total && i < 1000;
                 len += step, i++)
            {
                n += sprintf(buf + n, ",{\"%zu\":\"\\n", i);
                memset(buf + n, 'y', len);
                n += len;
                n += sprintf(buf + n, "\"}");
            }

            n += sprintf(buf + n, i & 1 ? "]}" : "],\"unfinished");

            if (n <= NGX_HTTP_TSFACE_JSON_MAX_INPUT) {
                reads(bytes(buf, n));
            }
        }

        /* nothing but keys */

        n = sprintf(buf, "{\"a\":{\"\\n\":0");

        for (i = 0; i < 1100 && n + 20 < total; i++) {
            n += sprintf(buf + n, ",\"%zx\":0", i);
        }

        n += sprintf(buf + n, "}}");
        reads(bytes(buf, n));

        /* the depth that is refused */

        memset(buf, '[', total);
        reads(bytes(buf, total));

        tap_free();
    }

    check(used < 700, "at most %zu/1000 of an arena used", used);

    printf("# arena: at most %zu/1000 used (by %zu bytes), short texts at "
           "most %zu bytes\n", used, used_len, used_base);

    done("the arena always suffices");
}


static void
seconds(void)
{
    size_t      i;
    char        buf[256];
    ngx_int_t   rc;
    ngx_uint_t  n;

    static const struct {
        const char  *value;
        ngx_int_t    rc;
        ngx_uint_t   seconds;
    } rows[] = {
        { "3600", NGX_OK, 3600 },
        { "\"3600\"", NGX_OK, 3600 },
        { "3600.0", NGX_OK, 3600 },
        { "\"3600.0\"", NGX_OK, 3600 },
        { "0", NGX_OK, 0 },
        { "0.0", NGX_OK, 0 },
        { "\"007\"", NGX_OK, 7 },
        { "315360000", NGX_OK, 315360000 },
        { "315360001", NGX_OK, 315360000 },
        { "3153600000", NGX_OK, 315360000 },
        { "4294967296", NGX_OK, 315360000 },
        { "18446744073709551617", NGX_OK, 315360000 },
        { "99999999999999999999999999999999999999", NGX_OK, 315360000 },
        { "-1", NGX_DECLINED, 77 },
        { "-0", NGX_DECLINED, 77 },
        { "3600.5", NGX_DECLINED, 77 },
        { "3600.00", NGX_DECLINED, 77 },
        { "3.6e3", NGX_DECLINED, 77 },
        { "1e3", NGX_DECLINED, 77 },
        { "\"\"", NGX_DECLINED, 77 },
        { "\".0\"", NGX_DECLINED, 77 },
        { "\"0.\"", NGX_DECLINED, 77 },
        { "\" 3600\"", NGX_DECLINED, 77 },
        { "\"3600 \"", NGX_DECLINED, 77 },
        { "\"+3600\"", NGX_DECLINED, 77 },
        { "\"1h\"", NGX_DECLINED, 77 },
        { "\"1.0.0\"", NGX_DECLINED, 77 },
        { "true", NGX_DECLINED, 77 },
        { "null", NGX_DECLINED, 77 },
        { "[3600]", NGX_DECLINED, 77 },
        { "{\"a\":1}", NGX_DECLINED, 77 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sprintf(buf, "{\"expires_in\":%s}", rows[i].value);

        n = 77;
        check(reads(text(buf)) == OK, "%s", buf);

        rc = ngx_http_tsface_json_seconds(&json.members[0], &n);
        check(rc == rows[i].rc && n == rows[i].seconds, "%s: %lu", buf, n);
    }

    done("seconds");
}


static size_t
encode(uint32_t code, u_char *p)
{
    if (code < 0x80) {
        p[0] = (u_char) code;
        return 1;
    }

    if (code < 0x800) {
        p[0] = (u_char) (0xc0 | code >> 6);
        p[1] = (u_char) (0x80 | (code & 0x3f));
        return 2;
    }

    if (code < 0x10000) {
        p[0] = (u_char) (0xe0 | code >> 12);
        p[1] = (u_char) (0x80 | (code >> 6 & 0x3f));
        p[2] = (u_char) (0x80 | (code & 0x3f));
        return 3;
    }

    p[0] = (u_char) (0xf0 | code >> 18);
    p[1] = (u_char) (0x80 | (code >> 12 & 0x3f));
    p[2] = (u_char) (0x80 | (code >> 6 & 0x3f));
    p[3] = (u_char) (0x80 | (code & 0x3f));
    return 4;
}


/* One bit for each sequence of up to three bytes that is a character. */
static u_char  chars[3][1 << 21];


static int
is_char(const u_char *p, size_t len)
{
    size_t    i;
    uint32_t  index;

    if (len == 4) {
        index = (uint32_t) (p[0] & 7) << 18 | (uint32_t) (p[1] & 63) << 12
                | (uint32_t) (p[2] & 63) << 6 | (p[3] & 63);

        return p[0] >> 3 == 0x1e && p[1] >> 6 == 2 && p[2] >> 6 == 2
               && p[3] >> 6 == 2 && index >= 0x10000 && index <= 0x10ffff;
    }

    for (i = 0, index = 0; i < len; i++) {
        index = index << 8 | p[i];
    }

    return chars[len - 1][index >> 3] >> (index & 7) & 1;
}


static int
is_utf8(const u_char *p, size_t len)
{
    size_t  n;

    if (len == 0) {
        return 1;
    }

    for (n = 1; n <= 4 && n <= len; n++) {
        if (is_char(p, n) && is_utf8(p + n, len - n)) {
            return 1;
        }
    }

    return 0;
}


static void
utf8(void)
{
    size_t     n, i, j;
    u_char     buf[64];
    uint32_t   code, v;
    ngx_str_t  s;

    static const u_char  edges[] = {
        0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2,
        0xe0, 0xed, 0xf0, 0xf4, 0xff
    };

    s.data = buf;

    for (code = 0; code <= 0x10ffff; code++) {

        if (code >= 0xd800 && code <= 0xdfff) {
            encode(code, buf);
            s.len = 3;
            check(!ngx_http_tsface_utf8_valid(&s, 0), "U+%04X", code);
            continue;
        }

        s.len = encode(code, buf);

        if (s.len < 4) {
            for (v = 0, n = 0; n < s.len; n++) {
                v = v << 8 | buf[n];
            }

            chars[s.len - 1][v >> 3] |= (u_char) (1 << (v & 7));
        }

        check(ngx_http_tsface_utf8_valid(&s, 0), "U+%04X", code);

        check(ngx_http_tsface_utf8_valid(&s, 1)
              == !(code < 0x20 || (code >= 0x7f && code <= 0x9f)),
              "U+%04X, control", code);
    }

    /* every sequence of one to three bytes, four with edges */

    for (v = 0; v < 1 << 24; v++) {
        buf[0] = (u_char) (v >> 16);
        buf[1] = (u_char) (v >> 8);
        buf[2] = (u_char) v;

        /* three bytes that start with ASCII say no more than two */

        n = buf[0] < 0x80 ? 1 : 0;

        if (n && buf[0] != 'A') {
            continue;
        }

        s.len = 3;

        if (ngx_http_tsface_utf8_valid(&s, 0) != (ngx_uint_t) is_utf8(buf, 3))
        {
            check(0, "%02x %02x %02x", buf[0], buf[1], buf[2]);
        }
    }

    for (v = 0xc000; v < 0x10000; v++) {
        for (i = 0; i < sizeof(edges); i++) {
            for (j = 0; j < sizeof(edges); j++) {
                buf[0] = (u_char) (v >> 8);
                buf[1] = (u_char) v;
                buf[2] = edges[i];
                buf[3] = edges[j];
                s.len = 4;

                check(ngx_http_tsface_utf8_valid(&s, 0)
                      == (ngx_uint_t) is_utf8(buf, 4), "%02x %02x %02x %02x",
                      buf[0], buf[1], buf[2], buf[3]);
            }
        }
    }

    /* at every place in and around blocks of eight bytes */

    for (n = 0; n < 40; n++) {
        for (i = 0; i <= n; i++) {
            memset(buf, 'a', n + 4);

            memcpy(buf + i, "\xf0\x9f\x98\x80", 4);
            s = bytes(buf, n + 4);
            check(ngx_http_tsface_utf8_valid(&s, 0), "%zu of %zu", i, n);
            check(ngx_http_tsface_utf8_valid(&s, 1), "%zu of %zu", i, n);

            s = bytes(buf, i + 3);
            check(!ngx_http_tsface_utf8_valid(&s, 0), "cut");

            memset(buf, 'a', n + 4);
            buf[i] = 0xff;
            s = bytes(buf, n + 4);
            check(!ngx_http_tsface_utf8_valid(&s, 0), "%zu of %zu", i, n);

            buf[i] = 0x1b;
            s = bytes(buf, n + 4);
            check(ngx_http_tsface_utf8_valid(&s, 0), "%zu of %zu", i, n);
            check(!ngx_http_tsface_utf8_valid(&s, 1), "%zu of %zu", i, n);
        }

        tap_free();
    }

    s = text("");
    check(ngx_http_tsface_utf8_valid(&s, 0), "empty");
    check(ngx_http_tsface_utf8_valid(&s, 1), "empty");

    done("UTF-8");
}


/* Strings written with random escapes come back as they were. */

static void
round_trip(void)
{
    char        name[8], out[8192];
    u_char      value[2048];
    size_t      i, k, n, len, want, count, lens[8];
    uint32_t    code, high, low;
    ngx_uint_t  round;
    u_char      values[8][1024];

    for (round = 0; round < 3000; round++) {

        n = sprintf(out, "{");
        count = 1 + below(8);

        for (i = 0; i < count; i++) {

            n += sprintf(out + n, "%s\"%c%zu\":\"", i ? "," : "",
                         (int) ('a' + i), i);
            len = below(60);
            want = 0;

            for (k = 0; k < len; k++) {

                switch (below(5)) {
                case 0:
                    code = 1 + (uint32_t) below(0x7e);
                    break;
                case 1:
                    code = 0x80 + (uint32_t) below(0x780);
                    break;
                case 2:
                    code = 0x800 + (uint32_t) below(0xd000);
                    break;
                case 3:
                    code = 0xe000 + (uint32_t) below(0x2000);
                    break;
                default:
                    code = 0x10000 + (uint32_t) below(0x100000);
                }

                want += encode(code, values[i] + want);

                if (code < 0x20 || code == '"' || code == '\\' || below(2)) {

                    if (code < 0x10000) {
                        n += sprintf(out + n, below(2) ? "\\u%04x"
                                                       : "\\u%04X", code);

                    } else {
                        high = 0xd800 + ((code - 0x10000) >> 10);
                        low = 0xdc00 + ((code - 0x10000) & 0x3ff);
                        n += sprintf(out + n, "\\u%04x\\u%04x", high, low);
                    }

                } else {
                    n += encode(code, (u_char *) out + n);
                }
            }

            lens[i] = want;
            n += sprintf(out + n, "\"");
        }

        n += sprintf(out + n, "}");

        if (!check(reads(bytes(out, n)) == OK, "%.*s", (int) n, out)) {
            continue;
        }

        for (i = 0; i < count; i++) {
            sprintf(name, "%c%zu", (int) ('a' + i), i);

            check(json.members[i].value.len == lens[i]
                  && memcmp(json.members[i].value.data, values[i], lens[i])
                     == 0
                  && ngx_http_tsface_json_find(&json, name)
                     == &json.members[i], "round %lu, member %zu", round, i);
        }

        /* damage: no crash, no overrun, and no bad text is let through */

        for (k = 0; k < 10; k++) {
            ngx_str_t  s;

            s = bytes(out, n);
            s.data[below(n)] = (u_char) (below(2) ? rnd()
                               : (uint64_t) "\"\\{}[],:ud"[below(10)]);

            if (reads(s) != OK) {
                continue;
            }

            for (i = 0; i < json.nmembers; i++) {
                memcpy(value, json.members[i].value.data,
                       json.members[i].value.len);

                check(ngx_http_tsface_utf8_valid(&json.members[i].value, 0)
                      && memchr(value, 0, json.members[i].value.len) == NULL,
                      "bad text let through");
            }
        }

        tap_free();
    }

    done("random strings, and damaged ones");
}


int
main(void)
{
    statuses();
    members();
    limits();
    arena();
    seconds();
    utf8();
    round_trip();

    return tap_end();
}
