
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <dirent.h>

#include "ngx_http_tsface_trail_alive.h"
#include "ngx_http_tsface_trail_intents.h"
#include "ngx_http_tsface_trail_io.h"
#include "ngx_http_tsface_trail_orphan.h"


/* outcomes that are written while the trail's lock is held once */
#define NGX_HTTP_TSFACE_TRAIL_ORPHAN_BATCH   256

#define NGX_HTTP_TSFACE_TRAIL_ORPHAN_BUF     (256 * 1024)

/* other files of the directory that are looked at */
#define NGX_HTTP_TSFACE_TRAIL_ORPHAN_FILES   1024

/* of those, how many are read: small ones are soon full and rotated away */
#define NGX_HTTP_TSFACE_TRAIL_ORPHAN_BACK    32


struct ngx_http_tsface_trail_orphan_s {
    ngx_http_tsface_trail_file_t         *file;
    char                                 *name;
    int                                   inherited;
    ngx_int_t                             pid;

    ngx_http_tsface_trail_intents_t       intents;
    ngx_http_tsface_trail_orphan_stat_t  *stat;

    /* what is read, and how far */
    int                                   fd;
    uint64_t                              pos;
    u_char                               *buf;

    ngx_str_t                             bodies
                                         [NGX_HTTP_TSFACE_TRAIL_ORPHAN_BATCH];
    u_char                               *text;
};


static ngx_int_t ngx_http_tsface_trail_orphan_scan(
    ngx_http_tsface_trail_orphan_t *orphan, uint64_t window);
static ngx_int_t ngx_http_tsface_trail_orphan_previous(
    ngx_http_tsface_trail_orphan_t *orphan, uint64_t window, uint64_t before,
    ngx_uint_t files);
static int ngx_http_tsface_trail_orphan_find(
    ngx_http_tsface_trail_orphan_t *orphan, uint64_t before, uint64_t *seq,
    struct stat *sb);
static int ngx_http_tsface_trail_orphan_open(
    ngx_http_tsface_trail_orphan_t *orphan, DIR *d, const char *name,
    uint64_t *seq, struct stat *sb);
static ngx_int_t ngx_http_tsface_trail_orphan_read(
    ngx_http_tsface_trail_orphan_t *orphan);
static ngx_int_t ngx_http_tsface_trail_orphan_amend(void *data, int fd,
    int chain_fd, const ngx_http_tsface_trail_chain_t *end,
    ngx_str_t **bodies, ngx_uint_t *n);
static ngx_int_t ngx_http_tsface_trail_orphan_follow(
    ngx_http_tsface_trail_orphan_t *orphan, int fd);
static void ngx_http_tsface_trail_orphan_switch(
    ngx_http_tsface_trail_orphan_t *orphan, int fd, uint64_t pos);


ngx_http_tsface_trail_orphan_t *
ngx_http_tsface_trail_orphan_new(const ngx_http_tsface_trail_file_conf_t *conf)
{
    ngx_int_t                        rc;
    ngx_http_tsface_trail_orphan_t  *orphan;

    orphan = calloc(1, sizeof(ngx_http_tsface_trail_orphan_t));
    if (orphan == NULL) {
        return NULL;
    }

    orphan->fd = -1;
    orphan->pid = conf->pid;
    orphan->inherited = conf->fd;

    rc = ngx_http_tsface_trail_intents_init(&orphan->intents, conf->key,
                                            conf->previous, conf->host);

    orphan->file = ngx_http_tsface_trail_file_new(conf);
    orphan->name = ngx_http_tsface_trail_io_name(conf->path, "");
    orphan->buf = malloc(NGX_HTTP_TSFACE_TRAIL_ORPHAN_BUF);
    orphan->text = malloc(NGX_HTTP_TSFACE_TRAIL_ORPHAN_BATCH
                          * NGX_HTTP_TSFACE_RECORD_BODY_MAX);

    if (rc != NGX_OK || orphan->file == NULL || orphan->name == NULL
        || orphan->buf == NULL || orphan->text == NULL)
    {
        ngx_http_tsface_trail_orphan_free(orphan);
        return NULL;
    }

    return orphan;
}


