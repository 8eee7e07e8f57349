
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_body.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_ready.h"
#include "ngx_http_tsface_rejected.h"
#include "ngx_http_tsface_request_id.h"
#include "ngx_http_tsface_status.h"
#include "ngx_http_tsface_syslog.h"
#include "ngx_http_tsface_token.h"
#include "ngx_http_tsface_transaction.h"
#include "ngx_http_tsface_variables.h"
#include "ngx_http_tsface_wake.h"
#include "ngx_http_tsface_zone.h"


static void *ngx_http_tsface_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_tsface_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_tsface_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_tsface_set_handler(ngx_conf_t *cf,
    ngx_http_handler_pt handler);
static char *ngx_http_tsface_pass(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_tsface_caller(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_tsface_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_tsface_ready(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_tsface_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_tsface_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_tsface_check_zone(ngx_conf_t *cf,
    ngx_http_tsface_main_conf_t *tmcf);
static ngx_int_t ngx_http_tsface_check_location(ngx_conf_t *cf,
    ngx_http_tsface_main_conf_t *tmcf, ngx_http_tsface_loc_conf_t *tlcf);
static ngx_int_t ngx_http_tsface_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_tsface_init_process(ngx_cycle_t *cycle);
static void ngx_http_tsface_exit_process(ngx_cycle_t *cycle);
static void ngx_http_tsface_exit_master(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_tsface_request_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_tsface_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_tsface_capture_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);


static ngx_command_t  ngx_http_tsface_commands[] = {

    { ngx_string("tsface_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_tsface_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tsface_credentials"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_tsface_credentials_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tsface_audit_trail"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_tsface_trail_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tsface_limit_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE3|NGX_CONF_TAKE4|NGX_CONF_TAKE5,
      ngx_http_tsface_limit_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tsface_limit_store"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_tsface_limit_store_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tsface_pass"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_tsface_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_tsface_loc_conf_t, pass),
      NULL },

    { ngx_string("tsface_caller"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_tsface_caller,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_tsface_loc_conf_t, caller),
      NULL },

    { ngx_string("tsface_audit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_tsface_loc_conf_t, audit),
      NULL },

    { ngx_string("tsface_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_tsface_limit_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_tsface_loc_conf_t, limits),
      NULL },

    { ngx_string("tsface_limit_headers"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_tsface_loc_conf_t, limit_headers),
      NULL },

    { ngx_string("tsface_token_rejected"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_tsface_rejected_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_tsface_loc_conf_t, rejected),
      NULL },

    { ngx_string("tsface_replay"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_tsface_loc_conf_t, replay),
      NULL },

    { ngx_string("tsface_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_tsface_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tsface_ready"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_tsface_ready,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_tsface_module_ctx = {
    ngx_http_tsface_preconfiguration,      /* preconfiguration */
    ngx_http_tsface_postconfiguration,     /* postconfiguration */

    ngx_http_tsface_create_main_conf,      /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_tsface_create_loc_conf,       /* create location configuration */
    ngx_http_tsface_merge_loc_conf         /* merge location configuration */
};


ngx_module_t  ngx_http_tsface_module = {
    NGX_MODULE_V1,
    &ngx_http_tsface_module_ctx,           /* module context */
    ngx_http_tsface_commands,              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_tsface_init_module,           /* init module */
    ngx_http_tsface_init_process,          /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_tsface_exit_process,          /* exit process */
    ngx_http_tsface_exit_master,           /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_request_body_filter_pt   ngx_http_next_request_body_filter;
static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static void *
ngx_http_tsface_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_tsface_main_conf_t  *tmcf;

    tmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_tsface_main_conf_t));
    if (tmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&tmcf->credentials, cf->pool, 4,
                       sizeof(ngx_http_tsface_credentials_t *))
        != NGX_OK
        || ngx_array_init(&tmcf->endpoints, cf->pool, 4,
                          sizeof(ngx_http_tsface_endpoint_t *))
           != NGX_OK
        || ngx_array_init(&tmcf->trails, cf->pool, 4,
                          sizeof(ngx_http_tsface_trail_t *))
           != NGX_OK
        || ngx_array_init(&tmcf->limit_zones, cf->pool, 4,
                          sizeof(ngx_shm_zone_t *))
           != NGX_OK
        || ngx_array_init(&tmcf->limit_stores, cf->pool, 2,
                          sizeof(ngx_http_tsface_limit_store_t *))
           != NGX_OK
        || ngx_array_init(&tmcf->locations, cf->pool, 4,
                          sizeof(ngx_http_tsface_loc_conf_t *))
           != NGX_OK)
    {
        return NULL;
    }

    return tmcf;
}


static void *
ngx_http_tsface_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_tsface_loc_conf_t  *tlcf;

    tlcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_tsface_loc_conf_t));
    if (tlcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     tlcf->pass = NULL;
     *     tlcf->credentials = NULL;
     *     tlcf->caller = NULL;
     *     tlcf->audit = { 0, NULL };
     *     tlcf->trail = NULL;
     *     tlcf->file = NULL;
     *     tlcf->line = 0;
     */

    tlcf->anonymous = NGX_CONF_UNSET_UINT;
    tlcf->limits = NGX_CONF_UNSET_PTR;
    tlcf->limit_headers = NGX_CONF_UNSET;
    tlcf->rejected = NGX_CONF_UNSET_PTR;
    tlcf->replay = NGX_CONF_UNSET;
    tlcf->status = NGX_CONF_UNSET_UINT;

    return tlcf;
}


static char *
ngx_http_tsface_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_tsface_loc_conf_t *prev = parent;
    ngx_http_tsface_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_tsface_main_conf_t   *tmcf;
    ngx_http_tsface_loc_conf_t   **location;

    if (conf->anonymous == NGX_CONF_UNSET_UINT) {
        conf->anonymous = prev->anonymous;
        conf->caller = prev->caller;
    }

    ngx_conf_merge_str_value(conf->audit, prev->audit, "");
    ngx_conf_merge_ptr_value(conf->limits, prev->limits, NULL);
    ngx_conf_merge_value(conf->limit_headers, prev->limit_headers, 1);
    ngx_conf_merge_ptr_value(conf->rejected, prev->rejected, NULL);
    ngx_conf_merge_value(conf->replay, prev->replay, 1);

    /* in "if" the handler of the location around it runs */

    ngx_conf_merge_uint_value(conf->status, prev->status,
                              NGX_HTTP_TSFACE_STATUS_ACCEPT);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->pass && clcf->handler != ngx_http_tsface_handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"tsface_pass\" is not the only handler of its "
                      "location in %s:%ui", conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    /*
     * In "if" and "limit_except" core runs the handler of the location around
     * them, but with their configuration: it has to be the same transaction.
     */

    if (conf->pass == NULL && prev->pass && clcf->noname) {
        conf->pass = prev->pass;
        conf->file = prev->file;
        conf->line = prev->line;

        if (clcf->lmt_excpt && clcf->handler == NULL) {
            clcf->handler = ngx_http_tsface_handler;
        }
    }

    if (conf->pass == NULL) {
        return NGX_CONF_OK;
    }

    /*
     * A body that is too large is refused by the transaction, with a record;
     * core would answer before any handler is asked.
     */

    clcf->client_max_body_size = 0;

    tmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tsface_module);

    location = ngx_array_push(&tmcf->locations);
    if (location == NULL) {
        return NGX_CONF_ERROR;
    }

    *location = conf;

    return NGX_CONF_OK;
}


/*
 * A location has one handler, and of two directives the last would win: a
 * proxy_pass behind tsface_pass would forward without a record.
 */
static char *
ngx_http_tsface_set_handler(ngx_conf_t *cf, ngx_http_handler_pt handler)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "is not the only handler of its location";
    }

    clcf->handler = handler;

    return NGX_CONF_OK;
}


