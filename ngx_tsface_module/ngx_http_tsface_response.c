
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_chars.h"
#include "ngx_http_tsface_response.h"


#define NGX_HTTP_TSFACE_RESPONSE_MAX_OVERHEAD  16384


typedef enum {
    ngx_http_tsface_chunk_size = 0,
    ngx_http_tsface_chunk_space,
    ngx_http_tsface_chunk_extension,
    ngx_http_tsface_chunk_size_lf,
    ngx_http_tsface_chunk_data,
    ngx_http_tsface_chunk_data_cr,
    ngx_http_tsface_chunk_data_lf,
    ngx_http_tsface_chunk_trailer,
    ngx_http_tsface_chunk_trailer_line,
    ngx_http_tsface_chunk_trailer_lf,
    ngx_http_tsface_chunk_last_lf
} ngx_http_tsface_chunk_state_e;


/* a name of another length, as most are, is not worth a call */
#define ngx_http_tsface_response_is(value, literal)                           \
    ((value)->len == sizeof(literal) - 1                                      \
     && ngx_http_tsface_response_equal(value, literal))


static const char *ngx_http_tsface_response_status_line(
    ngx_http_tsface_response_t *response, u_char *p, u_char *last);
static const char *ngx_http_tsface_response_header_line(
    ngx_http_tsface_response_t *response, u_char *p, u_char *last);
static const char *ngx_http_tsface_response_finish(
    ngx_http_tsface_response_t *response);
static ngx_uint_t ngx_http_tsface_response_has_token(const ngx_str_t *value,
    const char *token);
static ngx_uint_t ngx_http_tsface_response_equal(const ngx_str_t *value,
    const char *text);
static ngx_uint_t ngx_http_tsface_response_text_valid(u_char *p,
    u_char *last);


ngx_int_t
ngx_http_tsface_response_read_header(ngx_http_tsface_response_t *response,
    u_char **pos, u_char *last)
{
    size_t       len;
    u_char      *line, *lf, *end;
    const char  *error;

    if (response->error) {
        return NGX_ERROR;
    }

    /*
     * Whole lines are taken as they come, and response->scanned stays at the
     * start of the first one that is not whole: errors are found at once, and
     * no byte of a line is judged before all of it is here, so that what is
     * found does not depend on how the bytes were cut.
     */

    for ( ;; ) {

        line = *pos + response->scanned;

        if (response->status == 0) {

            /* something else than HTTP may never send a line feed */

            len = ngx_min((size_t) (last - line), sizeof("HTTP/1.") - 1);

            if (ngx_memcmp(line, "HTTP/1.", len) != 0) {
                response->error = "not an HTTP/1 status line";
                return NGX_ERROR;
            }
        }

        lf = memchr(line, '\n', last - line);

        if (lf == NULL) {
            return NGX_AGAIN;
        }

        if (lf == line || lf[-1] != '\r') {
            response->error = "line feed without carriage return";
            return NGX_ERROR;
        }

        /* a bare CR is refused with all other control characters */

        end = lf - 1;

        response->scanned = lf + 1 - *pos;

        if (response->status == 0) {
            error = ngx_http_tsface_response_status_line(response, line, end);

        } else if (line < end) {
            error = ngx_http_tsface_response_header_line(response, line, end);

        } else if (response->status < 200) {

            /* an interim response is over, the next one follows */

            response->status = 0;
            response->nheaders = 0;

            if (++response->interim
                > NGX_HTTP_TSFACE_RESPONSE_MAX_INTERIM)
            {
                error = "too many interim responses";

            } else {
                error = NULL;
            }

        } else {
            error = ngx_http_tsface_response_finish(response);

            if (error == NULL) {
                *pos = lf + 1;
                return NGX_OK;
            }
        }

        if (error) {
            response->error = error;
            return NGX_ERROR;
        }
    }
}


const ngx_str_t *
ngx_http_tsface_response_header(const ngx_http_tsface_response_t *response,
    const char *name)
{
    ngx_uint_t  i;

    for (i = 0; i < response->nheaders; i++) {
        if (ngx_http_tsface_response_equal(&response->headers[i].name, name))
        {
            return &response->headers[i].value;
        }
    }

    return NULL;
}


