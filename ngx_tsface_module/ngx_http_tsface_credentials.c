
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_block.h"
#include "ngx_http_tsface_credentials.h"
#include "ngx_http_tsface_credentials_auth.h"
#include "ngx_http_tsface_credentials_gate.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_region.h"
#include "ngx_http_tsface_rotation.h"
#include "ngx_http_tsface_setter.h"


#define NGX_HTTP_TSFACE_CLIENT_ID_MAX    512
#define NGX_HTTP_TSFACE_RESOURCE_MAX     2048
#define NGX_HTTP_TSFACE_KEEPALIVE_MAX    1024
#define NGX_HTTP_TSFACE_KEY_ID_MAX       512
#define NGX_HTTP_TSFACE_AUDIENCE_MAX     2048
#define NGX_HTTP_TSFACE_CONCURRENCY_MAX  1000000


static char *ngx_http_tsface_credentials_region(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_tsface_credentials_parameter(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);

static ngx_http_tsface_credentials_t *ngx_http_tsface_credentials_first(
    const ngx_array_t *array, ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_credentials_required(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_credentials_secrets(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials);
static void ngx_http_tsface_credentials_defaults(
    ngx_http_tsface_credentials_t *credentials);
static ngx_int_t ngx_http_tsface_credentials_endpoints(ngx_conf_t *cf,
    ngx_array_t *endpoints, ngx_http_tsface_credentials_t *credentials);
static ngx_uint_t ngx_http_tsface_credentials_same_peer(
    const ngx_http_tsface_url_t *one, const ngx_http_tsface_url_t *two);


/* Fields that the token request has already, or must not have. */

static const ngx_str_t  ngx_http_tsface_reserved_parameters[] = {
    ngx_string("grant_type"),
    ngx_string("client_id"),
    ngx_string("client_secret"),
    ngx_string("resource"),
    ngx_string("client_assertion"),
    ngx_string("client_assertion_type"),
    ngx_null_string
};


static ngx_conf_enum_t  ngx_http_tsface_auth_methods[] = {
    { ngx_string("client_secret_post"), NGX_HTTP_TSFACE_CLIENT_SECRET_POST },
    { ngx_string("client_secret_basic"), NGX_HTTP_TSFACE_CLIENT_SECRET_BASIC },
    { ngx_string("private_key_jwt"), NGX_HTTP_TSFACE_PRIVATE_KEY_JWT },
    { ngx_string("tls_client_auth"), NGX_HTTP_TSFACE_TLS_CLIENT_AUTH },
    { ngx_string("self_signed_tls_client_auth"),
      NGX_HTTP_TSFACE_SELF_SIGNED_TLS_CLIENT_AUTH },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_tsface_basic_encodings[] = {
    { ngx_string("form"), NGX_HTTP_TSFACE_BASIC_FORM },
    { ngx_string("raw"), NGX_HTTP_TSFACE_BASIC_RAW },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_tsface_algorithms[] = {
    { ngx_string("RS256"), NGX_HTTP_TSFACE_RS256 },
    { ngx_string("PS256"), NGX_HTTP_TSFACE_PS256 },
    { ngx_string("ES256"), NGX_HTTP_TSFACE_ES256 },
    { ngx_null_string, 0 }
};


static size_t  ngx_http_tsface_client_id_max = NGX_HTTP_TSFACE_CLIENT_ID_MAX;
static size_t  ngx_http_tsface_resource_max = NGX_HTTP_TSFACE_RESOURCE_MAX;
static size_t  ngx_http_tsface_key_id_max = NGX_HTTP_TSFACE_KEY_ID_MAX;
static size_t  ngx_http_tsface_audience_max = NGX_HTTP_TSFACE_AUDIENCE_MAX;

static size_t  ngx_http_tsface_key_min = NGX_HTTP_TSFACE_SECRET_WHOLE;


static ngx_conf_num_bounds_t  ngx_http_tsface_keepalive_bounds = {
    ngx_conf_check_num_bounds, 0, NGX_HTTP_TSFACE_KEEPALIVE_MAX
};

static ngx_conf_num_bounds_t  ngx_http_tsface_keepalive_requests_bounds = {
    ngx_conf_check_num_bounds, 1, -1
};

static ngx_conf_num_bounds_t  ngx_http_tsface_concurrency_bounds = {
    ngx_conf_check_num_bounds, 1, NGX_HTTP_TSFACE_CONCURRENCY_MAX
};


static ngx_command_t  ngx_http_tsface_credentials_commands[] = {

    { ngx_string("region"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_credentials_region,
      0,
      offsetof(ngx_http_tsface_credentials_t, region),
      NULL },

    { ngx_string("endpoint"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_set_url_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, endpoint_url),
      NULL },

    { ngx_string("token_endpoint"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_set_url_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, token_endpoint_url),
      NULL },

    { ngx_string("client_id"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_set_word_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, client_id),
      &ngx_http_tsface_client_id_max },

    { ngx_string("client_secret"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, client_secret),
      NULL },

    { ngx_string("client_secret_next"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, client_secret_next),
      NULL },

    { ngx_string("token_auth_method"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, auth_method),
      ngx_http_tsface_auth_methods },

    { ngx_string("basic_encoding"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, basic_encoding),
      ngx_http_tsface_basic_encodings },

    { ngx_string("client_key"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, client_key),
      &ngx_http_tsface_key_min },

    { ngx_string("client_key_password"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, client_key_password),
      NULL },

    { ngx_string("client_certificate"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_set_path_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, client_certificate),
      NULL },

    { ngx_string("client_certificate_key"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, client_certificate_key),
      &ngx_http_tsface_key_min },

    { ngx_string("assertion_algorithm"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, assertion.algorithm),
      ngx_http_tsface_algorithms },

    { ngx_string("assertion_key_id"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_set_word_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, assertion.key_id),
      &ngx_http_tsface_key_id_max },

    { ngx_string("assertion_audience"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_set_word_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, assertion.audience),
      &ngx_http_tsface_audience_max },

    { ngx_string("assertion_lifetime"),
      NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, assertion.lifetime),
      &ngx_http_tsface_seconds_post },

    { ngx_string("resource"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_set_word_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, resource),
      &ngx_http_tsface_resource_max },

    { ngx_string("parameter"),
      NGX_CONF_TAKE2,
      ngx_http_tsface_credentials_parameter,
      0,
      offsetof(ngx_http_tsface_credentials_t, parameters),
      NULL },

    ngx_http_tsface_tls_commands(ngx_http_tsface_credentials_t,
                                 endpoint_conf.tls),

    { ngx_string("ssl_session_reuse"),
      NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t,
               endpoint_conf.ssl_session_reuse),
      NULL },

    { ngx_string("connect_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, endpoint_conf.connect_timeout),
      &ngx_http_tsface_timeout_post },

    { ngx_string("send_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, endpoint_conf.send_timeout),
      &ngx_http_tsface_timeout_post },

    { ngx_string("read_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, endpoint_conf.read_timeout),
      &ngx_http_tsface_timeout_post },

    { ngx_string("exchange_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, exchange_timeout),
      &ngx_http_tsface_timeout_post },

    { ngx_string("token_wait"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, token_wait),
      &ngx_http_tsface_timeout_post },

    { ngx_string("min_interval"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, min_interval),
      &ngx_http_tsface_timeout_post },

    { ngx_string("required"),
      NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, required),
      NULL },

    { ngx_string("rate"),
      NGX_CONF_TAKE12,
      ngx_http_tsface_credentials_rate,
      0,
      0,
      NULL },

    { ngx_string("concurrency"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, gate.concurrency),
      &ngx_http_tsface_concurrency_bounds },

    { ngx_string("retry_after_max"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_credentials_pause,
      0,
      offsetof(ngx_http_tsface_credentials_t, gate.retry_after_max),
      NULL },

    { ngx_string("breaker"),
      NGX_CONF_TAKE123,
      ngx_http_tsface_credentials_breaker,
      0,
      0,
      NULL },

    { ngx_string("slow_start"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_credentials_pause,
      0,
      offsetof(ngx_http_tsface_credentials_t, gate.slow_start),
      NULL },

    { ngx_string("keepalive"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t, endpoint_conf.keepalive),
      &ngx_http_tsface_keepalive_bounds },

    { ngx_string("keepalive_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t,
               endpoint_conf.keepalive_timeout),
      &ngx_http_tsface_timeout_post },

    { ngx_string("keepalive_requests"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_http_tsface_credentials_t,
               endpoint_conf.keepalive_requests),
      &ngx_http_tsface_keepalive_requests_bounds },

      ngx_null_command
};


char *
ngx_http_tsface_credentials_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_tsface_main_conf_t *tmcf = conf;

    char                             *rv;
    ngx_http_tsface_credentials_t    *credentials;
    ngx_http_tsface_endpoint_conf_t  *ecf;

    credentials = ngx_http_tsface_block_create(cf, cmd, &tmcf->credentials,
                                       sizeof(ngx_http_tsface_credentials_t));
    if (credentials == NULL) {
        return NGX_CONF_ERROR;
    }

    /*
     * set by ngx_http_tsface_block_create():
     *
     *     credentials->name;
     *     all other strings = { 0, NULL };
     *     credentials->client_secret = NULL;
     *     credentials->client_secret_next = NULL;
     *     credentials->client_key = NULL;
     *     credentials->client_key_password = NULL;
     *     credentials->client_certificate_key = NULL;
     *     credentials->assertion.key = NULL;
     *     credentials->thread_pool = NULL;
     *     credentials->parameters = NULL;
     *     credentials->endpoint_conf.tls = { 0 };
     */

    credentials->auth_method = NGX_CONF_UNSET_UINT;
    credentials->basic_encoding = NGX_CONF_UNSET_UINT;
    credentials->assertion.algorithm = NGX_CONF_UNSET_UINT;
    credentials->assertion.lifetime = NGX_CONF_UNSET;
    credentials->exchange_timeout = NGX_CONF_UNSET_MSEC;
    credentials->token_wait = NGX_CONF_UNSET_MSEC;
    credentials->min_interval = NGX_CONF_UNSET_MSEC;
    credentials->required = NGX_CONF_UNSET;

    ngx_http_tsface_credentials_gate_create(credentials);

    ecf = &credentials->endpoint_conf;

    ngx_http_tsface_tls_unset(&ecf->tls);

    ecf->ssl_session_reuse = NGX_CONF_UNSET;
    ecf->connect_timeout = NGX_CONF_UNSET_MSEC;
    ecf->send_timeout = NGX_CONF_UNSET_MSEC;
    ecf->read_timeout = NGX_CONF_UNSET_MSEC;
    ecf->keepalive = NGX_CONF_UNSET_UINT;
    ecf->keepalive_timeout = NGX_CONF_UNSET_MSEC;
    ecf->keepalive_requests = NGX_CONF_UNSET_UINT;

    rv = ngx_http_tsface_block_parse(cf, ngx_http_tsface_credentials_commands,
                                     credentials, "tsface_credentials");
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_http_tsface_credentials_required(cf, credentials) != NGX_OK
        || ngx_http_tsface_credentials_auth(cf, credentials) != NGX_OK
        || ngx_http_tsface_credentials_secrets(cf, credentials) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_http_tsface_credentials_defaults(credentials);

    if (ngx_http_tsface_credentials_endpoints(cf, &tmcf->endpoints,
                                              credentials)
        != NGX_OK
        || ngx_http_tsface_credentials_auth_complete(cf, credentials)
           != NGX_OK
        || ngx_http_tsface_credentials_gate_init(cf, credentials) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_tsface_credentials_fingerprint(credentials) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "could not make the fingerprint of "
                           "tsface_credentials \"%V\"", &credentials->name);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_tsface_credentials_gate_check(cf, &tmcf->credentials,
                                               credentials)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    credentials->index = tmcf->credentials.nelts;
    credentials->first = ngx_http_tsface_credentials_first(&tmcf->credentials,
                                                           credentials);

    return ngx_http_tsface_block_add(&tmcf->credentials, credentials);
}


/* Under several names, a client has one slot in the zone. */
static ngx_http_tsface_credentials_t *
ngx_http_tsface_credentials_first(const ngx_array_t *array,
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_uint_t                       i;
    ngx_http_tsface_credentials_t  **cp;

    cp = array->elts;

    for (i = 0; i < array->nelts; i++) {
        if (ngx_memcmp(cp[i]->fingerprint, credentials->fingerprint,
                       NGX_HTTP_TSFACE_FINGERPRINT_LEN)
            == 0)
        {
            return cp[i];
        }
    }

    return credentials;
}


ngx_http_tsface_credentials_t *
ngx_http_tsface_credentials_find(const ngx_array_t *credentials,
    const ngx_str_t *name)
{
    return ngx_http_tsface_block_find(credentials, name);
}


static char *
ngx_http_tsface_credentials_region(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_tsface_credentials_t *credentials = conf;

    ngx_str_t                       *value;
    const ngx_http_tsface_region_t  *region;

    if (credentials->region.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    region = ngx_http_tsface_region_find(&value[1]);

    if (region == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown region \"%V\": it must be sbx, us, eu, "
                           "ca, au or jp; for another host give \"endpoint\" "
                           "and \"token_endpoint\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    credentials->region = region->name;

    return NGX_CONF_OK;
}


static char *
ngx_http_tsface_credentials_parameter(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_tsface_credentials_t *credentials = conf;

    ngx_str_t        *value;
    ngx_uint_t        i;
    ngx_keyval_t     *kv;
    const ngx_str_t  *reserved;

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" needs a name", &cmd->name);
        return NGX_CONF_ERROR;
    }

    /* the value is not quoted: it may be confidential */

    for (reserved = ngx_http_tsface_reserved_parameters;
         reserved->len;
         reserved++)
    {
        if (reserved->len == value[1].len
            && ngx_strcmp(reserved->data, value[1].data) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" can't be named \"%V\", which the "
                               "module sets itself", &cmd->name, &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    if (credentials->parameters == NULL) {
        credentials->parameters = ngx_array_create(cf->pool, 4,
                                                   sizeof(ngx_keyval_t));
        if (credentials->parameters == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    kv = credentials->parameters->elts;

    for (i = 0; i < credentials->parameters->nelts; i++) {

        if (kv[i].key.len == value[1].len
            && ngx_strcmp(kv[i].key.data, value[1].data) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate \"%V\" \"%V\"",
                               &cmd->name, &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    kv = ngx_array_push(credentials->parameters);
    if (kv == NULL) {
        return NGX_CONF_ERROR;
    }

    kv->key = value[1];
    kv->value = value[2];

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_tsface_credentials_required(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials)
{
    if (credentials->region.data == NULL
        && (credentials->endpoint_url.data == NULL
            || credentials->token_endpoint_url.data == NULL))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"region\" in tsface_credentials \"%V\": give "
                           "it, or both \"endpoint\" and \"token_endpoint\"",
                           &credentials->name);
        return NGX_ERROR;
    }

    if (credentials->client_id.data == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"client_id\" in tsface_credentials \"%V\"",
                           &credentials->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* The next secret has one place; threads read again what workers may read. */
static ngx_int_t
ngx_http_tsface_credentials_secrets(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_http_tsface_secret_t  *current, *next;

    current = credentials->client_secret;
    next = credentials->client_secret_next;

    if (next && (current == NULL || current->next.len || next->next.len)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"client_secret_next\" in tsface_credentials "
                           "\"%V\" needs a \"client_secret\", and one line "
                           "in each of them", &credentials->name);
        return NGX_ERROR;
    }

    if (!ngx_http_tsface_rotation_rereads(credentials)) {
        return NGX_OK;
    }

    credentials->thread_pool = ngx_thread_pool_add(cf, NULL);

    return credentials->thread_pool ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_tsface_credentials_defaults(
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_http_tsface_endpoint_conf_t  *ecf;

    ngx_conf_init_msec_value(credentials->exchange_timeout, 5000);
    ngx_conf_init_msec_value(credentials->token_wait, 6000);
    ngx_conf_init_msec_value(credentials->min_interval, 5000);
    ngx_conf_init_value(credentials->required, 1);

    ecf = &credentials->endpoint_conf;

    ngx_http_tsface_tls_defaults(&ecf->tls);

    ngx_conf_init_value(ecf->ssl_session_reuse, 1);
    ngx_conf_init_msec_value(ecf->connect_timeout, 2000);
    ngx_conf_init_msec_value(ecf->send_timeout, 10000);
    ngx_conf_init_msec_value(ecf->read_timeout, 10000);
    ngx_conf_init_uint_value(ecf->keepalive, 16);
    ngx_conf_init_msec_value(ecf->keepalive_timeout, 60000);
    ngx_conf_init_uint_value(ecf->keepalive_requests, 1000);
}


static ngx_int_t
ngx_http_tsface_credentials_endpoints(ngx_conf_t *cf, ngx_array_t *endpoints,
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_http_tsface_url_t             url, token_url;
    const ngx_http_tsface_region_t   *region;
    ngx_http_tsface_endpoint_conf_t  *ecf;

    ecf = &credentials->endpoint_conf;
    region = ngx_http_tsface_region_find(&credentials->region);

    if (region == NULL) {
        ngx_str_set(&credentials->region, "custom");
    }

    if (ngx_http_tsface_region_urls(cf, region, &credentials->endpoint_url,
                                    &credentials->token_endpoint_url)
        != NGX_OK
        || ngx_http_tsface_endpoint_parse(cf, &credentials->endpoint_url,
                                          "endpoint", &url)
           != NGX_OK
        || ngx_http_tsface_endpoint_parse(cf, &credentials->token_endpoint_url,
                                          "token_endpoint", &token_url)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (token_url.path.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"token_endpoint\" \"%V\" has no path: "
                           "\"" NGX_HTTP_TSFACE_TOKEN_PATH "\" is the usual",
                           &credentials->token_endpoint_url);
        return NGX_ERROR;
    }

    credentials->base = url.path;
    credentials->token_uri = token_url.path;

    credentials->endpoint = ngx_http_tsface_endpoint_create(cf, endpoints,
                                                            &url, ecf);
    if (credentials->endpoint == NULL) {
        return NGX_ERROR;
    }

    /*
     * One host has one set of idle connections and TLS sessions: tokens and
     * revokes share them, as they share ecf and thus their trust.
     */

    if (ngx_http_tsface_credentials_same_peer(&url, &token_url)) {
        credentials->token_endpoint = credentials->endpoint;
        return NGX_OK;
    }

    credentials->token_endpoint = ngx_http_tsface_endpoint_create(cf,
                                                            endpoints,
                                                            &token_url, ecf);
    if (credentials->token_endpoint == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_tsface_credentials_same_peer(const ngx_http_tsface_url_t *one,
    const ngx_http_tsface_url_t *two)
{
    return one->tls == two->tls
           && one->port == two->port
           && one->host.len == two->host.len
           && ngx_strncasecmp(one->host.data, two->host.data, one->host.len)
              == 0;
}
