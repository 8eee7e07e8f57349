
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: ngx_http_tsface_record.c ngx_http_tsface_record_text.c
         ngx_http_tsface_record_mac.c ngx_http_tsface_record_line.c
         ngx_http_tsface_json.c */


#include "tap.h"

#include <time.h>

#include <openssl/hmac.h>

#include "ngx_http_tsface_json.h"
#include "ngx_http_tsface_record.h"


#define BODY_MAX  (NGX_HTTP_TSFACE_RECORD_MAX - 256)
#define MAC_LEN   NGX_HTTP_TSFACE_RECORD_MAC_LEN
#define ZEROS                                                                 \
    "00000000000000000000000000000000"                                        \
    "00000000000000000000000000000000"

/* the cut's mark */
#define CUT       "\xe2\x80\xa6"


#define set(record, name, value)                                              \
    (record)->name.data = (u_char *) value;                                   \
    (record)->name.len = strlen(value)


static u_char  out[NGX_HTTP_TSFACE_RECORD_MAX + 1];


static void
fill(ngx_http_tsface_record_t *r, const ngx_str_t *members)
{
    ngx_http_tsface_record_init(r, NGX_HTTP_TSFACE_RECORD_OUTCOME);

    set(r, trail, "revokes");
    set(r, host, "gw1");
    r->pid = 4711;
    set(r, request_id, "0123456789abcdef0123456789abcdef");
    set(r, trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    set(r, parent_id, "00f067aa0ba902b7");
    r->attempt = 2;
    set(r, caller, "CN=billing,O=\"Acme\"");
    set(r, operation, "face.revoke");
    set(r, credentials, "acme_eu");
    set(r, region, "eu");
    set(r, endpoint, "api.eu.example:443");
    set(r, client_addr, "10.0.0.1");
    set(r, server, "gw.example");
    set(r, method, "POST");
    set(r, uri, "/v1/users/face/revoke");
    set(r, user_hmac, "ab12");
    r->members = members;
    r->nmembers = 2;
    set(r, token_kind, "credentials");
    r->token_generation = 7;
    set(r, token_fingerprint, "0123456789abcdef");
    set(r, result, "success");
    set(r, reason, "none");
    r->status = 204;
    r->upstream_status = 204;
    set(r, upstream_addr, "192.0.2.1:443");
    r->sent = 1;
    r->duration_ms = 0;
}


static ngx_str_t
body(const ngx_http_tsface_record_t *r)
{
    size_t   n;
    u_char  *p;

    p = block(BODY_MAX);
    n = ngx_http_tsface_record_body(r, p, BODY_MAX);

    check(n > 0, "a body");

    return bytes(p, n);
}


static ngx_http_tsface_record_key_t *
key_new(const void *data, size_t len)
{
    ngx_str_t                      value;
    ngx_http_tsface_record_key_t  *key;

    /* what it was made of need not stay */

    value = bytes(data, len);
    key = ngx_http_tsface_record_key_new(&value);
    memset(value.data, '#', len);

    check(key != NULL, "a key of %zu bytes", len);

    return key;
}


static void
bodies(void)
{
    size_t                    n, size;
    ngx_str_t                 b, members[2];
    ngx_http_tsface_record_t  r;

    static const char  all[] =
        "\"type\":\"outcome\",\"trail\":\"revokes\",\"host\":\"gw1\","
        "\"pid\":4711,"
        "\"request_id\":\"0123456789abcdef0123456789abcdef\","
        "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\","
        "\"parent_id\":\"00f067aa0ba902b7\",\"attempt\":2,"
        "\"caller\":\"CN=billing,O=\\\"Acme\\\"\","
        "\"operation\":\"face.revoke\",\"credentials\":\"acme_eu\","
        "\"region\":\"eu\",\"endpoint\":\"api.eu.example:443\","
        "\"client_addr\":\"10.0.0.1\",\"server\":\"gw.example\","
        "\"method\":\"POST\",\"uri\":\"/v1/users/face/revoke\","
        "\"user\":{\"hmac\":\"ab12\"},\"members\":[\"note\",\"x\"],"
        "\"token\":{\"kind\":\"credentials\",\"generation\":7,"
        "\"fingerprint\":\"0123456789abcdef\"},\"result\":\"success\","
        "\"reason\":\"none\",\"status\":204,\"upstream_status\":204,"
        "\"upstream_addr\":\"192.0.2.1:443\",\"sent\":true,"
        "\"duration_ms\":0";

    members[0] = text("note");
    members[1] = text("x");

    fill(&r, members);
    b = body(&r);
    check(same(&b, all), "%.*s", (int) b.len, b.data);

    /* a smaller buffer: enough or not, to the byte */

    n = sizeof(all) - 1;

    for (size = 0; size < n + 20; size++) {
        u_char  *p;

        p = block(size);
        check(ngx_http_tsface_record_body(&r, p, size)
              == (size < n ? 0 : n), "size %zu", size);
        check(size < n || memcmp(p, all, n) == 0, "size %zu", size);
    }

    tap_free();

    members[0] = text("note");
    members[1] = text("x");

    /* what is left out */

    ngx_http_tsface_record_init(&r, NGX_HTTP_TSFACE_RECORD_INTENT);
    b = body(&r);
    check(same(&b, "\"type\":\"intent\""), "%.*s", (int) b.len, b.data);

    ngx_http_tsface_record_init(&r, NGX_HTTP_TSFACE_RECORD_REFUSAL);
    r.sent = 0;
    r.members = members;
    r.nmembers = 0;
    set(&r, user_plain, "joe");
    set(&r, token_kind, "caller");
    set(&r, reason, "");
    b = body(&r);
    check(same(&b, "\"type\":\"refusal\",\"user\":{\"plain\":\"joe\"},"
                   "\"members\":[],\"token\":{\"kind\":\"caller\"},"
                   "\"reason\":\"\",\"sent\":false"), "%.*s", (int) b.len,
          b.data);

    r.nmembers = 1;
    set(&r, user_hmac, "00");
    b = body(&r);
    check(same(&b, "\"type\":\"refusal\",\"user\":{\"hmac\":\"00\"},"
                   "\"members\":[\"note\"],\"token\":{\"kind\":\"caller\"},"
                   "\"reason\":\"\",\"sent\":false"), "%.*s", (int) b.len,
          b.data);

    ngx_http_tsface_record_init(&r, NGX_HTTP_TSFACE_RECORD_OPEN);
    r.pid = 0x7fffffffffffffffLL;
    b = body(&r);
    check(same(&b, "\"type\":\"open\",\"pid\":9223372036854775807"),
          "%.*s", (int) b.len, b.data);

    ngx_http_tsface_record_init(&r, NGX_HTTP_TSFACE_RECORD_CLOSE);
    b = body(&r);
    check(same(&b, "\"type\":\"close\""), "%.*s", (int) b.len, b.data);

    ngx_http_tsface_record_init(&r, NGX_HTTP_TSFACE_RECORD_REFUSALS);
    r.pid = 1;
    set(&r, refusals, "\"count\":1");
    b = body(&r);
    check(same(&b, "\"type\":\"refusals\",\"pid\":1,\"count\":1"),
          "%.*s", (int) b.len, b.data);

    done("bodies of records");
}


static ngx_str_t
escaped(ngx_str_t value)
{
    ngx_str_t                 b;
    ngx_http_tsface_record_t  r;

    ngx_http_tsface_record_init(&r, NGX_HTTP_TSFACE_RECORD_INTENT);
    r.caller = value;
    b = body(&r);

    /* "type":"intent","caller":"..." */

    b.data += sizeof("\"type\":\"intent\",\"caller\":\"") - 1;
    b.len -= sizeof("\"type\":\"intent\",\"caller\":\"\"") - 1;

    return b;
}


static void
escapes(void)
{
    char        buf[2000], want[16];
    size_t      i, n, unit;
    ngx_str_t   s;
    ngx_uint_t  ch, round;

    static const struct {
        const char  *value;
        size_t       len;
        const char  *escaped;
    } rows[] = {
#define row(v, e)  { v, sizeof(v) - 1, e }
        row("", ""),
        row("plain", "plain"),
        row("/<>&'", "/<>&'"),
        row("\"", "\\\""),
        row("\\", "\\\\"),
        row("a\nb", "a\\u000ab"),
        row("\0", "\\u0000"),
        row("\x1b[31m", "\\u001b[31m"),
        row("\x7f", "\\u007f"),
        row("\xc2\x80\xc2\x9f", "\\u0080\\u009f"),
        row("\xc2\xa0", "\xc2\xa0"),
        row("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
            "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
        row("\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"),
        row("\xe2\x80\xaa\xe2\x80\xae", "\\u202a\\u202e"),
        row("\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf"),
        row("\xe2\x81\xa6\xe2\x81\xa9", "\\u2066\\u2069"),
        row("\xe2\x81\xa5\xe2\x81\xaa", "\xe2\x81\xa5\xe2\x81\xaa"),
        row("\x80", "\\ufffd"),
        row("\xff" "a", "\\ufffda"),
        row("\xc3", "\\ufffd"),
        row("\xc3" "a", "\\ufffda"),
        row("\xc0\x80", "\\ufffd\\ufffd"),
        row("\xe2\x82", "\\ufffd\\ufffd"),
        row("\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"),
        row("\xe0\x80\xaf", "\\ufffd\\ufffd\\ufffd"),
        row("\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"),
        row("\xf0\x9f\x98" "x", "\\ufffd\\ufffd\\ufffdx"),
        row("\",\"mac\":\"", "\\\",\\\"mac\\\":\\\""),
        row("}\n{\"v\":1", "}\\u000a{\\\"v\\\":1")
#undef row
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        s = escaped(bytes(rows[i].value, rows[i].len));
        check(same(&s, rows[i].escaped), "row %zu: %.*s", i, (int) s.len,
              s.data);
    }

    /* every byte, alone and at every place among others */

    for (ch = 0; ch < 256; ch++) {

        if (ch < 0x20 || ch == 0x7f) {
            sprintf(want, "\\u%04lx", ch);

        } else if (ch > 0x7f) {
            sprintf(want, "\\ufffd");

        } else if (ch == '"' || ch == '\\') {
            sprintf(want, "\\%c", (int) ch);

        } else {
            sprintf(want, "%c", (int) ch);
        }

        for (n = 0; n < 20; n++) {
            memset(buf, 'x', n);
            buf[n] = (char) ch;

            s = escaped(bytes(buf, n + 1));

            check(s.len == n + strlen(want)
                  && memcmp(s.data, buf, n) == 0
                  && memcmp(s.data + n, want, strlen(want)) == 0,
                  "%02lx at the end of %zu: %.*s", ch, n, (int) s.len, s.data);

            memset(buf + n + 1, '~', 19 - n);

            s = escaped(bytes(buf, 20));

            check(s.len == 19 + strlen(want)
                  && memcmp(s.data + n, want, strlen(want)) == 0
                  && memcmp(s.data + n + strlen(want), buf + n + 1, 19 - n)
                     == 0,
                  "%02lx at %zu: %.*s", ch, n, (int) s.len, s.data);
        }

        tap_free();
    }

    /* caller holds 512 bytes */

    for (n = 500; n <= 520; n++) {
        memset(buf, 'x', n);
        s = escaped(bytes(buf, n));

        if (n <= 512) {
            check(s.len == n && memcmp(s.data, buf, n) == 0, "%zu", n);
            continue;
        }

        check(s.len == 512 && memcmp(s.data, buf, 509) == 0
              && memcmp(s.data + 509, CUT, 3) == 0, "%zu cut", n);
    }

    /* no character or escape is cut in two, wherever the limit falls */

    for (round = 0; round < 4; round++) {
        static const char  *units[] = {
            "\xf0\x9f\x98\x80", "\xe2\x82\xac", "\n", "\""
        };
        static const char  *written[] = {
            "\xf0\x9f\x98\x80", "\xe2\x82\xac", "\\u000a", "\\\""
        };

        unit = strlen(written[round]);

        for (n = 0; n < 20; n++) {
            size_t  len, k;

            memset(buf, 'x', n);

            for (len = n; len < 1900; len += strlen(units[round])) {
                strcpy(buf + len, units[round]);
            }

            s = escaped(bytes(buf, len));

            check(s.len <= 512 && s.len > 512 - 3 - unit, "%zu bytes",
                  s.len);
            check(memcmp(s.data + s.len - 3, CUT, 3) == 0, "mark");
            check((s.len - 3 - n) % unit == 0, "whole units");

            for (k = n; k < s.len - 3; k += unit) {
                check(memcmp(s.data + k, written[round], unit) == 0,
                      "unit at %zu", k);
            }
        }

        tap_free();
    }

    done("escapes and cuts");
}


/* The fields' limits, and the longest record that there can be. */

static void
limits(void)
{
    size_t                         i, n, total;
    char                          *p;
    ngx_str_t                      b, s, line, members[40];
    u_char                         mac[MAC_LEN];
    ngx_http_tsface_record_t       r;
    ngx_http_tsface_record_key_t  *key;

    static const struct {
        const char  *name;
        size_t       offset;
        size_t       limit;
    } rows[] = {
#define row(name, limit)                                                      \
        { #name, offsetof(ngx_http_tsface_record_t, name), limit }
        row(trail, 64),
        row(host, 256),
        row(request_id, 64),
        row(caller, 512),
        row(operation, 64),
        row(credentials, 128),
        row(region, 32),
        row(endpoint, 272),
        row(client_addr, 128),
        row(server, 256),
        row(method, 32),
        row(uri, 256),
        row(user_hmac, 64),
        row(user_plain, 1024),
        row(token_kind, 16),
        row(token_fingerprint, 64),
        row(result, 32),
        row(reason, 64),
        row(upstream_addr, 128)
#undef row
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {

        for (n = rows[i].limit - 1; n <= rows[i].limit + 1; n++) {
            ngx_http_tsface_record_init(&r, NGX_HTTP_TSFACE_RECORD_OPEN);

            if (strcmp(rows[i].name, "token_fingerprint") == 0) {
                set(&r, token_kind, "k");
            }

            s.data = block(n);
            s.len = n;
            memset(s.data, 'x', n);
            *(ngx_str_t *) ((u_char *) &r + rows[i].offset) = s;

            b = body(&r);
            b = bytes(b.data, b.len);
            b.data[b.len - 1] = '\0';

            p = strstr((char *) b.data, "xx");
            total = p ? strspn(p, "x") : 0;

            check(total == (n <= rows[i].limit ? n : rows[i].limit - 3),
                  "%s: %zu of %zu", rows[i].name, total, n);
            check((strstr((char *) b.data, CUT) != NULL)
                  == (n > rows[i].limit), "%s: mark", rows[i].name);
        }

        tap_free();
    }

    /* names of members: 16 of 64 bytes */

    for (n = 14; n <= 18; n++) {
        ngx_http_tsface_record_init(&r, NGX_HTTP_TSFACE_RECORD_INTENT);

        for (i = 0; i < n; i++) {
            members[i] = text("name");
        }

        r.members = members;
        r.nmembers = n;
        b = body(&r);

        for (i = 0, total = 0; i + 6 <= b.len; i++) {
            total += memcmp(b.data + i, "\"name\"", 6) == 0;
        }

        check(total == (n <= 16 ? n : 16), "%zu members", n);
        check((memcmp(b.data + b.len - 6, "\"" CUT "\"]", 6) == 0)
              == (n > 16), "%zu members, mark", n);
    }

    s.data = block(100);
    s.len = 65;
    memset(s.data, 'x', 65);
    r.members = &s;
    r.nmembers = 1;
    b = body(&r);
    check(b.len == sizeof("\"type\":\"intent\",\"members\":[\"\"]") - 1 + 64,
          "a long name is cut");

    /* a legal user id is never cut */

    s.data = block(512);
    s.len = 512;

    for (n = 0; n < 2; n++) {
        ngx_http_tsface_record_init(&r, NGX_HTTP_TSFACE_RECORD_INTENT);

        for (i = 0; i < 512; i++) {
            s.data[i] = n ? '"' : (u_char) "\xe2\x80\xa8"[i % 3];
        }

        s.len = n ? 512 : 510;
        r.user_plain = s;
        b = body(&r);
        check(b.len == sizeof("\"type\":\"intent\",\"user\":{\"plain\":\"\"}")
                       - 1 + s.len * 2, "%zu bytes", b.len);
    }

    /* everything as long as can be */

    for (n = 0; n < 4; n++) {
        static const char  worst[] = { 'x', '\0', '"', '\xff' };

        ngx_http_tsface_record_init(&r, NGX_HTTP_TSFACE_RECORD_OUTCOME);

        s.len = 4096;
        s.data = block(4096);
        memset(s.data, worst[n], 4096);

        for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            if (strcmp(rows[i].name, "user_hmac")) {
                *(ngx_str_t *) ((u_char *) &r + rows[i].offset) = s;
            }
        }

        for (i = 0; i < 40; i++) {
            members[i] = s;
        }

        r.members = members;
        r.nmembers = 40;
        r.pid = 0x7fffffffffffffffLL;
        r.attempt = r.pid;
        r.token_generation = r.pid;
        r.status = r.pid;
        r.upstream_status = r.pid;
        r.duration_ms = r.pid;
        r.sent = 0;

        b = body(&r);
        key = key_new("0123456789abcdef0123456789abcdef", 32);
        memcpy(mac, ZEROS, MAC_LEN);

        line.data = block(NGX_HTTP_TSFACE_RECORD_MAX);
        line.len = ngx_http_tsface_record_seal(&b, UINT64_MAX,
                                               253402300799999999ULL, key,
                                               mac, line.data,
                                               NGX_HTTP_TSFACE_RECORD_MAX);

        check(line.len > 0, "sealed");

        ngx_http_tsface_record_key_free(key);

        if (n == 0) {
            printf("# longest body %zu of %d, longest line %zu of %d\n",
                   b.len, BODY_MAX, line.len, NGX_HTTP_TSFACE_RECORD_MAX);
        }

        check(b.len > 4000, "%zu", b.len);
    }

    done("limits");
}


static void
hmac(const char *key, size_t klen, const void *data, size_t len, char *hex)
{
    u_char        md[32];
    size_t        i;
    unsigned int  n;

    HMAC(EVP_sha256(), key, (int) klen, data, len, md, &n);

    for (i = 0; i < 32; i++) {
        sprintf(hex + 2 * i, "%02x", md[i]);
    }
}


static void
seal(void)
{
    char                           buf[512], hex[65], stamp[64];
    u_char                         mac[MAC_LEN], *p;
    size_t                         n, size;
    ngx_str_t                      b, line;
    uint64_t                       seq;
    ngx_http_tsface_record_key_t  *key;

    b = text("\"type\":\"open\",\"pid\":1");
    key = key_new("0123456789abcdef0123456789abcdef", 32);

    static const char  want[] =
        "{\"v\":1,\"seq\":42,\"time\":\"2026-11-24T19:30:00.123456Z\","
        "\"type\":\"open\",\"pid\":1";

    memcpy(mac, ZEROS, MAC_LEN);

    n = ngx_http_tsface_record_seal(&b, 42, 1795548600123456ULL, key, mac,
                                    out, sizeof(out));

    sprintf(buf, ZEROS "%s", want);
    hmac("0123456789abcdef0123456789abcdef", 32, buf, strlen(buf), hex);

    sprintf(buf, "%s,\"mac\":\"%s\"}\n", want, hex);
    line = bytes(out, n);
    check(same(&line, buf), "%.*s", (int) line.len, line.data);
    check(memcmp(mac, hex, MAC_LEN) == 0, "mac");

    /* the next one is over this one's */

    snprintf(buf, sizeof(buf), "%.64s{\"v\":1,\"seq\":43,\"time\":"
             "\"1970-01-01T00:00:00.000000Z\",\"type\":\"open\",\"pid\":1",
             hex);
    hmac("0123456789abcdef0123456789abcdef", 32, buf, strlen(buf), hex);
    n = ngx_http_tsface_record_seal(&b, 43, 0, key, mac, out, sizeof(out));
    check(n && memcmp(mac, hex, MAC_LEN) == 0, "second mac");

    /* what does not fit leaves mac as it is */

    for (size = 0; size < n + 3; size++) {
        p = block(size);
        memcpy(mac, ZEROS, MAC_LEN);
        check(ngx_http_tsface_record_seal(&b, 43, 0, key, mac, p, size)
              == (size < n ? 0 : n), "size %zu", size);
        check((memcmp(mac, ZEROS, MAC_LEN) == 0) == (size < n), "mac");
    }

    memcpy(mac, ZEROS, MAC_LEN);

    check(ngx_http_tsface_record_seal(&b, 1, 0, NULL, mac, out, sizeof(out))
          == 0, "no key");

    b.len = 0;
    check(ngx_http_tsface_record_seal(&b, 1, 0, key, mac, out, sizeof(out))
          == 0, "no body");

    b.data = block(BODY_MAX + 1);
    memset(b.data, 'x', BODY_MAX + 1);
    b.len = BODY_MAX + 1;
    check(ngx_http_tsface_record_seal(&b, 1, 0, key, mac, block(20000),
                                      20000) == 0, "body too long");

    b.len = 1;
    check(ngx_http_tsface_record_seal(&b, 1, 253402300800000000ULL, key,
                                      mac, out, sizeof(out)) == 0,
          "the year 10000");
    check(ngx_http_tsface_record_seal(&b, 1, UINT64_MAX, key, mac, out,
                                      sizeof(out)) == 0, "end of time");
    check(memcmp(mac, ZEROS, MAC_LEN) == 0, "mac unchanged");

    /* times, against the C library: every day until 9999, then at random */

    b = text("\"type\":\"open\"");

    for (size = 0; size < 2932897 + 20000; size++) {
        struct tm  tm;
        time_t     t;
        uint64_t   us;

        if (size < 2932897) {

            if (size % 7 && size > 60000) {
                continue;
            }

            us = (uint64_t) size * 86400000000ULL
                 + (size & 1 ? 86399999999ULL : 0);

        } else {
            us = below(253402300800000000ULL);
        }

        t = (time_t) (us / 1000000);
        gmtime_r(&t, &tm);
        strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%S", &tm);

        if (tm.tm_year > 9999 - 1900) {
            continue;
        }

        snprintf(stamp, sizeof(stamp), "%.20s.%06uZ", buf,
                 (unsigned) (us % 1000000));

        n = ngx_http_tsface_record_seal(&b, 1, us, key, mac, out,
                                        sizeof(out));
        check(n && memcmp(out + 23, stamp, 27) == 0, "%s: %.27s", stamp,
              out + 23);

        if (size > 30000 && size < 2932897) {
            size += 96;
        }
    }

    /* numbers */

    for (size = 0; size < 200; size++) {
        seq = size < 64 ? (uint64_t) 1 << size
              : size < 128 ? ((uint64_t) 1 << (size - 64)) - 1 : rnd();

        n = ngx_http_tsface_record_seal(&b, seq, 0, key, mac, out,
                                        sizeof(out));
        sprintf(buf, "{\"v\":1,\"seq\":%llu,\"time\"",
                (unsigned long long) seq);
        check(n && memcmp(out, buf, strlen(buf)) == 0, "%s", buf);
    }

    ngx_http_tsface_record_key_free(key);

    done("seals");
}


static void
chain(void)
{
    size_t                         i, n, len[50];
    u_char                         mac[MAC_LEN], macs[51][MAC_LEN];
    u_char                         got[MAC_LEN];
    u_char                         lines[50][NGX_HTTP_TSFACE_RECORD_MAX];
    uint64_t                       seq, first;
    ngx_str_t                      b, line, members[2];
    ngx_uint_t                     bit;
    ngx_http_tsface_record_t       r;
    ngx_http_tsface_record_key_t  *key, *other;

    key = key_new("an audit key of at least 32 bytes", 33);
    other = key_new("an audit key of at least 32 byteS", 33);

    members[0] = bytes("\xff\"\n", 3);
    members[1] = text(",\"mac\":\"" ZEROS "\"}");

    memcpy(mac, ZEROS, MAC_LEN);
    first = UINT64_MAX - 49;

    for (i = 0; i < 50; i++) {
        memcpy(macs[i], mac, MAC_LEN);

        fill(&r, members);
        r.attempt = i;
        b = body(&r);

        len[i] = ngx_http_tsface_record_seal(&b, first + i,
                                             rnd() % 253402300800000000ULL,
                                             key, mac, lines[i],
                                             sizeof(lines[i]));

        check(len[i] > 0 && lines[i][len[i] - 1] == '\n', "line %zu", i);
        check(memchr(lines[i], '\n', len[i] - 1) == NULL, "one line");
        len[i]--;
    }

    memcpy(macs[50], mac, MAC_LEN);

    for (i = 0; i < 50; i++) {
        line = bytes(lines[i], len[i]);

        check(ngx_http_tsface_record_parse_tail(&line, &seq, got) == NGX_OK
              && seq == first + i
              && memcmp(got, macs[i + 1], MAC_LEN) == 0, "tail %zu", i);

        check(ngx_http_tsface_record_verify(&line, key, macs[i]) == NGX_OK,
              "line %zu", i);
        check(ngx_http_tsface_record_verify(&line, other, macs[i])
              == NGX_DECLINED, "line %zu, other key", i);

        for (n = 0; n <= 50; n++) {
            if (n != i) {
                check(ngx_http_tsface_record_verify(&line, key, macs[n])
                      == NGX_DECLINED, "line %zu after %zu", i, n);
            }
        }
    }

    tap_free();

    /* every bit of a line and of the previous mac counts */

    for (n = 0; n < len[7]; n++) {
        for (bit = 0; bit < 8; bit++) {
            line = bytes(lines[7], len[7]);
            line.data[n] ^= (u_char) (1 << bit);

            check(ngx_http_tsface_record_verify(&line, key, macs[7])
                  == NGX_DECLINED, "bit %lu of byte %zu", bit, n);
        }

        if (n % 100 == 0) {
            tap_free();
        }
    }

    line = bytes(lines[7], len[7]);

    for (n = 0; n < MAC_LEN; n++) {
        memcpy(got, macs[7], MAC_LEN);
        got[n] ^= 1;
        check(ngx_http_tsface_record_verify(&line, key, got)
              == NGX_DECLINED, "previous mac, byte %zu", n);
    }

    /* no part of a line is one, and nothing may be around it */

    for (n = 0; n < len[7]; n++) {
        line = bytes(lines[7], n);
        check(ngx_http_tsface_record_parse_tail(&line, &seq, got)
              == NGX_ERROR, "%zu bytes", n);
        check(ngx_http_tsface_record_verify(&line, key, macs[7])
              == NGX_DECLINED, "%zu bytes", n);

        if (n) {
            line = bytes(lines[7] + n, len[7] - n);
            check(ngx_http_tsface_record_parse_tail(&line, &seq, got)
                  == NGX_ERROR, "from byte %zu", n);
        }
    }

    line = bytes(lines[7], len[7] + 1);
    check(ngx_http_tsface_record_parse_tail(&line, &seq, got) == NGX_ERROR,
          "with its line feed");

    /* a line without its key */

    line = bytes(lines[7], len[7]);
    check(ngx_http_tsface_record_verify(&line, NULL, macs[7])
          == NGX_DECLINED, "no key");

    ngx_http_tsface_record_key_free(key);
    ngx_http_tsface_record_key_free(other);

    done("chain");
}


static void
tails(void)
{
    char       buf[9000];
    size_t     i;
    u_char     mac[MAC_LEN];
    uint64_t   seq;
    ngx_int_t  rc;
    ngx_str_t  line;

#define T  "\"2026-11-24T19:30:00.123456Z\""
#define M  ",\"mac\":\"" ZEROS "\"}"
#define S  "{\"v\":1,\"seq\":1,\"time\":" T ",\"type\":\""

    static const struct {
        const char  *line;
        ngx_int_t    rc;
        uint64_t     seq;
    } rows[] = {
        { "{\"v\":1,\"seq\":1,\"time\":" T ",\"type\":\"x\"" M, NGX_OK, 1 },
        { "{\"v\":1,\"seq\":0,\"time\":" T ",\"type\":\"x\"" M, NGX_OK, 0 },
        { "{\"v\":1,\"seq\":18446744073709551615,\"time\":" T
          ",\"type\":\"x\"" M, NGX_OK, UINT64_MAX },
        { "{\"v\":1,\"seq\":18446744073709551616,\"time\":" T
          ",\"type\":\"x\"" M, NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":28446744073709551615,\"time\":" T
          ",\"type\":\"x\"" M, NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":99999999999999999999999,\"time\":" T
          ",\"type\":\"x\"" M, NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":01,\"time\":" T ",\"type\":\"x\"" M, NGX_ERROR,
          0 },
        { "{\"v\":1,\"seq\":,\"time\":" T ",\"type\":\"x\"" M, NGX_ERROR,
          0 },
        { "{\"v\":1,\"seq\":-1,\"time\":" T ",\"type\":\"x\"" M, NGX_ERROR,
          0 },
        { "{\"v\":2,\"seq\":1,\"time\":" T ",\"type\":\"x\"" M, NGX_ERROR,
          0 },
        { "{\"v\":1,\"seq\": 1,\"time\":" T ",\"type\":\"x\"" M, NGX_ERROR,
          0 },
        { "{\"v\":1,\"seq\":1,\"time\":\"2026-11-24T19:30:00.12345Z\","
          "\"type\":\"x\"" M, NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":1,\"time\":\"2026-11-24 19:30:00.123456Z\","
          "\"type\":\"x\"" M, NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":1,\"time\":\"2026-11-2dT19:30:00.123456Z\","
          "\"type\":\"x\"" M, NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":1,\"type\":\"x\"" M, NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":1,\"time\":" T ",\"kind\":\"x\"" M, NGX_ERROR,
          0 },
        { "{\"v\":1,\"seq\":1,\"time\":" T M, NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":1" M, NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":1,\"time\":" T ",\"type\":\"x\"" M " ",
          NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":1,\"time\":" T ",\"type\":\"x\"" M "}",
          NGX_ERROR, 0 },
        { " {\"v\":1,\"seq\":1,\"time\":" T ",\"type\":\"x\"" M, NGX_ERROR,
          0 },
        { "{\"v\":1,\"seq\":1,\"time\":" T ",\"type\":\"x\",\"mac\":\""
          "A000000000000000000000000000000000000000000000000000000000000000"
          "\"}", NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":1,\"time\":" T ",\"type\":\"x\",\"mac\":\""
          "g000000000000000000000000000000000000000000000000000000000000000"
          "\"}", NGX_ERROR, 0 },
        { "{\"v\":1,\"seq\":1,\"time\":" T ",\"type\":\"x\",\"mac\":\""
          "000000000000000000000000000000000000000000000000000000000000000"
          "\"}", NGX_ERROR, 0 },
        { "", NGX_ERROR, 0 },
        { M, NGX_ERROR, 0 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        line = text(rows[i].line);
        seq = 0;
        rc = ngx_http_tsface_record_parse_tail(&line, &seq, mac);
        check(rc == rows[i].rc && seq == rows[i].seq, "row %zu: %s", i,
              rows[i].line);
    }

    /* longer than any line that is written */

    for (i = 8191; i <= 8193; i++) {
        memset(buf, 'x', sizeof(buf));
        memcpy(buf, S, sizeof(S) - 1);
        memcpy(buf + i - sizeof(M) + 1, M, sizeof(M) - 1);
        line = bytes(buf, i);
        check(ngx_http_tsface_record_parse_tail(&line, &seq, mac)
              == (i < 8192 ? NGX_OK : NGX_ERROR), "%zu bytes", i);
    }

    done("tails");
}


static void
fingerprints(void)
{
    char                           hex[65], buf[70000];
    size_t                         n, len;
    u_char                         got[64], *secret;
    ngx_str_t                      value;
    ngx_http_tsface_record_key_t  *key;

    static const size_t  lens[] = { 0, 1, 20, 1000, 8192, 65536 };

    for (len = 0; len < sizeof(lens) / sizeof(lens[0]); len++) {
        for (n = 1; n <= 200; n += 33) {
            ngx_uint_t  i;

            secret = block(n);
            value.data = block(lens[len]);
            value.len = lens[len];

            for (i = 0; i < n; i++) {
                secret[i] = (u_char) rnd();
            }

            for (i = 0; i < value.len; i++) {
                value.data[i] = (u_char) rnd();
            }

            memcpy(buf, "tsface token", 13);
            memcpy(buf + 13, value.data, value.len);
            hmac((char *) secret, n, buf, 13 + value.len, hex);
            key = key_new(secret, n);

            /* more than once: each MAC starts anew */

            for (i = 0; i < 3; i++) {
                check(ngx_http_tsface_record_fingerprint(key, "tsface token",
                                                         &value, got, 64)
                      == NGX_OK && memcmp(got, hex, 64) == 0, "key %zu, value "
                      "%zu", n, value.len);
            }

            ngx_http_tsface_record_key_free(key);
        }
    }

    key = key_new("Jefe", 4);
    value = text("what do ya want for nothing?");

    for (n = 0; n <= 64; n++) {
        memset(got, '#', 64);
        memcpy(buf, "tsface user", 12);
        memcpy(buf + 12, value.data, value.len);
        hmac("Jefe", 4, buf, 12 + value.len, hex);

        check(ngx_http_tsface_record_fingerprint(key, "tsface user", &value,
                                                 got, n) == NGX_OK
              && memcmp(got, hex, n) == 0 && (n == 64 || got[n] == '#'),
              "%zu digits", n);
    }

    check(ngx_http_tsface_record_fingerprint(key, "tsface user", &value,
                                             got, 65) == NGX_ERROR,
          "too many digits");

    check(ngx_http_tsface_record_fingerprint(NULL, "tsface user", &value,
                                             got, 16) == NGX_ERROR, "no key");

    ngx_http_tsface_record_key_free(key);
    ngx_http_tsface_record_key_free(NULL);

    value.len = 0;
    check(ngx_http_tsface_record_key_new(&value) == NULL, "an empty key");

    done("fingerprints");
}


/* Whatever the strings hold, the line is JSON with the members expected. */

static void
random_records(void)
{
    size_t                          i, size;
    u_char                          mac[MAC_LEN], before[MAC_LEN];
    u_char                         *p;
    ngx_str_t                       b, line, s, members[20];
    ngx_uint_t                      round;
    ngx_http_tsface_json_t          json;
    ngx_http_tsface_record_t        r;
    ngx_http_tsface_record_key_t   *key;
    ngx_http_tsface_json_member_t  *m;

    static const char  nasty[] = "\"\\\n\r\x7f\xc2\x80\xe2\x80\xa8\xff"
                                 "\xf0\x9f\x98\x80,:{}[]mac";

    memcpy(mac, ZEROS, MAC_LEN);

    key = key_new("0123456789abcdef0123456789abcdef", 32);

    for (round = 0; round < 4000; round++) {

        ngx_http_tsface_record_init(&r,
                                    (ngx_http_tsface_record_type_e) below(5));

#define random_string(str)                                                    \
        do {                                                                  \
            (str)->len = below(below(5) ? 30 : 1500);                         \
            (str)->data = block((str)->len);                                  \
            for (i = 0; i < (str)->len; i++) {                                \
                (str)->data[i] = (u_char) (below(2)                           \
                                 ? (u_char) nasty[below(sizeof(nasty) - 1)]   \
                                 : rnd());                                    \
                /* NUL is written as well, but the reader refuses it */       \
                (str)->data[i] |= ((str)->data[i] == 0);                      \
            }                                                                 \
        } while (0)

        random_string(&r.trail);
        random_string(&r.caller);
        random_string(&r.operation);
        random_string(&r.uri);
        random_string(&r.server);
        random_string(&r.user_plain);
        random_string(&r.token_kind);
        random_string(&r.reason);

        r.nmembers = below(20);
        r.members = members;

        for (size = 0; size < r.nmembers; size++) {
            random_string(&members[size]);
        }

        r.status = (ngx_int_t) below(600);
        r.sent = (ngx_int_t) below(3) - 1;

        b = body(&r);

        memcpy(before, mac, MAC_LEN);
        p = block(NGX_HTTP_TSFACE_RECORD_MAX);
        line.len = ngx_http_tsface_record_seal(&b, round, below(1ULL << 50),
                                               key, mac, p,
                                               NGX_HTTP_TSFACE_RECORD_MAX);

        if (!check(line.len > 0 && p[line.len - 1] == '\n', "sealed")) {
            continue;
        }

        line = bytes(p, line.len - 1);

        check(ngx_http_tsface_record_verify(&line, key, before) == NGX_OK,
              "verified");

        for (i = 0; i < line.len; i++) {
            check(line.data[i] >= 0x20 && line.data[i] != 0x7f,
                  "no control character");
        }

        size = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(line.len);

        check(ngx_http_tsface_json_read(&json, &line, block(size), size)
              == NGX_HTTP_TSFACE_JSON_OK, "JSON");

        m = ngx_http_tsface_json_find(&json, "mac");
        check(m && m->value.len == MAC_LEN
              && memcmp(m->value.data, mac, MAC_LEN) == 0, "mac");

        check(json.nmembers == 4u + 8 + 1 + 1 + (r.sent >= 0) + 1,
              "%lu members", json.nmembers);

        m = ngx_http_tsface_json_find(&json, "caller");
        s = m->value;
        check(ngx_http_tsface_utf8_valid(&s, 0), "valid UTF-8");

        tap_free();
    }

    ngx_http_tsface_record_key_free(key);

    done("random records");
}


int
main(void)
{
    bodies();
    escapes();
    limits();
    seal();
    chain();
    tails();
    fingerprints();
    random_records();

    return tap_end();
}
