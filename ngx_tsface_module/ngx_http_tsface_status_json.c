
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_rotation.h"
#include "ngx_http_tsface_status.h"
#include "ngx_http_tsface_zone.h"


static void ngx_http_tsface_json_credentials(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);
static void ngx_http_tsface_json_token(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_token_stat_t *stat);
static void ngx_http_tsface_json_gate(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_credentials_t *credentials,
    const ngx_http_tsface_token_stat_t *stat);
static void ngx_http_tsface_json_requests(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone);
static void ngx_http_tsface_json_operations(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone);
static void ngx_http_tsface_json_refusals(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone);
static void ngx_http_tsface_json_zone(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone);


void
ngx_http_tsface_status_json(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_http_tsface_page_add(page, "{\"module\":\"%s\",\"worker\":%P,",
                             NGX_HTTP_TSFACE_MODULE_VERSION, ngx_pid);

    ngx_http_tsface_json_credentials(page, tmcf);
    ngx_http_tsface_status_trails_json(page, tmcf);
    ngx_http_tsface_status_json_limits(page, tmcf);
    ngx_http_tsface_status_stores_json(page, tmcf);
    ngx_http_tsface_json_requests(page, tmcf->zone);
    ngx_http_tsface_json_operations(page, tmcf->zone);
    ngx_http_tsface_json_refusals(page, tmcf->zone);
    ngx_http_tsface_json_zone(page, tmcf->zone);

    ngx_http_tsface_page_add(page, "}\n");
}


/* Names are of a set that JSON needs no escapes for. */
static void
ngx_http_tsface_json_credentials(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t                       i, n;
    ngx_http_tsface_token_stat_t     stat;
    ngx_http_tsface_credentials_t  **cp, *c;

    cp = tmcf->credentials.elts;

    ngx_http_tsface_page_add(page, "\"credentials\":[");

    for (i = 0; i < tmcf->credentials.nelts; i++) {
        c = cp[i];

        ngx_http_tsface_token_stat(c->token, &stat);

        ngx_http_tsface_page_add(page, "%s{\"name\":\"%V\",\"region\":\"%V\","
                                 "\"endpoint\":\"%V\",\"required\":%s,",
                                 i ? "," : "", &c->name, &c->region,
                                 &c->endpoint->url.authority,
                                 c->required ? "true" : "false");

        ngx_http_tsface_json_token(page, &stat);
        ngx_http_tsface_json_gate(page, c, &stat);

        ngx_http_tsface_page_add(page, "\"secret_in_use\":%ui,"
                                 "\"secret_reread\":\"%s\",\"exchanges\":{",
                                 stat.slot.secret,
                                 ngx_http_tsface_rotation_rereads(c)
                                 ? "change" : "reload");

        for (n = 0; n < NGX_HTTP_TSFACE_EXCHANGE_NCLASSES; n++) {
            ngx_http_tsface_page_add(page, "%s\"%s\":%ui", n ? "," : "",
                                     ngx_http_tsface_status_classes[n],
                                     stat.slot.exchanges[n]);
        }

        ngx_http_tsface_page_add(page, "},\"exchange_latency_ms\":");
        ngx_http_tsface_json_meter(page, &stat.exchange);
        ngx_http_tsface_page_add(page, "}");
    }

    ngx_http_tsface_page_add(page, "],");
}


static void
ngx_http_tsface_json_token(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_token_stat_t *stat)
{
    const ngx_http_tsface_slot_info_t  *slot;

    slot = &stat->slot;

    ngx_http_tsface_page_add(page, "\"state\":\"%s\",\"generation\":%ui,",
                             ngx_http_tsface_status_state(stat),
                             slot->generation);

    if (slot->valid) {
        ngx_http_tsface_page_add(page, "\"age_ms\":%M,\"expires_in_ms\":%M,"
                                 "\"refresh_in_ms\":%M,",
                                 ngx_http_tsface_token_age(slot->obtained),
                                 ngx_http_tsface_status_left(slot->expires),
                                 ngx_http_tsface_status_left(slot->refresh));
    }

    ngx_http_tsface_page_add(page, "\"serves_for_ms\":%M,"
                             "\"failures_in_a_row\":%ui,"
                             "\"last_failure\":\"%s\","
                             "\"next_exchange_in_ms\":%M,\"waiting\":%ui,",
                             stat->serves, slot->fails,
                             slot->fails
                             ? ngx_http_tsface_status_classes[slot->failure]
                             : "",
                             ngx_http_tsface_status_left(slot->not_before),
                             stat->waiting);
}


