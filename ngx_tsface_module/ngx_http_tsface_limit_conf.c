
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_block.h"
#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_limit_agree.h"
#include "ngx_http_tsface_limit_fields.h"
#include "ngx_http_tsface_limit_share.h"
#include "ngx_http_tsface_limit_zone.h"
#include "ngx_http_tsface_module.h"


#define NGX_HTTP_TSFACE_LIMIT_BURST_MAX   1000000
#define NGX_HTTP_TSFACE_LIMIT_NAME_MAX    64

/* requests that wait at a key, how long, and the longest jitter */
#define NGX_HTTP_TSFACE_LIMIT_DELAY       10
#define NGX_HTTP_TSFACE_LIMIT_DELAY_MAX   1000
#define NGX_HTTP_TSFACE_LIMIT_WAIT        10000
#define NGX_HTTP_TSFACE_LIMIT_WAIT_MAX    60000
#define NGX_HTTP_TSFACE_LIMIT_JITTER_MAX  3600000


static ngx_shm_zone_t *ngx_http_tsface_limit_add(ngx_conf_t *cf,
    ngx_str_t *name, size_t size);
static ngx_int_t ngx_http_tsface_limit_parse(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_tsface_limit_t *limit);
static ngx_int_t ngx_http_tsface_limit_parse_time(ngx_conf_t *cf,
    ngx_str_t *value, size_t skip, ngx_msec_t max, ngx_msec_t *time);
static ngx_int_t ngx_http_tsface_limit_parse_zone(ngx_conf_t *cf,
    ngx_str_t *value, ngx_str_t *name, ssize_t *size);


/*
 * The tag of these zones.  It is not the module, which is the tag of its other
 * zone: a name that changes its use over a reload must not find the memory of
 * the other kind.
 */
static ngx_uint_t  ngx_http_tsface_limit_tag;


