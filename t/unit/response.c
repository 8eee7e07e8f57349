
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: ngx_http_tsface_response.c */


#include "tap.h"

#include "ngx_http_tsface_response.h"


#define NONE     NGX_HTTP_TSFACE_FRAMING_NONE
#define LENGTH   NGX_HTTP_TSFACE_FRAMING_LENGTH
#define CHUNKED  NGX_HTTP_TSFACE_FRAMING_CHUNKED
#define CLOSE    NGX_HTTP_TSFACE_FRAMING_CLOSE


/* What came out of one input, however it was fed. */
typedef struct {
    ngx_int_t                    rc;          /* of the header */
    ngx_int_t                    body_rc;
    size_t                       left;        /* not consumed */
    size_t                       len;         /* of the content */
    u_char                       content[70000];
    ngx_http_tsface_response_t   response;
    ngx_http_tsface_body_t       body;
} result_t;


static result_t  whole, pieces;


/* Feeds s in pieces of 1 .. max bytes, or whole if max is 0. */

static void
feed(result_t *r, const ngx_str_t *s, size_t max)
{
    size_t      n;
    u_char     *pos, *last, *end, *before;
    ngx_str_t   data;

    memset(&r->response, 0, sizeof(r->response));
    memset(&r->body, 0, sizeof(r->body));
    r->len = 0;
    r->body_rc = NGX_AGAIN;

    pos = s->data;
    last = max ? pos : pos + s->len;
    end = s->data + s->len;

    for ( ;; ) {
        r->rc = ngx_http_tsface_response_read_header(&r->response, &pos,
                                                     last);
        if (r->rc != NGX_AGAIN) {
            break;
        }

        check(pos == s->data, "*pos stays");

        if (last == end) {
            r->left = end - pos;
            return;
        }

        n = 1 + below(max);
        last += ngx_min(n, (size_t) (end - last));
    }

    if (r->rc == NGX_ERROR) {
        r->left = 0;

        check(r->response.error != NULL, "an error has words");
        check(ngx_http_tsface_response_read_header(&r->response, &pos, last)
              == NGX_ERROR, "an error stays");
        return;
    }

    ngx_http_tsface_body_init(&r->body, &r->response);

    for ( ;; ) {

        do {
            before = pos;
            r->body_rc = ngx_http_tsface_body_next(&r->body, &pos, last,
                                                   &data);

            check(pos >= before && pos <= last, "*pos within the input");
            check(data.len == 0 || (data.data >= before
                                    && data.data + data.len == pos),
                  "content is a slice of the input");

            if (r->body_rc == NGX_ERROR) {
                check(r->body.error != NULL, "an error has words");
                check(ngx_http_tsface_body_next(&r->body, &pos, last, &data)
                      == NGX_ERROR, "an error stays");
                r->left = 0;
                return;
            }

            check((r->body_rc == NGX_OK) == r->body.done, "done");

            if (r->len + data.len <= sizeof(r->content)) {
                memcpy(r->content + r->len, data.data, data.len);
            }

            r->len += data.len;

        } while (pos < last && !r->body.done);

        if (r->body.done) {
            check(ngx_http_tsface_body_next(&r->body, &pos, last, &data)
                  == NGX_OK && data.len == 0, "done stays");
            break;
        }

        if (last == end) {
            break;
        }

        n = 1 + below(max);
        last += ngx_min(n, (size_t) (end - last));
    }

    r->left = end - pos;
}


/* Whether the input means the same in whatever pieces it comes. */

