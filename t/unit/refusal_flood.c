
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: refusal_flood.c gcra.c problem.c record.c record_text.c record_line.c
         record_mac.c json.c */


#include "tap.h"

#include "ngx_http_tsface_json.h"
#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_refusal_flood.h"


#define SECOND  1000000ULL

/* 2026-11-24T20:19:05.421818Z */
#define NOW     1795551545421818ULL

#define CUT     "\xe2\x80\xa6"


static u_char                   out[NGX_HTTP_TSFACE_RECORD_MAX];
static ngx_http_tsface_flood_t  flood;


static void
add(ngx_http_tsface_problem_e reason, const char *addr, const char *caller,
    uint64_t usec)
{
    ngx_str_t  a, c;

    a = text(addr);
    c = text(caller);

    ngx_http_tsface_flood_add(&flood, reason, &a, &c, usec);

    /* nothing of them need stay */

    memset(a.data, '#', a.len);
    memset(c.data, '#', c.len);
    tap_free();
}


static const char *
written(void)
{
    u_char  *p;

    memset(out, '#', sizeof(out));

    p = ngx_http_tsface_flood_write(out, &flood);

    check(p - out <= NGX_HTTP_TSFACE_FLOOD_MAX, "%td bytes", p - out);
    check(*p == '#', "nothing behind it");
    *p = '\0';

    return (const char *) out;
}


static void
rates(void)
{
    uint64_t                tat, now, i, n, over;
    ngx_http_tsface_gcra_t  gcra;

    memset(&gcra, 0, sizeof(gcra));
    gcra.rate = 10;
    gcra.period = 1;
    ngx_http_tsface_gcra_init(&gcra, 100);

    tat = 0;
    now = 5 * SECOND;
    over = 0;

    for (i = 0; i < 1000; i++) {
        over += ngx_http_tsface_flood_over(&gcra, &tat, now);
    }

    check(over == 1000 - 101, "burst + 1 at once: %d over", (int) over);

    /* a thousand a second for a minute: ten of each */

    n = 0;

    for (i = 1; i <= 60000; i++) {
        n += !ngx_http_tsface_flood_over(&gcra, &tat, now + i * 1000);
    }

    check(n == 600, "%d in a minute", (int) n);

    /* a pause gives the whole burst back */

    n = 0;

    for (i = 0; i < 1000; i++) {
        n += !ngx_http_tsface_flood_over(&gcra, &tat, now + 3600 * SECOND);
    }

    check(n == 101, "%d after a pause", (int) n);

    done("rates");
}


static void
counts(void)
{
    int          i;
    char         name[32];
    const char  *got;

    memset(&flood, 0, sizeof(flood));

    add(NGX_HTTP_TSFACE_PROBLEM_LIMITED, "10.0.0.1", "CN=a", NOW + 5);
    add(NGX_HTTP_TSFACE_PROBLEM_NO_CALLER, "10.0.0.2", "", NOW + 7);
    add(NGX_HTTP_TSFACE_PROBLEM_NO_CALLER, "10.0.0.1", "", NOW);
    add(NGX_HTTP_TSFACE_PROBLEM_NO_CALLER, "10.0.0.1", "", NOW + 6);

    got = written();

    check(strcmp(got,
                 "\"count\":4,\"reasons\":{\"no_caller\":3,\"limited\":1},"
                 "\"first\":\"2026-11-24T20:19:05.421818Z\","
                 "\"last\":\"2026-11-24T20:19:05.421825Z\","
                 "\"client_addrs\":[\"10.0.0.1\",\"10.0.0.2\"],"
                 "\"callers\":[\"CN=a\"]") == 0, "%s", got);

    /* eight names, whatever comes */

    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "x%d\n\"", i % 9);
        add(NGX_HTTP_TSFACE_PROBLEM_LIMITED, "10.0.0.1", name, NOW);
    }

    got = written();

    check(strstr(got, "\"count\":104,") != NULL, "%s", got);
    check(strstr(got, "\"limited\":101}") != NULL, "%s", got);
    check(strstr(got, "\"client_addrs\":[\"10.0.0.1\",\"10.0.0.2\"],") != NULL,
          "%s", got);
    check(strstr(got, "\"callers\":[\"CN=a\",\"x0\\u000a\\\"\","
                      "\"x1\\u000a\\\"\",\"x2\\u000a\\\"\",\"x3\\u000a\\\"\","
                      "\"x4\\u000a\\\"\",\"x5\\u000a\\\"\",\"x6\\u000a\\\"\","
                      "\"" CUT "\"]") != NULL, "%s", got);

    done("counts");
}