static char *
ngx_http_tsface_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_loc_conf_t *tlcf = conf;

    char  *rv;

    rv = ngx_http_set_complex_value_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    tlcf->file = cf->conf_file->file.name.data;
    tlcf->line = cf->conf_file->line;

    return ngx_http_tsface_set_handler(cf, ngx_http_tsface_handler);
}


static char *
ngx_http_tsface_caller(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_loc_conf_t *tlcf = conf;

    ngx_str_t  *value;

    if (tlcf->anonymous != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 9
        && ngx_strncmp(value[1].data, "anonymous", 9) == 0)
    {
        tlcf->anonymous = 1;
        return NGX_CONF_OK;
    }

    tlcf->anonymous = 0;

    if (value[1].len == 0) {
        return "needs a value that says who asks, or \"anonymous\"";
    }

    return ngx_http_set_complex_value_slot(cf, cmd, conf);
}


static char *
ngx_http_tsface_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_loc_conf_t *tlcf = conf;

    ngx_str_t  *value;

    if (tlcf->status != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 1) {
        tlcf->status = NGX_HTTP_TSFACE_STATUS_ACCEPT;

    } else if (ngx_strcmp(value[1].data, "json") == 0) {
        tlcf->status = NGX_HTTP_TSFACE_STATUS_JSON;

    } else if (ngx_strcmp(value[1].data, "prometheus") == 0) {
        tlcf->status = NGX_HTTP_TSFACE_STATUS_PROMETHEUS;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid format \"%V\" in \"tsface_status\": it "
                           "must be json or prometheus, or be left out to "
                           "answer by the Accept header", &value[1]);
        return NGX_CONF_ERROR;
    }

    return ngx_http_tsface_set_handler(cf, ngx_http_tsface_status_handler);
}


