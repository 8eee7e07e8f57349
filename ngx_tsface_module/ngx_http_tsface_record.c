
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "ngx_http_tsface_record.h"


#define NGX_HTTP_TSFACE_RECORD_SHA256       32
#define NGX_HTTP_TSFACE_RECORD_MAX_YEAR     9999
#define NGX_HTTP_TSFACE_RECORD_BODY_MAX                                       \
    (NGX_HTTP_TSFACE_RECORD_MAX - NGX_HTTP_TSFACE_RECORD_ENVELOPE)

#define NGX_HTTP_TSFACE_RECORD_TIME         ",\"time\":\""
#define NGX_HTTP_TSFACE_RECORD_TIME_FORM    "dddd-dd-ddTdd:dd:dd.ddddddZ"
#define NGX_HTTP_TSFACE_RECORD_TIME_END     "\","
#define NGX_HTTP_TSFACE_RECORD_TYPE         "\"type\":\""
#define NGX_HTTP_TSFACE_RECORD_MAC          ",\"mac\":\""
#define NGX_HTTP_TSFACE_RECORD_END          "\"}"

#define ngx_http_tsface_record_len(literal)  (sizeof(literal) - 1)

#define ngx_http_tsface_record_put(p, literal)                                \
    ngx_cpymem(p, literal, sizeof(literal) - 1)

/* the whole `,"mac":"..."}` */
#define NGX_HTTP_TSFACE_RECORD_TAIL                                           \
    (ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_MAC)                   \
     + NGX_HTTP_TSFACE_RECORD_MAC_LEN                                         \
     + ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_END))

/*
 * Limits of strings count bytes as they are written, after escaping, and
 * docs/audit.md gives them.  A user id of 512 bytes that was let pass doubles
 * at most, so it is never cut.
 */
#define NGX_HTTP_TSFACE_RECORD_USER         1024
#define NGX_HTTP_TSFACE_RECORD_HEX          64
#define NGX_HTTP_TSFACE_RECORD_KIND         16
#define NGX_HTTP_TSFACE_RECORD_MEMBER       64
#define NGX_HTTP_TSFACE_RECORD_MAX_MEMBERS  16

/* what stands for the rest of something cut: U+2026, three bytes */
#define NGX_HTTP_TSFACE_RECORD_CUT          "\xe2\x80\xa6"


struct ngx_http_tsface_record_key_s {
    EVP_MAC_CTX                   *ctx;
    ngx_str_t                      value;
    ngx_uint_t                     again;    /* ctx starts anew without it */
};


/* a bit is set in each byte of x that has the value c */
#define ngx_http_tsface_record_has(x, c)                                      \
    ngx_http_tsface_record_below((x) ^ (0x0101010101010101ULL * (c)), 1)

/* in each byte below c, of those with their highest bit clear */
#define ngx_http_tsface_record_below(x, c)                                    \
    (((x) - 0x0101010101010101ULL * (c)) & ~(x) & 0x8080808080808080ULL)

/*
 * Whether all eight bytes are printable ASCII that JSON has no escape for.
 * "below" may also report a byte above one that it finds: never too few.
 */
#define ngx_http_tsface_record_plain(x)                                       \
    ((((x) & 0x8080808080808080ULL)                                           \
      | ngx_http_tsface_record_below(x, 0x20)                                 \
      | ngx_http_tsface_record_has(x, 0x7f)                                   \
      | ngx_http_tsface_record_has(x, (u_char) '"')                           \
      | ngx_http_tsface_record_has(x, (u_char) '\\')) == 0)


typedef enum {
    ngx_http_tsface_record_string = 0,
    ngx_http_tsface_record_number,
    ngx_http_tsface_record_flag,
    ngx_http_tsface_record_user,
    ngx_http_tsface_record_members,
    ngx_http_tsface_record_token
} ngx_http_tsface_record_kind_e;


typedef struct {
    ngx_str_t                      key;      /* with its punctuation */
    ngx_http_tsface_record_kind_e  kind;
    size_t                         offset;
    size_t                         limit;    /* of the value as written */
} ngx_http_tsface_record_field_t;


static u_char *ngx_http_tsface_record_write_user(u_char *p,
    const ngx_http_tsface_record_t *record);
static u_char *ngx_http_tsface_record_write_members(u_char *p,
    const ngx_http_tsface_record_t *record);
