
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The text format 0.0.4.  All samples of a metric stand together, so the
 * figures of all credentials are read once, before the first of them.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_status.h"
#include "ngx_http_tsface_zone.h"


typedef struct {
    ngx_http_tsface_page_t         *page;
    ngx_http_tsface_main_conf_t    *tmcf;
    ngx_http_tsface_token_stat_t   *stats;     /* of each credentials */
} ngx_http_tsface_metrics_t;


static void ngx_http_tsface_metrics_credentials(
    ngx_http_tsface_metrics_t *metrics);
static void ngx_http_tsface_metrics_row(ngx_http_tsface_metrics_t *metrics,
    const ngx_http_tsface_metric_t *metric);
static void ngx_http_tsface_metrics_states(ngx_http_tsface_metrics_t *metrics);
static void ngx_http_tsface_metrics_state(ngx_http_tsface_page_t *page,
    const char *name, const ngx_str_t *credentials,
    const char *const *states, const char *state);
static void ngx_http_tsface_metrics_breakers(
    ngx_http_tsface_metrics_t *metrics);
static void ngx_http_tsface_metrics_gates(ngx_http_tsface_metrics_t *metrics);
static void ngx_http_tsface_metrics_exchanges(
    ngx_http_tsface_metrics_t *metrics);
static void ngx_http_tsface_metrics_requests(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone);
static void ngx_http_tsface_metrics_zone(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone);


