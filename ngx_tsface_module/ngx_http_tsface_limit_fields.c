
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_limit_fields.h"
#include "ngx_http_tsface_limit_zone.h"


static ngx_uint_t ngx_http_tsface_limit_fields_sort(
    const ngx_http_tsface_limits_t *limits,
    const ngx_http_tsface_limit_use_t **sorted);
static ngx_uint_t ngx_http_tsface_limit_stricter(
    const ngx_http_tsface_limit_use_t *a,
    const ngx_http_tsface_limit_use_t *b);


ngx_int_t
ngx_http_tsface_limit_fields_zone(ngx_pool_t *pool, const ngx_str_t *name,
    ngx_http_tsface_limit_zone_t *zone)
{
    u_char                        *p;
    const ngx_http_tsface_gcra_t  *gcra;

    p = ngx_pnalloc(pool, sizeof("\"\";q=;w=;tsface-burst=")
                          + 3 * NGX_INT64_LEN + name->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    gcra = &zone->gcra;

    zone->policy.data = p;

    p = ngx_sprintf(p, "\"%V\";q=%ui;w=%ui", name, gcra->rate, gcra->period);

    /* not of the draft, which allows for it: why r can be above q */

    if (gcra->burst) {
        p = ngx_sprintf(p, ";tsface-burst=%ui", gcra->burst);
    }

    zone->policy.len = p - zone->policy.data;

    return NGX_OK;
}


size_t
ngx_http_tsface_limit_fields_size(const ngx_http_tsface_limits_t *limits)
{
    size_t      size;
    ngx_uint_t  i;

    size = 0;

    for (i = 0; i < limits->nuses; i++) {
        size += sizeof(", \"\";q=;w=;tsface-burst=") + 3 * NGX_INT64_LEN
                + limits->uses[i].limit->shm_zone->shm.name.len;
    }

    return size;
}


u_char *
ngx_http_tsface_limit_fields_policy(u_char *p,
    const ngx_http_tsface_limits_t *limits)
{
    ngx_uint_t                          i, n;
    const ngx_str_t                    *policy;
    const ngx_http_tsface_limit_use_t  *sorted[NGX_HTTP_TSFACE_MAX_LIMITS];

    n = ngx_http_tsface_limit_fields_sort(limits, sorted);

    for (i = 0; i < n; i++) {

        if (i) {
            *p++ = ',';
            *p++ = ' ';
        }

        policy = &sorted[i]->zone->policy;

        p = ngx_cpymem(p, policy->data, policy->len);
    }

    return p;
}


u_char *
ngx_http_tsface_limit_fields_state(u_char *p,
    const ngx_http_tsface_limits_t *limits)
{
    u_char                               *start;
    ngx_uint_t                            i, n;
    const ngx_http_tsface_limit_use_t    *sorted[NGX_HTTP_TSFACE_MAX_LIMITS];
    const ngx_http_tsface_gcra_result_t  *gcra;

    start = p;

    n = ngx_http_tsface_limit_fields_sort(limits, sorted);

    for (i = 0; i < n; i++) {

        if (sorted[i]->full) {
            continue;
        }

        gcra = &sorted[i]->gcra;

        p = ngx_sprintf(p, "%s\"%V\";r=%ui;t=%uL", p > start ? ", " : "",
                        &sorted[i]->limit->shm_zone->shm.name,
                        gcra->remaining, (gcra->reset + 999999) / 1000000);
    }

    return p;
}


/* Returns how many. */

static ngx_uint_t
ngx_http_tsface_limit_fields_sort(const ngx_http_tsface_limits_t *limits,
    const ngx_http_tsface_limit_use_t **sorted)
{
    ngx_uint_t                          i, j, n;
    const ngx_http_tsface_limit_use_t  *use;

    n = 0;

    for (i = 0; i < limits->nuses; i++) {
        use = &limits->uses[i];

        if (use->limit->dry_run) {
            continue;
        }

        for (j = n;
             j > 0 && ngx_http_tsface_limit_stricter(use, sorted[j - 1]);
             j--)
        {
            sorted[j] = sorted[j - 1];
        }

        sorted[j] = use;
        n++;
    }

    return n;
}


static ngx_uint_t
ngx_http_tsface_limit_stricter(const ngx_http_tsface_limit_use_t *a,
    const ngx_http_tsface_limit_use_t *b)
{
    if (a->gcra.retry != b->gcra.retry) {
        return a->gcra.retry > b->gcra.retry;
    }

    if (a->gcra.remaining != b->gcra.remaining) {
        return a->gcra.remaining < b->gcra.remaining;
    }

    return a->gcra.reset > b->gcra.reset;
}


/* Older drafts have other syntax, which would spoil the list: "limit=10". */

ngx_uint_t
ngx_http_tsface_limit_fields_joins(const ngx_str_t *value)
{
    return value->len != 0 && value->data[0] == '"';
}
