
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_secret_text.h"


static ngx_int_t ngx_http_tsface_secret_text_read(
    ngx_http_tsface_secret_text_t *text, ngx_fd_t fd);
static ngx_int_t ngx_http_tsface_secret_text_stat(
    ngx_http_tsface_secret_text_t *text, ngx_fd_t fd, size_t min);
static ngx_int_t ngx_http_tsface_secret_text_failed(
    ngx_http_tsface_secret_text_t *text, ngx_http_tsface_secret_fault_e fault,
    ngx_err_t err);


static const char  *ngx_http_tsface_secret_faults[] = {
    "no fault",
    "it can't be opened",
    "it can't be looked at",
    "it can't be read",
    "it is not a regular file",
    "others can use it",
    "its group can write to it",
    "it is too large",
    "it has a NUL byte",
    "it has more than two lines",
    "it is empty",
    "it is too short"
};


ngx_int_t
ngx_http_tsface_secret_text_file(ngx_http_tsface_secret_text_t *text,
    const u_char *path, size_t min)
{
    ngx_fd_t   fd;
    ngx_int_t  rc;

    text->len = 0;

    /*
     * Symbolic links are followed, since mounted secrets are links (and so
     * are those of Kubernetes); O_NONBLOCK keeps open() of a FIFO, refused
     * below, from waiting for a writer for ever.
     */

    do {
        fd = open((const char *) path,
                  O_RDONLY|O_NONBLOCK|O_NOCTTY|O_CLOEXEC);
    } while (fd == NGX_INVALID_FILE && ngx_errno == NGX_EINTR);

    if (fd == NGX_INVALID_FILE) {
        return ngx_http_tsface_secret_text_failed(text,
                                                  NGX_HTTP_TSFACE_SECRET_OPEN,
                                                  ngx_errno);
    }

    rc = ngx_http_tsface_secret_text_stat(text, fd, min);

    if (rc == NGX_OK) {
        rc = ngx_http_tsface_secret_text_read(text, fd);
    }

    /* opened for reading only: nothing can be lost by a failing close() */

    (void) ngx_close_file(fd);

    return rc == NGX_OK ? ngx_http_tsface_secret_text_lines(text, min)
                        : NGX_ERROR;
}


static ngx_int_t
ngx_http_tsface_secret_text_read(ngx_http_tsface_secret_text_t *text,
    ngx_fd_t fd)
{
    ssize_t  n;

    while (text->len < sizeof(text->data)) {

        n = ngx_read_fd(fd, text->data + text->len,
                        sizeof(text->data) - text->len);

        if (n == -1) {

            if (ngx_errno == NGX_EINTR) {
                continue;
            }

            return ngx_http_tsface_secret_text_failed(text,
                                                  NGX_HTTP_TSFACE_SECRET_READ,
                                                  ngx_errno);
        }

        if (n == 0) {
            break;
        }

        text->len += n;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_secret_text_stat(ngx_http_tsface_secret_text_t *text,
    ngx_fd_t fd, size_t min)
{
    ngx_file_info_t                  fi;
    ngx_http_tsface_secret_fault_e   fault;

    /* of what is open, not of the name, which may be replaced meanwhile */

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        return ngx_http_tsface_secret_text_failed(text,
                                                  NGX_HTTP_TSFACE_SECRET_STAT,
                                                  ngx_errno);
    }

    text->mode = fi.st_mode & 0777;

    if (!ngx_is_file(&fi)) {
        fault = NGX_HTTP_TSFACE_SECRET_KIND;

    } else if (text->mode & 0007) {
        fault = NGX_HTTP_TSFACE_SECRET_OTHERS;

    } else if (text->mode & 0020) {
        fault = NGX_HTTP_TSFACE_SECRET_GROUP;

    } else if (ngx_file_size(&fi) > ngx_http_tsface_secret_max(min)) {
        fault = NGX_HTTP_TSFACE_SECRET_LARGE;

    } else {
        return NGX_OK;
    }

    return ngx_http_tsface_secret_text_failed(text, fault, 0);
}


/* The first line is the secret; a second is the next one, while it changes. */
ngx_int_t
ngx_http_tsface_secret_text_lines(ngx_http_tsface_secret_text_t *text,
    size_t min)
{
    u_char                          *p, *last;
    ngx_str_t                       *line;
    ngx_uint_t                       n;
    ngx_http_tsface_secret_fault_e   fault;

    text->fault = NGX_HTTP_TSFACE_SECRET_OK;
    text->err = 0;

    ngx_memzero(text->line, sizeof(text->line));

    fault = NGX_HTTP_TSFACE_SECRET_OK;

    /* a file may have grown since it was looked at */

    if (text->len > ngx_http_tsface_secret_max(min)) {
        fault = NGX_HTTP_TSFACE_SECRET_LARGE;

    } else if (memchr(text->data, '\0', text->len) != NULL) {
        fault = NGX_HTTP_TSFACE_SECRET_NUL;
    }

    if (fault != NGX_HTTP_TSFACE_SECRET_OK) {
        return ngx_http_tsface_secret_text_failed(text, fault, 0);
    }

    last = text->data + text->len;

    if (min == NGX_HTTP_TSFACE_SECRET_WHOLE) {
        text->line[0].data = text->data;
        text->line[0].len = text->len;
        p = last;

    } else {
        p = text->data;
    }

    for (n = 0; p < last; n++) {

        if (n == 2) {
            return ngx_http_tsface_secret_text_failed(text,
                                                  NGX_HTTP_TSFACE_SECRET_LINES,
                                                  0);
        }

        line = &text->line[n];
        line->data = p;

        p = ngx_strlchr(p, last, LF);

        if (p == NULL) {
            p = last;
        }

        line->len = p - line->data;

        if (line->len && line->data[line->len - 1] == CR) {
            line->len--;
        }

        p++;
    }

    line = text->line;

    if (line[0].len == 0) {
        fault = NGX_HTTP_TSFACE_SECRET_EMPTY;

    } else if (line[0].len < min || (line[1].len && line[1].len < min)) {
        fault = NGX_HTTP_TSFACE_SECRET_SHORT;

    } else {
        return NGX_OK;
    }

    return ngx_http_tsface_secret_text_failed(text, fault, 0);
}


const char *
ngx_http_tsface_secret_text_fault(ngx_http_tsface_secret_fault_e fault)
{
    return ngx_http_tsface_secret_faults[fault];
}


static ngx_int_t
ngx_http_tsface_secret_text_failed(ngx_http_tsface_secret_text_t *text,
    ngx_http_tsface_secret_fault_e fault, ngx_err_t err)
{
    text->fault = fault;
    text->err = err;

    return NGX_ERROR;
}