void
ngx_http_tsface_trail_orphan_free(ngx_http_tsface_trail_orphan_t *orphan)
{
    ngx_http_tsface_trail_orphan_switch(orphan, -1, 0);
    ngx_http_tsface_trail_intents_free(&orphan->intents);

    if (orphan->file) {
        ngx_http_tsface_trail_file_free(orphan->file);
    }

    free(orphan->name);
    free(orphan->buf);
    free(orphan->text);
    free(orphan);
}


ngx_int_t
ngx_http_tsface_trail_orphan_close(ngx_http_tsface_trail_orphan_t *orphan,
    uint64_t window, ngx_http_tsface_trail_orphan_stat_t *stat,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                             rc;
    ngx_uint_t                            i, closed;
    ngx_http_tsface_trail_result_t        again;

    ngx_memzero(stat, sizeof(ngx_http_tsface_trail_orphan_stat_t));
    ngx_memzero(result, sizeof(ngx_http_tsface_trail_result_t));

    orphan->stat = stat;

    if (ngx_http_tsface_trail_orphan_scan(orphan, window) != NGX_OK) {
        return ngx_http_tsface_trail_failed(result, "read()", "", errno);
    }

    while (orphan->intents.n) {
        closed = stat->closed;

        rc = ngx_http_tsface_trail_file_amend(orphan->file,
                                          ngx_http_tsface_trail_orphan_amend,
                                          orphan, &again);

        if (rc == NGX_ERROR) {
            stat->closed = closed;
            *result = again;

            return NGX_ERROR;
        }

        stat->bytes += again.bytes;

        for (i = 0; i < NGX_HTTP_TSFACE_RECORD_NTYPES; i++) {
            stat->own[i] += again.own[i];
        }

        /* with an "open" record: the first one finds what a crash has left */

        if (again.reason) {
            *result = again;
        }

        if (rc == NGX_DECLINED) {
            break;
        }
    }

    stat->left_out = orphan->intents.left_out;

    return NGX_OK;
}


/* Without any lock: others write, and what they add is read later. */

static ngx_int_t
ngx_http_tsface_trail_orphan_scan(ngx_http_tsface_trail_orphan_t *orphan,
    uint64_t window)
{
    int          fd;
    uint64_t     size;
    ngx_int_t    rc;
    struct stat  sb;

    fd = open(orphan->name, O_RDONLY|O_CLOEXEC|O_NOFOLLOW|O_NONBLOCK|O_NOCTTY);

    if (fd == -1 && orphan->inherited != -1
        && ngx_http_tsface_trail_io_denied(errno))
    {
        fd = fcntl(orphan->inherited, F_DUPFD_CLOEXEC, 0);
    }

    if (fd == -1) {
        return errno == ENOENT ? NGX_OK : NGX_ERROR;
    }

    if (fstat(fd, &sb) == -1 || !S_ISREG(sb.st_mode)) {
        (void) close(fd);
        return NGX_OK;
    }

    size = sb.st_size;
    rc = NGX_OK;

    if (size < window) {

        /* compared with its inode number, as it is not ours to read twice */

        orphan->fd = fd;
        rc = ngx_http_tsface_trail_orphan_previous(orphan, window - size,
                                           UINT64_MAX,
                                           NGX_HTTP_TSFACE_TRAIL_ORPHAN_BACK);
        orphan->fd = -1;
    }

    if (rc != NGX_OK) {
        (void) close(fd);
        return NGX_ERROR;
    }

    ngx_http_tsface_trail_orphan_switch(orphan, fd,
                                        size > window ? size - window : 0);

    return ngx_http_tsface_trail_orphan_read(orphan);
}


/*
 * A file that was rotated away just before the crash, and those before it that
 * the window reaches.  It need not be the one before: if the seq does not go
 * on, nothing that is in it counts.
 */

