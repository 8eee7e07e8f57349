
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog_files.h"
#include "ngx_http_tsface_syslog_search.h"
#include "ngx_http_tsface_trail_chain.h"
#include "ngx_http_tsface_trail_copy.h"
#include "ngx_http_tsface_trail_node.h"
#include "ngx_http_tsface_trail_second.h"


/* bytes read, and written, at a time: many lines */
#define NGX_HTTP_TSFACE_TRAIL_COPY_CHUNK   65536

/* for the trail's lock, which writers hold for one write() */
#define NGX_HTTP_TSFACE_TRAIL_COPY_WAIT    2000


struct ngx_http_tsface_trail_copy_s {
    ngx_http_tsface_trail_node_t        chain;
    char                               *path;
    char                               *name;
    ngx_str_t                           trail;
    ngx_uint_t                          durable;

    /*
     * Behind what is on disk in the second place, for when that tells nothing,
     * as it was moved away, or can't be believed, as it could not be synced.
     * seq 0: unknown.
     */
    ngx_http_tsface_syslog_position_t   position;
    ngx_uint_t                          unsynced;

    /* of one run */
    int                                 fd;      /* of the second place */
    int                                 source;  /* of one of the trail's */
    ngx_http_tsface_syslog_files_t      files;
    ngx_http_tsface_syslog_position_t   next;    /* behind what was read */
    ngx_http_tsface_trail_buf_t         in;
    ngx_http_tsface_trail_buf_t         out;
    size_t                              len;
};


