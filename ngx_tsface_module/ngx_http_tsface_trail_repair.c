
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <dirent.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_trail_repair.h"


/* no writer leaves a longer tail without a line end: a batch is smaller */
#define NGX_HTTP_TSFACE_TRAIL_TORN_MAX    (8 * 1024 * 1024)


static void ngx_http_tsface_trail_repair_believe(
    ngx_http_tsface_trail_chain_t *end,
    const ngx_http_tsface_trail_chain_t *tail);
static void ngx_http_tsface_trail_repair_predecessor(
    ngx_http_tsface_trail_disk_t *disk, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_result_t *result);
static int ngx_http_tsface_trail_repair_find(
    ngx_http_tsface_trail_disk_t *disk, uint64_t ino, struct stat *sb);
static void ngx_http_tsface_trail_repair_rotated(
    ngx_http_tsface_trail_disk_t *disk, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_result_t *result);
static int ngx_http_tsface_trail_repair_newest(
    ngx_http_tsface_trail_disk_t *disk, uint64_t last, struct stat *sb);
static uint64_t ngx_http_tsface_trail_repair_number(const char *base,
    const char *name);
static void ngx_http_tsface_trail_repair_further(
    ngx_http_tsface_trail_disk_t *disk, int fd, uint64_t size,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_repair_tail(
    ngx_http_tsface_trail_disk_t *disk, int fd, uint64_t *size,
    ngx_http_tsface_trail_chain_t *tail,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_repair_cut(
    ngx_http_tsface_trail_disk_t *disk, int log, uint64_t size, uint64_t end,
    ngx_http_tsface_trail_result_t *result);


/*
 * As a rule the chain knows, and the file has the inode and size it says.
 * Otherwise something happened since, and whoever knows more is believed:
 *
 *   - the file is empty: it was rotated, or this is the first record ever.
 *     One that rotation by size has named may go further than the chain;
 *   - the file ends in a higher seq: a writer died before it told the chain;
 *   - the file ends in a lower seq: records are missing.  The seq goes on
 *     after the lost ones and so does the mac: a verifier must stop there.
 */

ngx_int_t
ngx_http_tsface_trail_repair(ngx_http_tsface_trail_disk_t *disk,
    const struct stat *sb, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_result_t *result)
{
    uint64_t                       size;
    ngx_int_t                      known, rc;
    ngx_http_tsface_trail_chain_t  tail;

    size = sb->st_size;

    known = (ngx_http_tsface_trail_chain_read(disk->chain.fd, end) == NGX_OK);

    if (known && size && end->ino == sb->st_ino && end->size == size) {
        return NGX_OK;
    }

    rc = ngx_http_tsface_trail_repair_tail(disk, disk->log.fd, &size, &tail,
                                           result);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK) {

        if (tail.seq >= end->seq) {
            ngx_http_tsface_trail_repair_believe(end, &tail);

        } else {
            result->flags |= NGX_HTTP_TSFACE_TRAIL_SHRUNK;
            result->reason = "truncated";
        }

    } else {

        /* empty: a name given to a new file, or a file that lost it all? */

        result->flags |= NGX_HTTP_TSFACE_TRAIL_OPENED;

        if (known && end->ino == sb->st_ino && end->size) {
            result->flags |= NGX_HTTP_TSFACE_TRAIL_SHRUNK;
            result->reason = "truncated";

        } else {

            ngx_http_tsface_trail_repair_predecessor(disk, end, result);
            ngx_http_tsface_trail_repair_rotated(disk, end, result);

            result->reason = (known || end->seq) ? "rotated" : "new";
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


/* Of another record than the chain's nothing tells which key sealed it. */

static void
ngx_http_tsface_trail_repair_believe(ngx_http_tsface_trail_chain_t *end,
    const ngx_http_tsface_trail_chain_t *tail)
{
    if (tail->seq == end->seq
        && ngx_memcmp(tail->mac, end->mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN)
           == 0)
    {
        return;
    }

    end->seq = tail->seq;
    ngx_memcpy(end->mac, tail->mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    ngx_memcpy(end->key_id, NGX_HTTP_TSFACE_TRAIL_CHAIN_NO_KEY,
               NGX_HTTP_TSFACE_RECORD_ID_LEN);
}


/*
 * A file that was moved away may go further than the chain, if its last
 * writer died.  It is the one we had open, or it has another name in the
 * directory; if it can't be found, the chain's word is all there is.  If the
 * chain is lost, too, only the one we had open may tell, unless all of the
 * trail was deleted: it begins anew then.
 */

static void
ngx_http_tsface_trail_repair_predecessor(ngx_http_tsface_trail_disk_t *disk,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_result_t *result)
{
    int          fd;
    struct stat  sb;

    fd = disk->log.previous;
    disk->log.previous = -1;

    if (fd != -1
        && (fstat(fd, &sb) == -1
            || (end->ino ? sb.st_ino != end->ino : sb.st_nlink == 0)))
    {
        (void) close(fd);
        fd = -1;
    }

    /* its records are nowhere any more, though none is missing at the end */

    if (fd != -1 && sb.st_nlink == 0) {
        result->flags |= NGX_HTTP_TSFACE_TRAIL_DELETED;
    }

    if (fd == -1 && end->ino) {
        fd = ngx_http_tsface_trail_repair_find(disk, end->ino, &sb);
    }

    if (fd == -1) {
        return;
    }

    if ((uint64_t) sb.st_size != end->size) {
        ngx_http_tsface_trail_repair_further(disk, fd, sb.st_size, end,
                                             result);
    }

    (void) close(fd);
}


static int
ngx_http_tsface_trail_repair_find(ngx_http_tsface_trail_disk_t *disk,
    uint64_t ino, struct stat *sb)
{
    int             fd;
    DIR            *d;
    struct dirent  *de;

    d = ngx_http_tsface_trail_io_opendir(disk->log.name);
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
 * After rotation by size there may be no record in PATH for a long time, and
 * the chain may be lost meanwhile, or be an older one, as a machine leaves it
 * that loses its power.  The names of those files tell which is the last.
 */

static void
ngx_http_tsface_trail_repair_rotated(ngx_http_tsface_trail_disk_t *disk,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_result_t *result)
{
    int          fd;
    struct stat  sb;

    fd = ngx_http_tsface_trail_repair_newest(disk, end->seq, &sb);

    if (fd == -1) {
        return;
    }

    ngx_http_tsface_trail_repair_further(disk, fd, sb.st_size, end, result);

    (void) close(fd);
}


/* The one with the highest number above last; -1: there is none. */

static int
ngx_http_tsface_trail_repair_newest(ngx_http_tsface_trail_disk_t *disk,
    uint64_t last, struct stat *sb)
{
    int             fd, found;
    DIR            *d;
    uint64_t        seq;
    const char     *base;
    struct stat     other;
    struct dirent  *de;

    d = ngx_http_tsface_trail_io_opendir(disk->log.name);
    if (d == NULL) {
        return -1;
    }

    base = ngx_http_tsface_trail_io_base(disk->log.name);

    found = -1;

    while ((de = readdir(d)) != NULL) {

        seq = ngx_http_tsface_trail_repair_number(base, de->d_name);

        if (seq <= last) {
            continue;
        }

        fd = openat(dirfd(d), de->d_name, NGX_HTTP_TSFACE_TRAIL_FLAGS);

        if (fd == -1) {
            continue;
        }

        if (fstat(fd, &other) == -1 || !S_ISREG(other.st_mode)) {
            (void) close(fd);
            continue;
        }

        if (found != -1) {
            (void) close(found);
        }

        found = fd;
        last = seq;
        *sb = other;
    }

    (void) closedir(d);

    return found;
}


/* Of base.SEQ, as rotation names files; 0: it is another name. */

static uint64_t
ngx_http_tsface_trail_repair_number(const char *base, const char *name)
{
    size_t    n;
    uint64_t  seq;

    n = ngx_strlen(base);

    if (ngx_strncmp(name, base, n) != 0 || name[n] != '.') {
        return 0;
    }

    name += n + 1;
    seq = 0;

    for (n = 0; name[n] >= '0' && name[n] <= '9' && n < 19; n++) {
        seq = seq * 10 + (name[n] - '0');
    }

    return (n >= 12 && name[n] == '\0') ? seq : 0;
}


/* What fd knows, if that is more than end says. */

static void
ngx_http_tsface_trail_repair_further(ngx_http_tsface_trail_disk_t *disk,
    int fd, uint64_t size, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_http_tsface_trail_chain_t   tail;
    ngx_http_tsface_trail_result_t  found;

    ngx_memzero(&found, sizeof(ngx_http_tsface_trail_result_t));

    if (ngx_http_tsface_trail_repair_tail(disk, fd, &size, &tail, &found)
        != NGX_OK)
    {
        return;
    }

    if (tail.seq > end->seq) {
        ngx_http_tsface_trail_repair_believe(end, &tail);
    }

    result->flags |= found.flags;
    result->torn += found.torn;
}


/*
 * Reads the last whole record back and cuts off what follows it.  Returns
 * NGX_DECLINED if there is none because the file is empty, or was torn in
 * its first line.  A file of another form is left alone: NGX_ERROR.
 */

static ngx_int_t
ngx_http_tsface_trail_repair_tail(ngx_http_tsface_trail_disk_t *disk,
    int fd, uint64_t *size, ngx_http_tsface_trail_chain_t *tail,
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

    if (ngx_http_tsface_trail_io_room(&disk->buf,
                                      4 * NGX_HTTP_TSFACE_RECORD_MAX)
        != NGX_OK)
    {
        return ngx_http_tsface_trail_failed(result, "malloc()", "", ENOMEM);
    }

    /* the last LF: at the end, or far before it if a batch was cut short */

    end = *size;

    for ( ;; ) {
        len = ngx_min(end, 2 * NGX_HTTP_TSFACE_RECORD_MAX);
        start = end - len;

        n = ngx_http_tsface_trail_io_read(fd, disk->buf.data, len,
                                          start);
        if (n != (ssize_t) len) {
            return ngx_http_tsface_trail_failed(result, "pread()", "",
                                                n == -1 ? errno : EIO);
        }

        last = disk->buf.data + len;

        while (last > disk->buf.data && last[-1] != LF) {
            last--;
        }

        end = start + (last - disk->buf.data);

        if (last > disk->buf.data) {
            break;
        }

        if (end == 0) {

            /* no line at all: ours if it begins as ours do */

            len = ngx_min(len, sizeof(NGX_HTTP_TSFACE_RECORD_HEAD) - 1);

            if (ngx_memcmp(disk->buf.data, NGX_HTTP_TSFACE_RECORD_HEAD, len)
                != 0)
            {
                goto foreign;
            }

            if (ngx_http_tsface_trail_repair_cut(disk, fd, *size, 0, result)
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

    n = ngx_http_tsface_trail_io_read(fd, disk->buf.data, len,
                                      end - len);
    if (n != (ssize_t) len) {
        return ngx_http_tsface_trail_failed(result, "pread()", "",
                                            n == -1 ? errno : EIO);
    }

    last = disk->buf.data + len - 1;

    for (p = last; p > disk->buf.data && p[-1] != LF; p--) { /* void */ }

    line.data = p;
    line.len = last - p;

    if (ngx_http_tsface_record_parse_tail(&line, &tail->seq, tail->mac)
        != NGX_OK)
    {
        goto foreign;
    }

    if (end != *size) {
        if (ngx_http_tsface_trail_repair_cut(disk, fd, *size, end, result)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        *size = end;
    }

    return NGX_OK;

foreign:

    result->flags |= NGX_HTTP_TSFACE_TRAIL_FOREIGN;

    return ngx_http_tsface_trail_failed(result, NULL, "", 0);
}


/*
 * A torn record has been confirmed to nobody, and what it stands for was not
 * done.  It is kept nevertheless, where it can be: an auditor may ask.
 */

static ngx_int_t
ngx_http_tsface_trail_repair_cut(ngx_http_tsface_trail_disk_t *disk,
    int log, uint64_t size, uint64_t end,
    ngx_http_tsface_trail_result_t *result)
{
    int         fd;
    size_t      len;
    u_char      lf;
    ssize_t     n;
    uint64_t    pos;
    ngx_err_t   err;

    fd = open(disk->torn, NGX_HTTP_TSFACE_TRAIL_FLAGS|O_CREAT,
              NGX_HTTP_TSFACE_TRAIL_MODE);

    if (fd == -1) {
        err = errno;

        /* the directory is closed to workers: no reason to stop for ever */

        if (!ngx_http_tsface_trail_io_denied(err)) {
            return ngx_http_tsface_trail_failed(result, "open()", ".torn",
                                                err);
        }

        result->flags |= NGX_HTTP_TSFACE_TRAIL_TORN_LOST;
    }

    if (fd != -1) {

        for (pos = end; pos < size; pos += len) {
            len = ngx_min(size - pos, 2 * NGX_HTTP_TSFACE_RECORD_MAX);

            n = ngx_http_tsface_trail_io_read(log, disk->buf.data,
                                              len, pos);

            if (n != (ssize_t) len
                || ngx_http_tsface_trail_io_write(fd, disk->buf.data, len, -1)
                   != NGX_OK)
            {
                goto failed;
            }
        }

        lf = LF;

        if (ngx_http_tsface_trail_io_write(fd, &lf, 1, -1) != NGX_OK
            || fsync(fd) == -1)
        {
            goto failed;
        }

        (void) close(fd);
    }

    if (ftruncate(log, end) == -1) {
        return ngx_http_tsface_trail_failed(result, "ftruncate()", "",
                                            errno);
    }

    result->flags |= NGX_HTTP_TSFACE_TRAIL_TORN;
    result->torn = size - end;

    return NGX_OK;

failed:

    err = errno ? errno : EIO;

    (void) close(fd);

    return ngx_http_tsface_trail_failed(result, "write()", ".torn", err);
}
