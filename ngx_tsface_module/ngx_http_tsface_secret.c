
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>

#include "ngx_http_tsface_secret.h"


static ngx_int_t ngx_http_tsface_secret_file(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *secret, const char *directive, size_t min);
static ngx_int_t ngx_http_tsface_secret_env(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *secret, const char *directive, size_t min);
static ngx_int_t ngx_http_tsface_secret_credential(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *secret, const char *directive);
static ngx_int_t ngx_http_tsface_secret_take(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *secret, ngx_http_tsface_secret_text_t *text,
    const char *directive, size_t min);
static ngx_int_t ngx_http_tsface_secret_copy(ngx_conf_t *cf, ngx_str_t *dst,
    const ngx_str_t *src);
static void ngx_http_tsface_secret_complain(ngx_conf_t *cf,
    const ngx_http_tsface_secret_t *secret,
    const ngx_http_tsface_secret_text_t *text, const char *directive,
    size_t min);
static void ngx_http_tsface_secret_cleanup(void *data);


ngx_http_tsface_secret_t *
ngx_http_tsface_secret_read(ngx_conf_t *cf, const ngx_str_t *spec,
    const char *directive, size_t min)
{
    size_t                     prefix;
    ngx_int_t                  rc;
    ngx_http_tsface_secret_t  *secret;

    secret = ngx_pcalloc(cf->pool, sizeof(ngx_http_tsface_secret_t));
    if (secret == NULL) {
        return NULL;
    }

    if (ngx_strncmp(spec->data, "file:", 5) == 0) {
        secret->source = NGX_HTTP_TSFACE_SECRET_FILE;
        prefix = 5;

    } else if (ngx_strncmp(spec->data, "env:", 4) == 0) {
        secret->source = NGX_HTTP_TSFACE_SECRET_ENV;
        prefix = 4;

    } else if (ngx_strncmp(spec->data, "credential:", 11) == 0) {
        secret->source = NGX_HTTP_TSFACE_SECRET_CREDENTIAL;
        prefix = 11;

    } else {

        /* what stands there may be the secret itself: it is not quoted */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" must be file:PATH, env:NAME or "
                           "credential:NAME; secrets are not written "
                           "in the configuration itself", directive);
        return NULL;
    }

    secret->name.data = spec->data + prefix;
    secret->name.len = spec->len - prefix;

    if (secret->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" has nothing after \"%V\"",
                           directive, spec);
        return NULL;
    }

    switch (secret->source) {

    case NGX_HTTP_TSFACE_SECRET_ENV:
        rc = ngx_http_tsface_secret_env(cf, secret, directive, min);
        break;

    case NGX_HTTP_TSFACE_SECRET_CREDENTIAL:
        rc = ngx_http_tsface_secret_credential(cf, secret, directive);

        if (rc == NGX_OK) {
            rc = ngx_http_tsface_secret_file(cf, secret, directive, min);
        }

        break;

    default: /* NGX_HTTP_TSFACE_SECRET_FILE */
        rc = ngx_conf_full_name(cf->cycle, &secret->name, 1);

        if (rc == NGX_OK) {
            rc = ngx_http_tsface_secret_file(cf, secret, directive, min);
        }
    }

    return (rc == NGX_OK) ? secret : NULL;
}


char *
ngx_http_tsface_secret_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    size_t                     *min;
    ngx_str_t                  *value;
    ngx_http_tsface_secret_t  **secret;

    secret = (ngx_http_tsface_secret_t **) (p + cmd->offset);

    if (*secret != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    min = cmd->post;

    *secret = ngx_http_tsface_secret_read(cf, &value[1],
                                          (const char *) cmd->name.data,
                                          min ? *min : 1);
    if (*secret == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_tsface_secret_file(ngx_conf_t *cf, ngx_http_tsface_secret_t *secret,
    const char *directive, size_t min)
{
    ngx_int_t                       rc;
    ngx_http_tsface_secret_text_t   text;

    if (ngx_http_tsface_secret_text_file(&text, secret->name.data, min)
        == NGX_OK)
    {
        secret->group_readable = (text.mode & 0040) ? 1 : 0;
    }

    rc = ngx_http_tsface_secret_take(cf, secret, &text, directive, min);

    OPENSSL_cleanse(&text, sizeof(text));

    return rc;
}


/*
 * The master reads its environment while it parses the configuration, so no
 * "env" directive is needed for the workers.  It is needed for an upgrade of
 * the binary: the new master inherits only what "env" names.
 */

static ngx_int_t
ngx_http_tsface_secret_env(ngx_conf_t *cf, ngx_http_tsface_secret_t *secret,
    const char *directive, size_t min)
{
    char                           *value;
    size_t                          i, len;
    u_char                          ch;
    ngx_int_t                       rc;
    ngx_http_tsface_secret_text_t   text;

    for (i = 0; i < secret->name.len; i++) {
        ch = secret->name.data[i];

        if (ch == '=' || ch <= ' ' || ch >= 0x7f) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid name of an environment variable "
                               "\"%V\" in \"%s\"", &secret->name, directive);
            return NGX_ERROR;
        }
    }

    value = getenv((const char *) secret->name.data);

    if (value == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "environment variable \"%V\" of \"%s\" is not set",
                           &secret->name, directive);
        return NGX_ERROR;
    }

    /* what is too long need not be copied in full to be found so */

    len = ngx_min(ngx_strlen(value), sizeof(text.data));

    ngx_memcpy(text.data, value, len);
    text.len = len;

    (void) ngx_http_tsface_secret_text_lines(&text, min);

    rc = ngx_http_tsface_secret_take(cf, secret, &text, directive, min);

    OPENSSL_cleanse(&text, sizeof(text));

    return rc;
}


