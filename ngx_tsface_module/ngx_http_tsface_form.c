
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_form.h"


static ngx_uint_t ngx_http_tsface_form_plain(u_char ch);


size_t
ngx_http_tsface_form_len(const ngx_str_t *text)
{
    size_t  i, len;

    len = 0;

    for (i = 0; i < text->len; i++) {
        len += (ngx_http_tsface_form_plain(text->data[i])
                || text->data[i] == ' ') ? 1 : 3;
    }

    return len;
}


u_char *
ngx_http_tsface_form_encode(u_char *p, const ngx_str_t *text)
{
    size_t         i;
    u_char         ch;
    static u_char  hex[] = "0123456789ABCDEF";

    for (i = 0; i < text->len; i++) {
        ch = text->data[i];

        if (ngx_http_tsface_form_plain(ch)) {
            *p++ = ch;

        } else if (ch == ' ') {
            *p++ = '+';

        } else {
            *p++ = '%';
            *p++ = hex[ch >> 4];
            *p++ = hex[ch & 0xf];
        }
    }

    return p;
}


/* The application/x-www-form-urlencoded serializer's unreserved set. */
static ngx_uint_t
ngx_http_tsface_form_plain(u_char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
           || (ch >= '0' && ch <= '9')
           || ch == '-' || ch == '.' || ch == '_' || ch == '*';
}
