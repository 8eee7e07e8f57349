
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What the status page tells of limits, in both formats.  Names of zones need
 * no escapes, and callers were escaped when they were counted.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_limit_zone.h"
#include "ngx_http_tsface_status.h"


static void ngx_http_tsface_json_limit(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *shm_zone);
static void ngx_http_tsface_metrics_refusals(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t **zones, ngx_uint_t n,
    const ngx_http_tsface_limit_stat_t *stats);


/* Indexed by ngx_http_tsface_limit_decision_e. */
static const char *const  ngx_http_tsface_limit_decisions[] = {
    "allowed",
    "delayed",
    "refused",
    "dry_run"
};


static const ngx_http_tsface_metric_t  ngx_http_tsface_limit_metrics[] = {

    { "tsface_limit_keys", "gauge",
      "Keys in a limit's zone, also those that limit nobody any more.",
      offsetof(ngx_http_tsface_limit_stat_t, keys),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_limit_keys_max", "gauge",
      "Keys that a limit's zone has room for.",
      offsetof(ngx_http_tsface_limit_stat_t, keys_max),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_limit_evictions_total", "counter",
      "Keys that made room for others.",
      offsetof(ngx_http_tsface_limit_stat_t, evicted),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_limit_no_room_total", "counter",
      "Requests whose key found no room in a limit's zone.",
      offsetof(ngx_http_tsface_limit_stat_t, full),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_limit_returned_total", "counter",
      "Places that were given back by requests that were not sent.",
      offsetof(ngx_http_tsface_limit_stat_t, returned),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { NULL, NULL, NULL, 0, 0 }
};


void
ngx_http_tsface_status_json_limits(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t        i;
    ngx_shm_zone_t  **zones;

    zones = tmcf->limit_zones.elts;

    ngx_http_tsface_page_add(page, "\"limits\":[");

    for (i = 0; i < tmcf->limit_zones.nelts; i++) {

        if (i) {
            ngx_http_tsface_page_add(page, ",");
        }

        ngx_http_tsface_json_limit(page, zones[i]);
    }

    ngx_http_tsface_page_add(page, "],");
}


static void
ngx_http_tsface_json_limit(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *shm_zone)
{
    ngx_str_t                      caller;
    ngx_uint_t                     i;
    ngx_http_tsface_limit_top_t   *top;
    ngx_http_tsface_limit_stat_t   stat;
    ngx_http_tsface_limit_zone_t  *zone;

    zone = shm_zone->data;

    ngx_http_tsface_limit_zone_stat(shm_zone, &stat);

    ngx_http_tsface_page_add(page, "{\"name\":\"%V\",\"rate\":%ui,"
                             "\"period_s\":%ui,\"burst\":%ui,"
                             "\"size\":%uz,\"keys\":%ui,\"keys_max\":%ui,",
                             &shm_zone->shm.name, zone->gcra.rate,
                             zone->gcra.period, zone->gcra.burst,
                             shm_zone->shm.size, stat.keys, stat.keys_max);

    for (i = 0; i < NGX_HTTP_TSFACE_LIMIT_NDECISIONS; i++) {
        ngx_http_tsface_page_add(page, "\"%s\":%ui,",
                                 ngx_http_tsface_limit_decisions[i],
                                 stat.decisions[i]);
    }

    ngx_http_tsface_page_add(page, "\"no_room\":%ui,\"evicted\":%ui,"
                             "\"returned\":%ui,\"most_refused\":[",
                             stat.full, stat.evicted, stat.returned);

    for (i = 0; i < NGX_HTTP_TSFACE_LIMIT_NTOP; i++) {
        top = &stat.refusals[i];

        if (top->count == 0) {
            break;
        }

        caller.data = top->caller.text;
        caller.len = top->caller.len;

        ngx_http_tsface_page_add(page, "%s{\"caller\":%V,\"refusals\":%ui,"
                                 "\"error\":%ui}", i ? "," : "", &caller,
                                 top->count, top->error);
    }

    ngx_http_tsface_page_add(page, "]}");
}


void
ngx_http_tsface_status_prometheus_limits(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t                       i, j, n;
    ngx_shm_zone_t                 **zones;
    ngx_http_tsface_limit_stat_t    *stats;
    const ngx_http_tsface_metric_t  *metric;

    n = tmcf->limit_zones.nelts;
    zones = tmcf->limit_zones.elts;

    if (n == 0) {
        return;
    }

    stats = ngx_palloc(page->request->pool,
                       n * sizeof(ngx_http_tsface_limit_stat_t));
    if (stats == NULL) {
        page->failed = 1;
        return;
    }

    for (i = 0; i < n; i++) {
        ngx_http_tsface_limit_zone_stat(zones[i], &stats[i]);
    }

    ngx_http_tsface_metric(page, "tsface_limit_requests_total", "counter",
                           "Requests that a limit was asked about.");

    for (i = 0; i < n; i++) {
        for (j = 0; j < NGX_HTTP_TSFACE_LIMIT_NDECISIONS; j++) {
            ngx_http_tsface_page_add(page, "tsface_limit_requests_total"
                                     "{zone=\"%V\",decision=\"%s\"} %ui\n",
                                     &zones[i]->shm.name,
                                     ngx_http_tsface_limit_decisions[j],
                                     stats[i].decisions[j]);
        }
    }

    for (metric = ngx_http_tsface_limit_metrics; metric->name; metric++) {

        ngx_http_tsface_metric(page, metric->name, metric->type,
                               metric->help);

        for (i = 0; i < n; i++) {
            ngx_http_tsface_metric_value(page, metric, "zone",
                                         &zones[i]->shm.name, &stats[i]);
        }
    }

    ngx_http_tsface_metric(page, "tsface_limit_size_bytes", "gauge",
                           "Size of a limit's zone.");

    for (i = 0; i < n; i++) {
        ngx_http_tsface_page_add(page, "tsface_limit_size_bytes"
                                 "{zone=\"%V\"} %uz\n",
                                 &zones[i]->shm.name, zones[i]->shm.size);
    }

    ngx_http_tsface_metrics_refusals(page, zones, n, stats);
}


/* A place may pass to another caller, so these are no counters. */

static void
ngx_http_tsface_metrics_refusals(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t **zones, ngx_uint_t n,
    const ngx_http_tsface_limit_stat_t *stats)
{
    ngx_str_t                           caller, text;
    ngx_uint_t                          i, j;
    const ngx_http_tsface_limit_top_t  *top;

    ngx_http_tsface_metric(page, "tsface_limit_caller_refusals", "gauge",
                           "Refusals of those who are refused most, "
                           "at most so many.");

    for (i = 0; i < n; i++) {
        for (j = 0; j < NGX_HTTP_TSFACE_LIMIT_NTOP; j++) {
            top = &stats[i].refusals[j];

            if (top->count == 0) {
                break;
            }

            /* without its quotes */

            text.data = (u_char *) top->caller.text + 1;
            text.len = top->caller.len - 2;

            caller = ngx_http_tsface_metrics_escape(page->request->pool,
                                                    &text);

            ngx_http_tsface_page_add(page, "tsface_limit_caller_refusals"
                                     "{zone=\"%V\",caller=\"%V\"} %ui\n",
                                     &zones[i]->shm.name, &caller, top->count);
        }
    }
}
