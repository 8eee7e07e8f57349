
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_sender.h"
#include "ngx_http_tsface_writer.h"


void
ngx_http_tsface_sender_report(ngx_http_tsface_sender_t *sender)
{
    ngx_str_t                     *name, *path;
    ngx_log_t                     *log;
    ngx_http_tsface_syslog_job_t  *job;

    job = &sender->job;
    log = sender->log;
    name = &sender->trail->name;
    path = &sender->trail->path;

    if (job->rc == NGX_ERROR && !sender->failing) {
        sender->failing = 1;

        ngx_http_tsface_writer_complain(NGX_LOG_ERR, log, sender->trail,
                                        &job->result,
                                        "its records can't be sent to syslog");
    }

    if (job->rc == NGX_OK) {
        sender->failing = 0;
    }

    if (job->flags & NGX_HTTP_TSFACE_SYSLOG_LOST) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "audit trail \"%V\": \"%V.sent\" doesn't say what was "
                      "sent to syslog: all that is there is sent once more",
                      name, path);
    }

    if (job->flags & NGX_HTTP_TSFACE_SYSLOG_RESTART) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "audit trail \"%V\": \"%V\" was begun anew: so is "
                      "sending it to syslog", name, path);
    }

}


void
ngx_http_tsface_sender_report_batch(ngx_http_tsface_sender_t *sender)
{
    ngx_str_t                     *name, *path;
    ngx_log_t                     *log;
    ngx_http_tsface_syslog_job_t  *batch;

    batch = &sender->batch;
    log = sender->log;
    name = &sender->trail->name;
    path = &sender->trail->path;

    if (batch->flags & NGX_HTTP_TSFACE_SYSLOG_BACK) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "audit trail \"%V\": seq goes back in the files of "
                      "\"%V\", up to %uL: syslog gets them as they are",
                      name, path, batch->last);
    }

    if (batch->gap) {
        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "audit trail \"%V\": %ui records in front of seq %uL "
                      "are in none of the files of \"%V\": syslog doesn't "
                      "get them", name, batch->gap, batch->behind, path);
    }

    if (batch->skipped) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "audit trail \"%V\": %ui lines in the files of \"%V\" "
                      "are no records: syslog doesn't get them",
                      name, batch->skipped, path);
    }
}
