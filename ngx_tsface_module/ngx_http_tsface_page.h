
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A text of unknown length that is made in memory and answered as a whole.
 */


#ifndef _NGX_HTTP_TSFACE_PAGE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_PAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* In the request's pool. */
typedef struct {
    ngx_http_request_t    *request;
    ngx_chain_t           *out;
    ngx_chain_t          **last;
    ngx_buf_t             *buf;
    off_t                  size;
    unsigned               failed:1;     /* no memory: send() tells */
} ngx_http_tsface_page_t;


void ngx_http_tsface_page_init(ngx_http_tsface_page_t *page,
    ngx_http_request_t *r);

/* Appends what ngx_sprintf() would make of it. */
void ngx_cdecl ngx_http_tsface_page_add(ngx_http_tsface_page_t *page,
    const char *fmt, ...);

/* Appends the insides of a JSON string. */
void ngx_http_tsface_page_add_json(ngx_http_tsface_page_t *page,
    const ngx_str_t *s);

/*
 * For a content handler: whether it goes on.  GET and HEAD only, the body is
 * discarded.  NGX_OK, or what the handler has to return.
 */
ngx_int_t ngx_http_tsface_page_allowed(ngx_http_request_t *r);

/* Answers with the page, not to be stored; type is static. */
ngx_int_t ngx_http_tsface_page_send(ngx_http_tsface_page_t *page,
    ngx_uint_t status, const char *type);

/* Sets a header of the answer; name is static, value lives as the request. */
ngx_int_t ngx_http_tsface_page_header(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value);


#endif /* _NGX_HTTP_TSFACE_PAGE_H_INCLUDED_ */
