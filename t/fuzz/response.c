
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A response as an endpoint sends it.  However its bytes are cut, the reader
 * must come to the same result; what it accepts has one meaning, and a chunked
 * body is what a second, simpler decoder makes of it.
 */

/* link: response.c */


#include "fuzz.h"

#include <ctype.h>

#include "ngx_http_tsface_response.h"


/* of chunk lines and trailers together */
#define MAX_OVERHEAD  16384


/* What came out of one input. */
typedef struct {
    ngx_int_t                    rc;         /* of the header */
    ngx_int_t                    body_rc;
    u_char                      *start;      /* of the input */
    size_t                       head;       /* how long the header is */
    size_t                       used;
    ngx_str_t                    content;
    ngx_http_tsface_body_t       body;
    ngx_http_tsface_response_t   response;
} result_t;


static result_t  results[3];


/* Reads as much of the body as is there. */

static void
read_body(result_t *r, u_char **pos, u_char *last)
{
    u_char     *before;
    ngx_str_t   data;

    do {
        before = *pos;

        r->body_rc = ngx_http_tsface_body_next(&r->body, pos, last, &data);

        must(*pos >= before && *pos <= last);
        must(data.len == 0 || (data.data >= before
                               && data.data + data.len <= *pos));

        if (data.len) {
            memcpy(r->content.data + r->content.len, data.data, data.len);
            r->content.len += data.len;
        }

        must(r->body_rc != NGX_AGAIN || before == last || *pos > before);

    } while (r->body_rc == NGX_AGAIN && *pos < last);
}


/*
 * Feeds the input in pieces of 1 .. max bytes, or whole if max is 0.  What was
 * not fed yet is poisoned: the sanitizer sees who looks ahead.
 */

static void
feed(result_t *r, const uint8_t *data, size_t size, size_t max)
{
    size_t     n, piece;
    u_char    *pos;
    uint32_t   random;

    memset(r, 0, sizeof(result_t));

    r->start = fuzz_alloc(size);
    r->content.data = fuzz_alloc(size);
    r->rc = NGX_AGAIN;
    r->body_rc = NGX_AGAIN;

    if (size) {
        memcpy(r->start, data, size);
    }

    ASAN_POISON_MEMORY_REGION(r->start, size);

    pos = r->start;
    random = fuzz_hash(data, size);

    for (n = 0; n < size; /* void */ ) {

        piece = max ? 1 + fuzz_next(&random) % max : size;
        piece = ngx_min(piece, size - n);

        ASAN_UNPOISON_MEMORY_REGION(r->start + n, piece);
        n += piece;

        if (r->rc == NGX_AGAIN) {
            r->rc = ngx_http_tsface_response_read_header(&r->response, &pos,
                                                         r->start + n);

            if (r->rc == NGX_OK) {
                r->head = pos - r->start;
                ngx_http_tsface_body_init(&r->body, &r->response);

            } else {
                must(pos == r->start);
            }
        }

        if (r->rc == NGX_OK) {
            read_body(r, &pos, r->start + n);
        }

        if (r->rc == NGX_ERROR || (r->rc == NGX_OK && r->body_rc != NGX_AGAIN))
        {
            break;
        }
    }

    r->used = pos - r->start;

    ASAN_UNPOISON_MEMORY_REGION(r->start, size);
}


/* Places are compared as distances from the start of their input. */

static int
same_place(const result_t *a, const ngx_str_t *one, const result_t *b,
    const ngx_str_t *two)
{
    return one->len == two->len
           && one->data - a->start == two->data - b->start;
}


static int
same_text(const char *one, const char *two)
{
    return (one == NULL && two == NULL)
           || (one != NULL && two != NULL && strcmp(one, two) == 0);
}


