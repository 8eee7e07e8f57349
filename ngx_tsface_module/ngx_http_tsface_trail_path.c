
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_trail_create.h"
#include "ngx_http_tsface_trail_path.h"


static ngx_int_t ngx_http_tsface_trail_names(ngx_conf_t *cf,
    const ngx_http_tsface_trail_t *trail,
    const ngx_http_tsface_trail_t *other);
static ngx_int_t ngx_http_tsface_trail_apart(ngx_conf_t *cf,
    const ngx_http_tsface_trail_t *trail, const ngx_http_tsface_trail_t *file);
static ngx_uint_t ngx_http_tsface_trail_beside(const ngx_str_t *path,
    const ngx_str_t *file);
static ngx_uint_t ngx_http_tsface_trail_begins(const ngx_str_t *path,
    const ngx_str_t *file);
static ngx_int_t ngx_http_tsface_trail_look(ngx_conf_t *cf,
    const ngx_http_tsface_trail_t *trail, const ngx_str_t *path,
    ngx_uint_t which);


ngx_int_t
ngx_http_tsface_trail_path(ngx_conf_t *cf, const ngx_array_t *trails,
    ngx_http_tsface_trail_t *trail)
{
    ngx_uint_t                 i;
    ngx_open_file_t           *file;
    ngx_http_tsface_trail_t  **other;

    if (ngx_conf_full_name(cf->cycle, &trail->path, 0) != NGX_OK
        || (trail->checkpoint_file.len
            && ngx_conf_full_name(cf->cycle, &trail->checkpoint_file, 0)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (ngx_http_tsface_trail_apart(cf, trail, trail) != NGX_OK) {
        return NGX_ERROR;
    }

    other = trails->elts;

    for (i = 0; i < trails->nelts; i++) {
        if (ngx_http_tsface_trail_names(cf, trail, other[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    /* "nginx -s" reads the configuration too, and has no business there */

    if (ngx_process == NGX_PROCESS_SIGNALLER) {
        return NGX_OK;
    }

    for (i = 0; i < NGX_HTTP_TSFACE_TRAIL_NFILES; i++) {

        if (i == NGX_HTTP_TSFACE_TRAIL_SENT && trail->syslog == NULL) {
            continue;
        }

        if (ngx_http_tsface_trail_look(cf, trail, &trail->path, i) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (trail->checkpoint_file.len
        && ngx_http_tsface_trail_look(cf, trail, &trail->checkpoint_file,
                                      NGX_HTTP_TSFACE_TRAIL_RECORDS)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_test_config) {
        return NGX_OK;
    }

    /*
     * For the hook only: nginx calls it when it is told to reopen its files.
     * The descriptor that nginx opens here and closes at its own time must
     * never be used (a thread could write to whatever has its number then).
     */

    file = ngx_conf_open_file(cf->cycle, &trail->path);
    if (file == NULL) {
        return NGX_ERROR;
    }

    if (file->name.data != trail->path.data) {

        /* somebody opened it before */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the file \"%V\" of tsface_audit_trail \"%V\" is "
                           "also a log", &trail->path, &trail->name);
        return NGX_ERROR;
    }

    file->flush = ngx_http_tsface_trail_reopen;
    file->data = trail;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_trail_names(ngx_conf_t *cf,
    const ngx_http_tsface_trail_t *trail,
    const ngx_http_tsface_trail_t *other)
{
    if (other->path.len == trail->path.len
        && ngx_http_tsface_trail_begins(&trail->path, &other->path))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tsface_audit_trail \"%V\" has the file \"%V\" "
                           "that \"%V\" has: give each its own",
                           &trail->name, &trail->path, &other->name);
        return NGX_ERROR;
    }

    if (ngx_http_tsface_trail_apart(cf, trail, other) != NGX_OK
        || ngx_http_tsface_trail_apart(cf, other, trail) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_tsface_trail_beside(&trail->path, &other->path)
        || ngx_http_tsface_trail_beside(&other->path, &trail->path))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the files \"%V\" and \"%V\" of "
                           "tsface_audit_trail \"%V\" and \"%V\" are in "
                           "one folder, and one name begins with the other",
                           &trail->path, &other->path,
                           &trail->name, &other->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * All that begins with a trail's name is taken for a file of its own, and what
 * is appended there without its lock breaks its chain.
 */

static ngx_int_t
ngx_http_tsface_trail_apart(ngx_conf_t *cf,
    const ngx_http_tsface_trail_t *trail, const ngx_http_tsface_trail_t *file)
{
    if (!ngx_http_tsface_trail_begins(&trail->checkpoint_file, &file->path)) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"checkpoint_file\" of tsface_audit_trail \"%V\" "
                       "must not begin with the name of the \"file\" of "
                       "\"%V\"", &trail->name, &file->name);

    return NGX_ERROR;
}


/* Would path be taken for a renamed file of the trail that file is of? */

static ngx_uint_t
ngx_http_tsface_trail_beside(const ngx_str_t *path, const ngx_str_t *file)
{
    return path->len > file->len
           && ngx_http_tsface_trail_begins(path, file)
           && ngx_strlchr(path->data + file->len, path->data + path->len, '/')
              == NULL;
}


static ngx_uint_t
ngx_http_tsface_trail_begins(const ngx_str_t *path, const ngx_str_t *file)
{
    return path->len >= file->len
           && ngx_memcmp(path->data, file->data, file->len) == 0;
}


/*
 * Looks at a file before a reload is committed, and makes it, with a mode that
 * nginx's own opening of it would not give; "nginx -t" leaves nothing behind.
 */

static ngx_int_t
ngx_http_tsface_trail_look(ngx_conf_t *cf,
    const ngx_http_tsface_trail_t *trail, const ngx_str_t *path,
    ngx_uint_t which)
{
    int                              fd;
    ngx_http_tsface_trail_result_t   result;

    if (ngx_test_config) {
        if (ngx_http_tsface_trail_create_check(path, which, &result)
            == NGX_OK)
        {
            return NGX_OK;
        }

    } else {
        fd = ngx_http_tsface_trail_create(path, which,
                                    ngx_http_tsface_trail_user(cf->cycle),
                                    &result);
        if (fd != -1) {
            (void) close(fd);
            return NGX_OK;
        }
    }

    if (result.flags & NGX_HTTP_TSFACE_TRAIL_FOREIGN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V%s\" of tsface_audit_trail \"%V\" is not a "
                           "trail's file, or has another name as well: give "
                           "a new name, or move it away",
                           path, result.suffix, &trail->name);

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, result.err,
                           "%s \"%V%s\" failed for tsface_audit_trail \"%V\"",
                           result.call ? result.call : "malloc()",
                           path, result.suffix, &trail->name);
    }

    return NGX_ERROR;
}
