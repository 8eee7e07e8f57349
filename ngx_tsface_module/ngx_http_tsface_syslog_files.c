
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <dirent.h>

#include "ngx_http_tsface_syslog_files.h"
#include "ngx_http_tsface_syslog_message.h"
#include "ngx_http_tsface_syslog_search.h"
#include "ngx_http_tsface_trail_io.h"


#define NGX_HTTP_TSFACE_SYSLOG_FILES_MAX   65536


static ngx_int_t ngx_http_tsface_syslog_files_add(
    ngx_http_tsface_syslog_files_t *files, const char *name,
    const char *path);
static ngx_http_tsface_syslog_file_t *ngx_http_tsface_syslog_files_named(
    const ngx_http_tsface_syslog_files_t *files, const u_char *mac);
static int ngx_http_tsface_syslog_files_cmp(const void *one, const void *two);
static int ngx_http_tsface_syslog_files_take(
    const ngx_http_tsface_syslog_file_t *file,
    ngx_http_tsface_syslog_position_t *position, uint64_t offset);
static int ngx_http_tsface_syslog_files_begin(
    const ngx_http_tsface_syslog_files_t *files,
    ngx_http_tsface_syslog_position_t *position);


int
ngx_http_tsface_syslog_files_open(const char *name)
{
    return open(name, O_RDONLY|O_CLOEXEC|O_NOFOLLOW|O_NONBLOCK|O_NOCTTY);
}


