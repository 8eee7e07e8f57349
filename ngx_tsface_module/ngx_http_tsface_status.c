
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_status.h"
#include "ngx_http_tsface_token.h"
#include "ngx_http_tsface_zone.h"


/* Room for one entry without the names in it. */
#define NGX_HTTP_TSFACE_STATUS_ENTRY   1024


static u_char *ngx_http_tsface_status_credentials(u_char *p,
    ngx_http_tsface_main_conf_t *tmcf);
static u_char *ngx_http_tsface_status_trails(u_char *p,
    ngx_http_tsface_main_conf_t *tmcf);
static u_char *ngx_http_tsface_status_requests(u_char *p,
    ngx_http_tsface_main_conf_t *tmcf);
static const char *ngx_http_tsface_status_state(
    const ngx_http_tsface_slot_info_t *slot, ngx_msec_t now);
static ngx_msec_int_t ngx_http_tsface_status_left(ngx_msec_t time,
    ngx_msec_t now);


static const char  *ngx_http_tsface_classes[] = {
    "ok",
    "rejected",
    "throttled",
    "server",
    "network",
    "timeout",
    "malformed",
    "unkept"
};


static const char  *ngx_http_tsface_counters[] = {
    "total",
    "success",
    "denied",
    "error",
    "unknown",
    "refused",
    "replays"
};


ngx_int_t
ngx_http_tsface_status_handler(ngx_http_request_t *r)
{
    size_t                           size;
    u_char                          *p;
    ngx_int_t                        rc;
    ngx_buf_t                       *b;
    ngx_uint_t                       i;
    ngx_chain_t                      out;
    ngx_http_tsface_main_conf_t     *tmcf;
    ngx_http_tsface_trail_t        **trails;
    ngx_http_tsface_credentials_t  **credentials;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    tmcf = ngx_http_get_module_main_conf(r, ngx_http_tsface_module);

    size = NGX_HTTP_TSFACE_STATUS_ENTRY
           * (1 + tmcf->credentials.nelts + tmcf->trails.nelts);

    credentials = tmcf->credentials.elts;

    for (i = 0; i < tmcf->credentials.nelts; i++) {
        size += credentials[i]->name.len + credentials[i]->region.len
                + credentials[i]->endpoint->url.authority.len;
    }

    trails = tmcf->trails.elts;

    for (i = 0; i < tmcf->trails.nelts; i++) {
        size += trails[i]->name.len;
    }

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_sprintf(b->last, "{\"module\":\"%s\",\"worker\":%P,",
                    NGX_HTTP_TSFACE_MODULE_VERSION, ngx_pid);

    p = ngx_http_tsface_status_credentials(p, tmcf);
    p = ngx_http_tsface_status_trails(p, tmcf);
    p = ngx_http_tsface_status_requests(p, tmcf);

    *p++ = '}';
    *p++ = LF;

    b->last = p;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


/* Names are of a set that JSON needs no escapes for. */
static u_char *
ngx_http_tsface_status_credentials(u_char *p,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_msec_t                       now;
    ngx_uint_t                       i, n;
    ngx_http_tsface_slot_info_t     *slot;
    ngx_http_tsface_token_stat_t     stat;
    ngx_http_tsface_credentials_t  **cp, *c;

    now = ngx_current_msec;
    slot = &stat.slot;
    cp = tmcf->credentials.elts;

    p = ngx_sprintf(p, "\"credentials\":[");

    for (i = 0; i < tmcf->credentials.nelts; i++) {
        c = cp[i];

        ngx_http_tsface_token_stat(c->token, &stat);

        p = ngx_sprintf(p, "%s{\"name\":\"%V\",\"region\":\"%V\","
                        "\"endpoint\":\"%V\",\"state\":\"%s\","
                        "\"generation\":%ui,",
                        i ? "," : "", &c->name, &c->region,
                        &c->endpoint->url.authority,
                        ngx_http_tsface_status_state(slot, now),
                        slot->generation);

        if (slot->valid) {
            p = ngx_sprintf(p, "\"age_ms\":%M,\"expires_in_ms\":%M,"
                            "\"refresh_in_ms\":%M,",
                            now - slot->obtained,
                            ngx_http_tsface_status_left(slot->expires, now),
                            ngx_http_tsface_status_left(slot->refresh, now));
        }

        p = ngx_sprintf(p, "\"failures_in_a_row\":%ui,\"last_failure\":\"%s\","
                        "\"next_exchange_in_ms\":%M,\"waiting\":%ui,"
                        "\"secret_in_use\":%ui,"
                        "\"secret_reread\":\"%s\",\"exchanges\":{",
                        slot->fails,
                        slot->fails ? ngx_http_tsface_classes[slot->failure]
                                    : "",
                        ngx_http_tsface_status_left(slot->not_before, now),
                        stat.waiting, slot->secret,
                        ngx_http_tsface_rotation_rereads(c) ? "change"
                                                            : "reload");

        for (n = 0; n < NGX_HTTP_TSFACE_EXCHANGE_NCLASSES; n++) {
            p = ngx_sprintf(p, "%s\"%s\":%ui", n ? "," : "",
                            ngx_http_tsface_classes[n], slot->exchanges[n]);
        }

        p = ngx_sprintf(p, "}}");
    }

    return ngx_sprintf(p, "],");
}


static u_char *
ngx_http_tsface_status_trails(u_char *p, ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t                     i;
    ngx_http_tsface_trail_t      **trails;
    ngx_http_tsface_trail_stat_t   stat;

    trails = tmcf->trails.elts;

    p = ngx_sprintf(p, "\"trails\":[");

    for (i = 0; i < tmcf->trails.nelts; i++) {
        ngx_http_tsface_trail_stat(trails[i], &stat);

        p = ngx_sprintf(p, "%s{\"name\":\"%V\",\"state\":\"%s\","
                        "\"records\":%ui,\"batches\":%ui,\"failures\":%ui,"
                        "\"queued\":%ui,\"errno\":%d}",
                        i ? "," : "", &trails[i]->name,
                        stat.last_errno ? "failing" : "ok",
                        stat.records, stat.batches, stat.failures,
                        stat.queued, stat.last_errno);
    }

    return ngx_sprintf(p, "],");
}


static u_char *
ngx_http_tsface_status_requests(u_char *p, ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t  i;

    p = ngx_sprintf(p, "\"requests\":{");

    for (i = 0; tmcf->zone && i < NGX_HTTP_TSFACE_NCOUNTERS; i++) {
        p = ngx_sprintf(p, "%s\"%s\":%ui", i ? "," : "",
                        ngx_http_tsface_counters[i],
                        ngx_http_tsface_zone_counter(tmcf->zone, i));
    }

    return ngx_sprintf(p, "}");
}


/* One word for the on-call engineer. */
static const char *
ngx_http_tsface_status_state(const ngx_http_tsface_slot_info_t *slot,
    ngx_msec_t now)
{
    if (slot->valid && (ngx_msec_int_t) (slot->expires - now) > 0) {
        return slot->fails ? "refresh_failing" : "ready";
    }

    if (slot->fails) {
        return "failing";
    }

    return slot->leased ? "fetching" : "no_token";
}


static ngx_msec_int_t
ngx_http_tsface_status_left(ngx_msec_t time, ngx_msec_t now)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (time - now);

    return time && left > 0 ? left : 0;
}