void
ngx_http_tsface_body_init(ngx_http_tsface_body_t *body,
    const ngx_http_tsface_response_t *response)
{
    ngx_memzero(body, sizeof(ngx_http_tsface_body_t));

    body->framing = response->framing;

    switch (response->framing) {

    case NGX_HTTP_TSFACE_FRAMING_NONE:
        body->done = 1;
        break;

    case NGX_HTTP_TSFACE_FRAMING_LENGTH:
        body->left = response->length;
        body->done = (body->left == 0);
        break;

    default:
        break;
    }
}


ngx_int_t
ngx_http_tsface_body_next(ngx_http_tsface_body_t *body, u_char **pos,
    u_char *last, ngx_str_t *data)
{
    u_char      ch, *p;
    ngx_uint_t  digit;

    p = *pos;

    data->data = p;
    data->len = 0;

    if (body->error) {
        return NGX_ERROR;
    }

    if (body->done) {
        return NGX_OK;
    }

    if (body->framing == NGX_HTTP_TSFACE_FRAMING_CLOSE) {
        data->len = last - p;
        *pos = last;
        return NGX_AGAIN;
    }

    if (body->framing == NGX_HTTP_TSFACE_FRAMING_LENGTH) {
        data->len = (size_t) ngx_min(body->left, (off_t) (last - p));
        *pos = p + data->len;

        body->left -= data->len;
        body->done = (body->left == 0);

        return body->done ? NGX_OK : NGX_AGAIN;
    }

    for ( /* void */ ; p < last; p++) {

        if (body->state == ngx_http_tsface_chunk_data) {

            data->data = p;
            data->len = (size_t) ngx_min(body->left, (off_t) (last - p));
            *pos = p + data->len;

            body->left -= data->len;

            if (body->left == 0) {
                body->state = ngx_http_tsface_chunk_data_cr;
            }

            return NGX_AGAIN;
        }

        if (++body->overhead > NGX_HTTP_TSFACE_RESPONSE_MAX_OVERHEAD) {
            body->error = "too many bytes of chunk lines and trailers";
            goto failed;
        }

        ch = *p;

        switch (body->state) {

        case ngx_http_tsface_chunk_size:

            if (ch >= '0' && ch <= '9') {
                digit = ch - '0';

            } else if ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'f') {
                digit = (ch | 0x20) - 'a' + 10;

            } else if (body->digits == 0) {
                body->error = "chunk size missing";
                goto failed;

            } else if (ch == '\r') {
                body->state = ngx_http_tsface_chunk_size_lf;
                break;

            } else if (ch == ';') {
                body->state = ngx_http_tsface_chunk_extension;
                break;

            } else if (ch == ' ' || ch == '\t') {
                body->state = ngx_http_tsface_chunk_space;
                break;

            } else {
                body->error = "invalid chunk size";
                goto failed;
            }

            if (++body->digits > 8) {
                body->error = "chunk size too long";
                goto failed;
            }

            body->left = body->left * 16 + digit;
            break;

        case ngx_http_tsface_chunk_space:

            /* only before an extension, RFC 9112, 7.1.1 */

            if (ch == ';') {
                body->state = ngx_http_tsface_chunk_extension;
                break;
            }

            if (ch != ' ' && ch != '\t') {
                body->error = "invalid chunk size";
                goto failed;
            }

            break;

        case ngx_http_tsface_chunk_extension:

            if (ch == '\r') {
                body->state = ngx_http_tsface_chunk_size_lf;
                break;
            }

            if ((ch < 0x20 && ch != '\t') || ch == 0x7f) {
                body->error = "invalid character in a chunk extension";
                goto failed;
            }

            break;

        case ngx_http_tsface_chunk_size_lf:

            if (ch != '\n') {
                body->error = "carriage return without line feed in a "
                              "chunk line";
                goto failed;
            }

            body->digits = 0;
            body->state = body->left ? ngx_http_tsface_chunk_data
                                     : ngx_http_tsface_chunk_trailer;
            break;

        case ngx_http_tsface_chunk_data_cr:

            if (ch != '\r') {
                body->error = "chunk longer than its size";
                goto failed;
            }

            body->state = ngx_http_tsface_chunk_data_lf;
            break;

        case ngx_http_tsface_chunk_data_lf:

            if (ch != '\n') {
                body->error = "chunk longer than its size";
                goto failed;
            }

            body->state = ngx_http_tsface_chunk_size;
            break;

        case ngx_http_tsface_chunk_trailer:

            if (ch == '\r') {
                body->state = ngx_http_tsface_chunk_last_lf;
                break;
            }

            body->state = ngx_http_tsface_chunk_trailer_line;

            /* fall through */

        case ngx_http_tsface_chunk_trailer_line:

            if (ch == '\r') {
                body->state = ngx_http_tsface_chunk_trailer_lf;
                break;
            }

            if ((ch < 0x20 && ch != '\t') || ch == 0x7f) {
                body->error = "invalid character in a trailer";
                goto failed;
            }

            break;

        case ngx_http_tsface_chunk_trailer_lf:

            if (ch != '\n') {
                body->error = "carriage return without line feed in a "
                              "trailer";
                goto failed;
            }

            body->state = ngx_http_tsface_chunk_trailer;
            break;

        default: /* ngx_http_tsface_chunk_last_lf */

            if (ch != '\n') {
                body->error = "carriage return without line feed after the "
                              "last chunk";
                goto failed;
            }

            body->done = 1;
            *pos = p + 1;

            return NGX_OK;
        }
    }

    *pos = last;

    return NGX_AGAIN;

