
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A record as a syslog message: RFC 5424 with structured data, in a frame
 * that counts its octets (RFC 6587 3.4.1).  Pure.
 *
 *     LEN <PRI>1 TIME HOST APP-NAME PID TYPE [SD-ID name="value"...] RECORD
 *
 * RECORD is the record's line without its LF, byte for byte: what a receiver
 * stores of it is a trail again.
 */


#ifndef _NGX_HTTP_TSFACE_SYSLOG_MESSAGE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SYSLOG_MESSAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_line.h"


/* names that may be in a header at most (RFC 5424 6) */
#define NGX_HTTP_TSFACE_SYSLOG_HOST_MAX    255
#define NGX_HTTP_TSFACE_SYSLOG_APP_MAX     48
#define NGX_HTTP_TSFACE_SYSLOG_SD_ID_MAX   32

/* a value that is longer is left out of the structured data */
#define NGX_HTTP_TSFACE_SYSLOG_VALUE_MAX   256

/* room for any frame */
#define NGX_HTTP_TSFACE_SYSLOG_FRAME_MAX   (2 * NGX_HTTP_TSFACE_RECORD_MAX)


/* What all messages of a trail have in common; the strings are checked. */
typedef struct {
    ngx_uint_t       pri;
    ngx_str_t        host;
    ngx_str_t        app_name;
    ngx_str_t        sd_id;
} ngx_http_tsface_syslog_head_t;


/*
 * The members of a record's line that a message names, as they stand there:
 * strings without their quotes, escapes as they are; data is NULL if the
 * record has no such member.  They point into the line.
 */
typedef struct {
    uint64_t         number;    /* seq */
    ngx_str_t        seq;
    ngx_str_t        time;
    ngx_str_t        type;
    ngx_str_t        trail;
    ngx_str_t        pid;
    ngx_str_t        request_id;
    ngx_str_t        attempt;
    ngx_str_t        operation;
    ngx_str_t        credentials;
    ngx_str_t        region;
    ngx_str_t        result;
    ngx_str_t        reason;
    ngx_str_t        status;
    ngx_str_t        mac;       /* MAC_LEN hex digits */
} ngx_http_tsface_syslog_record_t;


/*
 * Takes a line, without its LF, apart.  NGX_DECLINED: it is no record, as it
 * has no object's form, or lacks seq or mac.  Whether it is valid JSON, and
 * whether the mac is right, is not looked at.
 */
ngx_int_t ngx_http_tsface_syslog_message_parse(const ngx_str_t *line,
    ngx_http_tsface_syslog_record_t *record);

/*
 * Writes the frame of a line that was taken apart into record to buf, which
 * has room for FRAME_MAX bytes.  Returns its length.
 */
size_t ngx_http_tsface_syslog_message_frame(
    const ngx_http_tsface_syslog_head_t *head, const ngx_str_t *line,
    const ngx_http_tsface_syslog_record_t *record, u_char *buf);

/*
 * Copies at most max bytes of name to buf as PRINTUSASCII, with "?" for what
 * is none; returns "-" if there is nothing to copy.
 */
ngx_str_t ngx_http_tsface_syslog_message_name(const ngx_str_t *name,
    u_char *buf, size_t max);


#endif /* _NGX_HTTP_TSFACE_SYSLOG_MESSAGE_H_INCLUDED_ */
