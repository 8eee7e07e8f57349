
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A strict HTTP/1 response reader (RFC 9112), shared by the detached client
 * and the forwarder.  nginx 1.22 accepts duplicate and invalid Content-Length
 * and Content-Length beside Transfer-Encoding; a gateway that must say what
 * happened may not.  Pure: buffer in, struct out, resumable at any byte.
 */


#ifndef _NGX_HTTP_TSFACE_RESPONSE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_RESPONSE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_TSFACE_RESPONSE_MAX_HEADERS  64
#define NGX_HTTP_TSFACE_RESPONSE_MAX_INTERIM  8


typedef struct {
    ngx_str_t                         name;    /* as received */
    ngx_str_t                         value;   /* trimmed */
} ngx_http_tsface_response_header_t;


typedef enum {
    NGX_HTTP_TSFACE_FRAMING_NONE = 0,   /* 204, 304: no body */
    NGX_HTTP_TSFACE_FRAMING_LENGTH,
    NGX_HTTP_TSFACE_FRAMING_CHUNKED,
    NGX_HTTP_TSFACE_FRAMING_CLOSE       /* until the connection ends */
} ngx_http_tsface_framing_e;


/*
 * The header block.  Name and value pointers point into the caller's buffer,
 * which must not move between calls.
 */
typedef struct {
    ngx_uint_t                         status;        /* 200 .. 599 */
    ngx_uint_t                         minor;         /* HTTP/1.minor */
    ngx_http_tsface_framing_e          framing;
    off_t                              length;        /* FRAMING_LENGTH */
    ngx_uint_t                         nheaders;
    unsigned                           keepalive:1;   /* may be reused */
    const char                        *error;         /* static text */

    /* how far the reader came */
    ngx_uint_t                         interim;       /* 1xx skipped */
    size_t                             scanned;

    /* last, as two kilobytes need not be zeroed for a few headers */
    ngx_http_tsface_response_header_t  headers[
                                     NGX_HTTP_TSFACE_RESPONSE_MAX_HEADERS];
} ngx_http_tsface_response_t;


/*
 * Reads the header block at *pos .. last.  Call again with more bytes (same
 * start) after NGX_AGAIN.  NGX_OK: complete, *pos moved behind it; interim 1xx
 * responses (not 101) are skipped.  NGX_ERROR: malformed, response->error says
 * what, in words that quote no input.  Zero response, up to its headers,
 * before the first call.  Refused: a status line not "HTTP/1.0|1.1 SP 3DIGIT
 * [SP reason]", status below 200 but 1xx, above 599; bare CR; bare LF is
 * refused too; obs-fold; a space before the colon; an empty or non-token name;
 * NUL or control bytes in a value; repeated Content-Length (even if equal), or
 * one that is not 1*15DIGIT; a Transfer-Encoding other than exactly "chunked"
 * (any case), repeated, on HTTP/1.0, or beside Content-Length; more than
 * MAX_HEADERS or MAX_INTERIM.
 */
ngx_int_t ngx_http_tsface_response_read_header(
    ngx_http_tsface_response_t *response, u_char **pos, u_char *last);

/* The first header of that name (any case, NUL-terminated), or NULL. */
const ngx_str_t *ngx_http_tsface_response_header(
    const ngx_http_tsface_response_t *response, const char *name);


/* The body's framing, resumable at any byte. */
typedef struct {
    ngx_http_tsface_framing_e          framing;
    ngx_uint_t                         state;
    off_t                              left;      /* of length or chunk */
    size_t                             overhead;  /* chunk lines, trailers */
    ngx_uint_t                         digits;
    unsigned                           done:1;
    const char                        *error;
} ngx_http_tsface_body_t;


void ngx_http_tsface_body_init(ngx_http_tsface_body_t *body,
    const ngx_http_tsface_response_t *response);

/*
 * Takes the next piece of content out of *pos .. last: sets data to it (a
 * slice of the input, empty when none) and moves *pos.  Call until *pos ==
 * last or body->done.  NGX_AGAIN: more is needed; NGX_OK: body->done, what is
 * left at *pos does not belong to this response; NGX_ERROR: malformed
 * (body->error).  A FRAMING_CLOSE body is never done by bytes alone.  Chunk
 * sizes: 1*8HEXDIG, extensions skipped, CRLF exactly; trailers skipped; all
 * overhead together at most 16384 bytes.
 */
ngx_int_t ngx_http_tsface_body_next(ngx_http_tsface_body_t *body, u_char **pos,
    u_char *last, ngx_str_t *data);


#endif /* _NGX_HTTP_TSFACE_RESPONSE_H_INCLUDED_ */
