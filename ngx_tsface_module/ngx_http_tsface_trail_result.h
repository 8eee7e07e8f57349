
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What came of something that was done to a trail's files.  The trail_*
 * files fill it in; who called them says it in a log, if at all.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_RESULT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_RESULT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"


/* What a batch came upon; also set when the batch itself failed later. */
#define NGX_HTTP_TSFACE_TRAIL_OPENED     0x01  /* an empty file was begun */
#define NGX_HTTP_TSFACE_TRAIL_TORN       0x02  /* a torn tail was cut off */
#define NGX_HTTP_TSFACE_TRAIL_TORN_LOST  0x04  /* and could not be kept */
#define NGX_HTTP_TSFACE_TRAIL_SHRUNK     0x08  /* records are missing */
#define NGX_HTTP_TSFACE_TRAIL_STRAY      0x10  /* PATH can't be followed */
#define NGX_HTTP_TSFACE_TRAIL_FOREIGN    0x20  /* PATH is no trail: untouched */
#define NGX_HTTP_TSFACE_TRAIL_DELETED    0x40  /* the file before has no name */
#define NGX_HTTP_TSFACE_TRAIL_ROTATED    0x80  /* for its size, by this batch */
#define NGX_HTTP_TSFACE_TRAIL_LARGE     0x100  /* it can't be: rotate_err */


typedef struct {
    ngx_uint_t       flags;
    ngx_err_t        err;
    const char      *call;      /* the system call that failed, or NULL */
    const char      *suffix;    /* of the name it failed for: "", ".chain" */
    const char      *reason;    /* of the "open" record, or NULL */
    size_t           torn;      /* bytes cut off */
    size_t           bytes;     /* written */
    uint64_t         seq;       /* of the last record written */
    ngx_uint_t       own[NGX_HTTP_TSFACE_RECORD_NTYPES];  /* of the trail's */
    ngx_msec_t       due;       /* until the next one is; 0: none is */
    ngx_err_t        rotate_err;
} ngx_http_tsface_trail_result_t;


/* Returns NGX_ERROR.  call and suffix must stay: they are not copied. */
static ngx_inline ngx_int_t
ngx_http_tsface_trail_failed(ngx_http_tsface_trail_result_t *result,
    const char *call, const char *suffix, ngx_err_t err)
{
    result->call = call;
    result->suffix = suffix;
    result->err = err;

    return NGX_ERROR;
}


#endif /* _NGX_HTTP_TSFACE_TRAIL_RESULT_H_INCLUDED_ */
