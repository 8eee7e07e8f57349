
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <dirent.h>

#include "ngx_http_tsface_trail_file.h"


#define NGX_HTTP_TSFACE_TRAIL_MODE        0640

#define NGX_HTTP_TSFACE_TRAIL_FLAGS       (O_RDWR|O_APPEND|O_CLOEXEC          \
                                           |O_NOFOLLOW|O_NONBLOCK|O_NOCTTY)

/* pwrite() to a file opened with O_APPEND appends, whatever the offset */
#define NGX_HTTP_TSFACE_CHAIN_FLAGS       (NGX_HTTP_TSFACE_TRAIL_FLAGS        \
                                           & ~O_APPEND)

#define NGX_HTTP_TSFACE_TRAIL_PREFIX      "{\"v\":1,\"seq\":"

/* `,"mac":"` and all that seal() puts around a body */
#define NGX_HTTP_TSFACE_TRAIL_ENVELOPE    256

/* no writer leaves a longer tail without a line end: a batch is smaller */
#define NGX_HTTP_TSFACE_TRAIL_TORN_MAX    (8 * 1024 * 1024)

/* "tsface-chain 1 SEQ MAC INODE SIZE\n", of fixed width */
#define NGX_HTTP_TSFACE_CHAIN_MAGIC       "tsface-chain 1 "
#define NGX_HTTP_TSFACE_CHAIN_LEN                                             \
    (sizeof(NGX_HTTP_TSFACE_CHAIN_MAGIC) - 1 + 20 + 1                         \
     + NGX_HTTP_TSFACE_RECORD_MAC_LEN + 1 + 20 + 1 + 20 + 1)


/* A name, and the descriptor that follows it. */
typedef struct {
    int                fd;
    int                previous;    /* what it was before the name moved */
    int                flags;
    int                inherited;
    ngx_uint_t         nameless;    /* may go on after its name is gone */
    char              *name;
    const char        *suffix;
} ngx_http_tsface_node_t;


typedef struct {
    uint64_t           seq;
    uint64_t           ino;
    uint64_t           size;
    u_char             mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
} ngx_http_tsface_chain_t;


struct ngx_http_tsface_trail_file_s {
    ngx_http_tsface_node_t         log;
    ngx_http_tsface_node_t         chain;

    char                          *torn;
    ngx_http_tsface_record_key_t  *key;
    ngx_str_t                      trail;
    ngx_str_t                      host;
    ngx_int_t                      pid;
    ngx_uint_t                     durable;

    u_char                        *buf;
    size_t                         size;
};


static int ngx_http_tsface_trail_file_take(const ngx_str_t *path,
    ngx_uint_t chain, int create, ngx_uid_t uid,
    ngx_http_tsface_trail_result_t *result);
