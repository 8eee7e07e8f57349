
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_copy.h"
#include "ngx_http_tsface_trail_io.h"


/*
 * Opened each time: there are few, and whoever renames the file, or mounts
 * another file system over its directory, need tell nobody.  Several writers
 * append without a lock; a write() of O_APPEND is not mixed with another.
 */

ngx_int_t
ngx_http_tsface_trail_copy(const char *name, const u_char *lines, size_t len)
{
    int          fd;
    u_char       lf;
    ngx_int_t    rc;
    ngx_err_t    err;
    struct stat  sb;

    fd = open(name, NGX_HTTP_TSFACE_TRAIL_FLAGS|O_CREAT,
              NGX_HTTP_TSFACE_TRAIL_MODE);

    if (fd == -1) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (fstat(fd, &sb) == -1) {
        goto done;
    }

    if (!S_ISREG(sb.st_mode)) {
        errno = EINVAL;
        goto done;
    }

    /* what a full disk left of a line must not spoil the next one */

    lf = LF;

    if (sb.st_size
        && ngx_http_tsface_trail_io_read(fd, &lf, 1, sb.st_size - 1) == 1
        && lf != LF)
    {
        lf = LF;

        if (ngx_http_tsface_trail_io_write(fd, &lf, 1, -1) != NGX_OK) {
            goto done;
        }
    }

    if (ngx_http_tsface_trail_io_write(fd, lines, len, -1) != NGX_OK
        || fdatasync(fd) == -1)
    {
        goto done;
    }

    rc = NGX_OK;

done:

    err = errno;
    (void) close(fd);
    errno = err;

    return rc;
}
