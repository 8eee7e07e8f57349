
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What the status says of the records that are sent to syslog.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_status.h"
#include "ngx_http_tsface_syslog.h"


static const ngx_http_tsface_metric_t  ngx_http_tsface_status_syslog[] = {

    { "tsface_audit_syslog_backlog_records", "gauge",
      "Records that the syslog server has not taken yet.",
      offsetof(ngx_http_tsface_syslog_stat_t, backlog),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_audit_syslog_backlog_bytes", "gauge",
      "Bytes of them.",
      offsetof(ngx_http_tsface_syslog_stat_t, bytes),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_audit_syslog_stalled_seconds", "gauge",
      "For how long nothing of the backlog was taken, 0 without one.",
      offsetof(ngx_http_tsface_syslog_stat_t, stalled),
      NGX_HTTP_TSFACE_METRIC_DURATION },

    { "tsface_audit_syslog_sender", "gauge",
      "Whether a worker sends, or tries to.",
      offsetof(ngx_http_tsface_syslog_stat_t, active),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_audit_syslog_failing", "gauge",
      "Whether the last delivery failed.",
      offsetof(ngx_http_tsface_syslog_stat_t, failing),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_audit_syslog_sent_total", "counter",
      "Records that the syslog server took.",
      offsetof(ngx_http_tsface_syslog_stat_t, records),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_audit_syslog_deliveries_total", "counter",
      "Deliveries that succeeded.",
      offsetof(ngx_http_tsface_syslog_stat_t, batches),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_audit_syslog_failures_total", "counter",
      "Deliveries that failed.",
      offsetof(ngx_http_tsface_syslog_stat_t, failures),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_audit_syslog_missing_total", "counter",
      "Records that could not be sent, as no file has them any more.",
      offsetof(ngx_http_tsface_syslog_stat_t, missing),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { NULL, NULL, NULL, 0, 0 }
};


void
ngx_http_tsface_status_syslog_json(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_trail_t *trail)
{
    ngx_http_tsface_syslog_stat_t  stat;

    if (trail->syslog == NULL) {
        return;
    }

    ngx_http_tsface_syslog_stat(trail, &stat);

    ngx_http_tsface_page_add(page, ",\"syslog\":{\"server\":\"");
    ngx_http_tsface_page_add_json(page, &trail->syslog->server);
    ngx_http_tsface_page_add(page, "\",\"sender\":%s,\"failing\":%s,"
                             "\"last_error\":\"%s\",\"errno\":%d,"
                             "\"sent\":%ui,\"deliveries\":%ui,"
                             "\"failures\":%ui,\"missing\":%ui,"
                             "\"backlog\":%ui,\"backlog_bytes\":%ui,"
                             "\"stalled_ms\":%M}",
                             stat.active ? "true" : "false",
                             stat.failing ? "true" : "false",
                             stat.error, stat.err, stat.records, stat.batches,
                             stat.failures, stat.missing, stat.backlog,
                             stat.bytes, stat.stalled);
}


/* Of trails that have "syslog"; nothing at all if none has. */

void
ngx_http_tsface_status_syslog_metrics(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t                        i, n;
    ngx_http_tsface_trail_t         **trails;
    ngx_http_tsface_syslog_stat_t     stat;
    const ngx_http_tsface_metric_t   *metric;

    trails = tmcf->trails.elts;

    for (metric = ngx_http_tsface_status_syslog; metric->name; metric++) {
        n = 0;

        for (i = 0; i < tmcf->trails.nelts; i++) {

            if (trails[i]->syslog == NULL) {
                continue;
            }

            if (n++ == 0) {
                ngx_http_tsface_metric(page, metric->name, metric->type,
                                       metric->help);
            }

            ngx_http_tsface_syslog_stat(trails[i], &stat);

            ngx_http_tsface_metric_value(page, metric, "trail",
                                         &trails[i]->name, &stat);
        }
    }
}
