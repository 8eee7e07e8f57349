
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What the status says of trails, in both formats.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_status.h"
#include "ngx_http_tsface_trail.h"
#include "ngx_http_tsface_zone.h"


static void ngx_http_tsface_status_trails_json_one(
    ngx_http_tsface_page_t *page, const ngx_http_tsface_trail_t *trail);
static void ngx_http_tsface_status_trails_types(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf,
    const ngx_http_tsface_zone_trail_stat_t *stats);


static const ngx_http_tsface_metric_t  ngx_http_tsface_status_trails[] = {

    { "tsface_trail_failing_workers", "gauge",
      "Workers whose last write failed.",
      offsetof(ngx_http_tsface_zone_trail_stat_t, failing),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_trail_queued_records", "gauge",
      "Records that are not written yet.",
      offsetof(ngx_http_tsface_zone_trail_stat_t, queued),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_trail_orphans_total", "counter",
      "Intents of dead workers that were given an outcome.",
      offsetof(ngx_http_tsface_zone_trail_stat_t, orphaned),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_trail_bytes_total", "counter",
      "Bytes of the records written.",
      offsetof(ngx_http_tsface_zone_trail_stat_t, bytes),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_trail_lost_records_total", "counter",
      "Records that could not be written.",
      offsetof(ngx_http_tsface_zone_trail_stat_t, lost),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_trail_checkpoint_failures_total", "counter",
      "Writes to the checkpoint_file that failed.",
      offsetof(ngx_http_tsface_zone_trail_stat_t, uncopied),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_trail_checkpoint_copy_lag_seconds", "gauge",
      "How long a checkpoint has waited for the checkpoint_file.",
      offsetof(ngx_http_tsface_zone_trail_stat_t, copy_lag),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { NULL, NULL, NULL, 0, 0 }
};


void
ngx_http_tsface_status_trails_json(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t                 i;
    ngx_http_tsface_trail_t  **trails;

    trails = tmcf->trails.elts;

    ngx_http_tsface_page_add(page, "\"trails\":[");

    for (i = 0; i < tmcf->trails.nelts; i++) {
        ngx_http_tsface_page_add(page, i ? "," : "");
        ngx_http_tsface_status_trails_json_one(page, trails[i]);
    }

    ngx_http_tsface_page_add(page, "],");
}


static void
ngx_http_tsface_status_trails_json_one(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_trail_t *trail)
{
    ngx_uint_t                         i, records;
    ngx_http_tsface_zone_trail_stat_t  stat;

    ngx_http_tsface_trail_stat(trail, &stat);

    records = 0;

    for (i = 0; i < NGX_HTTP_TSFACE_RECORD_NTYPES; i++) {
        records += stat.records[i];
    }

    ngx_http_tsface_page_add(page, "{\"name\":\"%V\",\"state\":\"%s\","
                             "\"failing_workers\":%ui,\"errno\":%d,"
                             "\"queued\":%ui,\"records\":%ui,\"types\":{",
                             &trail->name, stat.failing ? "failing" : "ok",
                             stat.failing, stat.err, stat.queued, records);

    for (i = 0; i < NGX_HTTP_TSFACE_RECORD_NTYPES; i++) {
        ngx_http_tsface_page_add(page, "%s\"%V\":%ui", i ? "," : "",
                                 &ngx_http_tsface_record_types[i],
                                 stat.records[i]);
    }

    ngx_http_tsface_page_add(page, "},\"orphans\":%ui,\"bytes\":%ui,"
                             "\"batches\":%ui,\"lost\":%ui,"
                             "\"checkpoint_failures\":%ui,"
                             "\"checkpoint_copy_lag_s\":%ui,"
                             "\"checkpoint_age_s\":",
                             stat.orphaned, stat.bytes, stat.commit.count,
                             stat.lost, stat.uncopied, stat.copy_lag);

    if (stat.has_signed) {
        ngx_http_tsface_page_add(page, "%ui", stat.signed_ago);

    } else {
        ngx_http_tsface_page_add(page, "null");
    }

    ngx_http_tsface_page_add(page, ",\"failures\":{");

    for (i = 0; i < NGX_HTTP_TSFACE_NERRORS; i++) {
        ngx_http_tsface_page_add(page, "%s\"%s\":%ui", i ? "," : "",
                                 ngx_http_tsface_zone_trail_error_names[i],
                                 stat.failures[i]);
    }

    ngx_http_tsface_page_add(page, "},\"commit_latency_ms\":");
    ngx_http_tsface_json_meter(page, &stat.commit);

    ngx_http_tsface_status_syslog_json(page, trail);

    ngx_http_tsface_page_add(page, "}");
}


void
ngx_http_tsface_status_trails_metrics(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t                          i, n;
    ngx_http_tsface_trail_t           **trails;
    ngx_http_tsface_zone_trail_stat_t  *stats;
    const ngx_http_tsface_metric_t     *metric;

    n = tmcf->trails.nelts;
    trails = tmcf->trails.elts;

    stats = ngx_palloc(page->request->pool,
                       n * sizeof(ngx_http_tsface_zone_trail_stat_t));
    if (stats == NULL) {
        page->failed = 1;
        return;
    }

    for (i = 0; i < n; i++) {
        ngx_http_tsface_trail_stat(trails[i], &stats[i]);
    }

    for (metric = ngx_http_tsface_status_trails; metric->name; metric++) {
        ngx_http_tsface_metric(page, metric->name, metric->type, metric->help);

        for (i = 0; i < n; i++) {
            ngx_http_tsface_metric_value(page, metric, "trail",
                                         &trails[i]->name, &stats[i]);
        }
    }

    ngx_http_tsface_metric(page, "tsface_trail_checkpoint_age_seconds",
                           "gauge", "Since the last checkpoint.");

    for (i = 0; i < n; i++) {
        if (stats[i].has_signed) {
            ngx_http_tsface_page_add(page,
                                     "tsface_trail_checkpoint_age_seconds"
                                     "{trail=\"%V\"} %ui\n",
                                     &trails[i]->name, stats[i].signed_ago);
        }
    }

    ngx_http_tsface_status_trails_types(page, tmcf, stats);

    ngx_http_tsface_metric(page, "tsface_trail_commit_seconds", "histogram",
                           "How long it took until a batch was on disk.");

    for (i = 0; i < n; i++) {
        ngx_http_tsface_metrics_meter(page, "tsface_trail_commit_seconds",
                                      "trail", &trails[i]->name,
                                      &stats[i].commit);
    }

    ngx_http_tsface_status_syslog_metrics(page, tmcf);
}


static void
ngx_http_tsface_status_trails_types(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf,
    const ngx_http_tsface_zone_trail_stat_t *stats)
{
    ngx_uint_t                 i, n;
    ngx_http_tsface_trail_t  **trails;

    trails = tmcf->trails.elts;

    ngx_http_tsface_metric(page, "tsface_trail_records_total", "counter",
                           "Records written, by type.");

    for (i = 0; i < tmcf->trails.nelts; i++) {

        for (n = 0; n < NGX_HTTP_TSFACE_RECORD_NTYPES; n++) {
            ngx_http_tsface_page_add(page,
                                 "tsface_trail_records_total{trail=\"%V\","
                                 "type=\"%V\"} %ui\n", &trails[i]->name,
                                 &ngx_http_tsface_record_types[n],
                                 stats[i].records[n]);
        }
    }

    ngx_http_tsface_metric(page, "tsface_trail_failures_total", "counter",
                           "Writes that failed, by error.");

    for (i = 0; i < tmcf->trails.nelts; i++) {

        for (n = 0; n < NGX_HTTP_TSFACE_NERRORS; n++) {
            ngx_http_tsface_page_add(page,
                                 "tsface_trail_failures_total{trail=\"%V\","
                                 "error=\"%s\"} %ui\n", &trails[i]->name,
                                 ngx_http_tsface_zone_trail_error_names[n],
                                 stats[i].failures[n]);
        }
    }
}
