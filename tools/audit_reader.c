
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_reader.h"
#include "ngx_http_tsface_record.h"


/* at least a record; a fuzz target has a smaller one */
#ifndef TSFACE_AUDIT_BUFFER
#define TSFACE_AUDIT_BUFFER  (1024 * 1024)
#endif


static tsface_audit_reader_e tsface_audit_reader_line(
    tsface_audit_reader_t *reader, ngx_str_t *line);
static ngx_int_t tsface_audit_reader_rewind(tsface_audit_reader_t *reader,
    size_t len);
static ngx_int_t tsface_audit_reader_open(tsface_audit_reader_t *reader);
static void tsface_audit_reader_close(tsface_audit_reader_t *reader);
static ngx_int_t tsface_audit_reader_fill(tsface_audit_reader_t *reader);


ngx_int_t
tsface_audit_reader_init(tsface_audit_reader_t *reader, char **names,
    size_t nnames)
{
    ngx_memzero(reader, sizeof(tsface_audit_reader_t));

    reader->buf = malloc(TSFACE_AUDIT_BUFFER);
    if (reader->buf == NULL) {
        return NGX_ERROR;
    }

    reader->names = names;
    reader->nnames = nnames;
    reader->fd = -1;
    reader->ready = -1;

    return NGX_OK;
}


tsface_audit_reader_e
tsface_audit_reader_next(tsface_audit_reader_t *reader, ngx_str_t *line)
{
    tsface_audit_reader_e  what;

    what = tsface_audit_reader_line(reader, line);

    if (what == TSFACE_AUDIT_END || what == TSFACE_AUDIT_FAILED) {
        tsface_audit_progress_erase(&reader->progress);
    }

    return what;
}


static tsface_audit_reader_e
tsface_audit_reader_line(tsface_audit_reader_t *reader, ngx_str_t *line)
{
    size_t   len;
    u_char  *lf;

    for ( ;; ) {

        if (reader->fd == -1) {

            if (reader->next == reader->nnames) {
                return TSFACE_AUDIT_END;
            }

            if (tsface_audit_reader_open(reader) != NGX_OK) {
                return TSFACE_AUDIT_FAILED;
            }
        }

        len = reader->last - reader->pos;
        lf = len ? memchr(reader->pos, LF, len) : NULL;

        if (lf == NULL
            && !reader->eof
            && (reader->skip || len < NGX_HTTP_TSFACE_RECORD_MAX))
        {
            if (reader->skip) {
                reader->pos = reader->last;
            }

            if (tsface_audit_reader_fill(reader) != NGX_OK) {
                return TSFACE_AUDIT_FAILED;
            }

            continue;
        }

        if (lf == NULL
            && reader->eof
            && reader->wait
            && reader->next == reader->nnames)
        {

            if (tsface_audit_reader_rewind(reader, len) != NGX_OK) {
                return TSFACE_AUDIT_FAILED;
            }

            return TSFACE_AUDIT_WAIT;
        }

        if (reader->skip) {

            /* the rest of a line that was told of already */

            reader->pos = lf ? lf + 1 : reader->last;
            reader->skip = 0;
            continue;
        }

        if (len == 0) {
            tsface_audit_reader_close(reader);
            continue;
        }

        reader->number++;

        if (lf != NULL) {
            len = lf - reader->pos;
        }

        if (len >= NGX_HTTP_TSFACE_RECORD_MAX) {
            reader->skip = 1;
            return TSFACE_AUDIT_LONG;
        }

        line->data = reader->pos;
        line->len = len;

        reader->pos += len + (lf != NULL);

        return lf ? TSFACE_AUDIT_LINE : TSFACE_AUDIT_TORN;
    }
}


/* A line that has no end yet may be cut off, and another be written there. */
static ngx_int_t
tsface_audit_reader_rewind(tsface_audit_reader_t *reader, size_t len)
{
    reader->eof = 0;

    if (reader->skip) {
        len = 0;
    }

    reader->offset -= len;
    reader->pos = reader->buf;
    reader->last = reader->buf;

    if (lseek(reader->fd, (off_t) reader->offset, SEEK_SET) == -1) {
        reader->err = errno;
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
tsface_audit_reader_again(tsface_audit_reader_t *reader)
{
    if (reader->fd != -1) {
        tsface_audit_reader_close(reader);
    }

    reader->next--;
}


void
tsface_audit_reader_done(tsface_audit_reader_t *reader)
{
    tsface_audit_progress_erase(&reader->progress);

    if (reader->fd != -1) {
        tsface_audit_reader_close(reader);
    }

    if (reader->ready != -1) {
        (void) close(reader->ready);
    }

    free(reader->buf);
}


static ngx_int_t
tsface_audit_reader_open(tsface_audit_reader_t *reader)
{
    reader->name = reader->names[reader->next++];
    reader->number = 0;
    reader->offset = 0;
    reader->eof = 0;
    reader->skip = 0;
    reader->pos = reader->buf;
    reader->last = reader->buf;

    if (strcmp(reader->name, "-") == 0) {
        reader->name = "(standard input)";
        reader->fd = STDIN_FILENO;
        return NGX_OK;
    }

    if (reader->ready != -1) {
        reader->fd = reader->ready;
        reader->ready = -1;
        return NGX_OK;
    }

    reader->fd = open(reader->name, O_RDONLY|O_NOCTTY|O_CLOEXEC);

    if (reader->fd == -1) {
        reader->err = errno;
        return NGX_ERROR;
    }

    (void) posix_fadvise(reader->fd, 0, 0, POSIX_FADV_SEQUENTIAL);

    return NGX_OK;
}


static void
tsface_audit_reader_close(tsface_audit_reader_t *reader)
{
    if (reader->fd != STDIN_FILENO) {
        (void) close(reader->fd);
    }

    reader->fd = -1;
}


/* Moves what is left to the front, and reads behind it. */
static ngx_int_t
tsface_audit_reader_fill(tsface_audit_reader_t *reader)
{
    size_t   len;
    ssize_t  n;

    len = reader->last - reader->pos;

    ngx_memmove(reader->buf, reader->pos, len);

    reader->pos = reader->buf;
    reader->last = reader->buf + len;

    do {
        n = read(reader->fd, reader->last, TSFACE_AUDIT_BUFFER - len);
    } while (n == -1 && errno == EINTR);

    if (n == -1) {
        reader->err = errno;
        return NGX_ERROR;
    }

    if (n == 0) {
        reader->eof = 1;
    }

    reader->last += n;
    reader->offset += (uint64_t) n;

    tsface_audit_progress_add(&reader->progress, (size_t) n);

    return NGX_OK;
}