static void
merges(void)
{
    ngx_http_tsface_flood_t  other, none;

    memset(&none, 0, sizeof(none));
    memset(&flood, 0, sizeof(flood));

    add(NGX_HTTP_TSFACE_PROBLEM_LIMITED, "a", "x", NOW + 5);
    add(NGX_HTTP_TSFACE_PROBLEM_QUERY, "b", "y", NOW + 9);

    other = flood;
    memset(&flood, 0, sizeof(flood));

    /* with nothing, either way */

    ngx_http_tsface_flood_merge(&flood, &none);
    check(memcmp(&flood, &none, sizeof(none)) == 0, "nothing to nothing");

    ngx_http_tsface_flood_merge(&flood, &other);
    check(flood.count == 2 && flood.first == NOW + 5 && flood.last == NOW + 9,
          "to nothing");

    ngx_http_tsface_flood_merge(&flood, &none);
    check(flood.count == 2 && flood.first == NOW + 5, "nothing to it");

    add(NGX_HTTP_TSFACE_PROBLEM_QUERY, "c", "y", NOW + 11);
    add(NGX_HTTP_TSFACE_PROBLEM_QUERY, "a", "y", NOW + 3);

    ngx_http_tsface_flood_merge(&flood, &other);

    check(strcmp(written(),
                 "\"count\":6,\"reasons\":{\"query\":4,\"limited\":2},"
                 "\"first\":\"2026-11-24T20:19:05.421821Z\","
                 "\"last\":\"2026-11-24T20:19:05.421829Z\","
                 "\"client_addrs\":[\"a\",\"b\",\"c\"],"
                 "\"callers\":[\"x\",\"y\"]") == 0, "%s", out);

    /* others stay others */

    other.callers.more = 1;
    other.first = NOW + 1;
    other.last = NOW + 20;
    ngx_http_tsface_flood_merge(&flood, &other);
    check(flood.first == NOW + 1 && flood.last == NOW + 20, "earlier, later");
    check(strstr(written(), "\"callers\":[\"x\",\"y\",\"" CUT "\"]") != NULL,
          "%s", out);

    done("merges");
}


/* The largest record there can be, and any bytes in names. */

static void
records(void)
{
    size_t                     len, n;
    u_char                     mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char                     line[NGX_HTTP_TSFACE_RECORD_MAX];
    u_char                     room[NGX_HTTP_TSFACE_RECORD_BODY_MAX];
    static u_char              arena[NGX_HTTP_TSFACE_JSON_ARENA_SIZE(8192)];
    ngx_str_t                  name, body, json_text, key_value;
    ngx_uint_t                 i, k, round;
    ngx_http_tsface_json_t     json;
    ngx_http_tsface_record_t   record;
    ngx_http_tsface_record_key_t   *key;
    ngx_http_tsface_json_member_t  *member;

    key_value = text("0123456789abcdef0123456789abcdef");
    key = ngx_http_tsface_record_key_new(&key_value);
    check(key != NULL, "a key");

    for (round = 0; round < 2000; round++) {

        memset(&flood, 0, sizeof(flood));

        for (i = 0; i < 12; i++) {
            n = round ? below(600) : 512;
            name.data = block(n);
            name.len = n;

            for (k = 0; k < n; k++) {
                name.data[k] = round ? (u_char) (1 + below(255))
                                     : (u_char) (1 + i);
            }

            ngx_http_tsface_flood_add(&flood, i, &name, &name, NOW);
        }

        if (round == 0) {
            for (i = 0; i < NGX_HTTP_TSFACE_NPROBLEMS; i++) {
                flood.reasons[i] = UINT64_MAX;
            }
            flood.count = UINT64_MAX;
        }

        ngx_http_tsface_record_init(&record, NGX_HTTP_TSFACE_RECORD_REFUSALS);
        record.refusals.data = out;
        record.refusals.len = ngx_http_tsface_flood_write(out, &flood) - out;
        check(record.refusals.len <= NGX_HTTP_TSFACE_FLOOD_MAX, "%zu bytes",
              record.refusals.len);

        record.trail = text("revokes");
        record.pid = 1;

        body.data = room;
        body.len = ngx_http_tsface_record_body(&record, room, sizeof(room));
        check(body.len > record.refusals.len, "a body");

        memset(mac, '0', sizeof(mac));
        len = ngx_http_tsface_record_seal(&body, 1, NOW, key, mac, line,
                                          sizeof(line));
        check(len > 0 && line[len - 1] == '\n'
              && memchr(line, '\n', len) == line + len - 1, "one line");

        json_text.data = line;
        json_text.len = len - 1;

        check(ngx_http_tsface_json_read(&json, &json_text, arena,
                                        sizeof(arena))
              == NGX_HTTP_TSFACE_JSON_OK, "it is JSON: %.*s", (int) len, line);

        member = ngx_http_tsface_json_find(&json, "type");
        check(member && same(&member->value, "refusals"), "its type");

        tap_free();
    }

    /* what does not fit is no record */

    memset(&flood, 0, sizeof(flood));
    add(NGX_HTTP_TSFACE_PROBLEM_QUERY, "a", "", NOW);
    ngx_str_null(&record.trail);
    record.refusals.len = NGX_HTTP_TSFACE_RECORD_BODY_MAX;
    check(ngx_http_tsface_record_body(&record, room, sizeof(room)) == 0,
          "too long");

    ngx_http_tsface_record_key_free(key);

    done("records");
}


int
main(void)
{
    rates();
    counts();
    merges();
    records();

    return tap_end();
}