ngx_int_t
ngx_http_tsface_syslog_files_first(int fd, ngx_http_tsface_syslog_file_t *file)
{
    u_char                            buf[NGX_HTTP_TSFACE_RECORD_MAX];
    ssize_t                           n;
    ngx_str_t                         line;
    struct stat                       sb;
    ngx_http_tsface_syslog_record_t   record;

    if (fstat(fd, &sb) == -1 || !S_ISREG(sb.st_mode)) {
        return NGX_DECLINED;
    }

    n = ngx_http_tsface_trail_io_read(fd, buf, sizeof(buf), 0);

    if (n <= 0
        || ngx_http_tsface_syslog_search_line(buf, buf + n, &line, &record)
           != NGX_OK
        || record.time.len >= sizeof(file->time))
    {
        return NGX_DECLINED;
    }

    file->seq = record.number;

    ngx_memcpy(file->mac, record.mac.data, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    ngx_memcpy(file->time, record.time.data, record.time.len);
    file->time[record.time.len] = '\0';

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_syslog_files_list(const char *path,
    ngx_http_tsface_syslog_files_t *files)
{
    DIR            *dir;
    char           *name;
    size_t          len, base_len;
    ngx_int_t       rc;
    ngx_err_t       err;
    const char     *base;
    struct dirent  *de;

    ngx_http_tsface_syslog_files_free(files);

    base = ngx_http_tsface_trail_io_base(path);
    base_len = ngx_strlen(base);

    dir = ngx_http_tsface_trail_io_opendir(path);
    if (dir == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    while (rc == NGX_OK && (de = readdir(dir)) != NULL) {

        if (ngx_strncmp(de->d_name, base, base_len) != 0) {
            continue;
        }

        len = ngx_strlen(de->d_name) + 1;

        name = malloc(base - path + len);
        if (name == NULL) {
            errno = ENOMEM;
            rc = NGX_ERROR;
            break;
        }

        ngx_memcpy(name, path, base - path);
        ngx_memcpy(name + (base - path), de->d_name, len);

        rc = ngx_http_tsface_syslog_files_add(files, name, path);

        if (rc != NGX_OK) {
            free(name);
        }

        if (rc == NGX_DECLINED) {
            rc = NGX_OK;
        }
    }

    err = errno;
    (void) closedir(dir);
    errno = err;

    if (rc == NGX_OK && files->n) {
        qsort(files->elts, files->n, sizeof(ngx_http_tsface_syslog_file_t),
              ngx_http_tsface_syslog_files_cmp);
    }

    return rc;
}


/* Takes name over if NGX_OK is returned; NGX_DECLINED: it is to be left out. */

static ngx_int_t
ngx_http_tsface_syslog_files_add(ngx_http_tsface_syslog_files_t *files,
    const char *name, const char *path)
{
    int                             fd;
    size_t                          room;
    ngx_int_t                       rc;
    struct stat                     sb;
    ngx_http_tsface_syslog_file_t   file, *other, *elts;

    fd = ngx_http_tsface_syslog_files_open(name);

    if (fd == -1) {
        return NGX_DECLINED;
    }

    rc = ngx_http_tsface_syslog_files_first(fd, &file);

    if (rc == NGX_OK && fstat(fd, &sb) == -1) {
        rc = NGX_DECLINED;
    }

    (void) close(fd);

    if (rc != NGX_OK) {
        return NGX_DECLINED;
    }

    file.name = (char *) name;
    file.size = sb.st_size;
    file.current = (ngx_strcmp(name, path) == 0);

    /* of copies of one file the one that is written, or the longest, counts */

    other = ngx_http_tsface_syslog_files_named(files, file.mac);

    if (other) {
        if (other->current || (!file.current && file.size <= other->size)) {
            return NGX_DECLINED;
        }

        free(other->name);
        *other = file;

        return NGX_OK;
    }

    if (files->n == files->room) {
        room = files->room ? 2 * files->room : 16;

        if (room > NGX_HTTP_TSFACE_SYSLOG_FILES_MAX) {
            errno = E2BIG;
            return NGX_ERROR;
        }

        elts = realloc(files->elts,
                       room * sizeof(ngx_http_tsface_syslog_file_t));
        if (elts == NULL) {
            errno = ENOMEM;
            return NGX_ERROR;
        }

        files->elts = elts;
        files->room = room;
    }

    files->elts[files->n++] = file;

    return NGX_OK;
}


void
ngx_http_tsface_syslog_files_free(ngx_http_tsface_syslog_files_t *files)
{
    while (files->n) {
        free(files->elts[--files->n].name);
    }

    free(files->elts);

    ngx_memzero(files, sizeof(ngx_http_tsface_syslog_files_t));
}


static ngx_http_tsface_syslog_file_t *
ngx_http_tsface_syslog_files_named(const ngx_http_tsface_syslog_files_t *files,
    const u_char *mac)
{
    size_t  i;

    for (i = 0; i < files->n; i++) {
        if (ngx_memcmp(files->elts[i].mac, mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN)
            == 0)
        {
            return &files->elts[i];
        }
    }

    return NULL;
}


/* A clock that was set back may deceive it, and seq in one chain doesn't. */

static int
ngx_http_tsface_syslog_files_cmp(const void *one, const void *two)
{
    const ngx_http_tsface_syslog_file_t *a = one;
    const ngx_http_tsface_syslog_file_t *b = two;

    int  rc;

    rc = ngx_strcmp(a->time, b->time);

    if (rc != 0) {
        return rc;
    }

    return a->seq < b->seq ? -1 : a->seq > b->seq;
}


int
ngx_http_tsface_syslog_files_find(const ngx_http_tsface_syslog_files_t *files,
    ngx_http_tsface_syslog_position_t *position)
{
    int                             fd;
    u_char                          mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    size_t                          i;
    uint64_t                        offset, cut;
    ngx_int_t                       rc;
    ngx_uint_t                      other;
    ngx_http_tsface_syslog_file_t  *file, *best;

    if (files->n == 0) {
        return -1;
    }

    if (position->seq == 0) {
        return ngx_http_tsface_syslog_files_take(&files->elts[0], position, 0);
    }

    /* where it was, which takes no search */

    file = ngx_http_tsface_syslog_files_named(files, position->file);

    if (file) {
        fd = ngx_http_tsface_syslog_files_take(file, position,
                                               position->offset);

        if (fd == -1
            || (position->offset == 0 && file->seq > position->seq)
            || ngx_http_tsface_syslog_search_check(fd, position->offset,
                                                  position->seq,
                                                  position->mac)
               == NGX_OK)
        {
            return fd;
        }

        (void) close(fd);
    }

    /*
     * The record itself, wherever it is.  If another one has its number the
     * trail has begun again.
     */

    other = 0;
    cut = 0;
    best = NULL;

    for (i = files->n; i; i--) {
        file = &files->elts[i - 1];

        if (file->seq > position->seq) {
            continue;
        }

        fd = ngx_http_tsface_syslog_files_open(file->name);

        if (fd == -1) {
            continue;
        }

        rc = ngx_http_tsface_syslog_search(fd, position->seq, mac,
                                                 &offset);

        (void) close(fd);

        if (rc == NGX_OK) {

            if (ngx_memcmp(mac, position->mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN)
                == 0)
            {
                return ngx_http_tsface_syslog_files_take(file, position,
                                                         offset);
            }

            other = 1;
            continue;
        }

        /* its file, which was cut; or one with a hole, where it was */

        if (rc == NGX_AGAIN
            || ngx_memcmp(file->mac, position->file,
                          NGX_HTTP_TSFACE_RECORD_MAC_LEN)
               == 0)
        {
            best = file;
            cut = offset;
        }
    }

    if (other) {
        return ngx_http_tsface_syslog_files_begin(files, position);
    }

    if (best) {
        return ngx_http_tsface_syslog_files_take(best, position, cut);
    }

    /* it is gone: what comes after it, if there is anything */

    for (i = 0; i < files->n; i++) {
        file = &files->elts[i];

        if (file->seq > position->seq
            && (best == NULL || file->seq < best->seq))
        {
            best = file;
        }
    }

    if (best) {
        return ngx_http_tsface_syslog_files_take(best, position, 0);
    }

    return ngx_http_tsface_syslog_files_begin(files, position);
}


int
ngx_http_tsface_syslog_files_next(const ngx_http_tsface_syslog_files_t *files,
    ngx_http_tsface_syslog_position_t *position)
{
    ngx_http_tsface_syslog_file_t  *file, *end, *best, *current;

    file = ngx_http_tsface_syslog_files_named(files, position->file);

    if (file == NULL) {

        /* it was compressed, while its open descriptor was read to its end */

        return ngx_http_tsface_syslog_files_find(files, position);
    }

    best = NULL;
    current = NULL;

    end = files->elts + files->n;

    while (++file < end) {

        if (file->seq == position->seq + 1) {
            best = file;
            break;
        }

        if (best == NULL && (file->seq > position->seq || file->seq == 1)) {
            best = file;
        }
    }

    for (file = files->elts; file < end; file++) {
        if (file->current) {
            current = file;
        }
    }

    /* PATH may look older than it is, where the clock was set back */

    if (current && (best == NULL || (best->seq != position->seq + 1
                                     && current->seq == position->seq + 1)))
    {
        best = current;
    }

    if (best == NULL
        || ngx_memcmp(best->mac, position->file,
                      NGX_HTTP_TSFACE_RECORD_MAC_LEN)
           == 0)
    {
        return -1;
    }

    if (best->seq == 1) {
        ngx_http_tsface_syslog_position_init(position);
    }

    return ngx_http_tsface_syslog_files_take(best, position, 0);
}


uint64_t
ngx_http_tsface_syslog_files_behind(
    const ngx_http_tsface_syslog_files_t *files,
    const ngx_http_tsface_syslog_position_t *position)
{
    uint64_t                              size;
    const ngx_http_tsface_syslog_file_t  *file, *end;

    size = 0;
    end = files->elts + files->n;

    file = ngx_http_tsface_syslog_files_named(files, position->file);

    if (file) {
        while (++file < end) {
            size += file->size;
        }
    }

    return size;
}


/* Opens it, if it still is the file that was listed under that name. */

static int
ngx_http_tsface_syslog_files_take(const ngx_http_tsface_syslog_file_t *file,
    ngx_http_tsface_syslog_position_t *position, uint64_t offset)
{
    int                             fd;
    ngx_http_tsface_syslog_file_t   now;

    fd = ngx_http_tsface_syslog_files_open(file->name);

    if (fd == -1) {
        return -1;
    }

    if (ngx_http_tsface_syslog_files_first(fd, &now) != NGX_OK
        || ngx_memcmp(now.mac, file->mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN) != 0)
    {
        (void) close(fd);
        return -1;
    }

    ngx_memcpy(position->file, file->mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN);
    position->offset = offset;

    return fd;
}


/*
 * The beginning of the newest chain whose beginning is there; or all of the
 * newest file, as twice is better than never.
 */

static int
ngx_http_tsface_syslog_files_begin(
    const ngx_http_tsface_syslog_files_t *files,
    ngx_http_tsface_syslog_position_t *position)
{
    size_t  i;

    for (i = files->n; i; i--) {

        if (files->elts[i - 1].seq == 1) {
            ngx_http_tsface_syslog_position_init(position);

            return ngx_http_tsface_syslog_files_take(&files->elts[i - 1],
                                                     position, 0);
        }
    }

    return ngx_http_tsface_syslog_files_take(&files->elts[files->n - 1],
                                             position, 0);
}
