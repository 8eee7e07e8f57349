
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <strings.h>

#include "ngx_http_tsface_challenge.h"


static u_char *ngx_http_tsface_challenge_space(u_char *p, u_char *last);
static u_char *ngx_http_tsface_challenge_quoted(u_char *p, u_char *last,
    ngx_str_t *text);
static u_char *ngx_http_tsface_challenge_word(u_char *p, u_char *last,
    ngx_str_t *text);
static ngx_uint_t ngx_http_tsface_challenge_is(const ngx_str_t *text,
    const char *word);


/* Words, of which those before a "=" are names: no more of the grammar. */

ngx_http_tsface_challenge_e
ngx_http_tsface_challenge_error(const ngx_str_t *field)
{
    u_char     *p, *last;
    ngx_str_t   name, value;

    if (field->len == 0) {
        return NGX_HTTP_TSFACE_CHALLENGE_NONE;
    }

    p = field->data;
    last = p + field->len;

    while (p < last) {

        if (*p == '"') {
            p = ngx_http_tsface_challenge_quoted(p, last, &value);
            continue;
        }

        p = ngx_http_tsface_challenge_word(p, last, &name);

        if (name.len == 0) {
            p++;
            continue;
        }

        p = ngx_http_tsface_challenge_space(p, last);

        if (p == last || *p != '=') {
            continue;
        }

        p = ngx_http_tsface_challenge_space(p + 1, last);

        if (p < last && *p == '"') {
            p = ngx_http_tsface_challenge_quoted(p, last, &value);

        } else {
            p = ngx_http_tsface_challenge_word(p, last, &value);
        }

        if (!ngx_http_tsface_challenge_is(&name, "error")) {
            continue;
        }

        if (ngx_http_tsface_challenge_is(&value, "invalid_token")) {
            return NGX_HTTP_TSFACE_CHALLENGE_TOKEN;
        }

        if (ngx_http_tsface_challenge_is(&value, "insufficient_scope")) {
            return NGX_HTTP_TSFACE_CHALLENGE_SCOPE;
        }

        return NGX_HTTP_TSFACE_CHALLENGE_NONE;
    }

    return NGX_HTTP_TSFACE_CHALLENGE_NONE;
}


static u_char *
ngx_http_tsface_challenge_space(u_char *p, u_char *last)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


/* Escapes are left as they are: no word that is looked for has one. */

static u_char *
ngx_http_tsface_challenge_quoted(u_char *p, u_char *last, ngx_str_t *text)
{
    text->data = ++p;

    while (p < last && *p != '"') {
        p += (*p == '\\' && last - p > 1) ? 2 : 1;
    }

    text->len = p - text->data;

    return p < last ? p + 1 : last;
}


static u_char *
ngx_http_tsface_challenge_word(u_char *p, u_char *last, ngx_str_t *text)
{
    text->data = p;

    while (p < last && *p != ' ' && *p != '\t' && *p != ',' && *p != '='
           && *p != '"')
    {
        p++;
    }

    text->len = p - text->data;

    return p;
}


static ngx_uint_t
ngx_http_tsface_challenge_is(const ngx_str_t *text, const char *word)
{
    size_t  len;

    len = ngx_strlen(word);

    return text->len == len
           && strncasecmp((const char *) text->data, word, len) == 0;
}
