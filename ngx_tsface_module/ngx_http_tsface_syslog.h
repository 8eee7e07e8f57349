
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * "syslog" of a tsface_audit_trail: its records go to a syslog receiver as
 * well.  The trail's file stays the truth, and is what waits while the
 * receiver doesn't take them; no request waits for any of it.
 *
 * One worker of all sends: the one whose process has the lock on PATH.sent
 * (syslog_source.h).  It reads a batch, delivers it (syslog_delivery.h), and
 * then moves the position in PATH.sent.
 */


#ifndef _NGX_HTTP_TSFACE_SYSLOG_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SYSLOG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail.h"


typedef struct ngx_http_tsface_sender_s     ngx_http_tsface_sender_t;
typedef struct ngx_http_tsface_syslog_sh_s  ngx_http_tsface_syslog_sh_t;


/* The configuration. */
struct ngx_http_tsface_syslog_s {
    ngx_str_t                     server;      /* as it is written */
    ngx_addr_t                   *addrs;
    ngx_uint_t                    naddrs;
    ngx_uint_t                    facility;
    ngx_uint_t                    severity;
    ngx_str_t                     app_name;
    ngx_str_t                     sd_id;
    ngx_msec_t                    timeout;
    ngx_shm_zone_t               *zone;        /* of the figures */

    /* the process's own */
    ngx_http_tsface_sender_t     *sender;
};


/*
 * The setter of "syslog server=ADDRESS [PARAMETER=VALUE]...", into a pointer
 * at cmd->offset.
 */
char *ngx_http_tsface_syslog_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* When the trail's block is complete: the memory for the figures. */
ngx_int_t ngx_http_tsface_syslog_zone(ngx_conf_t *cf,
    ngx_http_tsface_trail_t *trail);

/*
 * Life cycle of a process that serves requests, after the trail's own start
 * and before its stop.  A trail without "syslog" is none of its business.
 */
ngx_int_t ngx_http_tsface_syslog_start(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail);
void ngx_http_tsface_syslog_stop(ngx_http_tsface_trail_t *trail);


/* For the status page: figures of all workers, kept over reloads. */
typedef struct {
    ngx_uint_t                    active;      /* a worker sends */
    ngx_uint_t                    failing;     /* since the last success */
    const char                   *error;       /* "" if not failing */
    ngx_err_t                     err;
    ngx_uint_t                    records;     /* that were taken */
    ngx_uint_t                    batches;
    ngx_uint_t                    failures;
    ngx_uint_t                    missing;     /* that were in no file */
    ngx_uint_t                    backlog;     /* records not taken yet */
    ngx_uint_t                    bytes;       /* of the backlog */
    ngx_msec_t                    stalled;     /* nothing of it was taken for */
} ngx_http_tsface_syslog_stat_t;

void ngx_http_tsface_syslog_stat(const ngx_http_tsface_trail_t *trail,
    ngx_http_tsface_syslog_stat_t *stat);


#endif /* _NGX_HTTP_TSFACE_SYSLOG_H_INCLUDED_ */
