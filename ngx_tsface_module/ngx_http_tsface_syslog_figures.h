
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What the worker that sends tells the others, in a shared zone that outlives
 * reloads.  Without a lock: each member is one word, written by one process at
 * a time, but for the moment in which one takes over from another.
 */


#ifndef _NGX_HTTP_TSFACE_SYSLOG_FIGURES_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SYSLOG_FIGURES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog.h"


/* Who sends says so at least as often, in milliseconds, or doesn't any more. */
#define NGX_HTTP_TSFACE_SYSLOG_FRESH   3000


/* Times are ngx_current_msec, 0 for none. */
struct ngx_http_tsface_syslog_sh_s {
    ngx_atomic_t     pid;            /* of who sends */
    ngx_atomic_t     beat;
    ngx_atomic_t     error;          /* ngx_http_tsface_syslog_error_e */
    ngx_atomic_t     err;
    ngx_atomic_t     records;
    ngx_atomic_t     batches;
    ngx_atomic_t     failures;
    ngx_atomic_t     missing;
    ngx_atomic_t     backlog;
    ngx_atomic_t     bytes;
    ngx_atomic_t     since;          /* nothing of the backlog was taken */
};


/* The figures of a trail with "syslog". */
ngx_http_tsface_syslog_sh_t *ngx_http_tsface_syslog_figures(
    const ngx_http_tsface_trail_t *trail);

/* This process sends, or does no more. */
void ngx_http_tsface_syslog_figures_beat(ngx_http_tsface_syslog_sh_t *sh,
    ngx_uint_t sends);

/* Whether another process sends. */
ngx_uint_t ngx_http_tsface_syslog_figures_other(
    const ngx_http_tsface_syslog_sh_t *sh);

/* What waits; taken: something of it was taken just now. */
void ngx_http_tsface_syslog_figures_backlog(ngx_http_tsface_syslog_sh_t *sh,
    uint64_t records, uint64_t bytes, ngx_uint_t taken);


#endif /* _NGX_HTTP_TSFACE_SYSLOG_FIGURES_H_INCLUDED_ */