static u_char *ngx_http_tsface_record_write_token(u_char *p,
    const ngx_http_tsface_record_t *record);
static u_char *ngx_http_tsface_record_quoted(u_char *p,
    const ngx_str_t *value, size_t limit);
static u_char *ngx_http_tsface_record_decimal(u_char *p, uint64_t n);
static u_char *ngx_http_tsface_record_padded(u_char *p, ngx_uint_t n,
    ngx_uint_t width);
static u_char *ngx_http_tsface_record_time(u_char *p, uint64_t usec);
static size_t ngx_http_tsface_record_utf8(const u_char *p, size_t len,
    uint32_t *code);
static ngx_int_t ngx_http_tsface_record_parse(const ngx_str_t *line,
    uint64_t *seq, size_t *len);
static ngx_int_t ngx_http_tsface_record_hmac(
    ngx_http_tsface_record_key_t *key, const ngx_str_t *parts,
    ngx_uint_t nparts, u_char *hex);


#define ngx_http_tsface_record_row(name, kind, limit)                         \
    { ngx_string(",\"" #name "\":"), ngx_http_tsface_record_##kind,           \
      offsetof(ngx_http_tsface_record_t, name), limit }


/* The members behind "type", in their order. */
static const ngx_http_tsface_record_field_t  ngx_http_tsface_record_fields[] =
{
    ngx_http_tsface_record_row(trail, string, 64),
    ngx_http_tsface_record_row(host, string, 256),
    ngx_http_tsface_record_row(pid, number, 20),
    ngx_http_tsface_record_row(request_id, string, 64),
    ngx_http_tsface_record_row(attempt, number, 20),
    ngx_http_tsface_record_row(caller, string, 512),
    ngx_http_tsface_record_row(operation, string, 64),
    ngx_http_tsface_record_row(credentials, string, 128),
    ngx_http_tsface_record_row(region, string, 32),
    ngx_http_tsface_record_row(endpoint, string, 272),
    ngx_http_tsface_record_row(client_addr, string, 128),
    ngx_http_tsface_record_row(server, string, 256),
    ngx_http_tsface_record_row(method, string, 32),
    ngx_http_tsface_record_row(uri, string, 256),

    { ngx_string(",\"user\":"), ngx_http_tsface_record_user, 0,
      ngx_http_tsface_record_len("{\"plain\":\"\"}")
      + NGX_HTTP_TSFACE_RECORD_USER },

    ngx_http_tsface_record_row(members, members,
        (NGX_HTTP_TSFACE_RECORD_MAX_MEMBERS + 1)
        * (NGX_HTTP_TSFACE_RECORD_MEMBER
           + ngx_http_tsface_record_len("\"\","))
        + ngx_http_tsface_record_len("[]")),

    { ngx_string(",\"token\":"), ngx_http_tsface_record_token, 0,
      ngx_http_tsface_record_len("{\"kind\":\"\",\"generation\":,"
                                 "\"fingerprint\":\"\"}")
      + NGX_HTTP_TSFACE_RECORD_KIND + 20 + NGX_HTTP_TSFACE_RECORD_HEX },

    ngx_http_tsface_record_row(result, string, 32),
    ngx_http_tsface_record_row(reason, string, 64),
    ngx_http_tsface_record_row(status, number, 20),
    ngx_http_tsface_record_row(upstream_status, number, 20),
    ngx_http_tsface_record_row(upstream_addr, string, 128),
    ngx_http_tsface_record_row(sent, flag, 5),
    ngx_http_tsface_record_row(duration_ms, number, 20)
};


static const ngx_str_t  ngx_http_tsface_record_types[] = {
    ngx_string(NGX_HTTP_TSFACE_RECORD_TYPE "intent\""),
    ngx_string(NGX_HTTP_TSFACE_RECORD_TYPE "outcome\""),
    ngx_string(NGX_HTTP_TSFACE_RECORD_TYPE "refusal\""),
    ngx_string(NGX_HTTP_TSFACE_RECORD_TYPE "open\""),
    ngx_string(NGX_HTTP_TSFACE_RECORD_TYPE "close\"")
};


static const u_char  ngx_http_tsface_record_xdigits[] = "0123456789abcdef";


ngx_http_tsface_record_key_t *
ngx_http_tsface_record_key_new(const ngx_str_t *value)
{
    EVP_MAC                       *mac;
    ngx_str_t                      part;
    OSSL_PARAM                     params[2];
    ngx_http_tsface_record_key_t  *key;
    u_char                         first[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char                         second[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    if (value->len == 0) {
        return NULL;
    }

    key = calloc(1, sizeof(ngx_http_tsface_record_key_t));
    if (key == NULL) {
        return NULL;
    }

    key->value.data = malloc(value->len);
    if (key->value.data == NULL) {
        goto failed;
    }

    ngx_memcpy(key->value.data, value->data, value->len);
    key->value.len = value->len;

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac == NULL) {
        goto failed;
    }

    key->ctx = EVP_MAC_CTX_new(mac);

    EVP_MAC_free(mac);

    params[0] = OSSL_PARAM_construct_utf8_string("digest", "SHA256", 0);
    params[1] = OSSL_PARAM_construct_end();

    if (key->ctx == NULL
        || !EVP_MAC_init(key->ctx, value->data, value->len, params))
    {
        goto failed;
    }

    /*
     * Without a key EVP_MAC_init() starts anew with the one that was set, and
     * saves two blocks of SHA-256; but not in the first releases of OpenSSL
     * 3.0, so this one is asked.
     */

    part = *value;

    if (ngx_http_tsface_record_hmac(key, &part, 1, first) != NGX_OK) {
        goto failed;
    }

    key->again = 1;

    if (ngx_http_tsface_record_hmac(key, &part, 1, second) != NGX_OK
        || ngx_memcmp(first, second, sizeof(first)) != 0)
    {
        key->again = 0;
    }

    return key;

failed:

    ngx_http_tsface_record_key_free(key);

    return NULL;
}


void
ngx_http_tsface_record_key_free(ngx_http_tsface_record_key_t *key)
{
    if (key == NULL) {
        return;
    }

    EVP_MAC_CTX_free(key->ctx);

    if (key->value.data) {
        OPENSSL_cleanse(key->value.data, key->value.len);
        free(key->value.data);
    }

    free(key);
}


void
ngx_http_tsface_record_init(ngx_http_tsface_record_t *record,
    ngx_http_tsface_record_type_e type)
{
    ngx_memzero(record, sizeof(ngx_http_tsface_record_t));

    record->type = type;
    record->pid = -1;
    record->attempt = -1;
    record->token_generation = -1;
    record->status = -1;
    record->upstream_status = -1;
    record->sent = -1;
    record->duration_ms = -1;
}


size_t
ngx_http_tsface_record_body(const ngx_http_tsface_record_t *record,
    u_char *buf, size_t size)
{
    size_t                                 len;
    u_char                                *p, *end;
    ngx_int_t                              number;
    ngx_uint_t                             i;
    const u_char                          *member;
    const ngx_str_t                       *value;
    const ngx_http_tsface_record_field_t  *field;
    u_char                       whole[NGX_HTTP_TSFACE_RECORD_BODY_MAX];

    if (size < NGX_HTTP_TSFACE_RECORD_BODY_MAX) {

        /* write it where it fits for certain, then see how long it became */

        len = ngx_http_tsface_record_body(record, whole, sizeof(whole));

        if (len > size) {
            return 0;
        }

        ngx_memcpy(buf, whole, len);

        return len;
    }

    value = &ngx_http_tsface_record_types[record->type];

    p = ngx_cpymem(buf, value->data, value->len);
    end = buf + size;

    for (i = 0;
         i < sizeof(ngx_http_tsface_record_fields)
             / sizeof(ngx_http_tsface_record_fields[0]);
         i++)
    {
        field = &ngx_http_tsface_record_fields[i];

        /*
         * The longest values of all fields together fit, so this is never
         * true, unless somebody changes the limits.
         */

        if ((size_t) (end - p)
            < field->key.len + field->limit
              + ngx_http_tsface_record_len("\"\""))
        {
            return 0;
        }

        member = (const u_char *) record + field->offset;

        switch (field->kind) {

        case ngx_http_tsface_record_string:
            value = (const ngx_str_t *) (const void *) member;

            if (value->data) {
                p = ngx_cpymem(p, field->key.data, field->key.len);
                p = ngx_http_tsface_record_quoted(p, value, field->limit);
            }

            break;

        case ngx_http_tsface_record_number:
        case ngx_http_tsface_record_flag:
            number = *(const ngx_int_t *) (const void *) member;

            if (number < 0) {
                break;
            }

            p = ngx_cpymem(p, field->key.data, field->key.len);

            if (field->kind == ngx_http_tsface_record_number) {
                p = ngx_http_tsface_record_decimal(p, (uint64_t) number);

            } else if (number) {
                p = ngx_http_tsface_record_put(p, "true");

            } else {
                p = ngx_http_tsface_record_put(p, "false");
            }

            break;

        case ngx_http_tsface_record_user:

            if (record->user_hmac.data || record->user_plain.data) {
                p = ngx_cpymem(p, field->key.data, field->key.len);
                p = ngx_http_tsface_record_write_user(p, record);
            }

            break;

        case ngx_http_tsface_record_members:

            if (record->members) {
                p = ngx_cpymem(p, field->key.data, field->key.len);
                p = ngx_http_tsface_record_write_members(p, record);
            }

            break;

        case ngx_http_tsface_record_token:

            if (record->token_kind.data) {
                p = ngx_cpymem(p, field->key.data, field->key.len);
                p = ngx_http_tsface_record_write_token(p, record);
            }

            break;
        }
    }

    return p - buf;
}


size_t
ngx_http_tsface_record_seal(const ngx_str_t *body, uint64_t seq,
    uint64_t usec, ngx_http_tsface_record_key_t *key, u_char *mac,
    u_char *buf, size_t size)
{
    size_t      len;
    u_char     *p;
    u_char      head[128];
    ngx_str_t   parts[2];
    u_char      hex[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    p = ngx_http_tsface_record_put(head, NGX_HTTP_TSFACE_RECORD_HEAD);
    p = ngx_http_tsface_record_decimal(p, seq);
    p = ngx_http_tsface_record_put(p, NGX_HTTP_TSFACE_RECORD_TIME);

    p = ngx_http_tsface_record_time(p, usec);
    if (p == NULL) {
        return 0;
    }

    p = ngx_http_tsface_record_put(p, NGX_HTTP_TSFACE_RECORD_TIME_END);

    len = p - head;

    if (body->len == 0
        || body->len > NGX_HTTP_TSFACE_RECORD_BODY_MAX
        || size < len + body->len + NGX_HTTP_TSFACE_RECORD_TAIL + 1)
    {
        return 0;
    }

    p = ngx_cpymem(buf, head, len);
    p = ngx_cpymem(p, body->data, body->len);

    parts[0].data = mac;
    parts[0].len = NGX_HTTP_TSFACE_RECORD_MAC_LEN;
    parts[1].data = buf;
    parts[1].len = p - buf;

    if (ngx_http_tsface_record_hmac(key, parts, 2, hex) != NGX_OK) {
        return 0;
    }

    ngx_memcpy(mac, hex, sizeof(hex));

    p = ngx_http_tsface_record_put(p, NGX_HTTP_TSFACE_RECORD_MAC);
    p = ngx_cpymem(p, hex, sizeof(hex));
    p = ngx_http_tsface_record_put(p, NGX_HTTP_TSFACE_RECORD_END "\n");

    return p - buf;
}


ngx_int_t
ngx_http_tsface_record_parse_tail(const ngx_str_t *line, uint64_t *seq,
    u_char *mac)
{
    size_t    len;
    uint64_t  n;

    if (ngx_http_tsface_record_parse(line, &n, &len) != NGX_OK) {
        return NGX_ERROR;
    }

    *seq = n;

    ngx_memcpy(mac,
               line->data + len
               + ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_MAC),
               NGX_HTTP_TSFACE_RECORD_MAC_LEN);

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_record_verify(const ngx_str_t *line,
    ngx_http_tsface_record_key_t *key, const u_char *previous)
{
    size_t     len;
    uint64_t   seq;
    ngx_str_t  parts[2];
    u_char     hex[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    if (ngx_http_tsface_record_parse(line, &seq, &len) != NGX_OK) {
        return NGX_DECLINED;
    }

    parts[0].data = (u_char *) previous;
    parts[0].len = NGX_HTTP_TSFACE_RECORD_MAC_LEN;
    parts[1].data = line->data;
    parts[1].len = len;

    if (ngx_http_tsface_record_hmac(key, parts, 2, hex) != NGX_OK) {
        return NGX_DECLINED;
    }

    len += ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_MAC);

    if (CRYPTO_memcmp(hex, line->data + len, sizeof(hex)) != 0) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_record_fingerprint(ngx_http_tsface_record_key_t *key,
    const char *label, const ngx_str_t *value, u_char *out, size_t n)
{
    ngx_str_t  parts[2];
    u_char     hex[NGX_HTTP_TSFACE_RECORD_MAC_LEN];

    if (n > sizeof(hex)) {
        return NGX_ERROR;
    }

    parts[0].data = (u_char *) label;
    parts[0].len = ngx_strlen(label) + 1;
    parts[1] = *value;

    if (ngx_http_tsface_record_hmac(key, parts, 2, hex) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(out, hex, n);

    return NGX_OK;
}


static u_char *
ngx_http_tsface_record_write_user(u_char *p,
    const ngx_http_tsface_record_t *record)
{
    if (record->user_hmac.data) {
        p = ngx_http_tsface_record_put(p, "{\"hmac\":");
        p = ngx_http_tsface_record_quoted(p, &record->user_hmac,
                                          NGX_HTTP_TSFACE_RECORD_HEX);

    } else {
        p = ngx_http_tsface_record_put(p, "{\"plain\":");
        p = ngx_http_tsface_record_quoted(p, &record->user_plain,
                                          NGX_HTTP_TSFACE_RECORD_USER);
    }

    *p++ = '}';

    return p;
}


static u_char *
ngx_http_tsface_record_write_members(u_char *p,
    const ngx_http_tsface_record_t *record)
{
    ngx_uint_t  i;

    *p++ = '[';

    for (i = 0; i < record->nmembers; i++) {

        if (i) {
            *p++ = ',';
        }

        if (i == NGX_HTTP_TSFACE_RECORD_MAX_MEMBERS) {
            p = ngx_http_tsface_record_put(p, "\"" NGX_HTTP_TSFACE_RECORD_CUT
                                              "\"");
            break;
        }

        p = ngx_http_tsface_record_quoted(p, &record->members[i],
                                          NGX_HTTP_TSFACE_RECORD_MEMBER);
    }

    *p++ = ']';

    return p;
}


static u_char *
ngx_http_tsface_record_write_token(u_char *p,
    const ngx_http_tsface_record_t *record)
{
    p = ngx_http_tsface_record_put(p, "{\"kind\":");
    p = ngx_http_tsface_record_quoted(p, &record->token_kind,
                                      NGX_HTTP_TSFACE_RECORD_KIND);

    if (record->token_generation >= 0) {
        p = ngx_http_tsface_record_put(p, ",\"generation\":");
        p = ngx_http_tsface_record_decimal(p,
                                       (uint64_t) record->token_generation);
    }

    if (record->token_fingerprint.data) {
        p = ngx_http_tsface_record_put(p, ",\"fingerprint\":");
        p = ngx_http_tsface_record_quoted(p, &record->token_fingerprint,
                                          NGX_HTTP_TSFACE_RECORD_HEX);
    }

    *p++ = '}';

    return p;
}


/*
 * A JSON string of at most limit bytes between its quotes.  Valid UTF-8 stays
 * as it is, but for what could forge or disguise a line where it is read:
 * control characters (C0, DEL, C1), line and paragraph separators and the
 * characters that turn the direction of writing.
 */

static u_char *
ngx_http_tsface_record_quoted(u_char *p, const ngx_str_t *value, size_t limit)
{
    size_t         n, len;
    u_char         ch, *cut, *end;
    u_char         unit[6];
    uint32_t       code;
    uint64_t       block;
    const u_char  *s, *last;

    *p++ = '"';

    s = value->data;
    last = value->len ? s + value->len : s;    /* s may be NULL */

    /* cut is the last place that leaves room for the mark of a cut */

    end = p + limit;
    cut = p;

    while (s < last) {

        if ((size_t) (end - p) >= sizeof(NGX_HTTP_TSFACE_RECORD_CUT) - 1) {
            cut = p;
        }

        /* most text stays as it is: eight bytes at a time */

        while (last - s >= 8 && end - p >= 8) {
            ngx_memcpy(&block, s, 8);

            if (!ngx_http_tsface_record_plain(block)) {
                break;
            }

            ngx_memcpy(p, s, 8);
            p += 8;
            s += 8;

            cut = ngx_min(p, end
                             - (sizeof(NGX_HTTP_TSFACE_RECORD_CUT) - 1));
        }

        if (s == last) {
            break;
        }

        ch = *s;

        if (ch >= 0x20 && ch < 0x7f && ch != '"' && ch != '\\') {

            if (p == end) {
                goto full;
            }

            *p++ = ch;
            s++;
            continue;
        }

        n = ngx_http_tsface_record_utf8(s, last - s, &code);

        if (n == 0) {
            n = 1;
            code = 0xfffd;
            len = 6;

        } else if (code < 0x20
                   || (code >= 0x7f && code < 0xa0)
                   || (code >= 0x2028 && code <= 0x202e)
                   || (code >= 0x2066 && code <= 0x2069))
        {
            len = 6;

        } else if (code < 0x80) {
            unit[0] = '\\';
            unit[1] = ch;
            len = 2;

        } else {
            ngx_memcpy(unit, s, n);
            len = n;
        }

        if (len == 6) {
            unit[0] = '\\';
            unit[1] = 'u';
            unit[2] = ngx_http_tsface_record_xdigits[code >> 12];
            unit[3] = ngx_http_tsface_record_xdigits[(code >> 8) & 0xf];
            unit[4] = ngx_http_tsface_record_xdigits[(code >> 4) & 0xf];
            unit[5] = ngx_http_tsface_record_xdigits[code & 0xf];
        }

        if (len > (size_t) (end - p)) {
            goto full;
        }

        p = ngx_cpymem(p, unit, len);
        s += n;
    }

    *p++ = '"';

    return p;

full:

    return ngx_http_tsface_record_put(cut, NGX_HTTP_TSFACE_RECORD_CUT "\"");
}


static u_char *
ngx_http_tsface_record_decimal(u_char *p, uint64_t n)
{
    u_char  *d, digits[20];

    d = digits + sizeof(digits);

    do {
        *--d = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    return ngx_cpymem(p, d, digits + sizeof(digits) - d);
}


static u_char *
ngx_http_tsface_record_padded(u_char *p, ngx_uint_t n, ngx_uint_t width)
{
    ngx_uint_t  i;

    for (i = width; i; i--) {
        p[i - 1] = (u_char) ('0' + n % 10);
        n /= 10;
    }

    return p + width;
}


/*
 * The proleptic Gregorian calendar, counted from March 1 of the year 0: a
 * leap day is then the last of its year, and 400 years have 146097 days.
 */

static u_char *
ngx_http_tsface_record_time(u_char *p, uint64_t usec)
{
    uint64_t    days, era, year;
    ngx_uint_t  sec, day, yoe, month;

    sec = (ngx_uint_t) (usec / 1000000 % 86400);

    days = usec / 1000000 / 86400 + 719468;
    era = days / 146097;
    day = (ngx_uint_t) (days % 146097);

    yoe = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * yoe + yoe / 4 - yoe / 100;

    month = (5 * day + 2) / 153;
    day = day - (153 * month + 2) / 5 + 1;
    month = (month < 10) ? month + 3 : month - 9;

    year = era * 400 + yoe + (month <= 2);

    if (year > NGX_HTTP_TSFACE_RECORD_MAX_YEAR) {
        return NULL;
    }

    p = ngx_http_tsface_record_padded(p, (ngx_uint_t) year, 4);
    *p++ = '-';
    p = ngx_http_tsface_record_padded(p, month, 2);
    *p++ = '-';
    p = ngx_http_tsface_record_padded(p, day, 2);
    *p++ = 'T';
    p = ngx_http_tsface_record_padded(p, sec / 3600, 2);
    *p++ = ':';
    p = ngx_http_tsface_record_padded(p, sec / 60 % 60, 2);
    *p++ = ':';
    p = ngx_http_tsface_record_padded(p, sec % 60, 2);
    *p++ = '.';
    p = ngx_http_tsface_record_padded(p, (ngx_uint_t) (usec % 1000000), 6);
    *p++ = 'Z';

    return p;
}


/* The length of the character at p, 0 if there is none in valid UTF-8. */

static size_t
ngx_http_tsface_record_utf8(const u_char *p, size_t len, uint32_t *code)
{
    size_t    i, n;
    uint32_t  c, min;

    c = p[0];

    if (c < 0x80) {
        *code = c;
        return 1;
    }

    if (c >= 0xc2 && c <= 0xdf) {
        n = 2;
        c &= 0x1f;
        min = 0x80;

    } else if (c >= 0xe0 && c <= 0xef) {
        n = 3;
        c &= 0x0f;
        min = 0x800;

    } else if (c >= 0xf0 && c <= 0xf4) {
        n = 4;
        c &= 0x07;
        min = 0x10000;

    } else {
        return 0;
    }

    if (len < n) {
        return 0;
    }

    for (i = 1; i < n; i++) {

        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = (c << 6) | (p[i] & 0x3f);
    }

    if (c < min || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff) {
        return 0;
    }

    *code = c;

    return n;
}


/*
 * Checks line's form from both ends; len is the length of what the mac
 * covers besides the previous mac.
 */

static ngx_int_t
ngx_http_tsface_record_parse(const ngx_str_t *line, uint64_t *seq,
    size_t *len)
{
    u_char       ch, *p, *last, *start;
    uint64_t     n, digit;
    ngx_uint_t   i;
    const char  *form;

    if (line->len >= NGX_HTTP_TSFACE_RECORD_MAX
        || line->len < ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_HEAD)
                       + NGX_HTTP_TSFACE_RECORD_TAIL)
    {
        return NGX_ERROR;
    }

    p = line->data;
    last = p + line->len - NGX_HTTP_TSFACE_RECORD_TAIL;

    *len = last - p;

    if (ngx_memcmp(p, NGX_HTTP_TSFACE_RECORD_HEAD,
                   ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_HEAD))
        != 0)
    {
        return NGX_ERROR;
    }

    p += ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_HEAD);

    start = p;
    n = 0;

    for ( /* void */ ; p < last && *p >= '0' && *p <= '9'; p++) {

        digit = *p - '0';

        if (n > (UINT64_MAX - digit) / 10) {
            return NGX_ERROR;
        }

        n = n * 10 + digit;
    }

    if (p == start || (p - start > 1 && *start == '0')) {
        return NGX_ERROR;
    }

    *seq = n;

    form = NGX_HTTP_TSFACE_RECORD_TIME NGX_HTTP_TSFACE_RECORD_TIME_FORM
           NGX_HTTP_TSFACE_RECORD_TIME_END NGX_HTTP_TSFACE_RECORD_TYPE;

    /* only TIME_FORM has a "d", which stands for any digit */

    for ( /* void */ ; *form; p++, form++) {

        if (p == last) {
            return NGX_ERROR;
        }

        if (*form == 'd' ? (*p < '0' || *p > '9') : *p != (u_char) *form) {
            return NGX_ERROR;
        }
    }

    p = last;

    if (ngx_memcmp(p, NGX_HTTP_TSFACE_RECORD_MAC,
                   ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_MAC))
        != 0)
    {
        return NGX_ERROR;
    }

    p += ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_MAC);

    for (i = 0; i < NGX_HTTP_TSFACE_RECORD_MAC_LEN; i++) {
        ch = *p++;

        if ((ch < '0' || ch > '9') && (ch < 'a' || ch > 'f')) {
            return NGX_ERROR;
        }
    }

    if (ngx_memcmp(p, NGX_HTTP_TSFACE_RECORD_END,
                   ngx_http_tsface_record_len(NGX_HTTP_TSFACE_RECORD_END))
        != 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_record_hmac(ngx_http_tsface_record_key_t *key,
    const ngx_str_t *parts, ngx_uint_t nparts, u_char *hex)
{
    int         rc;
    u_char      digest[NGX_HTTP_TSFACE_RECORD_SHA256];
    size_t      len;
    ngx_uint_t  i;

    if (key == NULL) {
        return NGX_ERROR;
    }

    if (key->again) {
        rc = EVP_MAC_init(key->ctx, NULL, 0, NULL);

    } else {
        rc = EVP_MAC_init(key->ctx, key->value.data, key->value.len, NULL);
    }

    if (!rc) {
        return NGX_ERROR;
    }

    for (i = 0; i < nparts; i++) {
        if (parts[i].len
            && !EVP_MAC_update(key->ctx, parts[i].data, parts[i].len))
        {
            return NGX_ERROR;
        }
    }

    if (!EVP_MAC_final(key->ctx, digest, &len, sizeof(digest))
        || len != sizeof(digest))
    {
        return NGX_ERROR;
    }

    for (i = 0; i < sizeof(digest); i++) {
        *hex++ = ngx_http_tsface_record_xdigits[digest[i] >> 4];
        *hex++ = ngx_http_tsface_record_xdigits[digest[i] & 0xf];
    }

    return NGX_OK;
}