static int ngx_http_tsface_trail_file_reopen(ngx_http_tsface_node_t *node);
static ngx_int_t ngx_http_tsface_trail_file_follow(
    ngx_http_tsface_node_t *node, struct stat *sb,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_hold(
    ngx_http_tsface_node_t *node, struct stat *sb, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_lock(int fd, const char *suffix,
    ngx_msec_t wait, ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_unlock(int fd);
static void ngx_http_tsface_trail_file_release(ngx_http_tsface_node_t *node);
static void ngx_http_tsface_trail_file_close(ngx_http_tsface_node_t *node);
static void ngx_http_tsface_trail_file_forget(ngx_http_tsface_node_t *node);
static ngx_int_t ngx_http_tsface_trail_file_chain(int fd,
    ngx_http_tsface_chain_t *chain);
static void ngx_http_tsface_trail_file_set_chain(int fd,
    ngx_http_tsface_chain_t *chain);
static u_char *ngx_http_tsface_trail_file_digits(u_char *p, uint64_t n);
static uint64_t ngx_http_tsface_trail_file_number(const u_char *p,
    ngx_int_t *rc);
static ngx_int_t ngx_http_tsface_trail_file_end(
    ngx_http_tsface_trail_file_t *file, struct stat *sb,
    ngx_http_tsface_chain_t *end, ngx_http_tsface_trail_result_t *result);
static void ngx_http_tsface_trail_file_predecessor(
    ngx_http_tsface_trail_file_t *file, ngx_http_tsface_chain_t *end,
    ngx_http_tsface_trail_result_t *result);
static int ngx_http_tsface_trail_file_find(ngx_http_tsface_trail_file_t *file,
    uint64_t ino, struct stat *sb);
static ngx_int_t ngx_http_tsface_trail_file_tail(
    ngx_http_tsface_trail_file_t *file, int fd, uint64_t *size,
    ngx_http_tsface_chain_t *tail, ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_cut(
    ngx_http_tsface_trail_file_t *file, int log, uint64_t size, uint64_t end,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_room(
    ngx_http_tsface_trail_file_t *file, size_t size);
static ngx_int_t ngx_http_tsface_trail_file_seal(
    ngx_http_tsface_trail_file_t *file, const ngx_str_t *body,
    ngx_http_tsface_chain_t *end, size_t *len);
static ngx_int_t ngx_http_tsface_trail_file_append(
    ngx_http_tsface_trail_file_t *file, const ngx_str_t *bodies, ngx_uint_t n,
    struct stat *sb, ngx_http_tsface_chain_t *end,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_sync(
    ngx_http_tsface_trail_file_t *file, uint64_t size,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_sync_dir(const char *name);
static char *ngx_http_tsface_trail_file_dir(const char *name);
static ngx_int_t ngx_http_tsface_trail_file_pwrite(int fd, const u_char *buf,
    size_t size, off_t offset);
static ssize_t ngx_http_tsface_trail_file_pread(int fd, u_char *buf,
    size_t size, off_t offset);
static ngx_int_t ngx_http_tsface_trail_file_error(
    ngx_http_tsface_trail_result_t *result, const char *call,
    const char *suffix, ngx_err_t err);
static char *ngx_http_tsface_trail_file_name(const ngx_str_t *path,
    const char *suffix);
static ngx_int_t ngx_http_tsface_trail_file_dup(ngx_str_t *dst,
    const ngx_str_t *src);


/* The kernel's ways to say "you may not", as opposed to "it can't be". */
#define ngx_http_tsface_trail_file_denied(err)                                \
    ((err) == EACCES || (err) == EPERM || (err) == EROFS)


int
ngx_http_tsface_trail_file_create(const ngx_str_t *path, ngx_uint_t chain,
    ngx_uid_t uid, ngx_http_tsface_trail_result_t *result)
{
    return ngx_http_tsface_trail_file_take(path, chain, O_CREAT, uid, result);
}


ngx_int_t
ngx_http_tsface_trail_file_check(const ngx_str_t *path,
    ngx_http_tsface_trail_result_t *result)
{
    int          fd;
    char        *dir;
    ngx_int_t    rc;
    ngx_uint_t   i;

    for (i = 0; i < 2; i++) {
        fd = ngx_http_tsface_trail_file_take(path, i, 0, (ngx_uid_t) -1,
                                             result);
        if (fd != -1) {
            (void) close(fd);
            continue;
        }

        if (result->err != ENOENT) {
            return NGX_ERROR;
        }

        dir = ngx_http_tsface_trail_file_dir((char *) path->data);
        if (dir == NULL) {
            return NGX_ERROR;
        }

        rc = NGX_OK;

        if (access(dir, W_OK|X_OK) == -1) {
            rc = ngx_http_tsface_trail_file_error(result, "access(DIR)", "",
                                                  errno);
        }

        free(dir);

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_http_tsface_trail_file_t *
ngx_http_tsface_trail_file_new(const ngx_http_tsface_trail_file_conf_t *conf)
{
    ngx_http_tsface_trail_file_t  *file;

    file = calloc(1, sizeof(ngx_http_tsface_trail_file_t));
    if (file == NULL) {
        return NULL;
    }

    file->log.fd = -1;
    file->log.previous = -1;
    file->log.flags = NGX_HTTP_TSFACE_TRAIL_FLAGS;
    file->log.inherited = conf->fd;
    file->log.suffix = "";

    file->chain.fd = -1;
    file->chain.previous = -1;
    file->chain.flags = NGX_HTTP_TSFACE_CHAIN_FLAGS;
    file->chain.inherited = conf->chain_fd;
    file->chain.nameless = 1;
    file->chain.suffix = ".chain";

    file->pid = conf->pid;
    file->durable = conf->durable;

    file->log.name = ngx_http_tsface_trail_file_name(conf->path, "");
    file->chain.name = ngx_http_tsface_trail_file_name(conf->path, ".chain");
    file->torn = ngx_http_tsface_trail_file_name(conf->path, ".torn");
    file->key = ngx_http_tsface_record_key_new(conf->key);

    if (file->log.name == NULL || file->chain.name == NULL
        || file->torn == NULL || file->key == NULL
        || ngx_http_tsface_trail_file_dup(&file->trail, conf->name) != NGX_OK
        || ngx_http_tsface_trail_file_dup(&file->host, conf->host) != NGX_OK)
    {
        ngx_http_tsface_trail_file_free(file);
        return NULL;
    }

    return file;
}


void
ngx_http_tsface_trail_file_free(ngx_http_tsface_trail_file_t *file)
{
    ngx_http_tsface_trail_file_close(&file->log);
    ngx_http_tsface_trail_file_close(&file->chain);

    ngx_http_tsface_record_key_free(file->key);

    free(file->trail.data);
    free(file->host.data);
    free(file->log.name);
    free(file->chain.name);
    free(file->torn);
    free(file->buf);
    free(file);
}


ngx_int_t
ngx_http_tsface_trail_file_open(ngx_http_tsface_trail_file_t *file,
    ngx_http_tsface_trail_result_t *result)
{
    struct stat  sb;

    ngx_memzero(result, sizeof(ngx_http_tsface_trail_result_t));

    if (ngx_http_tsface_trail_file_follow(&file->chain, &sb, result)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_tsface_trail_file_follow(&file->log, &sb, result);
}


ngx_int_t
ngx_http_tsface_trail_file_write(ngx_http_tsface_trail_file_t *file,
    const ngx_str_t *bodies, ngx_uint_t n, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                 rc;
    struct stat               sb;
    ngx_http_tsface_chain_t   end;

    ngx_memzero(result, sizeof(ngx_http_tsface_trail_result_t));

    /*
     * The chain's lock first, and then the file's own, always in this order.
     * The latter is free unless somebody deleted PATH.chain while a writer
     * was at work: that one is waited for.
     */

    rc = ngx_http_tsface_trail_file_hold(&file->chain, &sb, wait, result);
    if (rc != NGX_OK) {
        goto failed;
    }

    rc = ngx_http_tsface_trail_file_hold(&file->log, &sb, wait, result);
    if (rc != NGX_OK) {
        goto failed;
    }

    rc = ngx_http_tsface_trail_file_end(file, &sb, &end, result);
    if (rc != NGX_OK) {
        goto failed;
    }

    rc = ngx_http_tsface_trail_file_append(file, bodies, n, &sb, &end,
                                           result);

failed:

    ngx_http_tsface_trail_file_release(&file->log);
    ngx_http_tsface_trail_file_release(&file->chain);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    /* without the locks: others write while this one waits for the disk */

    return ngx_http_tsface_trail_file_sync(file, end.size, result);
}


static int
ngx_http_tsface_trail_file_take(const ngx_str_t *path, ngx_uint_t chain,
    int create, ngx_uid_t uid, ngx_http_tsface_trail_result_t *result)
{
    int           fd, flags;
    char         *name;
    size_t        len;
    u_char        buf[sizeof(NGX_HTTP_TSFACE_TRAIL_PREFIX) - 1];
    ssize_t       n;
    const char   *suffix, *prefix;
    struct stat   sb;

    ngx_memzero(result, sizeof(ngx_http_tsface_trail_result_t));

    if (chain) {
        suffix = ".chain";
        prefix = NGX_HTTP_TSFACE_CHAIN_MAGIC;
        flags = NGX_HTTP_TSFACE_CHAIN_FLAGS;

    } else {
        suffix = "";
        prefix = NGX_HTTP_TSFACE_TRAIL_PREFIX;
        flags = NGX_HTTP_TSFACE_TRAIL_FLAGS;
    }

    name = ngx_http_tsface_trail_file_name(path, suffix);
    if (name == NULL) {
        (void) ngx_http_tsface_trail_file_error(result, "malloc()", suffix,
                                                ENOMEM);
        return -1;
    }

    fd = open(name, flags|create, NGX_HTTP_TSFACE_TRAIL_MODE);
    if (fd == -1) {
        (void) ngx_http_tsface_trail_file_error(result, "open()", suffix,
                                                errno);
        goto done;
    }

    if (fstat(fd, &sb) == -1) {
        (void) ngx_http_tsface_trail_file_error(result, "fstat()", suffix,
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

    n = ngx_http_tsface_trail_file_pread(fd, buf, len, 0);
    if (n == -1) {
        (void) ngx_http_tsface_trail_file_error(result, "pread()", suffix,
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
        (void) ngx_http_tsface_trail_file_error(result, "fchown()", suffix,
                                                errno);
        goto failed;
    }

    /* workers may not be able to read the directory, and so to sync it */

    if (create && sb.st_size == 0
        && ngx_http_tsface_trail_file_sync_dir(name) != NGX_OK)
    {
        (void) ngx_http_tsface_trail_file_error(result, "fsync()", suffix,
                                                errno);
        goto failed;
    }

    goto done;

foreign:

    result->flags |= NGX_HTTP_TSFACE_TRAIL_FOREIGN;

    (void) ngx_http_tsface_trail_file_error(result, NULL, suffix, 0);

failed:

    (void) close(fd);
    fd = -1;

done:

    free(name);

    return fd;
}


/* A description of this process's own: its locks are not its relatives'. */

static int
ngx_http_tsface_trail_file_reopen(ngx_http_tsface_node_t *node)
{
    int   fd, err;
    char  name[sizeof("/proc/self/fd/-2147483648")];

    fd = open(node->name, node->flags|O_CREAT, NGX_HTTP_TSFACE_TRAIL_MODE);

    if (fd != -1 || node->inherited == -1
        || !ngx_http_tsface_trail_file_denied(errno))
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


/*
 * Makes node->fd the file that its name means now.  If the name means
 * another one, or nothing, that may not be opened or made, the old one will
 * do (STRAY): for records as long as a directory somewhere lists it.
 */

static ngx_int_t
ngx_http_tsface_trail_file_follow(ngx_http_tsface_node_t *node,
    struct stat *sb, ngx_http_tsface_trail_result_t *result)
{
    int          fd;
    ngx_err_t    err;
    ngx_uint_t   tries;
    struct stat  nb;

    for (tries = 0; tries < 16; tries++) {

        if (node->fd == -1) {
            node->fd = ngx_http_tsface_trail_file_reopen(node);

            if (node->fd == -1) {
                return ngx_http_tsface_trail_file_error(result, "open()",
                                                        node->suffix, errno);
            }
        }

        if (fstat(node->fd, sb) == -1) {
            return ngx_http_tsface_trail_file_error(result, "fstat()",
                                                    node->suffix, errno);
        }

        if (!S_ISREG(sb->st_mode)) {
            ngx_http_tsface_trail_file_close(node);
            result->flags |= NGX_HTTP_TSFACE_TRAIL_FOREIGN;

            return ngx_http_tsface_trail_file_error(result, NULL,
                                                    node->suffix, 0);
        }

        if (lstat(node->name, &nb) == 0
            && nb.st_ino == sb->st_ino && nb.st_dev == sb->st_dev)
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
            node->fd = fd;
            continue;
        }

        err = errno;

        if (ngx_http_tsface_trail_file_denied(err)
            && (sb->st_nlink > 0 || node->nameless))
        {
            result->flags |= NGX_HTTP_TSFACE_TRAIL_STRAY;
            return NGX_OK;
        }

        return ngx_http_tsface_trail_file_error(result, "open()",
                                                node->suffix, err);
    }

    /* renamed sixteen times in as many microseconds */

    return ngx_http_tsface_trail_file_error(result, "open()", node->suffix,
                                            EAGAIN);
}


/*
 * Locks the file that node's name means.  The name is looked up when the lock
 * is there, as one on a file that the name no longer means would keep out
 * nobody; sb is of that time as well.
 */

static ngx_int_t
ngx_http_tsface_trail_file_hold(ngx_http_tsface_node_t *node,
    struct stat *sb, ngx_msec_t wait, ngx_http_tsface_trail_result_t *result)
{
    int  fd;

    for ( ;; ) {

        if (node->fd == -1
            && ngx_http_tsface_trail_file_follow(node, sb, result) != NGX_OK)
        {
            return NGX_ERROR;
        }

        fd = node->fd;

        if (ngx_http_tsface_trail_file_lock(fd, node->suffix, wait, result)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_http_tsface_trail_file_follow(node, sb, result) != NGX_OK) {
            return NGX_ERROR;
        }

        if (fd == node->fd) {
            return NGX_OK;
        }

        /* never both: another writer may want them the other way round */

        if (fd == node->previous
            && ngx_http_tsface_trail_file_unlock(fd) != NGX_OK)
        {
            ngx_http_tsface_trail_file_forget(node);
        }
    }
}


/*
 * Locks of the open file description, not of the process: they don't vanish
 * when nginx closes some other descriptor of the same file, and the kernel
 * drops them when a process dies, after its last write() has ended.
 */

static ngx_int_t
ngx_http_tsface_trail_file_lock(int fd, const char *suffix, ngx_msec_t wait,
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

        if (fcntl(fd, wait ? F_OFD_SETLK : F_OFD_SETLKW, &fl) == 0) {
            return NGX_OK;
        }

        err = errno;

        if (err == EINTR) {
            continue;
        }

        if ((err != EAGAIN && err != EACCES) || waited >= wait) {
            return ngx_http_tsface_trail_file_error(result, "fcntl(LOCK)",
                                                    suffix, err);
        }

        (void) usleep(5000);
        waited += 5;
    }
}


static ngx_int_t
ngx_http_tsface_trail_file_unlock(int fd)
{
    struct flock  fl;

    ngx_memzero(&fl, sizeof(struct flock));
    fl.l_type = F_UNLCK;
    fl.l_whence = SEEK_SET;

    return fcntl(fd, F_OFD_SETLK, &fl) == -1 ? NGX_ERROR : NGX_OK;
}


/* Ends hold(), whether it succeeded or not. */

static void
ngx_http_tsface_trail_file_release(ngx_http_tsface_node_t *node)
{
    if (node->fd != -1
        && ngx_http_tsface_trail_file_unlock(node->fd) != NGX_OK)
    {
        ngx_http_tsface_trail_file_close(node);
    }

    ngx_http_tsface_trail_file_forget(node);
}


static void
ngx_http_tsface_trail_file_close(ngx_http_tsface_node_t *node)
{
    if (node->fd != -1) {
        (void) close(node->fd);
        node->fd = -1;
    }

    ngx_http_tsface_trail_file_forget(node);
}


static void
ngx_http_tsface_trail_file_forget(ngx_http_tsface_node_t *node)
{
    if (node->previous != -1) {
        (void) close(node->previous);
        node->previous = -1;
    }
}


static ngx_int_t
ngx_http_tsface_trail_file_chain(int fd, ngx_http_tsface_chain_t *chain)
{
    u_char     buf[NGX_HTTP_TSFACE_CHAIN_LEN], *p;
    size_t     i;
    ngx_int_t  rc;

    if (ngx_http_tsface_trail_file_pread(fd, buf, sizeof(buf), 0)
        != (ssize_t) sizeof(buf))
    {
        return NGX_DECLINED;
    }

    if (ngx_memcmp(buf, NGX_HTTP_TSFACE_CHAIN_MAGIC,
                   sizeof(NGX_HTTP_TSFACE_CHAIN_MAGIC) - 1)
        != 0)
    {
        return NGX_DECLINED;
    }

    rc = NGX_OK;
    p = buf + sizeof(NGX_HTTP_TSFACE_CHAIN_MAGIC) - 1;

    chain->seq = ngx_http_tsface_trail_file_number(p, &rc);
    p += 21;

    for (i = 0; i < NGX_HTTP_TSFACE_RECORD_MAC_LEN; i++) {
        if ((p[i] < '0' || p[i] > '9') && (p[i] < 'a' || p[i] > 'f')) {
            return NGX_DECLINED;
        }
    }

    ngx_memcpy(chain->mac, p, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    p += NGX_HTTP_TSFACE_RECORD_MAC_LEN + 1;

    chain->ino = ngx_http_tsface_trail_file_number(p, &rc);
    p += 21;

    chain->size = ngx_http_tsface_trail_file_number(p, &rc);

    return rc;
}


/*
 * A failure is no failure of the batch: the file's end then tells more than
 * the chain does, and the next writer believes the file.
 */

static void
ngx_http_tsface_trail_file_set_chain(int fd, ngx_http_tsface_chain_t *chain)
{
    u_char  buf[NGX_HTTP_TSFACE_CHAIN_LEN], *p;

    p = ngx_cpymem(buf, NGX_HTTP_TSFACE_CHAIN_MAGIC,
                   sizeof(NGX_HTTP_TSFACE_CHAIN_MAGIC) - 1);

    p = ngx_http_tsface_trail_file_digits(p, chain->seq);
    *p++ = ' ';
    p = ngx_cpymem(p, chain->mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    *p++ = ' ';
    p = ngx_http_tsface_trail_file_digits(p, chain->ino);
    *p++ = ' ';
    p = ngx_http_tsface_trail_file_digits(p, chain->size);
    *p++ = LF;

    (void) ngx_http_tsface_trail_file_pwrite(fd, buf,
                                             NGX_HTTP_TSFACE_CHAIN_LEN, 0);
}


static u_char *
ngx_http_tsface_trail_file_digits(u_char *p, uint64_t n)
{
    size_t  i;

    for (i = 20; i; i--) {
        p[i - 1] = (u_char) ('0' + n % 10);
        n /= 10;
    }

    return p + 20;
}


static uint64_t
ngx_http_tsface_trail_file_number(const u_char *p, ngx_int_t *rc)
{
    size_t    i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < 20; i++) {
        if (p[i] < '0' || p[i] > '9') {
            *rc = NGX_DECLINED;
            return 0;
        }

        n = n * 10 + (p[i] - '0');
    }

    return n;
}


/*
 * Where the next record goes: after which seq and mac, at which offset.
 *
 * As a rule the chain knows, and the file has the inode and size it says.
 * Otherwise something happened since, and whoever knows more is believed:
 *
 *   - the file is empty: it was rotated, or this is the first record ever;
 *   - the file ends in a higher seq: a writer died before it told the chain;
 *   - the file ends in a lower seq: records are missing.  The seq goes on
 *     after the lost ones and so does the mac: a verifier must stop there.
 */

static ngx_int_t
ngx_http_tsface_trail_file_end(ngx_http_tsface_trail_file_t *file,
    struct stat *sb, ngx_http_tsface_chain_t *end,
    ngx_http_tsface_trail_result_t *result)
{
    uint64_t                  size;
    ngx_int_t                 known, rc;
    ngx_http_tsface_chain_t   tail;

    size = sb->st_size;

    known = (ngx_http_tsface_trail_file_chain(file->chain.fd, end) == NGX_OK);

    if (!known) {
        ngx_memzero(end, sizeof(ngx_http_tsface_chain_t));
        ngx_memset(end->mac, '0', NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    }

    if (known && size && end->ino == sb->st_ino && end->size == size) {
        return NGX_OK;
    }

    rc = ngx_http_tsface_trail_file_tail(file, file->log.fd, &size, &tail,
                                         result);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK) {

        if (tail.seq >= end->seq) {
            end->seq = tail.seq;
            ngx_memcpy(end->mac, tail.mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN);

        } else {
            result->flags |= NGX_HTTP_TSFACE_TRAIL_SHRUNK;
            result->reason = "truncated";
        }

    } else {

        /* empty: a name given to a new file, or a file that lost it all? */

        result->flags |= NGX_HTTP_TSFACE_TRAIL_OPENED;

        if (!known) {
            result->reason = "new";

        } else if (end->ino == sb->st_ino && end->size) {
            result->flags |= NGX_HTTP_TSFACE_TRAIL_SHRUNK;
            result->reason = "truncated";

        } else {
            ngx_http_tsface_trail_file_predecessor(file, end, result);
            result->reason = "rotated";
        }
    }

    if ((result->flags & NGX_HTTP_TSFACE_TRAIL_TORN)
        && !(result->flags & NGX_HTTP_TSFACE_TRAIL_SHRUNK))
    {
        result->reason = "torn_tail";
    }

    end->ino = sb->st_ino;
    end->size = size;

    return NGX_OK;
}


/*
 * A file that was moved away may go further than the chain, if its last
 * writer died.  It is the one we had open, or it has another name in the
 * directory; if it can't be found, the chain's word is all there is.
 */

static void
ngx_http_tsface_trail_file_predecessor(ngx_http_tsface_trail_file_t *file,
    ngx_http_tsface_chain_t *end, ngx_http_tsface_trail_result_t *result)
{
    int                              fd;
    uint64_t                         size;
    struct stat                      sb;
    ngx_http_tsface_chain_t          tail;
    ngx_http_tsface_trail_result_t   found;

    fd = file->log.previous;
    file->log.previous = -1;

    if (fd != -1 && (fstat(fd, &sb) == -1 || sb.st_ino != end->ino)) {
        (void) close(fd);
        fd = -1;
    }

    if (fd == -1) {
        fd = ngx_http_tsface_trail_file_find(file, end->ino, &sb);
    }

    if (fd == -1) {
        return;
    }

    size = sb.st_size;

    ngx_memzero(&found, sizeof(ngx_http_tsface_trail_result_t));

    if (size != end->size
        && ngx_http_tsface_trail_file_tail(file, fd, &size, &tail, &found)
           == NGX_OK)
    {
        if (tail.seq > end->seq) {
            end->seq = tail.seq;
            ngx_memcpy(end->mac, tail.mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
        }

        result->flags |= found.flags;
        result->torn = found.torn;
    }

    (void) close(fd);
}


static int
ngx_http_tsface_trail_file_find(ngx_http_tsface_trail_file_t *file,
    uint64_t ino, struct stat *sb)
{
    int             fd;
    DIR            *d;
    char           *dir;
    struct dirent  *de;

    dir = ngx_http_tsface_trail_file_dir(file->log.name);
    if (dir == NULL) {
        return -1;
    }

    d = opendir(dir);
    free(dir);

    if (d == NULL) {
        return -1;
    }

    fd = -1;

    while ((de = readdir(d)) != NULL) {

        if (de->d_ino != ino) {
            continue;
        }

        fd = openat(dirfd(d), de->d_name, NGX_HTTP_TSFACE_TRAIL_FLAGS);

        if (fd != -1
            && (fstat(fd, sb) == -1 || !S_ISREG(sb->st_mode)
                || sb->st_ino != ino))
        {
            (void) close(fd);
            fd = -1;
        }

        break;
    }

    (void) closedir(d);

    return fd;
}


/*
 * Reads the last whole record back and cuts off what follows it.  Returns
 * NGX_DECLINED if there is none because the file is empty, or was torn in
 * its first line.  A file of another form is left alone: NGX_ERROR.
 */

static ngx_int_t
ngx_http_tsface_trail_file_tail(ngx_http_tsface_trail_file_t *file,
    int fd, uint64_t *size, ngx_http_tsface_chain_t *tail,
    ngx_http_tsface_trail_result_t *result)
{
    u_char     *p, *last;
    size_t      len;
    ssize_t     n;
    uint64_t    start, end;
    ngx_str_t   line;

    if (*size == 0) {
        return NGX_DECLINED;
    }

    if (ngx_http_tsface_trail_file_room(file, 4 * NGX_HTTP_TSFACE_RECORD_MAX)
        != NGX_OK)
    {
        return ngx_http_tsface_trail_file_error(result, "malloc()", "",
                                                ENOMEM);
    }

    /* the last LF: at the end, or far before it if a batch was cut short */

    end = *size;

    for ( ;; ) {
        len = ngx_min(end, 2 * NGX_HTTP_TSFACE_RECORD_MAX);
        start = end - len;

        n = ngx_http_tsface_trail_file_pread(fd, file->buf, len,
                                             start);
        if (n != (ssize_t) len) {
            return ngx_http_tsface_trail_file_error(result, "pread()", "",
                                                    n == -1 ? errno : EIO);
        }

        last = file->buf + len;

        while (last > file->buf && last[-1] != LF) {
            last--;
        }

        end = start + (last - file->buf);

        if (last > file->buf) {
            break;
        }

        if (end == 0) {

            /* no line at all: ours if it begins as ours do */

            len = ngx_min(len, sizeof(NGX_HTTP_TSFACE_TRAIL_PREFIX) - 1);

            if (ngx_memcmp(file->buf, NGX_HTTP_TSFACE_TRAIL_PREFIX, len)
                != 0)
            {
                goto foreign;
            }

            if (ngx_http_tsface_trail_file_cut(file, fd, *size, 0, result)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            *size = 0;

            return NGX_DECLINED;
        }

        if (*size - end > NGX_HTTP_TSFACE_TRAIL_TORN_MAX) {
            goto foreign;
        }
    }

    /* the line before that LF */

    len = ngx_min(end, NGX_HTTP_TSFACE_RECORD_MAX);

    n = ngx_http_tsface_trail_file_pread(fd, file->buf, len,
                                         end - len);
    if (n != (ssize_t) len) {
        return ngx_http_tsface_trail_file_error(result, "pread()", "",
                                                n == -1 ? errno : EIO);
    }

    last = file->buf + len - 1;

    for (p = last; p > file->buf && p[-1] != LF; p--) { /* void */ }

    line.data = p;
    line.len = last - p;

    if (ngx_http_tsface_record_parse_tail(&line, &tail->seq, tail->mac)
        != NGX_OK)
    {
        goto foreign;
    }

    if (end != *size) {
        if (ngx_http_tsface_trail_file_cut(file, fd, *size, end, result)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        *size = end;
    }

    return NGX_OK;

foreign:

    result->flags |= NGX_HTTP_TSFACE_TRAIL_FOREIGN;

    return ngx_http_tsface_trail_file_error(result, NULL, "", 0);
}


/*
 * A torn record has been confirmed to nobody, and what it stands for was not
 * done.  It is kept nevertheless, where it can be: an auditor may ask.
 */

static ngx_int_t
ngx_http_tsface_trail_file_cut(ngx_http_tsface_trail_file_t *file,
    int log, uint64_t size, uint64_t end,
    ngx_http_tsface_trail_result_t *result)
{
    int         fd;
    size_t      len;
    u_char      lf;
    ssize_t     n;
    uint64_t    pos;
    ngx_err_t   err;

    fd = open(file->torn, NGX_HTTP_TSFACE_TRAIL_FLAGS|O_CREAT,
              NGX_HTTP_TSFACE_TRAIL_MODE);

    if (fd == -1) {
        err = errno;

        /* the directory is closed to workers: no reason to stop for ever */

        if (!ngx_http_tsface_trail_file_denied(err)) {
            return ngx_http_tsface_trail_file_error(result, "open()", ".torn",
                                                    err);
        }

        result->flags |= NGX_HTTP_TSFACE_TRAIL_TORN_LOST;
    }

    if (fd != -1) {

        for (pos = end; pos < size; pos += len) {
            len = ngx_min(size - pos, 2 * NGX_HTTP_TSFACE_RECORD_MAX);

            n = ngx_http_tsface_trail_file_pread(log, file->buf,
                                                 len, pos);

            if (n != (ssize_t) len
                || ngx_http_tsface_trail_file_pwrite(fd, file->buf, len, -1)
                   != NGX_OK)
            {
                goto failed;
            }
        }

        lf = LF;

        if (ngx_http_tsface_trail_file_pwrite(fd, &lf, 1, -1) != NGX_OK
            || fsync(fd) == -1)
        {
            goto failed;
        }

        (void) close(fd);
    }

    if (ftruncate(log, end) == -1) {
        return ngx_http_tsface_trail_file_error(result, "ftruncate()", "",
                                                errno);
    }

    result->flags |= NGX_HTTP_TSFACE_TRAIL_TORN;
    result->torn = size - end;

    return NGX_OK;

failed:

    err = errno ? errno : EIO;

    (void) close(fd);

    return ngx_http_tsface_trail_file_error(result, "write()", ".torn", err);
}


static ngx_int_t
ngx_http_tsface_trail_file_room(ngx_http_tsface_trail_file_t *file,
    size_t size)
{
    u_char  *buf;

    if (size <= file->size) {
        return NGX_OK;
    }

    size = ngx_max(size, 2 * file->size);

    buf = malloc(size);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    free(file->buf);

    file->buf = buf;
    file->size = size;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_trail_file_seal(ngx_http_tsface_trail_file_t *file,
    const ngx_str_t *body, ngx_http_tsface_chain_t *end, size_t *len)
{
    size_t           n;
    uint64_t         usec;
    struct timespec  ts;

    if (clock_gettime(CLOCK_REALTIME, &ts) == -1) {
        return NGX_ERROR;
    }

    usec = (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;

    n = ngx_http_tsface_record_seal(body, end->seq + 1, usec, file->key,
                                    end->mac, file->buf + *len,
                                    file->size - *len);
    if (n == 0) {
        return NGX_ERROR;
    }

    end->seq++;
    *len += n;

    return NGX_OK;
}


/* Seals the batch, after an "open" record if there is reason, and writes. */

static ngx_int_t
ngx_http_tsface_trail_file_append(ngx_http_tsface_trail_file_t *file,
    const ngx_str_t *bodies, ngx_uint_t n, struct stat *sb,
    ngx_http_tsface_chain_t *end, ngx_http_tsface_trail_result_t *result)
{
    u_char                    buf[NGX_HTTP_TSFACE_RECORD_MAX];
    size_t                    len, size;
    ngx_err_t                 err;
    ngx_str_t                 body;
    ngx_uint_t                i;
    ngx_http_tsface_record_t  record;

    size = 2 * NGX_HTTP_TSFACE_RECORD_MAX;

    for (i = 0; i < n; i++) {
        size += bodies[i].len + NGX_HTTP_TSFACE_TRAIL_ENVELOPE;
    }

    if (ngx_http_tsface_trail_file_room(file, size) != NGX_OK) {
        return ngx_http_tsface_trail_file_error(result, "malloc()", "",
                                                ENOMEM);
    }

    len = 0;

    if (result->reason) {
        ngx_http_tsface_record_init(&record, NGX_HTTP_TSFACE_RECORD_OPEN);

        record.trail = file->trail;
        record.host = file->host;
        record.pid = file->pid;
        record.reason.data = (u_char *) result->reason;
        record.reason.len = ngx_strlen(result->reason);

        body.data = buf;
        body.len = ngx_http_tsface_record_body(&record, buf,
                                       sizeof(buf)
                                       - NGX_HTTP_TSFACE_TRAIL_ENVELOPE);

        if (body.len == 0
            || ngx_http_tsface_trail_file_seal(file, &body, end, &len)
               != NGX_OK)
        {
            return ngx_http_tsface_trail_file_error(result, "HMAC()", "", 0);
        }
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_tsface_trail_file_seal(file, &bodies[i], end, &len)
            != NGX_OK)
        {
            return ngx_http_tsface_trail_file_error(result, "HMAC()", "", 0);
        }
    }

    if (ngx_http_tsface_trail_file_pwrite(file->log.fd, file->buf, len, -1)
        != NGX_OK)
    {
        err = errno;

        /*
         * No half batch: it would be refused, and be there.  If this fails
         * as well the next writer finds whole records beyond the chain, and
         * a torn one: both are mended.
         */

        (void) !ftruncate(file->log.fd, end->size);

        return ngx_http_tsface_trail_file_error(result, "write()", "", err);
    }

    /*
     * A file's name is on disk when its directory is.  Before the lock goes:
     * the writers after this one see no new file and rely on it.
     */

    if (file->durable && sb->st_size == 0
        && ngx_http_tsface_trail_file_sync_dir(file->log.name) != NGX_OK)
    {
        err = errno;

        (void) !ftruncate(file->log.fd, end->size);

        return ngx_http_tsface_trail_file_error(result, "fsync(DIR)", "",
                                                err);
    }

    end->size += len;

    ngx_http_tsface_trail_file_set_chain(file->chain.fd, end);

    result->seq = end->seq;

    return NGX_OK;
}


/*
 * Nobody is told that a record is on disk before it is, nor if the file that
 * it is in was meanwhile deleted or emptied.
 */

static ngx_int_t
ngx_http_tsface_trail_file_sync(ngx_http_tsface_trail_file_t *file,
    uint64_t size, ngx_http_tsface_trail_result_t *result)
{
    ngx_err_t     err;
    struct stat   sb;

    if (file->durable) {

        while (fdatasync(file->log.fd) == -1) {

            err = errno;

            if (err == EINTR) {
                continue;
            }

            /*
             * The pages are lost, and the kernel reports it once for each
             * description: this one would succeed the next time.  Another
             * one starts with a clean sheet, which is worth no more, but
             * what it syncs is written after it was opened.
             */

            ngx_http_tsface_trail_file_close(&file->log);

            return ngx_http_tsface_trail_file_error(result, "fdatasync()", "",
                                                    err);
        }
    }

    if (fstat(file->log.fd, &sb) == -1) {
        return ngx_http_tsface_trail_file_error(result, "fstat()", "", errno);
    }

    if (sb.st_nlink == 0 || (uint64_t) sb.st_size < size) {
        result->flags |= NGX_HTTP_TSFACE_TRAIL_SHRUNK;
        return ngx_http_tsface_trail_file_error(result, "fstat()", "", ENOENT);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_trail_file_sync_dir(const char *name)
{
    int         fd;
    char       *dir;
    ngx_int_t   rc;
    ngx_err_t   err;

    dir = ngx_http_tsface_trail_file_dir(name);
    if (dir == NULL) {
        return NGX_ERROR;
    }

    fd = open(dir, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    err = errno;
    free(dir);

    if (fd == -1) {

        /* may not be read: whoever made the file there could and should */

        if (ngx_http_tsface_trail_file_denied(err)) {
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


static char *
ngx_http_tsface_trail_file_dir(const char *name)
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


/* All or NGX_ERROR; at the end of the file if offset is -1. */

static ngx_int_t
ngx_http_tsface_trail_file_pwrite(int fd, const u_char *buf, size_t size,
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


/* As much as there is, up to size; -1 and errno on error. */

static ssize_t
ngx_http_tsface_trail_file_pread(int fd, u_char *buf, size_t size,
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


static ngx_int_t
ngx_http_tsface_trail_file_error(ngx_http_tsface_trail_result_t *result,
    const char *call, const char *suffix, ngx_err_t err)
{
    result->call = call;
    result->suffix = suffix;
    result->err = err;

    return NGX_ERROR;
}


static char *
ngx_http_tsface_trail_file_name(const ngx_str_t *path, const char *suffix)
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


static ngx_int_t
ngx_http_tsface_trail_file_dup(ngx_str_t *dst, const ngx_str_t *src)
{
    dst->data = malloc(src->len + 1);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, src->data, src->len);
    dst->len = src->len;

    return NGX_OK;
}