static char *
ngx_http_tsface_ready(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_tsface_set_handler(cf, ngx_http_tsface_ready_handler);
}


static ngx_int_t
ngx_http_tsface_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_tsface_add_variables(cf);
}


/* Names are looked up here, so that their order in the file is free. */
static ngx_int_t
ngx_http_tsface_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                       i;
    ngx_http_tsface_loc_conf_t     **locations;
    ngx_http_tsface_main_conf_t     *tmcf;
    ngx_http_tsface_credentials_t  **cp;

    tmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tsface_module);

    if (ngx_http_tsface_check_zone(cf, tmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    cp = tmcf->credentials.elts;

    for (i = 0; i < tmcf->credentials.nelts; i++) {
        cp[i]->index = i;

        if (ngx_http_tsface_endpoint_init(cf, cp[i]->endpoint) != NGX_OK
            || ngx_http_tsface_endpoint_init(cf, cp[i]->token_endpoint)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_http_tsface_limit_stores(cf, &tmcf->limit_zones,
                                     &tmcf->limit_stores)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    locations = tmcf->locations.elts;

    for (i = 0; i < tmcf->locations.nelts; i++) {
        if (ngx_http_tsface_check_location(cf, tmcf, locations[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (tmcf->locations.nelts == 0) {
        return NGX_OK;
    }

    if (ngx_http_tsface_request_id_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = ngx_http_tsface_request_body_filter;

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_tsface_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_tsface_capture_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_check_zone(ngx_conf_t *cf, ngx_http_tsface_main_conf_t *tmcf)
{
    size_t  min;

    if (tmcf->credentials.nelts == 0) {
        return NGX_OK;
    }

    if (tmcf->zone == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tsface_credentials need a \"tsface_zone "
                           "zone=NAME:SIZE\" in http{} for their tokens");
        return NGX_ERROR;
    }

    min = ngx_http_tsface_zone_min_size(tmcf->credentials.nelts,
                                        tmcf->trails.nelts);

    if (tmcf->zone->shm.size < min) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tsface_zone \"%V\" is too small for %ui "
                           "credentials and %ui trails, at least %uzk are "
                           "needed",
                           &tmcf->zone->shm.name, tmcf->credentials.nelts,
                           tmcf->trails.nelts, (min + 1023) / 1024);
        return NGX_ERROR;
    }

    return NGX_OK;
}


#define ngx_http_tsface_location_error(cf, tlcf, fmt, ...)                    \
    ngx_log_error(NGX_LOG_EMERG, (cf)->log, 0, fmt " in %s:%ui",              \
                  __VA_ARGS__, (tlcf)->file, (tlcf)->line)


static ngx_int_t
ngx_http_tsface_check_location(ngx_conf_t *cf,
    ngx_http_tsface_main_conf_t *tmcf, ngx_http_tsface_loc_conf_t *tlcf)
{
    if (tlcf->pass->lengths == NULL) {
        tlcf->credentials = ngx_http_tsface_credentials_find(
                                     &tmcf->credentials, &tlcf->pass->value);

        if (tlcf->credentials == NULL) {
            ngx_http_tsface_location_error(cf, tlcf,
                          "unknown tsface_credentials \"%V\" in "
                          "\"tsface_pass\": define them in http{}",
                          &tlcf->pass->value);
            return NGX_ERROR;
        }
    }

    if (tlcf->anonymous == NGX_CONF_UNSET_UINT) {
        ngx_http_tsface_location_error(cf, tlcf,
                          "\"tsface_pass\" without \"%s\": say who asks, "
                          "or \"tsface_caller anonymous\"", "tsface_caller");
        return NGX_ERROR;
    }

    if (tlcf->audit.len == 0) {
        ngx_http_tsface_location_error(cf, tlcf,
                          "\"tsface_pass\" without \"%s\": name a "
                          "tsface_audit_trail, or \"tsface_audit off\"",
                          "tsface_audit");
        return NGX_ERROR;
    }

    if (tlcf->audit.len != 3 || ngx_strncmp(tlcf->audit.data, "off", 3) != 0) {
        tlcf->trail = ngx_http_tsface_trail_find(&tmcf->trails, &tlcf->audit);

        if (tlcf->trail == NULL) {
            ngx_http_tsface_location_error(cf, tlcf,
                          "unknown tsface_audit_trail \"%V\" in "
                          "\"tsface_audit\": define it in http{}",
                          &tlcf->audit);
            return NGX_ERROR;
        }
    }

    return ngx_http_tsface_limit_check(cf, tlcf->limits);
}


/* In the master, when a configuration has become the current one. */
static ngx_int_t
ngx_http_tsface_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_http_tsface_trail_t      **trails;
    ngx_http_tsface_main_conf_t   *tmcf;

    tmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tsface_module);

    if (tmcf == NULL || ngx_test_config) {
        return NGX_OK;
    }

    if (tmcf->credentials.nelts
        && ngx_http_tsface_wake_create(cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    trails = tmcf->trails.elts;

    for (i = 0; i < tmcf->trails.nelts; i++) {
        if (ngx_http_tsface_trail_init(cycle, trails[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    /* a start, not a reload; and nothing can prevent it any more */

    for (i = 0; i < tmcf->trails.nelts; i++) {
        if (ngx_is_init_cycle(cycle->old_cycle)) {
            ngx_http_tsface_trail_note_start(cycle, trails[i], tmcf->zone);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_tsface_trail_t        **trails;
    ngx_http_tsface_main_conf_t     *tmcf;
    ngx_http_tsface_credentials_t  **cp;
    ngx_http_tsface_limit_store_t  **stores;

    /* not http{} at all; or a cache manager, which serves no requests */

    tmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tsface_module);

    if (tmcf == NULL
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    trails = tmcf->trails.elts;

    for (i = 0; i < tmcf->trails.nelts; i++) {
        if (ngx_http_tsface_trail_start(cycle, trails[i], tmcf->zone)
            != NGX_OK
            || ngx_http_tsface_syslog_start(cycle, trails[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    cp = tmcf->credentials.elts;

    for (i = 0; i < tmcf->credentials.nelts; i++) {
        if (ngx_http_tsface_endpoint_start(cycle, cp[i]->endpoint) != NGX_OK
            || ngx_http_tsface_endpoint_start(cycle, cp[i]->token_endpoint)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    stores = tmcf->limit_stores.elts;

    for (i = 0; i < tmcf->limit_stores.nelts; i++) {
        if (ngx_http_tsface_limit_store_start(stores[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_tsface_token_start(cycle, tmcf->zone, &tmcf->credentials);
}


static void
ngx_http_tsface_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_tsface_trail_t        **trails;
    ngx_http_tsface_main_conf_t     *tmcf;
    ngx_http_tsface_credentials_t  **cp;
    ngx_http_tsface_limit_store_t  **stores;

    tmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tsface_module);

    if (tmcf == NULL
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return;
    }

    ngx_http_tsface_token_stop();

    stores = tmcf->limit_stores.elts;

    for (i = 0; i < tmcf->limit_stores.nelts; i++) {
        ngx_http_tsface_limit_store_stop(stores[i]);
    }

    cp = tmcf->credentials.elts;

    for (i = 0; i < tmcf->credentials.nelts; i++) {
        ngx_http_tsface_endpoint_stop(cp[i]->endpoint);
        ngx_http_tsface_endpoint_stop(cp[i]->token_endpoint);
    }

    /* last: what the others did is in their queues */

    trails = tmcf->trails.elts;

    for (i = 0; i < tmcf->trails.nelts; i++) {
        ngx_http_tsface_syslog_stop(trails[i]);
        ngx_http_tsface_trail_stop(cycle, trails[i]);
    }
}


/* The last that there is of nginx; the workers are gone. */
static void
ngx_http_tsface_exit_master(ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_http_tsface_trail_t      **trails;
    ngx_http_tsface_main_conf_t   *tmcf;

    tmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tsface_module);

    if (tmcf == NULL) {
        return;
    }

    trails = tmcf->trails.elts;

    for (i = 0; i < tmcf->trails.nelts; i++) {
        if (trails[i]->writer) {
            ngx_http_tsface_trail_note_stop(cycle, trails[i], tmcf->zone);
        }
    }
}


static ngx_int_t
ngx_http_tsface_request_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t  rc;

    rc = ngx_http_tsface_body_filter(r, &in);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_next_request_body_filter(r, in);
}


/* What a clone is answered is captured, and goes to no client. */
static ngx_int_t
ngx_http_tsface_header_filter(ngx_http_request_t *r)
{
    if (r != r->main && ngx_http_get_module_ctx(r, ngx_http_tsface_module)) {
        return NGX_OK;
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_tsface_capture_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    if (r != r->main && ngx_http_get_module_ctx(r, ngx_http_tsface_module)) {
        return NGX_OK;
    }

    return ngx_http_next_body_filter(r, in);
}
