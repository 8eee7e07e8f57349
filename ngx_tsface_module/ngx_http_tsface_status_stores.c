
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Shared stores, in both formats.  Names of stores are of a set that needs no
 * escapes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_status.h"


static void ngx_http_tsface_json_store(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_limit_store_t *store);
static void ngx_http_tsface_json_words(ngx_http_tsface_page_t *page,
    const char *name, const char *const *words, const ngx_atomic_t *numbers);
static void ngx_http_tsface_metrics_words(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf, const char *name, const char *label,
    const char *const *words, size_t offset);
static void ngx_http_tsface_stores_workers(
    const ngx_http_tsface_limit_store_t *store, ngx_atomic_t *workers);


/* Indexed by ngx_http_tsface_store_state_e, from CONNECTING on. */
static const char *const  ngx_http_tsface_stores_states[] = {
    "connecting",
    "up",
    "slow",
    "down",
    NULL
};


/* Indexed by ngx_http_tsface_store_failure_e. */
static const char *const  ngx_http_tsface_stores_failures[] = {
    "connect",
    "closed",
    "timeout",
    "error",
    "malformed",
    NULL
};


/* Indexed by ngx_http_tsface_store_policy_e. */
static const char *const  ngx_http_tsface_stores_policies[] = {
    "local",
    "refuse",
    "allow",
    NULL
};


/* As in ngx_http_tsface_limit_store_sh_t. */
static const char *const  ngx_http_tsface_stores_decisions[] = {
    "allowed",
    "refused",
    NULL
};