static void
feed_all(const ngx_str_t *s)
{
    size_t      i;
    ngx_uint_t  n, max;

    feed(&whole, s, 0);

    for (n = 0; n < 4; n++) {
        max = n == 0 ? 1 : n == 1 ? 2 : n == 2 ? 7 : 100;
        feed(&pieces, s, max);

        check(pieces.rc == whole.rc && pieces.body_rc == whole.body_rc,
              "pieces of %lu: %d %d, not %d %d: %.*s", max, (int) pieces.rc,
              (int) pieces.body_rc, (int) whole.rc, (int) whole.body_rc,
              (int) ngx_min(s->len, 200), s->data);

        check(pieces.response.error == whole.response.error
              && pieces.body.error == whole.body.error, "the same error");

        check(pieces.left == whole.left && pieces.len == whole.len,
              "the same length");

        check(memcmp(pieces.content, whole.content,
                     ngx_min(whole.len, sizeof(whole.content))) == 0,
              "the same content");

        if (whole.rc != NGX_OK) {
            continue;
        }

        check(pieces.response.status == whole.response.status
              && pieces.response.minor == whole.response.minor
              && pieces.response.framing == whole.response.framing
              && pieces.response.length == whole.response.length
              && pieces.response.keepalive == whole.response.keepalive
              && pieces.response.interim == whole.response.interim
              && pieces.response.nheaders == whole.response.nheaders,
              "the same header");

        for (i = 0; i < whole.response.nheaders; i++) {
            check(pieces.response.headers[i].name.data
                  == whole.response.headers[i].name.data
                  && pieces.response.headers[i].name.len
                     == whole.response.headers[i].name.len
                  && pieces.response.headers[i].value.data
                     == whole.response.headers[i].value.data
                  && pieces.response.headers[i].value.len
                     == whole.response.headers[i].value.len,
                  "the same header line");
        }
    }
}


#define H   "HTTP/1.1 200 OK\r\n"
#define L0  "Content-Length: 0\r\n"

/* text, status, framing, length, keepalive, interim, headers */
#define row(s, ...)  { s, sizeof(s) - 1, __VA_ARGS__ }


