
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The audit record.  Lines of the input are the strings of a record, with any
 * bytes in them; whatever they are, the line written must be one line of JSON
 * that says what it was given and that the chain accepts, and no other.  The
 * input is also read as a line of a trail.
 */

/* link: record.c record_text.c record_mac.c record_line.c json.c */


#include "fuzz.h"

#include "ngx_http_tsface_json.h"
#include "ngx_http_tsface_record.h"


#define MAX_MEMBERS  24

#define CUT          "\xe2\x80\xa6"
#define REPLACEMENT  "\xef\xbf\xbd"
#define NUL          "\xee\x80\x80"        /* U+E000 */


/* The strings of a record, with the limits that docs/audit.md gives. */
static const struct {
    const char  *name;
    size_t       offset;
    size_t       limit;
} strings[] = {

#define row(name, limit)                                                      \
    { #name, offsetof(ngx_http_tsface_record_t, name), limit }

    row(caller, 512),
    row(uri, 256),
    row(method, 32),
    row(request_id, 64),
    row(trace_id, 32),
    row(parent_id, 16),
    row(server, 256),
    row(client_addr, 128),
    row(credentials, 128),
    row(endpoint, 272),
    row(upstream_addr, 128),
    row(reason, 64)
};

#define NSTRINGS  (sizeof(strings) / sizeof(strings[0]))


static ngx_http_tsface_record_key_t  *key;
static ngx_http_tsface_json_t         json;


/* The next line of the input, in a block of its own; NULL data at its end. */

static ngx_str_t
next_line(const uint8_t **p, const uint8_t *last)
{
    ngx_str_t       str;
    const uint8_t  *lf;

    ngx_str_null(&str);

    if (*p == last) {
        return str;
    }

    lf = memchr(*p, '\n', last - *p);

    str = fuzz_copy(*p, (lf ? lf : last) - *p);

    *p = lf ? lf + 1 : last;

    return str;
}


/*
 * What a reader of JSON gets for the bytes of value: themselves, but for those
 * that are no UTF-8, and for NUL (see no_nul()).
 */

static ngx_str_t
readable(const ngx_str_t *value)
{
    size_t     i, n;
    ngx_str_t  out, piece;

    out.data = fuzz_alloc(value->len * 3);
    out.len = 0;

    for (i = 0; i < value->len; i += n) {

        for (n = 1; n <= 4 && n <= value->len - i; n++) {
            piece.data = value->data + i;
            piece.len = n;

            if (ngx_http_tsface_utf8_valid(&piece, 0)) {
                break;
            }
        }

        if (value->data[i] == '\0') {
            memcpy(out.data + out.len, NUL, 3);
            out.len += 3;

        } else if (n <= 4 && n <= value->len - i) {
            memcpy(out.data + out.len, piece.data, n);
            out.len += n;

        } else {
            memcpy(out.data + out.len, REPLACEMENT, 3);
            out.len += 3;
            n = 1;
        }
    }

    return out;
}


/* member has value, or its beginning and the mark of a cut. */

static void
check_string(const char *name, const ngx_str_t *value, size_t limit)
{
    size_t                          len;
    ngx_str_t                       want;
    ngx_http_tsface_json_member_t  *member;

    member = ngx_http_tsface_json_find(&json, name);

    if (value->data == NULL) {
        must(member == NULL);
        return;
    }

    must(member != NULL && member->type == NGX_HTTP_TSFACE_JSON_STRING);
    must(member->value.len <= limit);

    want = readable(value);
    len = member->value.len;

    if (!fuzz_same(&want, &member->value)) {

        /* an escape takes at most six bytes for one */

        must(value->len > limit / 6 && len >= sizeof(CUT) - 1);

        len -= sizeof(CUT) - 1;

        must(memcmp(member->value.data + len, CUT, sizeof(CUT) - 1) == 0);
        must(len < want.len && memcmp(member->value.data, want.data, len) == 0);
    }

    free(want.data);
}


/* The module's reader refuses the escape of NUL, so it gets another. */

static void
no_nul(ngx_str_t *str)
{
    u_char  *p, *last;

    last = str->data + str->len;

    for (p = str->data; last - p >= 6; p++) {

        if (*p != '\\') {
            continue;
        }

        p++;

        if (memcmp(p, "u0000", 5) == 0) {
            p[1] = 'e';
        }
    }
}


/* One line of printable text, and an object with the strings of record. */

static void
check_line(const ngx_http_tsface_record_t *record, const ngx_str_t *line)
{
    size_t                          i, size;
    u_char                         *arena;
    ngx_str_t                       str;
    ngx_http_tsface_json_member_t  *member;

    must(ngx_http_tsface_utf8_valid(line, 1));

    str = fuzz_copy(line->data, line->len);
    no_nul(&str);

    size = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(str.len);
    arena = fuzz_alloc(size);

    must(ngx_http_tsface_json_read(&json, &str, arena, size)
         == NGX_HTTP_TSFACE_JSON_OK);

    for (i = 0; i < NSTRINGS; i++) {
        check_string(strings[i].name,
                     (const ngx_str_t *) (const void *)
                     ((const u_char *) record + strings[i].offset),
                     strings[i].limit);
    }

    member = ngx_http_tsface_json_find(&json, "members");
    must(member != NULL && member->type == NGX_HTTP_TSFACE_JSON_ARRAY);

    member = ngx_http_tsface_json_find(&json, "user");
    must((member != NULL) == (record->user_plain.data != NULL));

    free(arena);
    free(str.data);
}


/* The line follows from previous, and no longer does when a bit of it flips. */

static void
check_chain(ngx_str_t *str, const u_char *previous, const u_char *mac,
    uint64_t seq, uint32_t *random)
{
    size_t    i, place;
    u_char    bit;
    uint64_t  n;
    u_char    tail[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    must(ngx_http_tsface_record_parse_tail(str, &n, tail) == NGX_OK);
    must(n == seq);
    must(memcmp(tail, mac, sizeof(tail)) == 0);
    must(ngx_http_tsface_record_verify(str, key, previous) == NGX_OK);

    for (i = 0; i < 3; i++) {
        place = fuzz_next(random) % str->len;
        bit = 1 << fuzz_next(random) % 8;

        str->data[place] ^= bit;
        must(ngx_http_tsface_record_verify(str, key, previous)
             == NGX_DECLINED);
        str->data[place] ^= bit;
    }

    str->len--;
    must(ngx_http_tsface_record_verify(str, key, previous) == NGX_DECLINED);
    str->len++;
}


static void
write_record(const uint8_t *data, size_t size)
{
    size_t                     i, len;
    u_char                    *exact;
    uint32_t                   random;
    uint64_t                   seq;
    ngx_str_t                  body, sealed;
    const uint8_t             *p, *last;
    ngx_str_t                 *string;
    ngx_http_tsface_record_t   record;
    ngx_str_t                  members[MAX_MEMBERS];
    u_char                     mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char                     previous[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char                     buf[NGX_HTTP_TSFACE_RECORD_MAX];

    random = fuzz_hash(data, size);

    ngx_http_tsface_record_init(&record, random % 5);

    p = data;
    last = data + size;

    for (i = 0; i < NSTRINGS; i++) {
        string = (ngx_str_t *) (void *)
                 ((u_char *) &record + strings[i].offset);
        *string = next_line(&p, last);
    }

    record.user_plain = next_line(&p, last);
    record.token_kind = next_line(&p, last);
    record.token_fingerprint = next_line(&p, last);
    record.members = members;
    record.status = fuzz_next(&random);
    record.token_generation = fuzz_next(&random);
    record.sent = fuzz_next(&random) % 2;

    for (i = 0; i < MAX_MEMBERS; i++) {
        members[i] = next_line(&p, last);

        if (members[i].data == NULL) {
            break;
        }
    }

    record.nmembers = i;

    /* "always suffices" */

    body.data = fuzz_alloc(NGX_HTTP_TSFACE_RECORD_MAX
                           - NGX_HTTP_TSFACE_RECORD_ENVELOPE);
    body.len = ngx_http_tsface_record_body(&record, body.data,
                                           NGX_HTTP_TSFACE_RECORD_MAX
                                           - NGX_HTTP_TSFACE_RECORD_ENVELOPE);
    must(body.len > 0);

    /* and what it wrote is enough, one byte less is not */

    exact = fuzz_alloc(body.len);

    must(ngx_http_tsface_record_body(&record, exact, body.len) == body.len);
    must(memcmp(exact, body.data, body.len) == 0);
    must(ngx_http_tsface_record_body(&record, exact, body.len - 1) == 0);

    free(exact);

    memset(previous, '0', sizeof(previous));
    memcpy(mac, previous, sizeof(mac));
    seq = (uint64_t) fuzz_next(&random) << 32 | fuzz_next(&random);

    len = ngx_http_tsface_record_seal(&body, seq,
                                      1700000000000000ULL
                                      + fuzz_next(&random),
                                      key, mac, buf, sizeof(buf));

    must(len > body.len && len <= sizeof(buf) && buf[len - 1] == '\n');

    sealed = fuzz_copy(buf, len - 1);

    check_line(&record, &sealed);
    check_chain(&sealed, previous, mac, seq, &random);

    for (i = 0; i < NSTRINGS; i++) {
        free(((ngx_str_t *) (void *)
              ((u_char *) &record + strings[i].offset))->data);
    }

    for (i = 0; i < record.nmembers; i++) {
        free(members[i].data);
    }

    free(record.user_plain.data);
    free(record.token_kind.data);
    free(record.token_fingerprint.data);
    free(sealed.data);
    free(body.data);
}


/* A line that somebody else may have written. */

static void
read_line(const uint8_t *data, size_t size)
{
    uint64_t    seq;
    ngx_str_t   str;
    u_char      mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char      previous[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    str = fuzz_copy(data, size);
    memset(previous, '0', sizeof(previous));

    if (ngx_http_tsface_record_parse_tail(&str, &seq, mac) == NGX_OK) {
        must(size < NGX_HTTP_TSFACE_RECORD_MAX);
        must(strtoull((char *) str.data + strlen("{\"v\":1,\"seq\":"), NULL, 10)
             == seq);
        must(memcmp(str.data + size - sizeof(mac) - 2, mac, sizeof(mac)) == 0);

        (void) ngx_http_tsface_record_verify(&str, key, previous);

    } else {
        must(ngx_http_tsface_record_verify(&str, key, previous)
             == NGX_DECLINED);
    }

    free(str.data);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t  secret;

    if (key == NULL) {
        ngx_str_set(&secret, "0123456789abcdef0123456789abcdef");
        key = ngx_http_tsface_record_key_new(&secret);
        must(key != NULL);
    }

    write_record(data, size);
    read_line(data, size);

    return 0;
}