static void
compare(const result_t *a, const result_t *b)
{
    ngx_uint_t                                i;
    const ngx_http_tsface_response_t         *r, *s;
    const ngx_http_tsface_response_header_t  *h, *k;

    r = &a->response;
    s = &b->response;

    must(a->rc == b->rc);
    must(same_text(r->error, s->error));
    must(r->nheaders == s->nheaders);
    must(r->status == s->status);
    must(r->interim == s->interim);

    if (a->rc == NGX_ERROR) {
        return;
    }

    for (i = 0; i < r->nheaders; i++) {
        h = &r->headers[i];
        k = &s->headers[i];

        must(same_place(a, &h->name, b, &k->name));
        must(same_place(a, &h->value, b, &k->value));
    }

    if (a->rc != NGX_OK) {
        return;
    }

    must(r->minor == s->minor);
    must(r->framing == s->framing);
    must(r->length == s->length);
    must(r->keepalive == s->keepalive);
    must(a->head == b->head);
    must(a->used == b->used);
    must(a->body_rc == b->body_rc);
    must(a->body.done == b->body.done);
    must(same_text(a->body.error, b->body.error));
    must(fuzz_same(&a->content, &b->content));
}


/* What the contract says of a header block that is taken. */

static void
accepted(const result_t *r)
{
    off_t                                     length;
    size_t                                    n;
    ngx_uint_t                                i, lengths, codings;
    const ngx_str_t                          *name, *value;
    const ngx_http_tsface_response_t         *response;

    response = &r->response;
    lengths = 0;
    codings = 0;
    length = 0;

    must(response->error == NULL);
    must(response->status >= 200 && response->status <= 599);
    must(response->minor <= 1);
    must(response->nheaders <= NGX_HTTP_TSFACE_RESPONSE_MAX_HEADERS);
    must(response->interim <= NGX_HTTP_TSFACE_RESPONSE_MAX_INTERIM);
    must(r->head >= 4 && memcmp(r->start + r->head - 4, "\r\n\r\n", 4) == 0);

    for (i = 0; i < response->nheaders; i++) {
        name = &response->headers[i].name;
        value = &response->headers[i].value;

        must(name->len > 0 && name->data >= r->start);
        must(value->data + value->len <= r->start + r->head - 4);
        must(name->data[name->len] == ':');
        must(name->data + name->len < value->data);

        for (n = 0; n < name->len; n++) {
            must(name->data[n] > ' ' && name->data[n] < 0x7f);
            must(strchr("\"(),/:;<=>?@[\\]{}", name->data[n]) == NULL);
        }

        for (n = 0; n < value->len; n++) {
            must((value->data[n] >= ' ' && value->data[n] != 0x7f)
                 || value->data[n] == '\t');
        }

        must(value->len == 0
             || (strchr(" \t", value->data[0]) == NULL
                 && strchr(" \t", value->data[value->len - 1]) == NULL));

        if (name->len == 14
            && strncasecmp((char *) name->data, "content-length", 14) == 0)
        {
            lengths++;

            must(value->len >= 1 && value->len <= 15);

            for (n = 0; n < value->len; n++) {
                must(value->data[n] >= '0' && value->data[n] <= '9');
            }

            /* the value's end is a CR or a blank: strtoll() stops there */
            length = strtoll((char *) value->data, NULL, 10);
        }

        if (name->len == 17
            && strncasecmp((char *) name->data, "transfer-encoding", 17) == 0)
        {
            codings++;

            must(value->len == 7
                 && strncasecmp((char *) value->data, "chunked", 7) == 0);
        }
    }

    must(lengths + codings <= 1);
    must(codings == 0 || response->minor == 1);

    if (response->status == 204 || response->status == 304) {
        must(response->framing == NGX_HTTP_TSFACE_FRAMING_NONE);
        must(response->status == 304 || !response->keepalive
             || (codings == 0 && length == 0));
        must(r->body_rc == NGX_OK && r->used == r->head);

    } else if (codings) {
        must(response->framing == NGX_HTTP_TSFACE_FRAMING_CHUNKED);

    } else if (lengths) {
        must(response->framing == NGX_HTTP_TSFACE_FRAMING_LENGTH);
        must(response->length == length);
        must(r->body_rc != NGX_ERROR);
        must(r->used == r->head + r->content.len);
        must((r->body_rc == NGX_OK) == ((off_t) r->content.len == length));

    } else {
        must(response->framing == NGX_HTTP_TSFACE_FRAMING_CLOSE);
        must(!response->keepalive);
        must(r->body_rc == NGX_AGAIN);
    }
}


