
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Which of the status page's formats an Accept header prefers (RFC 9110
 * 12.5.1).  Pure.
 */


#ifndef _NGX_HTTP_TSFACE_ACCEPT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_ACCEPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Zeroed before the first of a request's Accept lines. */
typedef struct {
    /* 0 to 1000, plus one: 0 is not named */
    ngx_uint_t    json;
    ngx_uint_t    application;      /* application, any */
    ngx_uint_t    plain;
    ngx_uint_t    openmetrics;
    ngx_uint_t    text;             /* text, any */
    ngx_uint_t    any;
} ngx_http_tsface_accept_t;


/* Takes in a line of the header; what can't be understood counts as nothing. */
void ngx_http_tsface_accept_line(ngx_http_tsface_accept_t *accept,
    const ngx_str_t *value);

/*
 * Whether text/plain or application/openmetrics-text is preferred to
 * application/json, of which the more specific range counts.  In doubt: 0.
 */
ngx_uint_t ngx_http_tsface_accept_prometheus(
    const ngx_http_tsface_accept_t *accept);


#endif /* _NGX_HTTP_TSFACE_ACCEPT_H_INCLUDED_ */