failed:

    *pos = p;

    return NGX_ERROR;
}


/* "HTTP/1." was checked; p .. last is the line without its CRLF. */

static const char *
ngx_http_tsface_response_status_line(ngx_http_tsface_response_t *response,
    u_char *p, u_char *last)
{
    ngx_uint_t  i, status;

    /* HTTP/1.1 200 */

    if (last - p < 12) {
        return "status line too short";
    }

    if (p[7] != '0' && p[7] != '1') {
        return "unknown HTTP version";
    }

    if (p[8] != ' ') {
        return "invalid status line";
    }

    status = 0;

    for (i = 9; i < 12; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return "invalid status code";
        }

        status = status * 10 + (p[i] - '0');
    }

    if (last - p > 12 && p[12] != ' ') {
        return "invalid status code";
    }

    if (!ngx_http_tsface_response_text_valid(p + 12, last)) {
        return "invalid character in the reason phrase";
    }

    if (status < 100 || status > 599) {
        return "status code out of range";
    }

    if (status == 101) {
        return "protocol switched without being asked";
    }

    response->minor = p[7] - '0';
    response->status = status;

    return NULL;
}


static const char *
ngx_http_tsface_response_header_line(ngx_http_tsface_response_t *response,
    u_char *p, u_char *last)
{
    u_char                            *start;
    ngx_http_tsface_response_header_t  *header;

    if (*p == ' ' || *p == '\t') {
        return "folded header line";
    }

    start = p;

    while (p < last
           && ngx_http_tsface_chars_in(ngx_http_tsface_tchar, *p))
    {
        p++;
    }

    if (p == last) {
        return "header line without a colon";
    }

    if (*p != ':') {
        return "invalid character in a header name";
    }

    if (p == start) {
        return "empty header name";
    }

    if (response->nheaders == NGX_HTTP_TSFACE_RESPONSE_MAX_HEADERS) {
        return "too many headers";
    }

    header = &response->headers[response->nheaders++];

    header->name.data = start;
    header->name.len = p - start;

    p++;

    if (!ngx_http_tsface_response_text_valid(p, last)) {
        return "invalid character in a header value";
    }

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (p < last && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    header->value.data = p;
    header->value.len = last - p;

    return NULL;
}


/* Framing and persistence of a final response. */

static const char *
ngx_http_tsface_response_finish(ngx_http_tsface_response_t *response)
{
    size_t                              n;
    ngx_uint_t                          i, close, alive;
    const ngx_str_t                    *length, *coding;
    ngx_http_tsface_response_header_t  *header;

    length = NULL;
    coding = NULL;
    close = 0;
    alive = 0;

    for (i = 0; i < response->nheaders; i++) {
        header = &response->headers[i];

        if (ngx_http_tsface_response_is(&header->name, "content-length")) {

            if (length) {
                return "repeated Content-Length";
            }

            length = &header->value;
            continue;
        }

        if (ngx_http_tsface_response_is(&header->name,
                                        "transfer-encoding"))
        {
            if (coding) {
                return "repeated Transfer-Encoding";
            }

            coding = &header->value;
            continue;
        }

        if (ngx_http_tsface_response_is(&header->name, "connection")) {
            close |= ngx_http_tsface_response_has_token(&header->value,
                                                        "close");
            alive |= ngx_http_tsface_response_has_token(&header->value,
                                                        "keep-alive");
        }
    }

    response->length = 0;

    if (length) {

        if (length->len == 0 || length->len > 15) {
            return "invalid Content-Length";
        }

        for (n = 0; n < length->len; n++) {
            if (length->data[n] < '0' || length->data[n] > '9') {
                return "invalid Content-Length";
            }

            response->length = response->length * 10
                               + (length->data[n] - '0');
        }
    }

    if (coding) {

        if (!ngx_http_tsface_response_equal(coding, "chunked")) {
            return "unknown Transfer-Encoding";
        }

        if (response->minor == 0) {
            return "Transfer-Encoding in an HTTP/1.0 response";
        }

        if (length) {
            return "Content-Length beside Transfer-Encoding";
        }
    }

    response->keepalive = !close && (response->minor == 1 || alive);

    if (response->status == 204 || response->status == 304) {

        /*
         * A 204 that announces a body is going to send one, which would be
         * taken for the next response; in a 304 it describes what a 200
         * would have.
         */

        if (response->status == 204 && (coding || response->length)) {
            response->keepalive = 0;
        }

        response->framing = NGX_HTTP_TSFACE_FRAMING_NONE;
        response->length = 0;

    } else if (coding) {
        response->framing = NGX_HTTP_TSFACE_FRAMING_CHUNKED;

    } else if (length) {
        response->framing = NGX_HTTP_TSFACE_FRAMING_LENGTH;

    } else {
        response->framing = NGX_HTTP_TSFACE_FRAMING_CLOSE;
        response->keepalive = 0;
    }

    return NULL;
}


/* Whether token is an element of the comma-separated list in value. */

static ngx_uint_t
ngx_http_tsface_response_has_token(const ngx_str_t *value, const char *token)
{
    u_char     *p, *last, *end;
    ngx_str_t   element;

    p = value->data;
    last = p + value->len;

    while (p < last) {

        if (*p == ' ' || *p == '\t' || *p == ',') {
            p++;
            continue;
        }

        element.data = p;

        while (p < last && *p != ',') {
            p++;
        }

        end = p;

        while (end[-1] == ' ' || end[-1] == '\t') {
            end--;
        }

        element.len = end - element.data;

        if (ngx_http_tsface_response_equal(&element, token)) {
            return 1;
        }
    }

    return 0;
}


/* Whether value is text, both in any case of ASCII. */

static ngx_uint_t
ngx_http_tsface_response_equal(const ngx_str_t *value, const char *text)
{
    u_char  *p, *last;

    p = value->data;
    last = p + value->len;

    for ( /* void */ ; p < last; p++, text++) {
        if (*text == '\0'
            || ngx_tolower(*p) != ngx_tolower((u_char) *text))
        {
            return 0;
        }
    }

    return *text == '\0';
}


static ngx_uint_t
ngx_http_tsface_response_text_valid(u_char *p, u_char *last)
{
    for ( /* void */ ; p < last; p++) {
        if ((*p < 0x20 && *p != '\t') || *p == 0x7f) {
            return 0;
        }
    }

    return 1;
}
