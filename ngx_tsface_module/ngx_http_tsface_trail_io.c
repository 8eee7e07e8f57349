
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_io.h"


char *
ngx_http_tsface_trail_io_name(const ngx_str_t *path, const char *suffix)
{
    char    *name;
    size_t   len;

    len = ngx_strlen(suffix) + 1;

    name = malloc(path->len + len);
    if (name == NULL) {
        return NULL;
    }

    ngx_memcpy(name, path->data, path->len);
    ngx_memcpy(name + path->len, suffix, len);

    return name;
}


char *
ngx_http_tsface_trail_io_dir(const char *name)
{
    char        *dir;
    const char  *p;

    p = strrchr(name, '/');

    if (p == NULL) {
        return strdup(".");
    }

    dir = strdup(name);

    if (dir != NULL) {
        dir[p == name ? 1 : p - name] = '\0';
    }

    return dir;
}


DIR *
ngx_http_tsface_trail_io_opendir(const char *name)
{
    DIR        *d;
    char       *dir;
    ngx_err_t   err;

    dir = ngx_http_tsface_trail_io_dir(name);
    if (dir == NULL) {
        return NULL;
    }

    d = opendir(dir);

    err = errno;
    free(dir);
    errno = err;

    return d;
}


const char *
ngx_http_tsface_trail_io_base(const char *name)
{
    const char  *p;

    p = strrchr(name, '/');

    return p ? p + 1 : name;
}


ngx_int_t
ngx_http_tsface_trail_io_sync_dir(const char *name)
{
    int         fd;
    char       *dir;
    ngx_int_t   rc;
    ngx_err_t   err;

    dir = ngx_http_tsface_trail_io_dir(name);
    if (dir == NULL) {
        return NGX_ERROR;
    }

    fd = open(dir, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    err = errno;
    free(dir);

    if (fd == -1) {

        /* may not be read: whoever made the file there could and should */

        if (ngx_http_tsface_trail_io_denied(err)) {
            return NGX_OK;
        }

        errno = err;
        return NGX_ERROR;
    }

    /* EINVAL: a file system whose directories can't be synced */

    rc = (fsync(fd) == -1 && errno != EINVAL) ? NGX_ERROR : NGX_OK;

    err = errno;
    (void) close(fd);
    errno = err;

    return rc;
}


ssize_t
ngx_http_tsface_trail_io_read(int fd, u_char *buf, size_t size,
    off_t offset)
{
    size_t   done;
    ssize_t  n;

    for (done = 0; done < size; done += n) {
        n = pread(fd, buf + done, size - done, offset + done);

        if (n == -1) {
            if (errno == EINTR) {
                n = 0;
                continue;
            }

            return -1;
        }

        if (n == 0) {
            break;
        }
    }

    return done;
}


ngx_int_t
ngx_http_tsface_trail_io_write(int fd, const u_char *buf, size_t size,
    off_t offset)
{
    ssize_t  n;

    while (size) {

        if (offset == -1) {
            n = write(fd, buf, size);

        } else {
            n = pwrite(fd, buf, size, offset);
        }

        if (n == -1) {
            if (errno == EINTR) {
                continue;
            }

            return NGX_ERROR;
        }

        if (n == 0) {
            errno = ENOSPC;
            return NGX_ERROR;
        }

        buf += n;
        size -= n;

        if (offset != -1) {
            offset += n;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_trail_io_sync(int fd)
{
    while (fdatasync(fd) == -1) {

        if (errno != EINTR) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_trail_io_room(ngx_http_tsface_trail_buf_t *buf, size_t size)
{
    u_char  *data;

    if (size <= buf->size) {
        return NGX_OK;
    }

    size = ngx_max(size, 2 * buf->size);

    data = malloc(size);
    if (data == NULL) {
        return NGX_ERROR;
    }

    free(buf->data);

    buf->data = data;
    buf->size = size;

    return NGX_OK;
}
