
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_page.h"
#include "ngx_http_tsface_ready.h"
#include "ngx_http_tsface_status.h"
#include "ngx_http_tsface_token.h"


static void ngx_http_tsface_ready_unavailable(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);
static ngx_int_t ngx_http_tsface_ready_retry(ngx_http_request_t *r,
    ngx_msec_t ms);


ngx_int_t
ngx_http_tsface_ready_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_msec_t                       left, retry;
    ngx_uint_t                       i, missing;
    ngx_http_tsface_page_t           page;
    ngx_http_tsface_main_conf_t     *tmcf;
    ngx_http_tsface_token_stat_t     stat;
    ngx_http_tsface_credentials_t  **cp;

    rc = ngx_http_tsface_page_allowed(r);

    if (rc != NGX_OK) {
        return rc;
    }

    tmcf = ngx_http_get_module_main_conf(r, ngx_http_tsface_module);
    cp = tmcf->credentials.elts;

    ngx_http_tsface_page_init(&page, r);

    retry = 0;
    missing = 0;

    for (i = 0; i < tmcf->credentials.nelts; i++) {

        if (!cp[i]->required) {
            continue;
        }

        ngx_http_tsface_token_stat(cp[i]->token, &stat);

        if (stat.usable) {
            continue;
        }

        ngx_http_tsface_page_add(&page, "%s\"%V\"",
                                 missing++ ? ","
                                           : "{\"ready\":false,\"missing\":[",
                                 &cp[i]->name);

        /* not before the last of them can have one */

        left = stat.slot.leased
               ? 0 : ngx_http_tsface_status_left(stat.slot.not_before);

        retry = ngx_max(retry, left);
    }

    if (missing == 0) {
        ngx_http_tsface_page_add(&page, "{\"ready\":true");
        ngx_http_tsface_ready_unavailable(&page, tmcf);
        ngx_http_tsface_page_add(&page, "}\n");

        return ngx_http_tsface_page_send(&page, NGX_HTTP_OK,
                                         "application/json");
    }

    ngx_http_tsface_page_add(&page, "]");
    ngx_http_tsface_ready_unavailable(&page, tmcf);
    ngx_http_tsface_page_add(&page, "}\n");

    if (ngx_http_tsface_ready_retry(r, retry) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_tsface_page_send(&page, NGX_HTTP_SERVICE_UNAVAILABLE,
                                     "application/json");
}


/*
 * An endpoint that fails is one for every gateway: to take this one out of
 * service would take out all, so it is told and no more.
 */
static void
ngx_http_tsface_ready_unavailable(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf)
{
    ngx_uint_t                       i, n;
    ngx_http_tsface_token_stat_t     stat;
    ngx_http_tsface_credentials_t  **cp;

    cp = tmcf->credentials.elts;
    n = 0;

    for (i = 0; i < tmcf->credentials.nelts; i++) {

        if (!cp[i]->required) {
            continue;
        }

        ngx_http_tsface_token_stat(cp[i]->token, &stat);

        if (stat.gate.breaker == NGX_HTTP_TSFACE_BREAKER_CLOSED) {
            continue;
        }

        ngx_http_tsface_page_add(page, "%s\"%V\"",
                                 n++ ? "," : ",\"unavailable\":[",
                                 &cp[i]->name);
    }

    if (n) {
        ngx_http_tsface_page_add(page, "]");
    }
}


/* In whole seconds, at least one. */
static ngx_int_t
ngx_http_tsface_ready_retry(ngx_http_request_t *r, ngx_msec_t ms)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%M", ms ? (ms + 999) / 1000 : 1)
                - value.data;

    return ngx_http_tsface_page_header(r, "Retry-After", &value);
}
