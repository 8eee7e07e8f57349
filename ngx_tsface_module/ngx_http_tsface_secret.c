
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
static ngx_int_t ngx_http_tsface_secret_stat(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *secret, ngx_fd_t fd, const char *directive);
static ngx_int_t ngx_http_tsface_secret_take(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *secret, u_char *data, size_t len,
    const char *directive, size_t min);
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
    size_t     len;
    u_char     buf[NGX_HTTP_TSFACE_SECRET_MAX + 1];
    ssize_t    n;
    ngx_fd_t   fd;
    ngx_int_t  rc;

    /*
     * Symbolic links are followed, since mounted secrets are links (and so
     * are those of Kubernetes); O_NONBLOCK keeps open() of a FIFO, refused
     * below, from waiting for a writer for ever.
     */

    do {
        fd = open((const char *) secret->name.data,
                  O_RDONLY|O_NONBLOCK|O_NOCTTY|O_CLOEXEC);
    } while (fd == NGX_INVALID_FILE && ngx_errno == NGX_EINTR);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" of \"%s\" failed",
                           &secret->name, directive);
        return NGX_ERROR;
    }

    len = 0;
    rc = ngx_http_tsface_secret_stat(cf, secret, fd, directive);

    while (rc == NGX_OK && len < sizeof(buf)) {

        n = ngx_read_fd(fd, buf + len, sizeof(buf) - len);

        if (n == -1) {

            if (ngx_errno == NGX_EINTR) {
                continue;
            }

            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               ngx_read_fd_n " \"%V\" of \"%s\" failed",
                               &secret->name, directive);
            rc = NGX_ERROR;
            break;
        }

        if (n == 0) {
            break;
        }

        len += n;
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", &secret->name);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_tsface_secret_take(cf, secret, buf, len, directive, min);
    }

    OPENSSL_cleanse(buf, sizeof(buf));

    return rc;
}


static ngx_int_t
ngx_http_tsface_secret_stat(ngx_conf_t *cf, ngx_http_tsface_secret_t *secret,
    ngx_fd_t fd, const char *directive)
{
    ngx_uint_t       mode;
    ngx_file_info_t  fi;

    /* of what is open, not of the name, which may be replaced meanwhile */

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" of \"%s\" failed",
                           &secret->name, directive);
        return NGX_ERROR;
    }

    if (!ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" is not a regular file",
                           &secret->name, directive);
        return NGX_ERROR;
    }

    mode = fi.st_mode & 0777;

    if (mode & 0007) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" can be used by others "
                           "(mode 0%ui%ui%ui): chmod it to 0600, or to 0640 "
                           "if its group may read it",
                           &secret->name, directive,
                           mode >> 6, (mode >> 3) & 7, mode & 7);
        return NGX_ERROR;
    }

    if (mode & 0020) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" can be written by its group "
                           "(mode 0%ui%ui%ui): chmod it to 0640 or 0600",
                           &secret->name, directive,
                           mode >> 6, (mode >> 3) & 7, mode & 7);
        return NGX_ERROR;
    }

    secret->group_readable = (mode & 0040) ? 1 : 0;

    if (ngx_file_size(&fi) > NGX_HTTP_TSFACE_SECRET_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" has %O bytes, more than the %d "
                           "that a secret may have", &secret->name,
                           directive, ngx_file_size(&fi),
                           NGX_HTTP_TSFACE_SECRET_MAX);
        return NGX_ERROR;
    }

    return NGX_OK;
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
    char    *value;
    size_t   i;
    u_char   ch;

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

    return ngx_http_tsface_secret_take(cf, secret, (u_char *) value,
                                       ngx_strlen(value), directive, min);
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


/*
 * Keeps the first line of data.  One more line may follow it: the place of
 * the next secret while one is being rotated.
 */

static ngx_int_t
ngx_http_tsface_secret_take(ngx_conf_t *cf, ngx_http_tsface_secret_t *secret,
    u_char *data, size_t len, const char *directive, size_t min)
{
    u_char              *p, *last;
    ngx_pool_cleanup_t  *cln;

    /* a file may have grown since it was looked at */

    if (len > NGX_HTTP_TSFACE_SECRET_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" has more than the %d bytes that "
                           "a secret may have", &secret->name, directive,
                           NGX_HTTP_TSFACE_SECRET_MAX);
        return NGX_ERROR;
    }

    last = data + len;

    if (ngx_strlchr(data, last, '\0') != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" has a NUL byte: a secret is "
                           "a line of text, encode a binary one (base64, hex)",
                           &secret->name, directive);
        return NGX_ERROR;
    }

    p = ngx_strlchr(data, last, LF);

    if (p != NULL) {
        len = p - data;

        if (++p != last) {

            p = ngx_strlchr(p, last, LF);

            if (p != NULL && p + 1 != last) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"%V\" of \"%s\" has more than two lines: "
                                   "the secret must be its first line",
                                   &secret->name, directive);
                return NGX_ERROR;
            }

            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "the second line of \"%V\" of \"%s\" "
                               "is not used", &secret->name, directive);
        }
    }

    if (len != 0 && data[len - 1] == CR) {
        len--;
    }

    if (len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" is empty",
                           &secret->name, directive);
        return NGX_ERROR;
    }

    if (len < min) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" has %uz bytes, "
                           "it must have at least %uz",
                           &secret->name, directive, len, min);
        return NGX_ERROR;
    }

    /* the clean-up comes first: no byte is anywhere that it doesn't wipe */

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    secret->value.data = ngx_pnalloc(cf->pool, len);
    if (secret->value.data == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_tsface_secret_cleanup;
    cln->data = secret;

    ngx_memcpy(secret->value.data, data, len);
    secret->value.len = len;

    return NGX_OK;
}


static void
ngx_http_tsface_secret_cleanup(void *data)
{
    ngx_http_tsface_secret_t *secret = data;

    OPENSSL_cleanse(secret->value.data, secret->value.len);
    ngx_str_null(&secret->value);
}