char *
ngx_http_tsface_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_main_conf_t *tmcf = conf;

    ssize_t                            size;
    ngx_int_t                          burst;
    ngx_str_t                         *value, name, store, s;
    ngx_uint_t                         i;
    ngx_shm_zone_t                    *shm_zone, **slot;
    ngx_http_tsface_gcra_t             gcra;
    ngx_http_tsface_limit_zone_t      *zone;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    size = 0;
    burst = -1;
    ngx_str_null(&name);
    ngx_str_null(&store);
    ngx_memzero(&gcra, sizeof(ngx_http_tsface_gcra_t));

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0 && name.len == 0) {

            if (ngx_http_tsface_limit_parse_zone(cf, &value[i], &name, &size)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "rate=", 5) == 0 && gcra.rate == 0) {

            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            if (ngx_http_tsface_gcra_parse_rate(&gcra, &s) != NGX_OK) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid rate \"%V\": it must be Nr/s, "
                                   "Nr/m, Nr/h or Nr/d with N between 1 "
                                   "and 1000000", &value[i]);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "burst=", 6) == 0 && burst == -1) {

            burst = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (burst < 0 || burst > NGX_HTTP_TSFACE_LIMIT_BURST_MAX) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid burst \"%V\": it must be "
                                   "between 0 and %d", &value[i],
                                   NGX_HTTP_TSFACE_LIMIT_BURST_MAX);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "store=", 6) == 0
            && value[i].len > 6 && store.len == 0)
        {
            store.data = value[i].data + 6;
            store.len = value[i].len - 6;

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid or repeated parameter \"%V\" of \"%V\"",
                           &value[i], &cmd->name);
        return NGX_CONF_ERROR;
    }

    if (name.len == 0 || gcra.rate == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have the \"%s\" parameter",
                           &cmd->name, name.len ? "rate" : "zone");
        return NGX_CONF_ERROR;
    }

    ngx_http_tsface_gcra_init(&gcra, (burst == -1) ? 0 : burst);

    shm_zone = ngx_http_tsface_limit_add(cf, &name, size);
    if (shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    zone = shm_zone->data;

    if (zone->defined) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate %V \"%V\": it has the key \"%V\" "
                           "already", &cmd->name, &name, &zone->key.value);
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = &zone->key;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    zone->gcra = gcra;

    if (ngx_http_tsface_limit_fields_zone(cf->pool, &shm_zone->shm.name, zone)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    zone->store_name = store;
    zone->defined = 1;

    shm_zone->init = ngx_http_tsface_limit_zone_init;

    if (tmcf->limit_zones.elts == NULL
        && ngx_array_init(&tmcf->limit_zones, cf->pool, 4,
                          sizeof(ngx_shm_zone_t *))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    slot = ngx_array_push(&tmcf->limit_zones);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = shm_zone;

    return NGX_CONF_OK;
}


char *
ngx_http_tsface_limit_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_array_t              **limits;
    ngx_http_tsface_limit_t   *limit, set;

    limits = (ngx_array_t **) (p + cmd->offset);
    value = cf->args->elts;

    if (value[1].len == 3 && ngx_strcmp(value[1].data, "off") == 0) {

        if (cf->args->nelts != 2) {
            return "has a parameter besides \"off\"";
        }

        if (*limits == NULL) {
            return "is duplicate";
        }

        if (*limits != NGX_CONF_UNSET_PTR) {
            return "is \"off\" although a zone stands before it";
        }

        *limits = NULL;

        return NGX_CONF_OK;
    }

    if (*limits == NULL) {
        return "names a zone although \"off\" stands before it";
    }

    ngx_memzero(&set, sizeof(ngx_http_tsface_limit_t));

    set.delay_max = NGX_CONF_UNSET_MSEC;
    set.retry_jitter = NGX_CONF_UNSET_MSEC;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_tsface_limit_parse(cf, &value[i], &set) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (set.shm_zone == NULL) {
        return "must have the \"zone\" parameter";
    }

    if (set.delay == 0 && set.delay_max != NGX_CONF_UNSET_MSEC) {
        return "has \"delay_max\" without \"delay\"";
    }

    ngx_conf_init_msec_value(set.delay_max, NGX_HTTP_TSFACE_LIMIT_WAIT);
    ngx_conf_init_msec_value(set.retry_jitter, 0);

    if (*limits == NGX_CONF_UNSET_PTR) {
        *limits = ngx_array_create(cf->pool, 2,
                                   sizeof(ngx_http_tsface_limit_t));
        if (*limits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    limit = (*limits)->elts;

    for (i = 0; i < (*limits)->nelts; i++) {
        if (limit[i].shm_zone == set.shm_zone) {
            return "is duplicate";
        }
    }

    if (i == NGX_HTTP_TSFACE_MAX_LIMITS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "more than %d \"%V\" in one place",
                           NGX_HTTP_TSFACE_MAX_LIMITS, &cmd->name);
        return NGX_CONF_ERROR;
    }

    limit = ngx_array_push(*limits);
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    *limit = set;

    return NGX_CONF_OK;
}


/* One parameter of tsface_limit. */

static ngx_int_t
ngx_http_tsface_limit_parse(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_tsface_limit_t *limit)
{
    ngx_int_t  n;
    ngx_str_t  name;

    if (ngx_strncmp(value->data, "zone=", 5) == 0 && value->len > 5
        && limit->shm_zone == NULL)
    {
        name.data = value->data + 5;
        name.len = value->len - 5;

        limit->shm_zone = ngx_http_tsface_limit_add(cf, &name, 0);

        return limit->shm_zone ? NGX_OK : NGX_ERROR;
    }

    if (ngx_strcmp(value->data, "dry_run") == 0 && !limit->dry_run) {
        limit->dry_run = 1;
        return NGX_OK;
    }

    if (ngx_strcmp(value->data, "delay") == 0 && limit->delay == 0) {
        limit->delay = NGX_HTTP_TSFACE_LIMIT_DELAY;
        return NGX_OK;
    }

    if (ngx_strncmp(value->data, "delay=", 6) == 0 && limit->delay == 0) {

        n = ngx_atoi(value->data + 6, value->len - 6);

        if (n < 1 || n > NGX_HTTP_TSFACE_LIMIT_DELAY_MAX) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": it must be between 1 and %d "
                               "requests", value,
                               NGX_HTTP_TSFACE_LIMIT_DELAY_MAX);
            return NGX_ERROR;
        }

        limit->delay = n;

        return NGX_OK;
    }

    if (ngx_strncmp(value->data, "delay_max=", 10) == 0
        && limit->delay_max == NGX_CONF_UNSET_MSEC)
    {
        return ngx_http_tsface_limit_parse_time(cf, value, 10,
                                                NGX_HTTP_TSFACE_LIMIT_WAIT_MAX,
                                                &limit->delay_max);
    }

    if (ngx_strncmp(value->data, "retry_jitter=", 13) == 0
        && limit->retry_jitter == NGX_CONF_UNSET_MSEC)
    {
        return ngx_http_tsface_limit_parse_time(cf, value, 13,
                                              NGX_HTTP_TSFACE_LIMIT_JITTER_MAX,
                                              &limit->retry_jitter);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid or repeated parameter \"%V\" of "
                       "\"tsface_limit\"", value);
    return NGX_ERROR;
}


