
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <inttypes.h>

#include "ngx_http_tsface_trail_rotate.h"


ngx_int_t
ngx_http_tsface_trail_rotate(const char *name, uint64_t seq)
{
    int         rc;
    char       *old;
    size_t      len;
    ngx_err_t   err;

    len = ngx_strlen(name) + 1 + 20 + 1;

    old = malloc(len);
    if (old == NULL) {
        errno = ENOMEM;
        return NGX_ERROR;
    }

    (void) snprintf(old, len, "%s.%012" PRIu64, name, seq);

    rc = renameat2(AT_FDCWD, name, AT_FDCWD, old, RENAME_NOREPLACE);

    if (rc == -1 && (errno == EINVAL || errno == ENOSYS)) {

        /* a file system that can't: link() does not replace either */

        rc = link(name, old);

        if (rc == 0) {
            rc = unlink(name);

            if (rc == -1) {
                err = errno;
                (void) unlink(old);
                errno = err;
            }
        }
    }

    err = errno;
    free(old);
    errno = err;

    return rc == 0 ? NGX_OK : NGX_ERROR;
}
