
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * application/x-www-form-urlencoded (pure).
 */


#ifndef _NGX_HTTP_TSFACE_FORM_H_INCLUDED_
#define _NGX_HTTP_TSFACE_FORM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* The bytes that encode() writes of text. */
size_t ngx_http_tsface_form_len(const ngx_str_t *text);

/* Writes a name or a value to p; returns the place behind it. */
u_char *ngx_http_tsface_form_encode(u_char *p, const ngx_str_t *text);


#endif /* _NGX_HTTP_TSFACE_FORM_H_INCLUDED_ */