static ngx_int_t
ngx_http_tsface_limit_parse_time(ngx_conf_t *cf, ngx_str_t *value,
    size_t skip, ngx_msec_t max, ngx_msec_t *time)
{
    ngx_int_t  ms;
    ngx_str_t  s;

    s.data = value->data + skip;
    s.len = value->len - skip;

    ms = ngx_parse_time(&s, 0);

    if (ms < 1 || (ngx_msec_t) ms > max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time in \"%V\": it must be between 1ms "
                           "and %Ms", value, max / 1000);
        return NGX_ERROR;
    }

    *time = ms;

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_limit_check(ngx_conf_t *cf, ngx_array_t *limits)
{
    uint64_t                        most, queue, wait;
    ngx_uint_t                      i;
    ngx_http_tsface_limit_t        *limit;
    ngx_http_tsface_limit_zone_t   *zone;
    ngx_http_tsface_limit_store_t  *store;

    if (limits == NULL || limits == NGX_CONF_UNSET_PTR) {
        return NGX_OK;
    }

    wait = 0;
    store = NULL;
    limit = limits->elts;

    for (i = 0; i < limits->nelts; i++) {
        zone = limit[i].shm_zone->data;

        if (!zone->defined) {

            /* not ngx_conf_log_error(): cf stands at the end of http{} */

            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown tsface_limit_zone \"%V\" in %s:%ui",
                          &limit[i].shm_zone->shm.name, zone->file, zone->line);
            return NGX_ERROR;
        }

        if (i == 0) {
            store = zone->store;
        }

        if (zone->store != store) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "tsface_limit zones \"%V\" and \"%V\" apply to the "
                          "same request, but don't have the same store",
                          &limit[0].shm_zone->shm.name,
                          &limit[i].shm_zone->shm.name);
            return NGX_ERROR;
        }

        queue = ngx_http_tsface_limit_queue(&limit[i], &zone->gcra);
        wait = ngx_max(wait, queue);
    }

    /* whichever makes a request wait, all count it at the time it goes on */

    for (i = 0; i < limits->nelts; i++) {
        zone = limit[i].shm_zone->data;

        most = ngx_max(zone->gcra.tolerance + zone->gcra.interval,
                       zone->share.tolerance + zone->share.interval)
               + wait;

        zone->most = ngx_max(zone->most, most);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_limit_stores(ngx_conf_t *cf, ngx_array_t *zones,
    ngx_array_t *stores)
{
    ngx_uint_t                      i;
    ngx_shm_zone_t                **shm_zone;
    ngx_http_tsface_limit_zone_t   *zone;

    shm_zone = zones->elts;

    for (i = 0; i < zones->nelts; i++) {
        zone = shm_zone[i]->data;

        if (zone->store_name.len == 0) {
            continue;
        }

        zone->store = ngx_http_tsface_block_find(stores, &zone->store_name);

        if (zone->store == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown tsface_limit_store \"%V\" of "
                          "tsface_limit_zone \"%V\": define it in http{}",
                          &zone->store_name, &shm_zone[i]->shm.name);
            return NGX_ERROR;
        }

        if (zone->gcra.tolerance + zone->gcra.interval
            > NGX_HTTP_TSFACE_SCRIPT_MAX_TIME)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "the burst of tsface_limit_zone \"%V\" takes more "
                          "than the 142 years to fill up that a store can "
                          "count", &shm_zone[i]->shm.name);
            return NGX_ERROR;
        }

        ngx_http_tsface_limit_share_init(&zone->share, &zone->gcra,
                                         zone->store->nodes);
    }

    return NGX_OK;
}


static ngx_shm_zone_t *
ngx_http_tsface_limit_add(ngx_conf_t *cf, ngx_str_t *name, size_t size)
{
    ngx_shm_zone_t                *shm_zone;
    ngx_http_tsface_limit_zone_t  *zone;

    shm_zone = ngx_shared_memory_add(cf, name, size,
                                     &ngx_http_tsface_limit_tag);
    if (shm_zone == NULL) {
        return NULL;
    }

    if (shm_zone->data == NULL) {

        zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_tsface_limit_zone_t));
        if (zone == NULL) {
            return NULL;
        }

        zone->file = cf->conf_file->file.name.data;
        zone->line = cf->conf_file->line;

        shm_zone->data = zone;
    }

    return shm_zone;
}


static ngx_int_t
ngx_http_tsface_limit_parse_zone(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *name, ssize_t *size)
{
    u_char     *p;
    ngx_str_t   s;

    name->data = value->data + 5;

    p = (u_char *) ngx_strchr(name->data, ':');

    if (p == NULL || p == name->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\": it must be "
                           "zone=NAME:SIZE", value);
        return NGX_ERROR;
    }

    name->len = p - name->data;

    /* callers are told it, in a string of a structured field (RFC 9651) */

    for (s.data = name->data; s.data < p; s.data++) {
        if (*s.data < 0x20 || *s.data > 0x7e
            || *s.data == '"' || *s.data == '\\')
        {
            break;
        }
    }

    if (s.data < p || name->len > NGX_HTTP_TSFACE_LIMIT_NAME_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone name \"%V\": it must be at most %d "
                           "ASCII characters without quotes and backslashes",
                           name, NGX_HTTP_TSFACE_LIMIT_NAME_MAX);
        return NGX_ERROR;
    }

    s.data = p + 1;
    s.len = value->data + value->len - s.data;

    *size = ngx_parse_size(&s);

    if (*size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size in \"%V\"", value);
        return NGX_ERROR;
    }

    if (*size < (ssize_t) (8 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is too small: it must have at least %uz "
                           "bytes", value, (size_t) (8 * ngx_pagesize));
        return NGX_ERROR;
    }

    return NGX_OK;
}