/* Text as it may stand behind a chunk's size, and in a trailer. */

static int
is_text(const u_char *p, const u_char *last)
{
    for ( /* void */ ; p < last; p++) {
        if (iscntrl(*p) && *p != '\t') {
            return 0;
        }
    }

    return 1;
}


/*
 * The body once more, by whole lines.  NGX_OK: it is over, NGX_ERROR: it is
 * malformed, NGX_AGAIN: the end is missing, and the content is all that was
 * there; NGX_DECLINED: within a line, which may or may not be malformed.
 */

static ngx_int_t
dechunk(const result_t *r, u_char *last, size_t *len)
{
    size_t   size, n;
    u_char  *p, *start, *eol;

    p = r->start + r->head;
    *len = 0;

    for ( ;; ) {
        start = p;

        eol = memmem(p, last - p, "\r\n", 2);
        if (eol == NULL) {
            return NGX_DECLINED;
        }

        for (size = 0; p < eol && isxdigit(*p); p++) {
            size = size * 16
                   + (*p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10);
        }

        if (p == start || p - start > 8) {
            return NGX_ERROR;
        }

        if (p < eol) {
            p += strspn((char *) p, " \t");

            if (*p != ';' || !is_text(p, eol)) {
                return NGX_ERROR;
            }
        }

        p = eol + 2;

        if (size == 0) {
            break;
        }

        n = ngx_min(size, (size_t) (last - p));

        must(*len + n <= r->content.len);
        must(memcmp(r->content.data + *len, p, n) == 0);

        *len += n;
        p += n;

        n = ngx_min(2, last - p);

        if (memcmp(p, "\r\n", n) != 0) {
            return NGX_ERROR;
        }

        if (n < 2) {
            return NGX_AGAIN;
        }

        p += 2;
    }

    /* trailers, and the empty line at the end */

    for ( ;; ) {
        eol = memmem(p, last - p, "\r\n", 2);
        if (eol == NULL) {
            return NGX_DECLINED;
        }

        if (!is_text(p, eol)) {
            return NGX_ERROR;
        }

        if (eol == p) {
            must(r->used == (size_t) (p + 2 - r->start));
            return NGX_OK;
        }

        p = eol + 2;
    }
}


static void
check_chunked(const result_t *r, size_t size)
{
    size_t     len;
    ngx_int_t  rc;

    if (r->body.overhead > MAX_OVERHEAD) {
        must(r->body_rc == NGX_ERROR);
        return;
    }

    rc = dechunk(r, r->start + size, &len);

    must(len == r->content.len);
    must(rc == r->body_rc
         || (rc == NGX_DECLINED && r->body_rc != NGX_OK));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t     i;
    u_char    *pos;
    ngx_str_t  piece;
    result_t  *r;

    static const size_t  max[] = { 0, 1, 13 };

    for (i = 0; i < 3; i++) {
        feed(&results[i], data, size, max[i]);
    }

    compare(&results[0], &results[1]);
    compare(&results[0], &results[2]);

    r = &results[0];

    if (r->rc == NGX_OK) {
        accepted(r);

        if (r->response.framing == NGX_HTTP_TSFACE_FRAMING_CHUNKED) {
            check_chunked(r, size);
        }

        /* what is over stays as it is */

        if (r->body_rc != NGX_AGAIN) {
            pos = r->start + r->used;

            must(ngx_http_tsface_body_next(&r->body, &pos, r->start + size,
                                           &piece)
                 == r->body_rc);
            must(piece.len == 0 && pos == r->start + r->used);
        }

    } else if (r->rc == NGX_ERROR) {
        pos = r->start;

        must(r->response.error != NULL);
        must(ngx_http_tsface_response_read_header(&r->response, &pos,
                                                  r->start + size)
             == NGX_ERROR);
        must(pos == r->start);
    }

    for (i = 0; i < 3; i++) {
        free(results[i].start);
        free(results[i].content.data);
    }

    return 0;
}
