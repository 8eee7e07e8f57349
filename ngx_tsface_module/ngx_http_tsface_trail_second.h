
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The second place of checkpoints: a file of lines that are in trails already,
 * to which whoever has its lock appends.  Blocks; system calls and plain
 * memory only.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_SECOND_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_SECOND_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog_message.h"
#include "ngx_http_tsface_syslog_position.h"
#include "ngx_http_tsface_trail_io.h"
#include "ngx_http_tsface_trail_result.h"


/*
 * Opens the file at name, made with mode 0640 if need be, and locks it, which
 * takes as long as it takes; *fd is closed by the caller, and -1 if there is
 * none.
 */
ngx_int_t ngx_http_tsface_trail_second_open(const char *name, int *fd,
    ngx_http_tsface_trail_result_t *result);

/*
 * Sets seq and mac of last to the last checkpoint of the trail of that name
 * that the file ends with, and line to its line, in buf, with an LF behind it.
 * NGX_DECLINED: there is none, seq is 0.
 */
ngx_int_t ngx_http_tsface_trail_second_last(int fd, const ngx_str_t *trail,
    ngx_http_tsface_trail_buf_t *buf, ngx_str_t *line,
    ngx_http_tsface_syslog_position_t *last,
    ngx_http_tsface_trail_result_t *result);

/* Appends whole lines. */
ngx_int_t ngx_http_tsface_trail_second_write(int fd, const u_char *lines,
    size_t len, ngx_http_tsface_trail_result_t *result);

/* Whether a record is a checkpoint. */
ngx_uint_t ngx_http_tsface_trail_second_wants(
    const ngx_http_tsface_syslog_record_t *record);


#endif /* _NGX_HTTP_TSFACE_TRAIL_SECOND_H_INCLUDED_ */