static void
good(void)
{
    size_t     i, n;
    ngx_str_t  s;

    static const struct {
        const char                 *text;
        size_t                      len;
        ngx_uint_t                  status;
        ngx_http_tsface_framing_e   framing;
        off_t                       length;
        ngx_uint_t                  keepalive, interim, nheaders;
    } rows[] = {
        row(H "\r\n", 200, CLOSE, 0, 0, 0, 0),
        row(H L0 "\r\n", 200, LENGTH, 0, 1, 0, 1),
        row("HTTP/1.1 200\r\n" L0 "\r\n", 200, LENGTH, 0, 1, 0, 1),
        row("HTTP/1.1 200 \r\n" L0 "\r\n", 200, LENGTH, 0, 1, 0, 1),
        row("HTTP/1.1 599 \t\xc3\xa9 x\r\n" L0 "\r\n", 599, LENGTH, 0, 1, 0,
            1),
        row(H "Content-Length: 17\r\n\r\n", 200, LENGTH, 17, 1, 0, 1),
        row(H "content-length:\t 17 \t\r\n\r\n", 200, LENGTH, 17, 1, 0, 1),
        row(H "Content-Length: 007\r\n\r\n", 200, LENGTH, 7, 1, 0, 1),
        row(H "Content-Length: 999999999999999\r\n\r\n", 200, LENGTH,
            999999999999999LL, 1, 0, 1),
        row(H "Transfer-Encoding: chunked\r\n\r\n", 200, CHUNKED, 0, 1, 0,
            1),
        row(H "TRANSFER-ENCODING: Chunked\r\n\r\n", 200, CHUNKED, 0, 1, 0,
            1),
        row("HTTP/1.1 204 No Content\r\n\r\n", 204, NONE, 0, 1, 0, 0),
        row("HTTP/1.1 204 No Content\r\n" L0 "\r\n", 204, NONE, 0, 1, 0, 1),
        row("HTTP/1.1 204 x\r\nContent-Length: 3\r\n\r\n", 204, NONE, 0, 0,
            0, 1),
        row("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", 204,
            NONE, 0, 0, 0, 1),
        row("HTTP/1.1 204 x\r\nConnection: close\r\n\r\n", 204, NONE, 0, 0,
            0, 1),
        row("HTTP/1.1 304 x\r\nContent-Length: 3\r\n\r\n", 304, NONE, 0, 1,
            0, 1),
        row("HTTP/1.1 205 x\r\n" L0 "\r\n", 205, LENGTH, 0, 1, 0, 1),

        row(H L0 "Connection: close\r\n\r\n", 200, LENGTH, 0, 0, 0, 2),
        row(H L0 "Connection: x, CLOSE\r\n\r\n", 200, LENGTH, 0, 0, 0, 2),
        row(H L0 "Connection: ,close ,x\r\n\r\n", 200, LENGTH, 0, 0, 0, 2),
        row(H L0 "Connection: x\r\nConnection: close\r\n\r\n", 200, LENGTH,
            0, 0, 0, 3),
        row(H L0 "Connection: closed\r\n\r\n", 200, LENGTH, 0, 1, 0, 2),
        row(H L0 "Connection: not close\r\n\r\n", 200, LENGTH, 0, 1, 0, 2),
        row(H L0 "Connection: keep-alive, close\r\n\r\n", 200, LENGTH, 0, 0,
            0, 2),
        row(H L0 "Connection:\r\n\r\n", 200, LENGTH, 0, 1, 0, 2),
        row("HTTP/1.0 200 OK\r\n" L0 "\r\n", 200, LENGTH, 0, 0, 0, 1),
        row("HTTP/1.0 200 OK\r\n" L0 "Connection: Keep-Alive\r\n\r\n", 200,
            LENGTH, 0, 1, 0, 2),
        row("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", 200, CLOSE,
            0, 0, 0, 1),
        row("HTTP/1.0 200 OK\r\n" L0 "Connection: keep-alive, close\r\n\r\n",
            200, LENGTH, 0, 0, 0, 2),

        row("HTTP/1.1 100 Continue\r\n\r\n" H L0 "\r\n", 200, LENGTH, 0, 1,
            1, 1),
        row("HTTP/1.1 103 x\r\nLink: a\r\nLink: b\r\n\r\n"
            "HTTP/1.1 100\r\n\r\nHTTP/1.1 401 x\r\n" L0 "\r\n", 401, LENGTH,
            0, 1, 2, 1),
        row("HTTP/1.1 102 x\r\nConnection: close\r\n\r\n" H L0 "\r\n", 200,
            LENGTH, 0, 1, 1, 1),
        row("HTTP/1.1 199 x\r\n\r\n" H L0 "\r\n", 200, LENGTH, 0, 1, 1, 1),

        row(H "X:\r\nY: \r\nZ: \t \r\n" L0 "\r\n", 200, LENGTH, 0, 1, 0, 4),
        row(H "X: a\tb \xff\x80 c\r\n" L0 "\r\n", 200, LENGTH, 0, 1, 0, 2),
        row(H "!#$%&'*+-.^_`|~09azAZ: :\r\n" L0 "\r\n", 200, LENGTH, 0, 1, 0,
            2)
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        s = bytes(rows[i].text, rows[i].len);
        feed_all(&s);

        check(whole.rc == NGX_OK, "row %zu: %s", i,
              whole.response.error ? whole.response.error : "-");
        check(whole.response.status == rows[i].status
              && whole.response.framing == rows[i].framing
              && whole.response.length == rows[i].length
              && whole.response.keepalive == rows[i].keepalive
              && whole.response.interim == rows[i].interim
              && whole.response.nheaders == rows[i].nheaders, "row %zu", i);
        check(whole.left == 0, "row %zu: left %zu", i, whole.left);

        /* no header is whole before its last byte */

        for (n = 0; n < rows[i].len; n++) {
            s = bytes(rows[i].text, n);
            feed(&whole, &s, 0);
            check(whole.rc == NGX_AGAIN, "row %zu, %zu bytes", i, n);
        }

        tap_free();
    }

    /* names, values and the look-up */

    s = text(H "Content-Type: text/a; b \r\nETag:x\r\netag: y\r\nX-Empty:\r\n"
               "content-length: 3\r\n\r\nabc");
    feed_all(&s);

#define header(n)  ngx_http_tsface_response_header(&whole.response, n)

    check(same(header("content-type"), "text/a; b"), "value");
    check(same(header("CONTENT-TYPE"), "text/a; b"), "value");
    check(same(header("Etag"), "x"), "the first one");
    check(header("x-empty")->len == 0, "empty");
    check(header("x-empt") == NULL && header("x-empty2") == NULL
          && header("") == NULL, "none");
    check(same(&whole.response.headers[1].name, "ETag"), "as received");
    check(whole.len == 3 && memcmp(whole.content, "abc", 3) == 0, "content");

    done("header blocks");
}


