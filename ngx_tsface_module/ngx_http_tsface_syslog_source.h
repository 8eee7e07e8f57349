
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What is to be sent of a trail: the records behind the position in PATH.sent,
 * read from the trail's own files, made messages of.  Nothing is copied to a
 * file, so the trail itself is what waits for a receiver.
 *
 * Blocks: for a thread.  System calls and plain memory only, as in trail_file;
 * nothing here may be called from two threads at once for one source.
 *
 * The lock on PATH.sent is held from the step that gets it to release(): of
 * all processes only one sends.  The kernel drops it when that one dies.
 */


#ifndef _NGX_HTTP_TSFACE_SYSLOG_SOURCE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SYSLOG_SOURCE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog_message.h"
#include "ngx_http_tsface_trail_result.h"


/* bytes of records in one batch, at most */
#define NGX_HTTP_TSFACE_SYSLOG_BATCH     262144

/* what a step came upon */
#define NGX_HTTP_TSFACE_SYSLOG_NEW       0x01   /* PATH.sent was empty */
#define NGX_HTTP_TSFACE_SYSLOG_LOST      0x02   /* and this time unreadable */
#define NGX_HTTP_TSFACE_SYSLOG_BACK      0x04   /* seq went back */
#define NGX_HTTP_TSFACE_SYSLOG_RESTART   0x08   /* another chain began */


typedef struct ngx_http_tsface_syslog_source_s
    ngx_http_tsface_syslog_source_t;


typedef struct {
    const ngx_str_t  *path;     /* of the trail, NUL-terminated */
    ngx_uint_t        durable;  /* on disk before it is sent */
    int               chain_fd; /* to fall back to, or -1; not owned */
    int               sent_fd;
    ngx_http_tsface_syslog_head_t   head;
} ngx_http_tsface_syslog_source_conf_t;


typedef struct {
    /* what to do, in this order */
    unsigned          release:1;   /* and nothing else */
    unsigned          commit:1;    /* the last batch was taken */
    unsigned          read:1;
    unsigned          sending:1;   /* the last batch still is: it stays */
    size_t            limit;       /* bytes of records to read, about */

    /*
     * NGX_OK; NGX_BUSY: another process has the lock; NGX_ERROR: see result,
     * and what is below is as far as it came.
     */
    ngx_int_t         rc;
    ngx_http_tsface_trail_result_t  result;
    ngx_uint_t        flags;
    ngx_uint_t        gap;         /* records that were in no file */
    uint64_t          behind;      /* the seq that came after them */
    ngx_uint_t        skipped;     /* lines that are no records */

    /*
     * The batch, if it was read: good until the next step that reads, or
     * that has not "sending".
     */
    ngx_uint_t        n;           /* records */
    uint64_t          first;       /* seq */
    uint64_t          last;
    u_char           *data;
    size_t            len;

    /* what is behind the position, the batch included */
    uint64_t          records;
    uint64_t          bytes;
} ngx_http_tsface_syslog_job_t;


/* Copies all of conf; NULL if there is no memory.  Opens nothing. */
ngx_http_tsface_syslog_source_t *ngx_http_tsface_syslog_source_new(
    const ngx_http_tsface_syslog_source_conf_t *conf);

/* Gives the lock up. */
void ngx_http_tsface_syslog_source_free(
    ngx_http_tsface_syslog_source_t *source);

/* Does a job; takes the lock for it, if it is free, and keeps it. */
void ngx_http_tsface_syslog_source_step(
    ngx_http_tsface_syslog_source_t *source,
    ngx_http_tsface_syslog_job_t *job);


#endif /* _NGX_HTTP_TSFACE_SYSLOG_SOURCE_H_INCLUDED_ */
