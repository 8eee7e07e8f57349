
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_accept.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_operation.h"
#include "ngx_http_tsface_status.h"
#include "ngx_http_tsface_zone.h"


static ngx_uint_t ngx_http_tsface_status_accept(ngx_http_request_t *r);


/* Indexed by ngx_http_tsface_exchange_e. */
const char *const  ngx_http_tsface_status_classes[] = {
    "ok",
    "rejected",
    "throttled",
    "server",
    "network",
    "timeout",
    "malformed",
    "unkept",
    NULL
};


const char *const  ngx_http_tsface_status_states[] = {
    "ready",
    "refresh_failing",
    "failing",
    "fetching",
    "no_token",
    NULL
};


/* Indexed by ngx_http_tsface_counter_e. */
const char *const  ngx_http_tsface_status_counters[] = {
    "total",
    "success",
    "denied",
    "error",
    "unknown",
    "refused",
    "replays",
    "unrecorded",
    "summarised",
    NULL
};


/* Indexed by ngx_http_tsface_breaker_e. */
const char *const  ngx_http_tsface_status_breakers[] = {
    "closed",
    "open",
    "half_open",
    "off",
    NULL
};


ngx_int_t
ngx_http_tsface_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_uint_t                    format;
    ngx_http_tsface_page_t        page;
    ngx_http_tsface_loc_conf_t   *tlcf;
    ngx_http_tsface_main_conf_t  *tmcf;
    static ngx_str_t              accept = ngx_string("Accept");

    rc = ngx_http_tsface_page_allowed(r);

    if (rc != NGX_OK) {
        return rc;
    }

    tmcf = ngx_http_get_module_main_conf(r, ngx_http_tsface_module);
    tlcf = ngx_http_get_module_loc_conf(r, ngx_http_tsface_module);

    format = tlcf->status;

    if (format == NGX_HTTP_TSFACE_STATUS_ACCEPT) {
        format = ngx_http_tsface_status_accept(r);

        if (ngx_http_tsface_page_header(r, "Vary", &accept) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    ngx_http_tsface_page_init(&page, r);

    if (format == NGX_HTTP_TSFACE_STATUS_PROMETHEUS) {
        ngx_http_tsface_status_prometheus(&page, tmcf);

        return ngx_http_tsface_page_send(&page, NGX_HTTP_OK,
                                  "text/plain; version=0.0.4; charset=utf-8");
    }

    ngx_http_tsface_status_json(&page, tmcf);

    return ngx_http_tsface_page_send(&page, NGX_HTTP_OK, "application/json");
}


/* nginx's own pointer to the header is there only with some modules. */
static ngx_uint_t
ngx_http_tsface_status_accept(ngx_http_request_t *r)
{
    ngx_uint_t                 i;
    ngx_list_part_t           *part;
    ngx_table_elt_t           *h;
    ngx_http_tsface_accept_t   accept;

    ngx_memzero(&accept, sizeof(ngx_http_tsface_accept_t));

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == 6
                && ngx_strncasecmp(h[i].key.data, (u_char *) "accept", 6) == 0)
            {
                ngx_http_tsface_accept_line(&accept, &h[i].value);
            }
        }
    }

    return ngx_http_tsface_accept_prometheus(&accept)
           ? NGX_HTTP_TSFACE_STATUS_PROMETHEUS : NGX_HTTP_TSFACE_STATUS_JSON;
}


const char *
ngx_http_tsface_status_state(const ngx_http_tsface_token_stat_t *stat)
{
    if (stat->usable) {
        return stat->slot.fails ? "refresh_failing" : "ready";
    }

    if (stat->slot.fails) {
        return "failing";
    }

    return stat->slot.leased ? "fetching" : "no_token";
}


const char *
ngx_http_tsface_status_breaker(
    const ngx_http_tsface_credentials_t *credentials,
    const ngx_http_tsface_token_stat_t *stat)
{
    return credentials->gate.failures
           ? ngx_http_tsface_status_breakers[stat->gate.breaker] : "off";
}


const ngx_str_t *
ngx_http_tsface_status_operation(ngx_uint_t operation)
{
    static const ngx_str_t  none = ngx_string("none");

    return operation == NGX_HTTP_TSFACE_NO_OPERATION
           ? &none : &ngx_http_tsface_operations[operation].name;
}


ngx_msec_t
ngx_http_tsface_status_left(ngx_msec_t time)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (time - ngx_current_msec);

    return time && left > 0 ? (ngx_msec_t) left : 0;
}