static ngx_int_t ngx_http_tsface_trail_copy_end(
    ngx_http_tsface_trail_copy_t *copy, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_copy_locate(
    ngx_http_tsface_trail_copy_t *copy,
    ngx_http_tsface_trail_result_t *result);
static int ngx_http_tsface_trail_copy_current(
    ngx_http_tsface_trail_copy_t *copy);
static ngx_uint_t ngx_http_tsface_trail_copy_same(
    const ngx_http_tsface_trail_copy_t *copy, const ngx_str_t *line);
static int ngx_http_tsface_trail_copy_newest(
    ngx_http_tsface_trail_copy_t *copy);
static ngx_int_t ngx_http_tsface_trail_copy_list(
    ngx_http_tsface_trail_copy_t *copy,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_copy_follow(
    ngx_http_tsface_trail_copy_t *copy,
    const ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_copy_scan(
    ngx_http_tsface_trail_copy_t *copy, uint64_t size,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_copy_line(
    ngx_http_tsface_trail_copy_t *copy, const ngx_str_t *line,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_copy_flush(
    ngx_http_tsface_trail_copy_t *copy,
    ngx_http_tsface_trail_result_t *result);
static void ngx_http_tsface_trail_copy_close(int *fd);


ngx_http_tsface_trail_copy_t *
ngx_http_tsface_trail_copy_new(const ngx_http_tsface_trail_file_conf_t *conf)
{
    ngx_http_tsface_trail_copy_t  *copy;

    copy = calloc(1, sizeof(ngx_http_tsface_trail_copy_t));
    if (copy == NULL) {
        return NULL;
    }

    copy->fd = -1;
    copy->source = -1;
    copy->durable = conf->durable;

    ngx_http_tsface_syslog_position_init(&copy->position);

    ngx_http_tsface_trail_node_init(&copy->chain, conf->path, ".chain",
                                    NGX_HTTP_TSFACE_TRAIL_CHAIN_FLAGS,
                                    conf->chain_fd);
    copy->chain.nameless = 1;

    copy->path = ngx_http_tsface_trail_io_name(conf->path, "");
    copy->name = ngx_http_tsface_trail_io_name(conf->copy, "");

    copy->trail.len = conf->name->len;
    copy->trail.data = (u_char *) ngx_http_tsface_trail_io_name(conf->name,
                                                                "");

    if (copy->chain.name == NULL || copy->path == NULL || copy->name == NULL
        || copy->trail.data == NULL)
    {
        ngx_http_tsface_trail_copy_free(copy);
        return NULL;
    }

    return copy;
}


void
ngx_http_tsface_trail_copy_free(ngx_http_tsface_trail_copy_t *copy)
{
    ngx_http_tsface_trail_node_free(&copy->chain);

    free(copy->path);
    free(copy->name);
    free(copy->trail.data);
    free(copy);
}


ngx_int_t
ngx_http_tsface_trail_copy_run(ngx_http_tsface_trail_copy_t *copy,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                      rc;
    ngx_http_tsface_trail_chain_t  end;

    ngx_memzero(result, sizeof(ngx_http_tsface_trail_result_t));

    rc = ngx_http_tsface_trail_second_open(copy->name, &copy->fd, result);

    /* when it is locked: nobody else goes further meanwhile */

    if (rc == NGX_OK) {
        rc = ngx_http_tsface_trail_copy_end(copy, &end, result);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_tsface_trail_copy_locate(copy, result);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_tsface_trail_copy_follow(copy, &end, result);
    }

    ngx_http_tsface_trail_copy_close(&copy->source);
    ngx_http_tsface_trail_copy_close(&copy->fd);
    ngx_http_tsface_syslog_files_free(&copy->files);

    free(copy->in.data);
    free(copy->out.data);

    ngx_memzero(&copy->in, sizeof(ngx_http_tsface_trail_buf_t));
    ngx_memzero(&copy->out, sizeof(ngx_http_tsface_trail_buf_t));

    /* NGX_DECLINED: there is nothing to copy, as yet */

    return rc == NGX_DECLINED ? NGX_OK : rc;
}


/*
 * Where the trail ends.  Under its lock: what a writer has begun to write may
 * have to be cut off again, and must not be known elsewhere.  NGX_DECLINED:
 * nothing tells; after the next batch it does.
 */

static ngx_int_t
ngx_http_tsface_trail_copy_end(ngx_http_tsface_trail_copy_t *copy,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t    rc;
    struct stat  sb;

    rc = ngx_http_tsface_trail_node_hold(&copy->chain, &sb,
                                         NGX_HTTP_TSFACE_TRAIL_COPY_WAIT,
                                         result);
    if (rc == NGX_OK) {
        rc = ngx_http_tsface_trail_chain_read(copy->chain.fd, end);
    }

    ngx_http_tsface_trail_node_release(&copy->chain);

    return rc;
}


/*
 * Opens the trail's file with the first record that the second place may lack.
 * NGX_DECLINED: there is none.
 */

static ngx_int_t
ngx_http_tsface_trail_copy_locate(ngx_http_tsface_trail_copy_t *copy,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                           rc;
    ngx_str_t                           line;
    ngx_uint_t                          found, forged;
    ngx_http_tsface_syslog_position_t   last;

    rc = ngx_http_tsface_trail_second_last(copy->fd, &copy->trail, &copy->in,
                                           &line, &last, result);
    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (copy->unsynced) {
        rc = NGX_DECLINED;
    }

    forged = 0;

    if (rc == NGX_OK) {
        copy->next = last;
        copy->source = ngx_http_tsface_trail_copy_current(copy);

        if (copy->source != -1
            && !ngx_http_tsface_trail_copy_same(copy, &line))
        {
            ngx_http_tsface_trail_copy_close(&copy->source);
            forged = 1;
        }
    }

    if (rc == NGX_DECLINED || forged) {
        copy->next = copy->position;
        copy->source = ngx_http_tsface_trail_copy_current(copy);
    }

    if (copy->source != -1) {
        copy->position = copy->next;
        return NGX_OK;
    }

    if (ngx_http_tsface_trail_copy_list(copy, result) != NGX_OK) {
        return NGX_ERROR;
    }

    if (copy->next.seq == 0 && !forged) {

        /* new, or emptied: not with all that there ever was */

        copy->source = ngx_http_tsface_trail_copy_newest(copy);

    } else {
        copy->source = ngx_http_tsface_syslog_files_find(&copy->files,
                                                         &copy->next);
    }

    /* it may end with what this trail never had */

    if (rc == NGX_OK && copy->source != -1 && !forged) {

        found = (ngx_http_tsface_syslog_search_check(copy->source,
                                                     copy->next.offset,
                                                     last.seq, last.mac)
                 == NGX_OK);

        if (found ? !ngx_http_tsface_trail_copy_same(copy, &line)
                  : copy->position.seq != 0)
        {
            ngx_http_tsface_trail_copy_close(&copy->source);

            copy->next = copy->position;
            copy->source = ngx_http_tsface_syslog_files_find(&copy->files,
                                                             &copy->next);
        }
    }

    if (copy->source == -1) {
        return NGX_DECLINED;
    }

    copy->position = copy->next;

    return NGX_OK;
}


/* Opens PATH, if next's record is there, as it mostly is; or -1. */

static int
ngx_http_tsface_trail_copy_current(ngx_http_tsface_trail_copy_t *copy)
{
    int                             fd;
    u_char                          mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    uint64_t                        offset;
    ngx_http_tsface_syslog_file_t   file;

    if (copy->next.seq == 0) {
        return -1;
    }

    fd = ngx_http_tsface_syslog_files_open(copy->path);

    if (fd == -1) {
        return -1;
    }

    if (ngx_http_tsface_syslog_files_first(fd, &file) != NGX_OK
        || file.seq > copy->next.seq
        || ngx_http_tsface_syslog_search(fd, copy->next.seq, mac, &offset)
           != NGX_OK
        || ngx_memcmp(mac, copy->next.mac, sizeof(mac)) != 0)
    {
        (void) close(fd);
        return -1;
    }

    ngx_memcpy(copy->next.file, file.mac, sizeof(file.mac));
    copy->next.offset = offset;

    return fd;
}


/*
 * Whether the record in front of next is that line, to the byte: one with the
 * number and the MAC of a record, of any, would be enough otherwise for whoever
 * may write there to keep the checkpoints before that from coming.
 */

static ngx_uint_t
ngx_http_tsface_trail_copy_same(const ngx_http_tsface_trail_copy_t *copy,
    const ngx_str_t *line)
{
    size_t  len;
    u_char  buf[NGX_HTTP_TSFACE_RECORD_MAX];

    /* with its LF; what was parsed is no longer than a record may be */

    len = line->len + 1;

    return copy->next.offset >= len
           && ngx_http_tsface_trail_io_read(copy->source, buf, len,
                                            copy->next.offset - len)
              == (ssize_t) len
           && ngx_memcmp(buf, line->data, len) == 0;
}


/* Opens PATH, or what was PATH last, to read it from its beginning; or -1. */

static int
ngx_http_tsface_trail_copy_newest(ngx_http_tsface_trail_copy_t *copy)
{
    size_t                          i;
    ngx_http_tsface_syslog_file_t  *file;

    if (copy->files.n == 0) {
        return -1;
    }

    file = &copy->files.elts[copy->files.n - 1];

    for (i = 0; i < copy->files.n; i++) {
        if (copy->files.elts[i].current) {
            file = &copy->files.elts[i];
        }
    }

    ngx_http_tsface_syslog_position_init(&copy->next);
    ngx_memcpy(copy->next.file, file->mac, NGX_HTTP_TSFACE_RECORD_MAC_LEN);

    return ngx_http_tsface_syslog_files_open(file->name);
}


static ngx_int_t
ngx_http_tsface_trail_copy_list(ngx_http_tsface_trail_copy_t *copy,
    ngx_http_tsface_trail_result_t *result)
{
    if (ngx_http_tsface_syslog_files_list(copy->path, &copy->files)
        != NGX_OK)
    {
        return ngx_http_tsface_trail_failed(result, "opendir(DIR)", "", errno);
    }

    return NGX_OK;
}


/* From copy->next on up to end, through as many files as that takes. */

static ngx_int_t
ngx_http_tsface_trail_copy_follow(ngx_http_tsface_trail_copy_t *copy,
    const ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_result_t *result)
{
    int          fd;
    uint64_t     size;
    struct stat  sb;

    if (ngx_http_tsface_trail_io_room(&copy->in,
                                      NGX_HTTP_TSFACE_TRAIL_COPY_CHUNK)
        != NGX_OK
        || ngx_http_tsface_trail_io_room(&copy->out,
                                         NGX_HTTP_TSFACE_TRAIL_COPY_CHUNK)
           != NGX_OK)
    {
        return ngx_http_tsface_trail_failed(result, "malloc()", "", ENOMEM);
    }

    copy->len = 0;

    for ( ;; ) {

        if (fstat(copy->source, &sb) == -1) {
            return ngx_http_tsface_trail_failed(result, "fstat()", "", errno);
        }

        size = (sb.st_ino == end->ino) ? end->size : (uint64_t) sb.st_size;

        if (ngx_http_tsface_trail_copy_scan(copy, size, result) != NGX_OK
            || ngx_http_tsface_trail_copy_flush(copy, result) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (sb.st_ino == end->ino) {
            return NGX_OK;
        }

        if (copy->files.n == 0
            && ngx_http_tsface_trail_copy_list(copy, result) != NGX_OK)
        {
            return NGX_ERROR;
        }

        fd = ngx_http_tsface_syslog_files_next(&copy->files, &copy->next);

        if (fd == -1) {
            return NGX_OK;
        }

        ngx_http_tsface_trail_copy_close(&copy->source);
        copy->source = fd;
    }
}


/* From copy->next on up to size, in one file. */

static ngx_int_t
ngx_http_tsface_trail_copy_scan(ngx_http_tsface_trail_copy_t *copy,
    uint64_t size, ngx_http_tsface_trail_result_t *result)
{
    u_char                           *p, *last;
    ssize_t                           n;
    ngx_int_t                         rc;
    ngx_str_t                         line;
    ngx_http_tsface_syslog_record_t   record;

    while (copy->next.offset < size) {

        n = ngx_http_tsface_trail_io_read(copy->source, copy->in.data,
                                   ngx_min(size - copy->next.offset,
                                           NGX_HTTP_TSFACE_TRAIL_COPY_CHUNK),
                                   copy->next.offset);
        if (n == -1) {
            return ngx_http_tsface_trail_failed(result, "pread()", "", errno);
        }

        p = copy->in.data;
        last = p + n;

        while (p < last) {

            rc = ngx_http_tsface_syslog_search_line(p, last, &line, &record);

            if (line.data == NULL) {
                break;
            }

            if (rc == NGX_OK && ngx_http_tsface_trail_second_wants(&record)
                && ngx_http_tsface_trail_copy_line(copy, &line, result)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }

            p += line.len + 1;
            copy->next.offset += line.len + 1;

            if (rc == NGX_OK) {
                copy->next.seq = record.number;
                ngx_memcpy(copy->next.mac, record.mac.data,
                           NGX_HTTP_TSFACE_RECORD_MAC_LEN);
            }
        }

        if (p == copy->in.data) {

            if (n < NGX_HTTP_TSFACE_TRAIL_COPY_CHUNK) {
                return NGX_OK;
            }

            /* no line at all in so many bytes: no trail's */

            copy->next.offset += n;
        }
    }

    return NGX_OK;
}


/* Its LF is behind it; what was read at once fits in. */

static ngx_int_t
ngx_http_tsface_trail_copy_line(ngx_http_tsface_trail_copy_t *copy,
    const ngx_str_t *line, ngx_http_tsface_trail_result_t *result)
{
    size_t  len;

    len = line->len + 1;

    if (copy->len + len > copy->out.size
        && ngx_http_tsface_trail_copy_flush(copy, result) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(copy->out.data + copy->len, line->data, len);
    copy->len += len;

    return NGX_OK;
}


/* What the trail could still lose must not be elsewhere: it is synced first. */

static ngx_int_t
ngx_http_tsface_trail_copy_flush(ngx_http_tsface_trail_copy_t *copy,
    ngx_http_tsface_trail_result_t *result)
{
    if (copy->len == 0) {
        return NGX_OK;
    }

    if (copy->durable
        && ngx_http_tsface_trail_io_sync(copy->source) != NGX_OK)
    {
        return ngx_http_tsface_trail_failed(result, "fdatasync(FILE)", "",
                                            errno);
    }

    if (ngx_http_tsface_trail_second_write(copy->fd, copy->out.data, copy->len,
                                           result)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* a failure is told once, and then nobody knows what was lost */

    if (ngx_http_tsface_trail_io_sync(copy->fd) != NGX_OK) {
        copy->unsynced = 1;
        return ngx_http_tsface_trail_failed(result, "fdatasync()", "", errno);
    }

    copy->unsynced = 0;
    copy->position = copy->next;
    copy->len = 0;

    return NGX_OK;
}


static void
ngx_http_tsface_trail_copy_close(int *fd)
{
    if (*fd != -1) {
        (void) close(*fd);
        *fd = -1;
    }
}
