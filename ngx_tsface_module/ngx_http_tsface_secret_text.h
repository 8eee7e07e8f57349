
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The bytes of a secret: out of a file, apart into lines.  No log, no pool,
 * no global: also for threads.
 */


#ifndef _NGX_HTTP_TSFACE_SECRET_TEXT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SECRET_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_TSFACE_SECRET_MAX         4096
#define NGX_HTTP_TSFACE_SECRET_WHOLE_MAX   16384

/* For min: not lines but all of it, up to WHOLE_MAX, in line[0]. */
#define NGX_HTTP_TSFACE_SECRET_WHOLE       0

#define ngx_http_tsface_secret_max(min)                                       \
    ((min) == NGX_HTTP_TSFACE_SECRET_WHOLE ? NGX_HTTP_TSFACE_SECRET_WHOLE_MAX \
                                           : NGX_HTTP_TSFACE_SECRET_MAX)


/* Why a secret can't be used. */
typedef enum {
    NGX_HTTP_TSFACE_SECRET_OK = 0,
    NGX_HTTP_TSFACE_SECRET_OPEN,         /* these three with err */
    NGX_HTTP_TSFACE_SECRET_STAT,
    NGX_HTTP_TSFACE_SECRET_READ,
    NGX_HTTP_TSFACE_SECRET_KIND,         /* not a regular file */
    NGX_HTTP_TSFACE_SECRET_OTHERS,       /* others have access to it */
    NGX_HTTP_TSFACE_SECRET_GROUP,        /* its group may write to it */
    NGX_HTTP_TSFACE_SECRET_LARGE,
    NGX_HTTP_TSFACE_SECRET_NUL,
    NGX_HTTP_TSFACE_SECRET_LINES,        /* more than two */
    NGX_HTTP_TSFACE_SECRET_EMPTY,
    NGX_HTTP_TSFACE_SECRET_SHORT
} ngx_http_tsface_secret_fault_e;


/* line points into data: whoever owns it wipes all of it. */
typedef struct {
    u_char                           data[
                                        NGX_HTTP_TSFACE_SECRET_WHOLE_MAX + 1];
    size_t                           len;
    ngx_str_t                        line[2];    /* the second may be empty */
    ngx_http_tsface_secret_fault_e   fault;
    ngx_err_t                        err;
    ngx_uint_t                       mode;       /* the file's, 0777 of it */
} ngx_http_tsface_secret_text_t;


/*
 * Reads the file at path (NUL-terminated) and takes it apart: blocks on I/O.
 * min is the least length of the first line.  NGX_ERROR: text->fault says
 * why.
 */
ngx_int_t ngx_http_tsface_secret_text_file(
    ngx_http_tsface_secret_text_t *text, const u_char *path, size_t min);

/* Takes apart what data and len hold; same results. */
ngx_int_t ngx_http_tsface_secret_text_lines(
    ngx_http_tsface_secret_text_t *text, size_t min);

/* A fault in words, for a log. */
const char *ngx_http_tsface_secret_text_fault(
    ngx_http_tsface_secret_fault_e fault);


#endif /* _NGX_HTTP_TSFACE_SECRET_TEXT_H_INCLUDED_ */
