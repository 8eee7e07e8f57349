
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_syslog_position.h"
#include "ngx_http_tsface_trail_chain.h"
#include "ngx_http_tsface_trail_create.h"
#include "ngx_http_tsface_trail_io.h"


typedef struct {
    const char      *suffix;
    const char      *prefix;    /* of what is in it */
    int              flags;
} ngx_http_tsface_trail_kind_t;


static int ngx_http_tsface_trail_create_open(const ngx_str_t *path,
    ngx_uint_t which, int create, ngx_uid_t uid,
    ngx_http_tsface_trail_result_t *result);


static const ngx_http_tsface_trail_kind_t
    ngx_http_tsface_trail_kinds[NGX_HTTP_TSFACE_TRAIL_NFILES] =
{
    { "", NGX_HTTP_TSFACE_RECORD_HEAD, NGX_HTTP_TSFACE_TRAIL_FLAGS },

    { ".chain", NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC,
      NGX_HTTP_TSFACE_TRAIL_CHAIN_FLAGS },

    { ".sent", NGX_HTTP_TSFACE_SYSLOG_POSITION_MAGIC,
      NGX_HTTP_TSFACE_TRAIL_CHAIN_FLAGS }
};


int
ngx_http_tsface_trail_create(const ngx_str_t *path, ngx_uint_t which,
    ngx_uid_t uid, ngx_http_tsface_trail_result_t *result)
{
    return ngx_http_tsface_trail_create_open(path, which, O_CREAT, uid, result);
}


ngx_int_t
ngx_http_tsface_trail_create_check(const ngx_str_t *path, ngx_uint_t which,
    ngx_http_tsface_trail_result_t *result)
{
    int         fd;
    char       *dir;
    ngx_int_t   rc;

    fd = ngx_http_tsface_trail_create_open(path, which, 0, (ngx_uid_t) -1,
                                           result);
    if (fd != -1) {
        (void) close(fd);
        return NGX_OK;
    }

    if (result->err != ENOENT) {
        return NGX_ERROR;
    }

    dir = ngx_http_tsface_trail_io_dir((char *) path->data);
    if (dir == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    if (access(dir, W_OK|X_OK) == -1) {
        rc = ngx_http_tsface_trail_failed(result, "access(DIR)", "", errno);
    }

    free(dir);

    return rc;
}


static int
ngx_http_tsface_trail_create_open(const ngx_str_t *path, ngx_uint_t which,
    int create, ngx_uid_t uid, ngx_http_tsface_trail_result_t *result)
{
    int           fd, flags;
    char         *name;
    size_t        len;
    u_char        buf[sizeof(NGX_HTTP_TSFACE_RECORD_HEAD) - 1];
    ssize_t       n;
    const char   *suffix, *prefix;
    struct stat   sb;

    ngx_memzero(result, sizeof(ngx_http_tsface_trail_result_t));

    suffix = ngx_http_tsface_trail_kinds[which].suffix;
    prefix = ngx_http_tsface_trail_kinds[which].prefix;
    flags = ngx_http_tsface_trail_kinds[which].flags;

    name = ngx_http_tsface_trail_io_name(path, suffix);
    if (name == NULL) {
        (void) ngx_http_tsface_trail_failed(result, "malloc()", suffix,
                                            ENOMEM);
        return -1;
    }

    fd = open(name, flags|create, NGX_HTTP_TSFACE_TRAIL_MODE);
    if (fd == -1) {
        (void) ngx_http_tsface_trail_failed(result, "open()", suffix,
                                            errno);
        goto done;
    }

    if (fstat(fd, &sb) == -1) {
        (void) ngx_http_tsface_trail_failed(result, "fstat()", suffix,
                                            errno);
        goto failed;
    }

    /*
     * The directory may belong to the workers, and a worker may be in the
     * wrong hands: root must not give it a file that it linked here.
     */

    if (!S_ISREG(sb.st_mode) || sb.st_nlink > 1) {
        goto foreign;
    }

    len = ngx_min((size_t) sb.st_size, sizeof(buf));

    n = ngx_http_tsface_trail_io_read(fd, buf, len, 0);
    if (n == -1) {
        (void) ngx_http_tsface_trail_failed(result, "pread()", suffix,
                                            errno);
        goto failed;
    }

    if (ngx_memcmp(buf, prefix, ngx_min((size_t) n, ngx_strlen(prefix)))
        != 0)
    {
        goto foreign;
    }

    if (uid != (ngx_uid_t) -1 && sb.st_uid != uid
        && fchown(fd, uid, (ngx_gid_t) -1) == -1)
    {
        (void) ngx_http_tsface_trail_failed(result, "fchown()", suffix,
                                            errno);
        goto failed;
    }

    /* workers may not be able to read the directory, and so to sync it */

    if (create && sb.st_size == 0
        && ngx_http_tsface_trail_io_sync_dir(name) != NGX_OK)
    {
        (void) ngx_http_tsface_trail_failed(result, "fsync()", suffix,
                                            errno);
        goto failed;
    }

    goto done;

foreign:

    result->flags |= NGX_HTTP_TSFACE_TRAIL_FOREIGN;

    (void) ngx_http_tsface_trail_failed(result, NULL, suffix, 0);

failed:

    (void) close(fd);
    fd = -1;

done:

    free(name);

    return fd;
}