static void
bad(void)
{
    char        buf[64];
    size_t      i;
    ngx_str_t   s;
    ngx_uint_t  ch, ok;

    static const struct {
        const char  *text;
        size_t       len;
    } rows[] = {
        row("x"),
        row("\n"),
        row("\r\n" H L0 "\r\n"),
        row(" HTTP/1.1 200 OK\r\n\r\n"),
        row("http/1.1 200 OK\r\n\r\n"),
        row("HTTP/2 200 OK\r\n\r\n"),
        row("HTTP/2.0 200 OK\r\n\r\n"),
        row("HTTP/0.9 200 OK\r\n\r\n"),
        row("HTTP/1.2 200 OK\r\n\r\n"),
        row("HTTP/1.11 200 OK\r\n\r\n"),
        row("HTTP/1. 200 OK\r\n\r\n"),
        row("HTTP/1.1\r\n\r\n"),
        row("HTTP/1.1 \r\n\r\n"),
        row("HTTP/1.1 20\r\n\r\n"),
        row("HTTP/1.1 2000\r\n\r\n"),
        row("HTTP/1.1 200OK\r\n\r\n"),
        row("HTTP/1.1 200\tOK\r\n\r\n"),
        row("HTTP/1.1\t200 OK\r\n\r\n"),
        row("HTTP/1.1  200 OK\r\n\r\n"),
        row("HTTP/1.1 2 0 OK\r\n\r\n"),
        row("HTTP/1.1 -20 OK\r\n\r\n"),
        row("HTTP/1.1 000 OK\r\n\r\n"),
        row("HTTP/1.1 099 OK\r\n\r\n"),
        row("HTTP/1.1 600 OK\r\n\r\n"),
        row("HTTP/1.1 999 OK\r\n\r\n"),
        row("HTTP/1.1 101 Switching\r\n\r\n"),
        row("HTTP/1.1 200 O\0K\r\n\r\n"),
        row("HTTP/1.1 200 O\x1bK\r\n\r\n"),
        row("HTTP/1.1 200 O\x7fK\r\n\r\n"),
        row("HTTP/1.1 200 OK\n\n"),
        row("HTTP/1.1 200 OK\n\r\n"),
        row("HTTP/1.1 200 O\rK\r\n\r\n"),
        row("HTTP/1.1 200 OK\r\r\n\r\n"),
        row("\x16\x03\x01\x02"),
        row("<html>"),
        row("SSH-2.0-x\r\n"),
        row("HTTP/1.1 100 x\r\n\r\nfoo\r\n\r\n"),
        row("HTTP/1.1 100 x\r\n\r\n\r\n"),
        row("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 101 x\r\n\r\n"),

        row(H "X: y\n\r\n"),
        row(H "X: y\r\n\n"),
        row(H "X: y\r\r\n\r\n"),
        row(H "X: y\rZ: a\r\n\r\n"),
        row(H "\rX: y\r\n\r\n"),
        row(H " X: y\r\n\r\n"),
        row(H "X: y\r\n z\r\n\r\n"),
        row(H "X: y\r\n\tz\r\n\r\n"),
        row(H "X : y\r\n\r\n"),
        row(H "X\t: y\r\n\r\n"),
        row(H ": y\r\n\r\n"),
        row(H "X\r\n\r\n"),
        row(H "X y\r\n\r\n"),
        row(H "X Y: z\r\n\r\n"),
        row(H "X(: y\r\n\r\n"),
        row(H "\"X\": y\r\n\r\n"),
        row(H "X\0: y\r\n\r\n"),
        row(H "\xc3\xa9: y\r\n\r\n"),
        row(H "X: \0\r\n\r\n"),
        row(H "X: a\x01" "b\r\n\r\n"),
        row(H "X: a\x1f\r\n\r\n"),
        row(H "X: a\x7f\r\n\r\n"),
        row(H "X: a\x0b" "b\r\n\r\n"),

        row(H L0 L0 "\r\n"),
        row(H L0 "content-LENGTH: 1\r\n\r\n"),
        row(H "Content-Length:\r\n\r\n"),
        row(H "Content-Length: 1, 1\r\n\r\n"),
        row(H "Content-Length: 1 1\r\n\r\n"),
        row(H "Content-Length: +1\r\n\r\n"),
        row(H "Content-Length: -1\r\n\r\n"),
        row(H "Content-Length: 0x1\r\n\r\n"),
        row(H "Content-Length: 1a\r\n\r\n"),
        row(H "Content-Length: 1.0\r\n\r\n"),
        row(H "Content-Length: 1000000000000000\r\n\r\n"),
        row(H "Content-Length: 0000000000000000\r\n\r\n"),
        row(H "Content-Length: 18446744073709551617\r\n\r\n"),
        row(H "Transfer-Encoding:\r\n\r\n"),
        row(H "Transfer-Encoding: identity\r\n\r\n"),
        row(H "Transfer-Encoding: gzip, chunked\r\n\r\n"),
        row(H "Transfer-Encoding: chunked, chunked\r\n\r\n"),
        row(H "Transfer-Encoding: xchunked\r\n\r\n"),
        row(H "Transfer-Encoding: chunked;a=b\r\n\r\n"),
        row(H "Transfer-Encoding: chunke\r\n\r\n"),
        row(H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
            "\r\n"),
        row(H "Transfer-Encoding: chunked\r\n" L0 "\r\n"),
        row(H L0 "Transfer-Encoding: chunked\r\n\r\n"),
        row("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        row("HTTP/1.1 204 x\r\n" L0 L0 "\r\n"),
        row("HTTP/1.1 304 x\r\n" L0 "Transfer-Encoding: chunked\r\n\r\n")
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        s = bytes(rows[i].text, rows[i].len);
        feed_all(&s);
        check(whole.rc == NGX_ERROR, "row %zu: %d", i, (int) whole.rc);
    }

    tap_free();

    /* every byte in a name, in a value and in a reason */

    for (ch = 0; ch < 256; ch++) {

        ok = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z')
             || (ch >= 'A' && ch <= 'Z')
             || (ch && ch < 0x80 && strchr("!#$%&'*+-.^_`|~", (int) ch));

        memcpy(buf, "HTTP/1.1 204\r\nN?: v\r\n\r\n", 23);
        buf[15] = (char) ch;
        s = bytes(buf, 23);
        feed(&whole, &s, 0);
        check((whole.rc == NGX_OK) == (ok || ch == ':'), "name %02lx", ch);

        ok = ch == '\t' || (ch >= 0x20 && ch != 0x7f);

        memcpy(buf, "HTTP/1.1 204\r\nNN: ?\r\n\r\n", 23);
        buf[18] = (char) ch;
        s = bytes(buf, 23);
        feed(&whole, &s, 0);
        check((whole.rc == NGX_OK) == ok, "value %02lx", ch);

        memcpy(buf, "HTTP/1.1 204 ?\r\n\r\n", 18);
        buf[13] = (char) ch;
        s = bytes(buf, 18);
        feed(&whole, &s, 0);
        check((whole.rc == NGX_OK) == ok, "reason %02lx", ch);
    }

    done("refused header blocks");
}


static void
numbers(void)
{
    char       buf[8192];
    size_t     i, n, len;
    ngx_str_t  s;

    for (n = 62; n <= 66; n++) {
        len = sprintf(buf, "HTTP/1.1 204 x\r\n");

        for (i = 0; i < n; i++) {
            len += sprintf(buf + len, "H%zu: %zu\r\n", i, i);
        }

        len += sprintf(buf + len, "\r\n");
        s = bytes(buf, len);
        feed_all(&s);
        check(whole.rc == (n <= 64 ? NGX_OK : NGX_ERROR), "%zu headers", n);
    }

    for (n = 6; n <= 10; n++) {
        len = 0;

        for (i = 0; i < n; i++) {
            len += sprintf(buf + len, "HTTP/1.1 100 x\r\nA: b\r\n\r\n");
        }

        len += sprintf(buf + len, "HTTP/1.1 204 x\r\n\r\n");
        s = bytes(buf, len);
        feed_all(&s);
        check(whole.rc == (n <= 8 ? NGX_OK : NGX_ERROR), "%zu interim", n);
    }

    done("limits");
}


#define C  H "Transfer-Encoding: chunked\r\n\r\n"


static void
bodies(void)
{
    size_t     i, n, rows_n;
    ngx_str_t  s;

    static const struct {
        const char  *text;
        size_t       len;
        ngx_int_t    rc;
        const char  *content;
        size_t       left;
    } rows[] = {
        row(H L0 "\r\n", NGX_OK, "", 0),
        row(H L0 "\r\nx", NGX_OK, "", 1),
        row(H "Content-Length: 3\r\n\r\nabc", NGX_OK, "abc", 0),
        row(H "Content-Length: 3\r\n\r\nabcHTTP", NGX_OK, "abc", 4),
        row(H "Content-Length: 3\r\n\r\nab", NGX_AGAIN, "ab", 0),
        row("HTTP/1.1 204 x\r\n\r\nabc", NGX_OK, "", 3),
        row("HTTP/1.1 304 x\r\nContent-Length: 3\r\n\r\nabc", NGX_OK, "", 3),
        row(H "\r\n", NGX_AGAIN, "", 0),
        row(H "\r\nabc\r\n\r\n", NGX_AGAIN, "abc\r\n\r\n", 0),

        row(C "0\r\n\r\n", NGX_OK, "", 0),
        row(C "0\r\n\r\nHTTP/", NGX_OK, "", 5),
        row(C "3\r\nabc\r\n0\r\n\r\n", NGX_OK, "abc", 0),
        row(C "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", NGX_OK, "abc", 0),
        row(C "00000003\r\nabc\r\n00000000\r\n\r\n", NGX_OK, "abc", 0),
        row(C "A\r\n0123456789\r\n0\r\n\r\n", NGX_OK, "0123456789", 0),
        row(C "a\r\n01234\r\n789\r\n0\r\n\r\n", NGX_OK, "01234\r\n789", 0),
        row(C "3;a=b\r\nabc\r\n0;x=\"y\"\r\n\r\n", NGX_OK, "abc", 0),
        row(C "3;\r\nabc\r\n0 \t;\r\n\r\n", NGX_OK, "abc", 0),
        row(C "3;\t\xc3\xa9\r\nabc\r\n0\r\n\r\n", NGX_OK, "abc", 0),
        row(C "0\r\nA: b\r\nC: d\r\n\r\n", NGX_OK, "", 0),
        row(C "0\r\nA: b\r\n\r\nx", NGX_OK, "", 1),
        row(C "0\r\n", NGX_AGAIN, "", 0),
        row(C "0\r\nA: b\r\n", NGX_AGAIN, "", 0),
        row(C "3\r\nabc\r\n", NGX_AGAIN, "abc", 0),
        row(C "3\r\nabc", NGX_AGAIN, "abc", 0),
        row(C "FFFFFFFF\r\nabc", NGX_AGAIN, "abc", 0),

        row(C "\r\n", NGX_ERROR, "", 0),
        row(C "x\r\n", NGX_ERROR, "", 0),
        row(C ";a\r\n", NGX_ERROR, "", 0),
        row(C " 3\r\n", NGX_ERROR, "", 0),
        row(C "-3\r\n", NGX_ERROR, "", 0),
        row(C "+3\r\n", NGX_ERROR, "", 0),
        row(C "0x3\r\n", NGX_ERROR, "", 0),
        row(C "3g\r\n", NGX_ERROR, "", 0),
        row(C "@\r\n", NGX_ERROR, "", 0),
        row(C "3 \r\nabc", NGX_ERROR, "", 0),
        row(C "3 3\r\n", NGX_ERROR, "", 0),
        row(C "000000003\r\nabc", NGX_ERROR, "", 0),
        row(C "100000000\r\n", NGX_ERROR, "", 0),
        row(C "3\nabc", NGX_ERROR, "", 0),
        row(C "3\rabc", NGX_ERROR, "", 0),
        row(C "3\r\r\nabc", NGX_ERROR, "", 0),
        row(C "3;a\nabc", NGX_ERROR, "", 0),
        row(C "3;a\rb\r\nabc", NGX_ERROR, "", 0),
        row(C "3;\0\r\nabc", NGX_ERROR, "", 0),
        row(C "3;\x7f\r\nabc", NGX_ERROR, "", 0),
        row(C "3\r\nabcd\r\n", NGX_ERROR, "abc", 0),
        row(C "3\r\nabc\n0\r\n\r\n", NGX_ERROR, "abc", 0),
        row(C "3\r\nabc\rx", NGX_ERROR, "abc", 0),
        row(C "3\r\nabc0\r\n\r\n", NGX_ERROR, "abc", 0),
        row(C "3\r\nabc\r\n\r\n", NGX_ERROR, "abc", 0),
        row(C "0\r\n\n", NGX_ERROR, "", 0),
        row(C "0\r\n\rx", NGX_ERROR, "", 0),
        row(C "0\r\nA: b\n\r\n", NGX_ERROR, "", 0),
        row(C "0\r\nA: \0\r\n\r\n", NGX_ERROR, "", 0),
        row(C "0\r\nA: b\rc\r\n\r\n", NGX_ERROR, "", 0)
    };

    rows_n = sizeof(rows) / sizeof(rows[0]);

    for (i = 0; i < rows_n; i++) {
        s = bytes(rows[i].text, rows[i].len);
        feed_all(&s);

        check(whole.body_rc == rows[i].rc, "row %zu: %d: %s", i,
              (int) whole.body_rc, whole.body.error ? whole.body.error : "-");
        check(whole.len == strlen(rows[i].content)
              && memcmp(whole.content, rows[i].content, whole.len) == 0,
              "row %zu: content", i);
        check(whole.left == rows[i].left, "row %zu: left %zu", i,
              whole.left);
    }

    tap_free();

    /* overhead: one long extension, many short chunks, trailers */

    for (n = 16384 - 3; n <= 16384 + 3; n++) {
        char  buf[40000];

        i = sprintf(buf, C "0;");
        memset(buf + i, 'x', n - 6);
        i += n - 6;
        i += sprintf(buf + i, "\r\n\r\n");
        s = bytes(buf, i);
        feed(&whole, &s, 0);
        check(whole.body_rc == (n <= 16384 ? NGX_OK : NGX_ERROR),
              "extension of %zu", n);

        feed(&whole, &s, 100);
        check(whole.body_rc == (n <= 16384 ? NGX_OK : NGX_ERROR),
              "extension of %zu", n);

        i = sprintf(buf, C "0\r\n");
        memset(buf + i, 'x', n - 7);
        i += n - 7;
        i += sprintf(buf + i, "\r\n\r\n");
        s = bytes(buf, i);
        feed(&whole, &s, 0);
        check(whole.body_rc == (n <= 16384 ? NGX_OK : NGX_ERROR),
              "trailers of %zu", n);
    }

    for (n = 3270; n <= 3280; n++) {
        char    buf[40000];
        size_t  k;

        i = sprintf(buf, C);

        for (k = 0; k < n; k++) {
            i += sprintf(buf + i, "1\r\nx\r\n");
        }

        i += sprintf(buf + i, "0\r\n\r\n");
        s = bytes(buf, i);
        feed(&whole, &s, 0);
        check(whole.body_rc == (n * 5 + 5 <= 16384 ? NGX_OK : NGX_ERROR),
              "%zu chunks", n);
    }

    tap_free();
    done("bodies");
}


/* Random chunkings give back their content, random damage is consistent. */

static void
random_bodies(void)
{
    char        content[2000], buf[20000];
    size_t      i, k, n, len, left;
    ngx_str_t   s;
    ngx_uint_t  round;

    static const char  bytes_[] = "\r\n:; \t0aA9xHT/1.2\0\x7f";

    for (round = 0; round < 1500; round++) {

        len = below(sizeof(content));

        for (i = 0; i < len; i++) {
            content[i] = (char) (below(3) ? bytes_[below(20)]
                                          : (char) rnd());
        }

        n = sprintf(buf, "%s" C, below(3) ? ""
                                          : "HTTP/1.1 103 x\r\nA: b\r\n\r\n");

        for (left = len; left; left -= k) {
            k = 1 + below(below(2) ? left : 1 + left / 8);
            n += sprintf(buf + n, below(2) ? "%zx%s\r\n" : "%zX%s\r\n", k,
                         below(4) ? "" : ";e");
            memcpy(buf + n, content + len - left, k);
            n += k;
            n += sprintf(buf + n, "\r\n");
        }

        n += sprintf(buf + n, "0\r\n%s\r\nrest", below(3) ? "" : "T: u\r\n");

        s = bytes(buf, n);
        feed_all(&s);

        check(whole.rc == NGX_OK && whole.body_rc == NGX_OK, "round %lu",
              round);
        check(whole.len == len && memcmp(whole.content, content, len) == 0,
              "round %lu: content", round);
        check(whole.left == 4, "round %lu: left", round);

        for (i = 0; i < 6; i++) {
            s = bytes(buf, n);
            s.data[below(below(2) ? n : 60)] =
                                    (u_char) bytes_[below(sizeof(bytes_))];
            s.len -= below(3) ? 0 : below(n);
            s = bytes(s.data, s.len);
            feed_all(&s);
        }

        tap_free();
    }

    done("random bodies, and damaged ones");
}


int
main(void)
{
    good();
    bad();
    numbers();
    bodies();
    random_bodies();

    return tap_end();
}
