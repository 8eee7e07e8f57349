
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What PATH.sent says: up to where a trail's records were taken by its syslog
 * receiver.  One line of fixed width,
 *
 *     tsface-sent 1 SEQ MAC FILE OFFSET
 *
 * which is written over by the one process that has the lock on PATH.sent.
 * System calls and plain memory only.
 *
 * SEQ and MAC are those of the last record that was taken, so that it is found
 * again wherever it is.  FILE is the mac of the first record of the file that
 * it is in: it names the file however often that was renamed or copied, which
 * an inode, that is given again to another file, doesn't.
 */


#ifndef _NGX_HTTP_TSFACE_SYSLOG_POSITION_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SYSLOG_POSITION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_mac.h"


#define NGX_HTTP_TSFACE_SYSLOG_POSITION_MAGIC  "tsface-sent 1 "


typedef struct {
    uint64_t         seq;       /* 0: none was taken so far */
    uint64_t         offset;    /* behind it */
    u_char           mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char           file[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
} ngx_http_tsface_syslog_position_t;


/* Before the first record. */
void ngx_http_tsface_syslog_position_init(
    ngx_http_tsface_syslog_position_t *position);

/*
 * NGX_DONE: the file is empty.  NGX_DECLINED: it has not this form.  In both
 * cases the position is before the first record.  NGX_ERROR: see errno.
 */
ngx_int_t ngx_http_tsface_syslog_position_read(int fd,
    ngx_http_tsface_syslog_position_t *position);

/* NGX_ERROR: see errno.  fd must not be opened with O_APPEND. */
ngx_int_t ngx_http_tsface_syslog_position_write(int fd,
    const ngx_http_tsface_syslog_position_t *position);


#endif /* _NGX_HTTP_TSFACE_SYSLOG_POSITION_H_INCLUDED_ */
