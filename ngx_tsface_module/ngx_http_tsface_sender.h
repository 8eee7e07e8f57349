
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What a process that serves requests has of sending a trail to syslog.  For
 * sender.c and sender_report.c only.
 */


#ifndef _NGX_HTTP_TSFACE_SENDER_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SENDER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_tsface_syslog.h"
#include "ngx_http_tsface_syslog_delivery.h"
#include "ngx_http_tsface_syslog_source.h"


/* Not of a pool: a thread may still use it when the cycle's pool goes. */
struct ngx_http_tsface_sender_s {
    ngx_http_tsface_trail_t              *trail;
    ngx_http_tsface_syslog_t             *syslog;
    ngx_http_tsface_syslog_sh_t          *sh;
    ngx_log_t                            *log;

    /* the thread's, while busy */
    ngx_http_tsface_syslog_source_t      *source;
    ngx_http_tsface_syslog_job_t          job;
    ngx_thread_task_t                     task;
    ngx_atomic_t                          done;

    ngx_http_tsface_syslog_delivery_t     delivery;
    ngx_uint_t                            addr;
    size_t                                limit;
    ngx_http_tsface_syslog_job_t          batch;     /* as it was read */
    ngx_uint_t                            fails;     /* in a row */
    ngx_msec_t                            leaving;   /* since */

    ngx_event_t                           tick;
    ngx_event_t                           retry;
    ngx_connection_t                      dumb;

    unsigned                              commit:1;  /* jobs to do */
    unsigned                              read:1;
    unsigned                              release:1;
    unsigned                              measure:1;

    unsigned                              busy:1;
    unsigned                              leader:1;
    unsigned                              sending:1;
    unsigned                              failing:1; /* the files */
    unsigned                              stopped:1;
    unsigned                              orphan:1;
};


/* Logs what is new of the last job. */
void ngx_http_tsface_sender_report(ngx_http_tsface_sender_t *sender);

/*
 * The same of a batch, when it is behind us: it may have to be read, and sent,
 * more than once.
 */
void ngx_http_tsface_sender_report_batch(ngx_http_tsface_sender_t *sender);


#endif /* _NGX_HTTP_TSFACE_SENDER_H_INCLUDED_ */
