
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_compat.h"
#include "ngx_http_tsface_page.h"


#define NGX_HTTP_TSFACE_PAGE_BUF   4096


static ngx_int_t ngx_http_tsface_page_room(ngx_http_tsface_page_t *page,
    size_t size);


void
ngx_http_tsface_page_init(ngx_http_tsface_page_t *page, ngx_http_request_t *r)
{
    ngx_memzero(page, sizeof(ngx_http_tsface_page_t));

    page->request = r;
    page->last = &page->out;
}


void ngx_cdecl
ngx_http_tsface_page_add(ngx_http_tsface_page_t *page, const char *fmt, ...)
{
    u_char   *p;
    size_t    size;
    va_list   args;

    if (page->buf == NULL) {
        (void) ngx_http_tsface_page_room(page, NGX_HTTP_TSFACE_PAGE_BUF);
    }

    size = NGX_HTTP_TSFACE_PAGE_BUF;

    while (!page->failed) {

        va_start(args, fmt);
        p = ngx_vslprintf(page->buf->last, page->buf->end, fmt, args);
        va_end(args);

        /* what fills the room may have been cut: once more, with more of it */

        if (p < page->buf->end) {
            page->size += p - page->buf->last;
            page->buf->last = p;
            return;
        }

        (void) ngx_http_tsface_page_room(page, size);

        size *= 2;
    }
}


void
ngx_http_tsface_page_add_json(ngx_http_tsface_page_t *page, const ngx_str_t *s)
{
    u_char     *p;
    size_t      len;
    ngx_str_t   escaped;

    len = s->len + ngx_escape_json(NULL, s->data, s->len);

    p = ngx_pnalloc(page->request->pool, len);
    if (p == NULL) {
        page->failed = 1;
        return;
    }

    escaped.data = p;
    escaped.len = (u_char *) ngx_escape_json(p, s->data, s->len) - p;

    ngx_http_tsface_page_add(page, "%V", &escaped);
}


static ngx_int_t
ngx_http_tsface_page_room(ngx_http_tsface_page_t *page, size_t size)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_create_temp_buf(page->request->pool, size);
    cl = ngx_alloc_chain_link(page->request->pool);

    if (b == NULL || cl == NULL) {
        page->failed = 1;
        return NGX_ERROR;
    }

    cl->buf = b;
    cl->next = NULL;

    /* an empty buffer is no part of an answer */

    if (page->buf && page->buf->last == page->buf->pos) {
        *page->buf = *b;
        return NGX_OK;
    }

    *page->last = cl;
    page->last = &cl->next;
    page->buf = b;

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_page_allowed(ngx_http_request_t *r)
{
    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    return ngx_http_discard_request_body(r);
}


ngx_int_t
ngx_http_tsface_page_send(ngx_http_tsface_page_t *page, ngx_uint_t status,
    const char *type)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;
    static ngx_str_t     no_store = ngx_string("no-store");

    r = page->request;

    if (page->failed || page->buf == NULL
        || ngx_http_tsface_page_header(r, "Cache-Control", &no_store)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    page->buf->last_buf = (r == r->main) ? 1 : 0;
    page->buf->last_in_chain = 1;

    r->headers_out.status = status;
    r->headers_out.content_length_n = page->size;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);

    /* gzip_types and the like compare it without parameters */

    r->headers_out.content_type_len = strcspn(type, ";");
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, page->out);
}


ngx_int_t
ngx_http_tsface_page_header(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;
    h->lowcase_key = NULL;
    ngx_http_tsface_header_end(h);

    return NGX_OK;
}