static const ngx_http_tsface_metric_t  ngx_http_tsface_metrics[] = {

    { "tsface_token_valid", "gauge",
      "Whether there is a token that can be used.",
      offsetof(ngx_http_tsface_token_stat_t, usable),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_token_expires_seconds", "gauge",
      "For how long the token can be used, 0 without one.",
      offsetof(ngx_http_tsface_token_stat_t, serves),
      NGX_HTTP_TSFACE_METRIC_DURATION },

    { "tsface_token_age_seconds", "gauge",
      "Since the token was obtained, while there is one.",
      offsetof(ngx_http_tsface_token_stat_t, slot.obtained),
      NGX_HTTP_TSFACE_METRIC_SINCE },

    { "tsface_token_refresh_seconds", "gauge",
      "Until the next token is fetched, while there is one.",
      offsetof(ngx_http_tsface_token_stat_t, slot.refresh),
      NGX_HTTP_TSFACE_METRIC_TOKEN_UNTIL },

    { "tsface_token_generation", "gauge",
      "Number of the last token.",
      offsetof(ngx_http_tsface_token_stat_t, slot.generation),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_secret_in_use", "gauge",
      "The secret that the token endpoint took last: 1, 2, 0 for none.",
      offsetof(ngx_http_tsface_token_stat_t, slot.secret),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_exchange_failures_in_a_row", "gauge",
      "Failed exchanges since the last that succeeded.",
      offsetof(ngx_http_tsface_token_stat_t, slot.fails),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_exchange_next_seconds", "gauge",
      "Until the next exchange may be made.",
      offsetof(ngx_http_tsface_token_stat_t, slot.not_before),
      NGX_HTTP_TSFACE_METRIC_UNTIL },

    { "tsface_waiting_requests", "gauge",
      "Requests that wait for a token.",
      offsetof(ngx_http_tsface_token_stat_t, waiting),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_in_flight_requests", "gauge",
      "Requests that have gone through the gate and are not done.",
      offsetof(ngx_http_tsface_token_stat_t, gate.in_flight),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_endpoint_failures_in_a_row", "gauge",
      "Failures of the endpoint since it answered last.",
      offsetof(ngx_http_tsface_token_stat_t, gate.failures),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_endpoint_paused_seconds", "gauge",
      "How long the pause goes on that the endpoint asked for.",
      offsetof(ngx_http_tsface_token_stat_t, gate.paused),
      NGX_HTTP_TSFACE_METRIC_DURATION },

    { "tsface_breaker_open_seconds", "gauge",
      "How long the breaker stays open.",
      offsetof(ngx_http_tsface_token_stat_t, gate.open),
      NGX_HTTP_TSFACE_METRIC_DURATION },

    { "tsface_endpoint_pauses_total", "counter",
      "Pauses that the endpoint asked for.",
      offsetof(ngx_http_tsface_token_stat_t, gate.pauses),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_breaker_opened_total", "counter",
      "How often the breaker was opened.",
      offsetof(ngx_http_tsface_token_stat_t, gate.opened),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { NULL, NULL, NULL, 0, 0 }
};


void
ngx_http_tsface_status_prometheus(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t                       i, n;
    ngx_http_tsface_metrics_t        metrics;
    ngx_http_tsface_credentials_t  **cp;

    n = tmcf->credentials.nelts;

    metrics.page = page;
    metrics.tmcf = tmcf;
    metrics.stats = ngx_palloc(page->request->pool,
                               n * sizeof(ngx_http_tsface_token_stat_t));
    if (metrics.stats == NULL) {
        page->failed = 1;
        return;
    }

    cp = tmcf->credentials.elts;

    for (i = 0; i < n; i++) {
        ngx_http_tsface_token_stat(cp[i]->token, &metrics.stats[i]);
    }

    ngx_http_tsface_metric(page, "tsface_build_info", "gauge",
                           "Version of the module; always 1.");
    ngx_http_tsface_page_add(page, "tsface_build_info{version=\"%s\"} 1\n",
                             NGX_HTTP_TSFACE_MODULE_VERSION);

    if (n) {
        ngx_http_tsface_metrics_credentials(&metrics);
    }

    if (tmcf->zone) {
        ngx_http_tsface_metrics_requests(page, tmcf->zone);
        ngx_http_tsface_metrics_zone(page, tmcf->zone);
    }

    if (tmcf->trails.nelts) {
        ngx_http_tsface_status_trails_metrics(page, tmcf);
    }

    ngx_http_tsface_status_prometheus_limits(page, tmcf);

    if (tmcf->limit_stores.nelts) {
        ngx_http_tsface_status_stores_metrics(page, tmcf);
    }
}


void
ngx_http_tsface_metric(ngx_http_tsface_page_t *page, const char *name,
    const char *type, const char *help)
{
    ngx_http_tsface_page_add(page, "# HELP %s %s\n# TYPE %s %s\n",
                             name, help, name, type);
}


void
ngx_http_tsface_metric_value(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_metric_t *metric, const char *label,
    const ngx_str_t *value, const void *stat)
{
    ngx_msec_t   ms;
    const char  *field;

    field = (const char *) stat + metric->offset;

    ngx_http_tsface_page_add(page, "%s{%s=\"%V\"} ", metric->name, label,
                             value);

    if (metric->kind == NGX_HTTP_TSFACE_METRIC_NUMBER) {
        ngx_http_tsface_page_add(page, "%ui\n", *(const ngx_uint_t *) field);
        return;
    }

    ms = *(const ngx_msec_t *) field;

    switch (metric->kind) {

    case NGX_HTTP_TSFACE_METRIC_UNTIL:
    case NGX_HTTP_TSFACE_METRIC_TOKEN_UNTIL:
        ms = ngx_http_tsface_status_left(ms);
        break;

    case NGX_HTTP_TSFACE_METRIC_SINCE:
        ms = ngx_http_tsface_token_age(ms);
        break;

    default: /* NGX_HTTP_TSFACE_METRIC_DURATION */
        break;
    }

    ngx_http_tsface_page_add(page, "%M.%03M\n", ms / 1000, ms % 1000);
}


/* Names of credentials and trails are of a set that needs no escapes. */
static void
ngx_http_tsface_metrics_credentials(ngx_http_tsface_metrics_t *metrics)
{
    ngx_uint_t                       i;
    ngx_http_tsface_credentials_t  **cp;

    ngx_http_tsface_metrics_states(metrics);

    for (i = 0; ngx_http_tsface_metrics[i].name; i++) {
        ngx_http_tsface_metrics_row(metrics, &ngx_http_tsface_metrics[i]);
    }

    ngx_http_tsface_metrics_breakers(metrics);
    ngx_http_tsface_metrics_gates(metrics);
    ngx_http_tsface_metrics_exchanges(metrics);

    ngx_http_tsface_metric(metrics->page, "tsface_exchange_duration_seconds",
                           "histogram", "How long exchanges took.");

    cp = metrics->tmcf->credentials.elts;

    for (i = 0; i < metrics->tmcf->credentials.nelts; i++) {
        ngx_http_tsface_metrics_meter(metrics->page,
                                      "tsface_exchange_duration_seconds",
                                      "credentials", &cp[i]->name,
                                      &metrics->stats[i].exchange);
    }
}


static void
ngx_http_tsface_metrics_states(ngx_http_tsface_metrics_t *metrics)
{
    ngx_uint_t                       i;
    const char                      *state;
    ngx_http_tsface_credentials_t  **cp;

    ngx_http_tsface_metric(metrics->page, "tsface_credentials_state", "gauge",
                           "1 for the state that the credentials are in.");

    cp = metrics->tmcf->credentials.elts;

    for (i = 0; i < metrics->tmcf->credentials.nelts; i++) {
        state = ngx_http_tsface_status_state(&metrics->stats[i]);

        ngx_http_tsface_metrics_state(metrics->page,
                                      "tsface_credentials_state",
                                      &cp[i]->name,
                                      ngx_http_tsface_status_states, state);
    }
}


/* One metric for each of the states, of which one is 1. */

static void
ngx_http_tsface_metrics_state(ngx_http_tsface_page_t *page, const char *name,
    const ngx_str_t *credentials, const char *const *states,
    const char *state)
{
    for ( /* void */ ; *states; states++) {
        ngx_http_tsface_page_add(page,
                                 "%s{credentials=\"%V\",state=\"%s\"} %d\n",
                                 name, credentials, *states,
                                 ngx_strcmp(state, *states) == 0);
    }
}


static void
ngx_http_tsface_metrics_row(ngx_http_tsface_metrics_t *metrics,
    const ngx_http_tsface_metric_t *metric)
{
    ngx_uint_t                       i;
    ngx_http_tsface_token_stat_t    *stat;
    ngx_http_tsface_credentials_t  **cp;

    ngx_http_tsface_metric(metrics->page, metric->name, metric->type,
                           metric->help);

    cp = metrics->tmcf->credentials.elts;

    for (i = 0; i < metrics->tmcf->credentials.nelts; i++) {
        stat = &metrics->stats[i];

        if (metric->kind >= NGX_HTTP_TSFACE_METRIC_SINCE
            && !stat->slot.valid)
        {
            continue;
        }

        ngx_http_tsface_metric_value(metrics->page, metric, "credentials",
                                     &cp[i]->name, stat);
    }
}


static void
ngx_http_tsface_metrics_breakers(ngx_http_tsface_metrics_t *metrics)
{
    ngx_uint_t                       i;
    const char                      *state;
    ngx_http_tsface_credentials_t  **cp;

    ngx_http_tsface_metric(metrics->page, "tsface_breaker_state", "gauge",
                           "1 for the state that the breaker is in.");

    cp = metrics->tmcf->credentials.elts;

    for (i = 0; i < metrics->tmcf->credentials.nelts; i++) {
        state = ngx_http_tsface_status_breaker(cp[i], &metrics->stats[i]);

        ngx_http_tsface_metrics_state(metrics->page, "tsface_breaker_state",
                                      &cp[i]->name,
                                      ngx_http_tsface_status_breakers, state);
    }
}


static void
ngx_http_tsface_metrics_gates(ngx_http_tsface_metrics_t *metrics)
{
    ngx_uint_t                       i, n;
    ngx_http_tsface_credentials_t  **cp;
    static const char               *reasons[] = {
        "", "endpoint_throttled", "endpoint_unavailable", "endpoint_busy"
    };

    cp = metrics->tmcf->credentials.elts;

    ngx_http_tsface_metric(metrics->page, "tsface_gate_refusals_total",
                           "counter", "Requests that the gate refused.");

    for (i = 0; i < metrics->tmcf->credentials.nelts; i++) {

        for (n = NGX_HTTP_TSFACE_GATE_THROTTLED;
             n < NGX_HTTP_TSFACE_GATE_NVERDICTS;
             n++)
        {
            ngx_http_tsface_page_add(metrics->page,
                         "tsface_gate_refusals_total{credentials=\"%V\","
                         "reason=\"%s\"} %ui\n", &cp[i]->name, reasons[n],
                         metrics->stats[i].gate.refused[n]);
        }
    }
}


static void
ngx_http_tsface_metrics_exchanges(ngx_http_tsface_metrics_t *metrics)
{
    ngx_uint_t                       i, n;
    ngx_http_tsface_credentials_t  **cp;

    ngx_http_tsface_metric(metrics->page, "tsface_exchanges_total", "counter",
                           "Exchanges, by result.");

    cp = metrics->tmcf->credentials.elts;

    for (i = 0; i < metrics->tmcf->credentials.nelts; i++) {

        for (n = 0; n < NGX_HTTP_TSFACE_EXCHANGE_NCLASSES; n++) {
            ngx_http_tsface_page_add(metrics->page,
                                 "tsface_exchanges_total{credentials=\"%V\","
                                 "result=\"%s\"} %ui\n", &cp[i]->name,
                                 ngx_http_tsface_status_classes[n],
                                 metrics->stats[i].slot.exchanges[n]);
        }
    }
}


static void
ngx_http_tsface_metrics_requests(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone)
{
    ngx_uint_t                    i, n;
    ngx_http_tsface_meter_stat_t  stat;

    ngx_http_tsface_metric(page, "tsface_requests_total", "counter",
                           "Requests, by operation and result.");

    for (i = 0; i <= NGX_HTTP_TSFACE_NO_OPERATION; i++) {

        for (n = NGX_HTTP_TSFACE_COUNT_SUCCESS;
             n <= NGX_HTTP_TSFACE_COUNT_REFUSED;
             n++)
        {
            ngx_http_tsface_page_add(page,
                                 "tsface_requests_total{operation=\"%V\","
                                 "result=\"%s\"} %ui\n",
                                 ngx_http_tsface_status_operation(i),
                                 ngx_http_tsface_status_counters[n],
                                 ngx_http_tsface_zone_requests(zone, i, n));
        }
    }

    ngx_http_tsface_metric(page, "tsface_refusals_total", "counter",
                           "Requests that were refused, by reason.");

    for (i = 1; i < NGX_HTTP_TSFACE_NPROBLEMS; i++) {
        ngx_http_tsface_page_add(page,
                                 "tsface_refusals_total{reason=\"%V\"} %ui\n",
                                 &ngx_http_tsface_problems[i].reason,
                                 ngx_http_tsface_zone_refusals(zone, i));
    }

    ngx_http_tsface_metric(page, "tsface_replays_total", "counter",
                           "Second attempts, after a token was rejected.");
    ngx_http_tsface_page_add(page, "tsface_replays_total %ui\n",
                             ngx_http_tsface_zone_counter(zone,
                                           NGX_HTTP_TSFACE_COUNT_REPLAYS));

    ngx_http_tsface_metric(page, "tsface_outcomes_unrecorded_total", "counter",
                           "Outcomes that could not be recorded.");
    ngx_http_tsface_page_add(page, "tsface_outcomes_unrecorded_total %ui\n",
                             ngx_http_tsface_zone_counter(zone,
                                           NGX_HTTP_TSFACE_COUNT_UNRECORDED));

    ngx_http_tsface_metric(page, "tsface_audit_refusals_summarised_total",
                           "counter",
                           "Refusals in a flood: counted, not written.");
    ngx_http_tsface_page_add(page,
                             "tsface_audit_refusals_summarised_total %ui\n",
                             ngx_http_tsface_zone_counter(zone,
                                           NGX_HTTP_TSFACE_COUNT_SUMMARISED));

    ngx_http_tsface_metric(page, "tsface_upstream_duration_seconds",
                           "histogram", "How long attempts took.");

    for (i = 0; i < NGX_HTTP_TSFACE_NOPERATIONS; i++) {
        ngx_http_tsface_zone_upstream_stat(zone, i, &stat);

        ngx_http_tsface_metrics_meter(page,
                                      "tsface_upstream_duration_seconds",
                                      "operation",
                                      ngx_http_tsface_status_operation(i),
                                      &stat);
    }
}


static void
ngx_http_tsface_metrics_zone(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone)
{
    ngx_str_t  name;

    name = ngx_http_tsface_metrics_escape(page->request->pool,
                                          &zone->shm.name);

    ngx_http_tsface_metric(page, "tsface_zone_size_bytes", "gauge",
                           "Size of the tsface_zone.");
    ngx_http_tsface_page_add(page, "tsface_zone_size_bytes{zone=\"%V\"} %uz\n",
                             &name, zone->shm.size);

    ngx_http_tsface_metric(page, "tsface_zone_free_bytes", "gauge",
                           "How much of it is in pages that nothing is in.");
    ngx_http_tsface_page_add(page, "tsface_zone_free_bytes{zone=\"%V\"} %uz\n",
                             &name, ngx_http_tsface_zone_free_size(zone));
}


void
ngx_http_tsface_metrics_meter(ngx_http_tsface_page_t *page, const char *name,
    const char *label, const ngx_str_t *value,
    const ngx_http_tsface_meter_stat_t *stat)
{
    ngx_uint_t  i;

    for (i = stat->first; i < NGX_HTTP_TSFACE_METER_NBOUNDS; i++) {
        ngx_http_tsface_page_add(page, "%s_bucket{%s=\"%V\",le=\"%s\"} %ui\n",
                                 name, label, value,
                                 ngx_http_tsface_meter_bounds[i].seconds,
                                 stat->buckets[i]);
    }

    ngx_http_tsface_page_add(page, "%s_bucket{%s=\"%V\",le=\"+Inf\"} %ui\n",
                             name, label, value, stat->count);
    ngx_http_tsface_page_add(page, "%s_sum{%s=\"%V\"} %ui.%06ui\n",
                             name, label, value,
                             stat->sum / 1000000, stat->sum % 1000000);
    ngx_http_tsface_page_add(page, "%s_count{%s=\"%V\"} %ui\n",
                             name, label, value, stat->count);
}


/* A label's value: a backslash before backslashes and quotes, \n for LF. */
ngx_str_t
ngx_http_tsface_metrics_escape(ngx_pool_t *pool, const ngx_str_t *value)
{
    u_char     *p;
    ngx_str_t   escaped;
    ngx_uint_t  i;

    ngx_str_null(&escaped);

    p = ngx_pnalloc(pool, 2 * value->len);
    if (p == NULL) {
        return escaped;
    }

    escaped.data = p;

    for (i = 0; i < value->len; i++) {

        switch (value->data[i]) {

        case '\\':
        case '"':
            *p++ = '\\';
            *p++ = value->data[i];
            break;

        case LF:
            *p++ = '\\';
            *p++ = 'n';
            break;

        default:
            *p++ = value->data[i];
            break;
        }
    }

    escaped.len = p - escaped.data;

    return escaped;
}
