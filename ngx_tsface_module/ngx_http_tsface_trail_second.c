
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog_search.h"
#include "ngx_http_tsface_trail_second.h"


/* of its end: as a rule, and if lines of many other trails are there */
#define NGX_HTTP_TSFACE_TRAIL_SECOND_TAIL   65536
#define NGX_HTTP_TSFACE_TRAIL_SECOND_MAX    (1024 * 1024)


static void ngx_http_tsface_trail_second_find(u_char *p, u_char *end,
    const ngx_str_t *trail, ngx_str_t *found,
    ngx_http_tsface_syslog_position_t *last);


/*
 * Opened each time: there are few, and whoever renames the file, or mounts
 * another file system over its directory, need tell nobody.  The lock keeps
 * copies in order, and is waited for, so that everybody has his turn.  Some
 * file systems have no locks: there a copy may come twice, which is harmless.
 */

ngx_int_t
ngx_http_tsface_trail_second_open(const char *name, int *fd,
    ngx_http_tsface_trail_result_t *result)
{
    struct stat   sb;
    struct flock  fl;

    *fd = open(name, NGX_HTTP_TSFACE_TRAIL_FLAGS|O_CREAT,
               NGX_HTTP_TSFACE_TRAIL_MODE);

    if (*fd == -1) {
        return ngx_http_tsface_trail_failed(result, "open()", "", errno);
    }

    if (fstat(*fd, &sb) == -1) {
        return ngx_http_tsface_trail_failed(result, "fstat()", "", errno);
    }

    if (!S_ISREG(sb.st_mode)) {
        return ngx_http_tsface_trail_failed(result, "open()", "", EINVAL);
    }

    ngx_memzero(&fl, sizeof(struct flock));

    fl.l_type = F_WRLCK;
    fl.l_whence = SEEK_SET;

    while (fcntl(*fd, F_OFD_SETLKW, &fl) == -1 && errno == EINTR) {
        /* void */
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_trail_second_last(int fd, const ngx_str_t *trail,
    ngx_http_tsface_trail_buf_t *buf, ngx_str_t *line,
    ngx_http_tsface_syslog_position_t *last,
    ngx_http_tsface_trail_result_t *result)
{
    off_t        size;
    ssize_t      n;
    struct stat  sb;

    ngx_http_tsface_syslog_position_init(last);

    if (fstat(fd, &sb) == -1) {
        return ngx_http_tsface_trail_failed(result, "fstat()", "", errno);
    }

    if (sb.st_size == 0) {
        return NGX_DECLINED;
    }

    size = ngx_min(sb.st_size, NGX_HTTP_TSFACE_TRAIL_SECOND_TAIL);

    for ( ;; ) {

        if (ngx_http_tsface_trail_io_room(buf, size) != NGX_OK) {
            return ngx_http_tsface_trail_failed(result, "malloc()", "",
                                                ENOMEM);
        }

        n = ngx_http_tsface_trail_io_read(fd, buf->data, size,
                                          sb.st_size - size);
        if (n == -1) {
            return ngx_http_tsface_trail_failed(result, "pread()", "", errno);
        }

        ngx_http_tsface_trail_second_find(buf->data, buf->data + n, trail,
                                          line, last);
        if (last->seq) {
            return NGX_OK;
        }

        if (size == ngx_min(sb.st_size, NGX_HTTP_TSFACE_TRAIL_SECOND_MAX)) {
            return NGX_DECLINED;
        }

        size = ngx_min(sb.st_size, NGX_HTTP_TSFACE_TRAIL_SECOND_MAX);
    }
}


static void
ngx_http_tsface_trail_second_find(u_char *p, u_char *end,
    const ngx_str_t *trail, ngx_str_t *found,
    ngx_http_tsface_syslog_position_t *last)
{
    ngx_int_t                         rc;
    ngx_str_t                         line;
    ngx_http_tsface_syslog_record_t   record;

    while (p < end) {

        rc = ngx_http_tsface_syslog_search_line(p, end, &line, &record);

        if (line.data == NULL) {
            return;
        }

        if (rc == NGX_OK
            && ngx_http_tsface_trail_second_wants(&record)
            && record.trail.len == trail->len
            && ngx_memcmp(record.trail.data, trail->data, trail->len) == 0)
        {
            *found = line;
            last->seq = record.number;
            ngx_memcpy(last->mac, record.mac.data,
                       NGX_HTTP_TSFACE_RECORD_MAC_LEN);
        }

        p = line.data + line.len + 1;
    }
}


ngx_int_t
ngx_http_tsface_trail_second_write(int fd, const u_char *lines, size_t len,
    ngx_http_tsface_trail_result_t *result)
{
    u_char       lf;
    struct stat  sb;

    if (fstat(fd, &sb) == -1) {
        return ngx_http_tsface_trail_failed(result, "fstat()", "", errno);
    }

    /* what a full disk left of a line must not spoil the next one */

    lf = LF;

    if (sb.st_size
        && ngx_http_tsface_trail_io_read(fd, &lf, 1, sb.st_size - 1) == 1
        && lf != LF)
    {
        lf = LF;

        if (ngx_http_tsface_trail_io_write(fd, &lf, 1, -1) != NGX_OK) {
            return ngx_http_tsface_trail_failed(result, "write()", "", errno);
        }
    }

    if (ngx_http_tsface_trail_io_write(fd, lines, len, -1) != NGX_OK) {
        return ngx_http_tsface_trail_failed(result, "write()", "", errno);
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_tsface_trail_second_wants(
    const ngx_http_tsface_syslog_record_t *record)
{
    return record->type.len == sizeof("checkpoint") - 1
           && ngx_memcmp(record->type.data, "checkpoint",
                         sizeof("checkpoint") - 1)
              == 0;
}