static ngx_int_t
ngx_http_tsface_trail_orphan_previous(ngx_http_tsface_trail_orphan_t *orphan,
    uint64_t window, uint64_t before, ngx_uint_t files)
{
    int          fd, current;
    uint64_t     seq, size;
    ngx_int_t    rc;
    struct stat  sb;

    fd = ngx_http_tsface_trail_orphan_find(orphan, before, &seq, &sb);
    if (fd == -1) {
        return NGX_OK;
    }

    size = sb.st_size;

    if (size < window && files > 1) {
        rc = ngx_http_tsface_trail_orphan_previous(orphan, window - size, seq,
                                                   files - 1);
        if (rc != NGX_OK) {
            (void) close(fd);
            return rc;
        }
    }

    current = orphan->fd;

    orphan->fd = fd;
    orphan->pos = size > window ? size - window : 0;

    rc = ngx_http_tsface_trail_orphan_read(orphan);

    (void) close(fd);
    orphan->fd = current;

    return rc;
}


/*
 * The other file whose name begins with PATH, and which ends last of those
 * that end in a seq below before.
 */

static int
ngx_http_tsface_trail_orphan_find(ngx_http_tsface_trail_orphan_t *orphan,
    uint64_t before, uint64_t *ends, struct stat *sb)
{
    int             fd, found;
    DIR            *d;
    size_t          len;
    uint64_t        seq, last;
    ngx_uint_t      n;
    const char     *base;
    struct stat     other;
    struct dirent  *de;

    d = ngx_http_tsface_trail_io_opendir(orphan->name);
    if (d == NULL) {
        return -1;
    }

    base = ngx_http_tsface_trail_io_base(orphan->name);
    len = ngx_strlen(base);

    found = -1;
    last = 0;
    n = 0;

    while (n < NGX_HTTP_TSFACE_TRAIL_ORPHAN_FILES
           && (de = readdir(d)) != NULL)
    {
        if (strncmp(de->d_name, base, len) != 0 || de->d_name[len] == '\0') {
            continue;
        }

        n++;

        fd = ngx_http_tsface_trail_orphan_open(orphan, d, de->d_name, &seq,
                                               &other);

        if (fd != -1 && seq > last && seq < before) {

            if (found != -1) {
                (void) close(found);
            }

            found = fd;
            last = seq;
            *sb = other;
            continue;
        }

        if (fd != -1) {
            (void) close(fd);
        }
    }

    (void) closedir(d);

    *ends = last;

    return found;
}


/* A file that ends in a record, and its seq; -1 if it doesn't. */

static int
ngx_http_tsface_trail_orphan_open(ngx_http_tsface_trail_orphan_t *orphan,
    DIR *d, const char *name, uint64_t *seq, struct stat *sb)
{
    int          fd;
    size_t       len;
    u_char      *p, *last, mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    ngx_str_t    line;
    struct stat  current;

    fd = openat(dirfd(d), name,
                O_RDONLY|O_CLOEXEC|O_NOFOLLOW|O_NONBLOCK|O_NOCTTY);
    if (fd == -1) {
        return -1;
    }

    if (fstat(fd, sb) == -1 || !S_ISREG(sb->st_mode) || sb->st_size == 0
        || fstat(orphan->fd, &current) == -1
        || (current.st_ino == sb->st_ino && current.st_dev == sb->st_dev))
    {
        goto failed;
    }

    len = ngx_min((size_t) sb->st_size, NGX_HTTP_TSFACE_RECORD_MAX);

    if (ngx_http_tsface_trail_io_read(fd, orphan->buf, len, sb->st_size - len)
        != (ssize_t) len)
    {
        goto failed;
    }

    last = orphan->buf + len - 1;

    for (p = last; p > orphan->buf && p[-1] != LF; p--) { /* void */ }

    line.data = p;
    line.len = last - p;

    if (*last == LF
        && ngx_http_tsface_record_parse_tail(&line, seq, mac) == NGX_OK)
    {
        return fd;
    }

failed:

    (void) close(fd);

    return -1;
}


/* All whole lines from pos on, which is left behind the last of them. */