static void
ngx_http_tsface_json_gate(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_credentials_t *credentials,
    const ngx_http_tsface_token_stat_t *stat)
{
    const ngx_http_tsface_zone_gate_stat_t  *gate;

    gate = &stat->gate;

    ngx_http_tsface_page_add(page, "\"gate\":{\"breaker\":\"%s\","
                             "\"open_for_ms\":%M,\"opened\":%ui,"
                             "\"endpoint_failures_in_a_row\":%ui,"
                             "\"paused_for_ms\":%M,\"pauses\":%ui,"
                             "\"in_flight\":%ui,",
                             ngx_http_tsface_status_breaker(credentials, stat),
                             gate->open, gate->opened, gate->failures,
                             gate->paused, gate->pauses, gate->in_flight);

    ngx_http_tsface_page_add(page, "\"gate_refusals\":{"
                             "\"endpoint_throttled\":%ui,"
                             "\"endpoint_unavailable\":%ui,"
                             "\"endpoint_busy\":%ui}},",
                             gate->refused[NGX_HTTP_TSFACE_GATE_THROTTLED],
                             gate->refused[NGX_HTTP_TSFACE_GATE_UNAVAILABLE],
                             gate->refused[NGX_HTTP_TSFACE_GATE_BUSY]);
}


static void
ngx_http_tsface_json_requests(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone)
{
    ngx_uint_t  i;

    ngx_http_tsface_page_add(page, "\"requests\":{");

    for (i = 0; zone && i < NGX_HTTP_TSFACE_NCOUNTERS; i++) {
        ngx_http_tsface_page_add(page, "%s\"%s\":%ui", i ? "," : "",
                                 ngx_http_tsface_status_counters[i],
                                 ngx_http_tsface_zone_counter(zone, i));
    }

    ngx_http_tsface_page_add(page, "},");
}


static void
ngx_http_tsface_json_operations(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone)
{
    ngx_uint_t                    i, n;
    ngx_http_tsface_meter_stat_t  stat;

    ngx_http_tsface_page_add(page, "\"operations\":[");

    for (i = 0; zone && i <= NGX_HTTP_TSFACE_NO_OPERATION; i++) {
        ngx_http_tsface_page_add(page, "%s{\"name\":\"%V\",\"results\":{",
                                 i ? "," : "",
                                 ngx_http_tsface_status_operation(i));

        for (n = NGX_HTTP_TSFACE_COUNT_SUCCESS;
             n <= NGX_HTTP_TSFACE_COUNT_REFUSED;
             n++)
        {
            ngx_http_tsface_page_add(page, "%s\"%s\":%ui",
                                 n > NGX_HTTP_TSFACE_COUNT_SUCCESS ? "," : "",
                                 ngx_http_tsface_status_counters[n],
                                 ngx_http_tsface_zone_requests(zone, i, n));
        }

        ngx_http_tsface_page_add(page, "}");

        if (i < NGX_HTTP_TSFACE_NOPERATIONS) {
            ngx_http_tsface_zone_upstream_stat(zone, i, &stat);

            ngx_http_tsface_page_add(page, ",\"upstream_latency_ms\":");
            ngx_http_tsface_json_meter(page, &stat);
        }

        ngx_http_tsface_page_add(page, "}");
    }

    ngx_http_tsface_page_add(page, "],");
}


static void
ngx_http_tsface_json_refusals(ngx_http_tsface_page_t *page,
    ngx_shm_zone_t *zone)
{
    ngx_uint_t  i;

    ngx_http_tsface_page_add(page, "\"refusals\":{");

    for (i = 1; zone && i < NGX_HTTP_TSFACE_NPROBLEMS; i++) {
        ngx_http_tsface_page_add(page, "%s\"%V\":%ui", i > 1 ? "," : "",
                                 &ngx_http_tsface_problems[i].reason,
                                 ngx_http_tsface_zone_refusals(zone, i));
    }

    ngx_http_tsface_page_add(page, "},");
}


static void
ngx_http_tsface_json_zone(ngx_http_tsface_page_t *page, ngx_shm_zone_t *zone)
{
    if (zone == NULL) {
        ngx_http_tsface_page_add(page, "\"zone\":null");
        return;
    }

    ngx_http_tsface_page_add(page, "\"zone\":{\"name\":\"");
    ngx_http_tsface_page_add_json(page, &zone->shm.name);
    ngx_http_tsface_page_add(page, "\",\"size\":%uz,\"free\":%uz}",
                             zone->shm.size,
                             ngx_http_tsface_zone_free_size(zone));
}


void
ngx_http_tsface_json_meter(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_meter_stat_t *stat)
{
    ngx_uint_t  i;

    ngx_http_tsface_page_add(page, "{\"count\":%ui,\"sum\":%ui.%03ui,"
                             "\"buckets\":{", stat->count,
                             stat->sum / 1000, stat->sum % 1000);

    for (i = stat->first; i < NGX_HTTP_TSFACE_METER_NBOUNDS; i++) {
        ngx_http_tsface_page_add(page, "%s\"%s\":%ui",
                                 i > stat->first ? "," : "",
                                 ngx_http_tsface_meter_bounds[i].ms,
                                 stat->buckets[i]);
    }

    ngx_http_tsface_page_add(page, "}}");
}
