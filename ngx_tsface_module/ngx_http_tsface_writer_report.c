
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_trail.h"
#include "ngx_http_tsface_trail_file.h"
#include "ngx_http_tsface_writer.h"


#define NGX_HTTP_TSFACE_WRITER_STRAY_MIN   1000


static void ngx_http_tsface_writer_report_size(ngx_http_tsface_writer_t *w);


void
ngx_http_tsface_writer_report(ngx_http_tsface_writer_t *w)
{
    ngx_log_t                       *log;
    ngx_uint_t                       i;
    ngx_http_tsface_trail_t         *trail;
    ngx_http_tsface_trail_result_t  *result;

    log = w->log;
    trail = w->trail;
    result = &w->result;

    w->slow = 0;

    ngx_http_tsface_writer_found(log, trail, result);

    /*
     * For a moment it is so whenever the master makes a new file and has yet
     * to give it away.
     */

    if (!(result->flags & NGX_HTTP_TSFACE_TRAIL_STRAY)) {
        w->stray = 0;
        w->told = 0;

    } else if (!w->stray) {
        w->stray = 1;
        w->stray_since = ngx_current_msec;

    } else if (!w->told
               && ngx_current_msec - w->stray_since
                  >= NGX_HTTP_TSFACE_WRITER_STRAY_MIN)
    {
        w->told = 1;

        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "audit trail \"%V\": \"%V\" was moved and workers can't "
                      "open or make another one: records still go to the one "
                      "that was moved; make nginx reopen its files (USR1)",
                      &trail->name, &trail->path);
    }

    if (w->rc != NGX_OK) {

        w->lost += w->n;
        w->last_errno = result->err ? result->err : EIO;

        ngx_http_tsface_zone_trail_failed(trail->counts, result->err, w->n);

        if (!w->failing) {
            w->failing = 1;

            ngx_http_tsface_writer_complain(NGX_LOG_CRIT, log, trail, result,
                trail->on_failure == NGX_HTTP_TSFACE_ON_FAILURE_REFUSE
                ? "nothing is forwarded until it can be written"
                : "requests are forwarded WITHOUT A RECORD");
        }

        return;
    }

    for (i = 0; i < NGX_HTTP_TSFACE_RECORD_NTYPES; i++) {
        w->types[i] += result->own[i];
    }

    ngx_http_tsface_zone_trail_written(trail->counts, w->types, result->bytes,
                                       ngx_current_msec - w->since);

    w->last_errno = 0;

    if (result->own[NGX_HTTP_TSFACE_RECORD_CHECKPOINT]) {
        ngx_http_tsface_writer_copy_due(w);
    }

    ngx_http_tsface_writer_report_size(w);

    if (w->failing) {
        w->failing = 0;

        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "audit trail \"%V\": \"%V\" is written again, %ui "
                      "records were not",
                      &trail->name, &trail->path, w->lost);

        w->lost = 0;
    }

    if (result->reason) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "audit trail \"%V\": \"%V\" has a new \"open\" record "
                      "(%s), the last seq is %uL", &trail->name, &trail->path,
                      result->reason, result->seq);
    }
}


static void
ngx_http_tsface_writer_report_size(ngx_http_tsface_writer_t *w)
{
    ngx_http_tsface_trail_t         *trail;
    ngx_http_tsface_trail_result_t  *result;

    trail = w->trail;
    result = &w->result;

    if (result->flags & NGX_HTTP_TSFACE_TRAIL_ROTATED) {
        w->large = 0;

        ngx_log_error(NGX_LOG_NOTICE, w->log, 0,
                      "audit trail \"%V\": \"%V\" has its size and was "
                      "renamed, the last seq is %uL",
                      &trail->name, &trail->path, result->seq);
    }

    if ((result->flags & NGX_HTTP_TSFACE_TRAIL_LARGE) && !w->large) {
        w->large = 1;

        ngx_log_error(NGX_LOG_CRIT, w->log, result->rotate_err,
                      "audit trail \"%V\": \"%V\" has its size and can't be "
                      "renamed in its directory: it goes on growing",
                      &trail->name, &trail->path);
    }
}


void
ngx_http_tsface_writer_found(ngx_log_t *log,
    const ngx_http_tsface_trail_t *trail,
    const ngx_http_tsface_trail_result_t *result)
{
    if (result->flags & NGX_HTTP_TSFACE_TRAIL_TORN) {
        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "audit trail \"%V\": a writer had died in the middle of "
                      "a record: its %uz bytes at the end of \"%V\" %s",
                      &trail->name, result->torn, &trail->path,
                      (result->flags & NGX_HTTP_TSFACE_TRAIL_TORN_LOST)
                      ? "are cut off, and can't be kept in a \".torn\" file "
                        "in a directory that workers can't write to"
                      : "were moved to its \".torn\" file");
    }

    if (result->flags & NGX_HTTP_TSFACE_TRAIL_SHRUNK) {
        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "audit trail \"%V\": records are missing at the end of "
                      "\"%V\": somebody cut, emptied, deleted or replaced it",
                      &trail->name, &trail->path);
    }

    if (result->flags & NGX_HTTP_TSFACE_TRAIL_DELETED) {
        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "audit trail \"%V\": the file that was \"%V\" was "
                      "deleted, with its records; or it was compressed at "
                      "once, which delaycompress of logrotate prevents",
                      &trail->name, &trail->path);
    }
}


void
ngx_http_tsface_writer_complain(ngx_uint_t level, ngx_log_t *log,
    const ngx_http_tsface_trail_t *trail,
    const ngx_http_tsface_trail_result_t *result, const char *then)
{
    if (result->flags & NGX_HTTP_TSFACE_TRAIL_FOREIGN) {
        ngx_log_error(level, log, 0,
                      "audit trail \"%V\": \"%V%s\" does not end in one of "
                      "its records, or is no regular file: move it away; %s",
                      &trail->name, &trail->path, result->suffix, then);
        return;
    }

    ngx_log_error(level, log, result->err,
                  "audit trail \"%V\": %s \"%V%s\" failed; %s",
                  &trail->name, result->call ? result->call : "malloc()",
                  &trail->path, result->suffix ? result->suffix : "", then);
}