static ngx_int_t
ngx_http_tsface_trail_orphan_read(ngx_http_tsface_trail_orphan_t *orphan)
{
    u_char     *p, *lf, *end;
    ssize_t     n;
    ngx_str_t   line;

    for ( ;; ) {
        n = ngx_http_tsface_trail_io_read(orphan->fd, orphan->buf,
                                          NGX_HTTP_TSFACE_TRAIL_ORPHAN_BUF,
                                          (off_t) orphan->pos);
        if (n == -1) {
            return NGX_ERROR;
        }

        end = orphan->buf + n;

        for (p = orphan->buf; p < end; p = lf + 1) {

            lf = memchr(p, LF, end - p);
            if (lf == NULL) {
                break;
            }

            line.data = p;
            line.len = lf - p;

            if (ngx_http_tsface_trail_intents_line(&orphan->intents, &line)
                != NGX_OK)
            {
                errno = ENOMEM;
                return NGX_ERROR;
            }
        }

        /* what is longer than any line is none of ours */

        if (p == orphan->buf && n == NGX_HTTP_TSFACE_TRAIL_ORPHAN_BUF) {
            ngx_http_tsface_trail_intents_reset(&orphan->intents);
            p = end;
        }

        orphan->pos += p - orphan->buf;

        if (n < NGX_HTTP_TSFACE_TRAIL_ORPHAN_BUF) {
            return NGX_OK;
        }
    }
}


/*
 * Under the lock, what was appended meanwhile is read first.  An intent that
 * is still open then, with no record missing from it to the trail's end, and
 * whose writer is dead, stays open for ever: nobody else speaks for it before
 * the lock goes, and whoever comes later sees its outcome.
 */

static ngx_int_t
ngx_http_tsface_trail_orphan_amend(void *data, int fd, int chain_fd,
    const ngx_http_tsface_trail_chain_t *end, ngx_str_t **bodies,
    ngx_uint_t *n)
{
    ngx_http_tsface_trail_orphan_t *orphan = data;

    u_char                               *p;
    ngx_uint_t                            i;
    ngx_str_t                            *body;
    ngx_http_tsface_trail_intent_t       *intent;
    ngx_http_tsface_trail_intents_t      *intents;
    ngx_http_tsface_trail_orphan_stat_t  *stat;

    stat = orphan->stat;
    intents = &orphan->intents;

    if (ngx_http_tsface_trail_orphan_follow(orphan, fd) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!intents->known || intents->seq != end->seq
        || ngx_memcmp(intents->mac, end->mac, sizeof(intents->mac)) != 0)
    {
        ngx_http_tsface_trail_intents_reset(intents);
        return NGX_OK;
    }

    *bodies = orphan->bodies;
    p = orphan->text;

    for (i = 0;
         i < NGX_HTTP_TSFACE_TRAIL_ORPHAN_BATCH
         && !ngx_queue_empty(&intents->open);
         i++)
    {
        intent = ngx_queue_data(ngx_queue_head(&intents->open),
                                ngx_http_tsface_trail_intent_t, queue);

        if (ngx_http_tsface_trail_alive(chain_fd, intent->pid, intent->seq,
                                        &intent->time))
        {
            stat->alive++;

        } else {
            body = &orphan->bodies[*n];

            body->data = p;
            body->len = ngx_http_tsface_trail_intents_outcome(intent,
                                                          orphan->pid, p);
            if (body->len) {
                p += body->len;
                (*n)++;
                stat->closed++;
            }
        }

        ngx_http_tsface_trail_intents_remove(intents, intent);
    }

    return NGX_OK;
}


/* Reads on to the end of fd, which PATH means now, maybe since just now. */

static ngx_int_t
ngx_http_tsface_trail_orphan_follow(ngx_http_tsface_trail_orphan_t *orphan,
    int fd)
{
    int          copy;
    struct stat  sb, current;

    if (fstat(fd, &sb) == -1 || fstat(orphan->fd, &current) == -1
        || ngx_http_tsface_trail_orphan_read(orphan) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (sb.st_ino == current.st_ino && sb.st_dev == current.st_dev) {
        return NGX_OK;
    }

    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy == -1) {
        return NGX_ERROR;
    }

    ngx_http_tsface_trail_orphan_switch(orphan, copy, 0);

    return ngx_http_tsface_trail_orphan_read(orphan);
}


static void
ngx_http_tsface_trail_orphan_switch(ngx_http_tsface_trail_orphan_t *orphan,
    int fd, uint64_t pos)
{
    if (orphan->fd != -1) {
        (void) close(orphan->fd);
    }

    orphan->fd = fd;
    orphan->pos = pos;
}