/* Makes a path of a credential's name. */

static ngx_int_t
ngx_http_tsface_secret_credential(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *secret, const char *directive)
{
    char       *dir;
    u_char     *p;
    size_t      len;
    ngx_str_t  *name;

    name = &secret->name;

    /* a name that could leave the directory would not be a credential's */

    if (ngx_strlchr(name->data, name->data + name->len, '/') != NULL
        || ngx_strcmp(name->data, ".") == 0
        || ngx_strcmp(name->data, "..") == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name of a credential \"%V\" in \"%s\": "
                           "it must not be a path", name, directive);
        return NGX_ERROR;
    }

    dir = getenv("CREDENTIALS_DIRECTORY");

    if (dir == NULL || dir[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "credential \"%V\" of \"%s\" can't be found: "
                           "CREDENTIALS_DIRECTORY is not set; it is when "
                           "systemd starts nginx with LoadCredential=",
                           name, directive);
        return NGX_ERROR;
    }

    len = ngx_strlen(dir) + 1 + name->len;

    p = ngx_pnalloc(cf->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(p, "%s/%V%Z", dir, name);

    name->data = p;
    name->len = len;

    return NGX_OK;
}


/* Keeps the lines of text, or says why it can't be used. */

static ngx_int_t
ngx_http_tsface_secret_take(ngx_conf_t *cf, ngx_http_tsface_secret_t *secret,
    ngx_http_tsface_secret_text_t *text, const char *directive, size_t min)
{
    ngx_pool_cleanup_t  *cln;

    if (text->fault != NGX_HTTP_TSFACE_SECRET_OK) {
        ngx_http_tsface_secret_complain(cf, secret, text, directive, min);
        return NGX_ERROR;
    }

    /* the clean-up comes first: no byte is anywhere that it doesn't wipe */

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_tsface_secret_cleanup;
    cln->data = secret;

    if (ngx_http_tsface_secret_copy(cf, &secret->value, &text->line[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_tsface_secret_copy(cf, &secret->next, &text->line[1]);
}


static ngx_int_t
ngx_http_tsface_secret_copy(ngx_conf_t *cf, ngx_str_t *dst,
    const ngx_str_t *src)
{
    if (src->len == 0) {
        return NGX_OK;
    }

    dst->data = ngx_pnalloc(cf->pool, src->len);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, src->data, src->len);
    dst->len = src->len;

    return NGX_OK;
}


static void
ngx_http_tsface_secret_complain(ngx_conf_t *cf,
    const ngx_http_tsface_secret_t *secret,
    const ngx_http_tsface_secret_text_t *text, const char *directive,
    size_t min)
{
    const char  *call;

    call = ngx_read_fd_n;

    switch (text->fault) {

    case NGX_HTTP_TSFACE_SECRET_OPEN:
        call = ngx_open_file_n;
        break;

    case NGX_HTTP_TSFACE_SECRET_STAT:
        call = ngx_fd_info_n;
        break;

    case NGX_HTTP_TSFACE_SECRET_READ:
        break;

    case NGX_HTTP_TSFACE_SECRET_OTHERS:
    case NGX_HTTP_TSFACE_SECRET_GROUP:
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" can be %s "
                           "(mode 0%ui%ui%ui): chmod it to 0600, or to 0640 "
                           "if its group may read it",
                           &secret->name, directive,
                           text->fault == NGX_HTTP_TSFACE_SECRET_OTHERS
                               ? "used by others" : "written by its group",
                           text->mode >> 6, (text->mode >> 3) & 7,
                           text->mode & 7);
        return;

    case NGX_HTTP_TSFACE_SECRET_LARGE:
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" has more than the %d bytes that "
                           "a secret may have", &secret->name, directive,
                           ngx_http_tsface_secret_max(min));
        return;

    case NGX_HTTP_TSFACE_SECRET_NUL:
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" has a NUL byte: a secret is "
                           "a line of text, encode a binary one (base64, hex)",
                           &secret->name, directive);
        return;

    case NGX_HTTP_TSFACE_SECRET_LINES:
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" has more than two lines: "
                           "the secret must be its first line",
                           &secret->name, directive);
        return;

    case NGX_HTTP_TSFACE_SECRET_SHORT:
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" has %uz bytes, "
                           "it must have at least %uz in each line",
                           &secret->name, directive,
                           text->line[text->line[0].len >= min].len, min);
        return;

    default:
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" can't be used: %s",
                           &secret->name, directive,
                           ngx_http_tsface_secret_text_fault(text->fault));
        return;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, text->err,
                       "%s \"%V\" of \"%s\" failed",
                       call, &secret->name, directive);
}


void
ngx_http_tsface_secret_wipe(ngx_http_tsface_secret_t *secret)
{
    ngx_http_tsface_secret_cleanup(secret);
}


static void
ngx_http_tsface_secret_cleanup(void *data)
{
    ngx_http_tsface_secret_t *secret = data;

    OPENSSL_cleanse(secret->value.data, secret->value.len);
    ngx_str_null(&secret->value);

    OPENSSL_cleanse(secret->next.data, secret->next.len);
    ngx_str_null(&secret->next);
}