/* Counters in the store's memory: ngx_atomic_t is as wide as ngx_uint_t. */
static const ngx_http_tsface_metric_t  ngx_http_tsface_stores_metrics[] = {

    { "tsface_limit_store_late_total", "counter",
      "Answers that came when nobody waited any more.",
      offsetof(ngx_http_tsface_limit_store_sh_t, late),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { "tsface_limit_store_connects_total", "counter",
      "Connections that were begun.",
      offsetof(ngx_http_tsface_limit_store_sh_t, connects),
      NGX_HTTP_TSFACE_METRIC_NUMBER },

    { NULL, NULL, NULL, 0, 0 }
};


void
ngx_http_tsface_status_stores_json(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t                       i;
    ngx_http_tsface_limit_store_t  **stores;

    stores = tmcf->limit_stores.elts;

    ngx_http_tsface_page_add(page, "\"limit_stores\":[");

    for (i = 0; i < tmcf->limit_stores.nelts; i++) {
        ngx_http_tsface_page_add(page, "%s", i ? "," : "");
        ngx_http_tsface_json_store(page, stores[i]);
    }

    ngx_http_tsface_page_add(page, "],");
}


static void
ngx_http_tsface_json_store(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_limit_store_t *store)
{
    ngx_atomic_t                       workers[
                                         NGX_HTTP_TSFACE_STORE_NSTATES - 1];
    ngx_http_tsface_meter_stat_t       stat;
    ngx_http_tsface_limit_store_sh_t  *sh;

    sh = ngx_http_tsface_limit_store_sh(store);

    ngx_http_tsface_stores_workers(store, workers);

    ngx_http_tsface_page_add(page, "{\"name\":\"%V\",\"on_failure\":\"%s\",",
                      &store->name,
                      ngx_http_tsface_stores_policies[store->on_failure]);

    ngx_http_tsface_json_words(page, "workers", ngx_http_tsface_stores_states,
                               workers);
    ngx_http_tsface_json_words(page, "decisions",
                               ngx_http_tsface_stores_decisions, sh->decisions);
    ngx_http_tsface_json_words(page, "undecided",
                               ngx_http_tsface_stores_policies, sh->undecided);
    ngx_http_tsface_json_words(page, "failures",
                               ngx_http_tsface_stores_failures, sh->failures);

    ngx_http_tsface_page_add(page, "\"late\":%uA,\"connects\":%uA,"
                             "\"latency_ms\":", sh->late, sh->connects);

    ngx_http_tsface_meter_read(&sh->latency, NGX_HTTP_TSFACE_METER_US, &stat);
    ngx_http_tsface_json_meter(page, &stat);

    ngx_http_tsface_page_add(page, "}");
}


static void
ngx_http_tsface_json_words(ngx_http_tsface_page_t *page, const char *name,
    const char *const *words, const ngx_atomic_t *numbers)
{
    ngx_uint_t  i;

    ngx_http_tsface_page_add(page, "\"%s\":{", name);

    for (i = 0; words[i]; i++) {
        ngx_http_tsface_page_add(page, "%s\"%s\":%uA", i ? "," : "", words[i],
                                 numbers[i]);
    }

    ngx_http_tsface_page_add(page, "},");
}


void
ngx_http_tsface_status_stores_metrics(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t                          i, n;
    ngx_atomic_t                        workers[
                                          NGX_HTTP_TSFACE_STORE_NSTATES - 1];
    ngx_http_tsface_meter_stat_t        stat;
    ngx_http_tsface_limit_store_t     **stores;
    const ngx_http_tsface_metric_t     *metric;
    ngx_http_tsface_limit_store_sh_t   *sh;

    stores = tmcf->limit_stores.elts;

    ngx_http_tsface_metric(page, "tsface_limit_store_workers", "gauge",
                           "Workers, by how the store is to them.");

    for (i = 0; i < tmcf->limit_stores.nelts; i++) {
        ngx_http_tsface_stores_workers(stores[i], workers);

        for (n = 0; ngx_http_tsface_stores_states[n]; n++) {
            ngx_http_tsface_page_add(page,
                                 "tsface_limit_store_workers{store=\"%V\","
                                 "state=\"%s\"} %uA\n", &stores[i]->name,
                                 ngx_http_tsface_stores_states[n], workers[n]);
        }
    }

    ngx_http_tsface_metric(page, "tsface_limit_store_decisions_total",
                           "counter", "Requests that the store decided.");
    ngx_http_tsface_metrics_words(page, tmcf,
                                  "tsface_limit_store_decisions_total",
                                  "result", ngx_http_tsface_stores_decisions,
                                  offsetof(ngx_http_tsface_limit_store_sh_t,
                                           decisions));

    ngx_http_tsface_metric(page, "tsface_limit_store_undecided_total",
                           "counter", "Requests that the store did not "
                           "decide, by what decided them.");
    ngx_http_tsface_metrics_words(page, tmcf,
                                  "tsface_limit_store_undecided_total",
                                  "on_failure",
                                  ngx_http_tsface_stores_policies,
                                  offsetof(ngx_http_tsface_limit_store_sh_t,
                                           undecided));

    ngx_http_tsface_metric(page, "tsface_limit_store_failures_total",
                           "counter", "How often a worker stopped asking the "
                           "store, by reason.");
    ngx_http_tsface_metrics_words(page, tmcf,
                                  "tsface_limit_store_failures_total",
                                  "reason", ngx_http_tsface_stores_failures,
                                  offsetof(ngx_http_tsface_limit_store_sh_t,
                                           failures));

    for (metric = ngx_http_tsface_stores_metrics; metric->name; metric++) {
        ngx_http_tsface_metric(page, metric->name, metric->type, metric->help);

        for (i = 0; i < tmcf->limit_stores.nelts; i++) {
            ngx_http_tsface_metric_value(page, metric, "store",
                                    &stores[i]->name,
                                    ngx_http_tsface_limit_store_sh(stores[i]));
        }
    }

    ngx_http_tsface_metric(page, "tsface_limit_store_duration_seconds",
                           "histogram", "How long the store took to decide.");

    for (i = 0; i < tmcf->limit_stores.nelts; i++) {
        sh = ngx_http_tsface_limit_store_sh(stores[i]);

        ngx_http_tsface_meter_read(&sh->latency, NGX_HTTP_TSFACE_METER_US,
                                   &stat);

        ngx_http_tsface_metrics_meter(page,
                                      "tsface_limit_store_duration_seconds",
                                      "store", &stores[i]->name, &stat);
    }
}


/* offset is that of an array of counters in the store's memory. */

static void
ngx_http_tsface_metrics_words(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf, const char *name, const char *label,
    const char *const *words, size_t offset)
{
    ngx_uint_t                       i, n;
    ngx_atomic_t                    *numbers;
    ngx_http_tsface_limit_store_t  **stores;

    stores = tmcf->limit_stores.elts;

    for (i = 0; i < tmcf->limit_stores.nelts; i++) {
        numbers = (ngx_atomic_t *)
                  ((u_char *) stores[i]->shm_zone->data + offset);

        for (n = 0; words[n]; n++) {
            ngx_http_tsface_page_add(page, "%s{store=\"%V\",%s=\"%s\"} %uA\n",
                                     name, &stores[i]->name, label, words[n],
                                     numbers[n]);
        }
    }
}


static void
ngx_http_tsface_stores_workers(const ngx_http_tsface_limit_store_t *store,
    ngx_atomic_t *workers)
{
    u_char      state;
    ngx_uint_t  i;

    ngx_memzero((void *) workers, (NGX_HTTP_TSFACE_STORE_NSTATES - 1)
                                  * sizeof(ngx_atomic_t));

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        state = ngx_http_tsface_limit_store_sh(store)->states[i];

        if (state > NGX_HTTP_TSFACE_STORE_NONE
            && state < NGX_HTTP_TSFACE_STORE_NSTATES)
        {
            workers[state - 1]++;
        }
    }
}
