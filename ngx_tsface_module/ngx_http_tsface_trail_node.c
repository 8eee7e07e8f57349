
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_io.h"
#include "ngx_http_tsface_trail_node.h"


static int ngx_http_tsface_trail_node_reopen(
    ngx_http_tsface_trail_node_t *node);
static void ngx_http_tsface_trail_node_set(ngx_http_tsface_trail_node_t *node,
    int fd);
static ngx_int_t ngx_http_tsface_trail_node_lock(int fd, const char *suffix,
    ngx_msec_t wait, ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_node_unlock(int fd);
static void ngx_http_tsface_trail_node_forget(
    ngx_http_tsface_trail_node_t *node);


void
ngx_http_tsface_trail_node_init(ngx_http_tsface_trail_node_t *node,
    const ngx_str_t *path, const char *suffix, int flags, int inherited)
{
    ngx_memzero(node, sizeof(ngx_http_tsface_trail_node_t));

    node->fd = -1;
    node->previous = -1;
    node->flags = flags;
    node->inherited = inherited;
    node->suffix = suffix;
    node->name = ngx_http_tsface_trail_io_name(path, suffix);
}


void
ngx_http_tsface_trail_node_free(ngx_http_tsface_trail_node_t *node)
{
    ngx_http_tsface_trail_node_close(node);

    free(node->name);
}


ngx_int_t
ngx_http_tsface_trail_node_follow(ngx_http_tsface_trail_node_t *node,
    struct stat *sb, ngx_http_tsface_trail_result_t *result)
{
    int         fd;
    ngx_err_t   err;
    ngx_uint_t  tries;

    for (tries = 0; tries < 16; tries++) {

        if (node->fd == -1) {
            fd = ngx_http_tsface_trail_node_reopen(node);

            if (fd == -1) {
                return ngx_http_tsface_trail_failed(result, "open()",
                                                    node->suffix, errno);
            }

            ngx_http_tsface_trail_node_set(node, fd);
        }

        /* once: what a descriptor means does not change */

        if (!node->known) {

            if (fstat(node->fd, sb) == -1) {
                return ngx_http_tsface_trail_failed(result, "fstat()",
                                                    node->suffix, errno);
            }

            if (!S_ISREG(sb->st_mode)) {
                ngx_http_tsface_trail_node_close(node);
                result->flags |= NGX_HTTP_TSFACE_TRAIL_FOREIGN;

                return ngx_http_tsface_trail_failed(result, NULL,
                                                    node->suffix, 0);
            }

            node->dev = sb->st_dev;
            node->ino = sb->st_ino;
            node->known = 1;
        }

        if (lstat(node->name, sb) == 0
            && sb->st_ino == node->ino && sb->st_dev == node->dev)
        {
            /*
             * A worker that hears of USR1 late, after the next rename, has
             * nginx make the file, for everybody to read.
             */

            if (sb->st_size == 0 && (sb->st_mode & S_IRWXO)) {
                (void) fchmod(node->fd, NGX_HTTP_TSFACE_TRAIL_MODE);
            }

            return NGX_OK;
        }

        fd = open(node->name, node->flags|O_CREAT,
                  NGX_HTTP_TSFACE_TRAIL_MODE);

        if (fd != -1) {
            if (node->previous != -1) {
                (void) close(node->previous);
            }

            node->previous = node->fd;
            ngx_http_tsface_trail_node_set(node, fd);
            continue;
        }

        err = errno;

        if (fstat(node->fd, sb) == -1) {
            return ngx_http_tsface_trail_failed(result, "fstat()",
                                                node->suffix, errno);
        }

        if (ngx_http_tsface_trail_io_denied(err)
            && (sb->st_nlink > 0 || node->nameless))
        {
            result->flags |= NGX_HTTP_TSFACE_TRAIL_STRAY;
            return NGX_OK;
        }

        return ngx_http_tsface_trail_failed(result, "open()",
                                            node->suffix, err);
    }

    /* renamed sixteen times in as many microseconds */

    return ngx_http_tsface_trail_failed(result, "open()", node->suffix,
                                        EAGAIN);
}


/*
 * The name is looked up when the lock is there, as one on a file that the
 * name no longer means would keep out nobody; sb is of that time as well.
 */

ngx_int_t
ngx_http_tsface_trail_node_hold(ngx_http_tsface_trail_node_t *node,
    struct stat *sb, ngx_msec_t wait, ngx_http_tsface_trail_result_t *result)
{
    int  fd;

    for ( ;; ) {

        if (node->fd == -1
            && ngx_http_tsface_trail_node_follow(node, sb, result) != NGX_OK)
        {
            return NGX_ERROR;
        }

        fd = node->fd;

        if (ngx_http_tsface_trail_node_lock(fd, node->suffix, wait, result)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_http_tsface_trail_node_follow(node, sb, result) != NGX_OK) {
            return NGX_ERROR;
        }

        if (fd == node->fd) {
            return NGX_OK;
        }

        /* never both: another writer may want them the other way round */

        if (fd == node->previous
            && ngx_http_tsface_trail_node_unlock(fd) != NGX_OK)
        {
            ngx_http_tsface_trail_node_forget(node);
        }
    }
}


void
ngx_http_tsface_trail_node_release(ngx_http_tsface_trail_node_t *node)
{
    if (node->fd != -1
        && ngx_http_tsface_trail_node_unlock(node->fd) != NGX_OK)
    {
        ngx_http_tsface_trail_node_close(node);
    }

    ngx_http_tsface_trail_node_forget(node);
}


void
ngx_http_tsface_trail_node_close(ngx_http_tsface_trail_node_t *node)
{
    if (node->fd != -1) {
        (void) close(node->fd);
        node->fd = -1;
    }

    ngx_http_tsface_trail_node_forget(node);
}


/* A description of this process's own: its locks are not its relatives'. */

static int
ngx_http_tsface_trail_node_reopen(ngx_http_tsface_trail_node_t *node)
{
    int   fd, err;
    char  name[sizeof("/proc/self/fd/-2147483648")];

    fd = open(node->name, node->flags|O_CREAT, NGX_HTTP_TSFACE_TRAIL_MODE);

    if (fd != -1 || node->inherited == -1
        || !ngx_http_tsface_trail_io_denied(errno))
    {
        return fd;
    }

    err = errno;

    /* the directory is closed to workers: what the master opened isn't */

    (void) snprintf(name, sizeof(name), "/proc/self/fd/%d", node->inherited);

    fd = open(name, node->flags & ~O_NOFOLLOW);

    if (fd == -1) {
        errno = err;
    }

    return fd;
}


static void
ngx_http_tsface_trail_node_set(ngx_http_tsface_trail_node_t *node, int fd)
{
    node->fd = fd;
    node->opened++;
    node->known = 0;
}


/*
 * Locks of the open file description, not of the process: they don't vanish
 * when nginx closes some other descriptor of the same file, and the kernel
 * drops them when a process dies, after its last write() has ended.
 */

static ngx_int_t
ngx_http_tsface_trail_node_lock(int fd, const char *suffix, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_err_t     err;
    ngx_msec_t    waited;
    struct flock  fl;

    waited = 0;

    for ( ;; ) {
        ngx_memzero(&fl, sizeof(struct flock));
        fl.l_type = F_WRLCK;
        fl.l_whence = SEEK_SET;
        fl.l_len = NGX_HTTP_TSFACE_TRAIL_LOCK_LEN;

        if (fcntl(fd, wait ? F_OFD_SETLK : F_OFD_SETLKW, &fl) == 0) {
            return NGX_OK;
        }

        err = errno;

        if (err == EINTR) {
            continue;
        }

        if ((err != EAGAIN && err != EACCES) || waited >= wait) {
            return ngx_http_tsface_trail_failed(result, "fcntl(LOCK)",
                                                suffix, err);
        }

        (void) usleep(5000);
        waited += 5;
    }
}


static ngx_int_t
ngx_http_tsface_trail_node_unlock(int fd)
{
    struct flock  fl;

    ngx_memzero(&fl, sizeof(struct flock));
    fl.l_type = F_UNLCK;
    fl.l_whence = SEEK_SET;
    fl.l_len = NGX_HTTP_TSFACE_TRAIL_LOCK_LEN;

    return fcntl(fd, F_OFD_SETLK, &fl) == -1 ? NGX_ERROR : NGX_OK;
}


static void
ngx_http_tsface_trail_node_forget(ngx_http_tsface_trail_node_t *node)
{
    if (node->previous != -1) {
        (void) close(node->previous);
        node->previous = -1;
    }
}
