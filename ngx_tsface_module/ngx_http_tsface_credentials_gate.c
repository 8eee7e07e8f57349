
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_credentials_gate.h"


#define NGX_HTTP_TSFACE_RATE_BURST_MAX       1000000
#define NGX_HTTP_TSFACE_BREAKER_FAILURES_MAX 1000000

#define NGX_HTTP_TSFACE_RETRY_AFTER_MAX      60000000
#define NGX_HTTP_TSFACE_BREAKER_OPEN         5000000
#define NGX_HTTP_TSFACE_BREAKER_OPEN_MAX     60000000

/* What a probe may take that no time of the configuration bounds, in ms. */
#define NGX_HTTP_TSFACE_PROBE_GRACE          10000

#define NGX_HTTP_TSFACE_GATE_UNSET           ((uint64_t) -1)


static ngx_int_t ngx_http_tsface_credentials_time(ngx_conf_t *cf,
    ngx_command_t *cmd, const ngx_str_t *param, size_t skip, uint64_t *time);


char *
ngx_http_tsface_credentials_rate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_tsface_credentials_t *credentials = conf;

    ngx_int_t                burst;
    ngx_str_t               *value;
    ngx_http_tsface_gcra_t  *rate;

    rate = &credentials->gate.rate;

    if (rate->rate) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_tsface_gcra_parse_rate(rate, &value[1]) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid rate \"%V\": it must be Nr/s, Nr/m, Nr/h "
                           "or Nr/d with N between 1 and 1000000", &value[1]);
        return NGX_CONF_ERROR;
    }

    burst = 0;

    if (cf->args->nelts == 3) {
        burst = ngx_strncmp(value[2].data, "burst=", 6) == 0
                ? ngx_atoi(value[2].data + 6, value[2].len - 6) : NGX_ERROR;

        if (burst < 0 || burst > NGX_HTTP_TSFACE_RATE_BURST_MAX) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"%V\": it must "
                               "be burst=N with N between 0 and %d",
                               &value[2], &cmd->name,
                               NGX_HTTP_TSFACE_RATE_BURST_MAX);
            return NGX_CONF_ERROR;
        }
    }

    ngx_http_tsface_gcra_init(rate, (ngx_uint_t) burst);

    return NGX_CONF_OK;
}


char *
ngx_http_tsface_credentials_breaker(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_tsface_credentials_t *credentials = conf;

    ngx_int_t                     n;
    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_http_tsface_gate_conf_t  *gate;

    gate = &credentials->gate;

    if (gate->failures != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    gate->failures = 0;

    if (ngx_strcmp(value[1].data, "off") == 0 && cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "failures=", 9) == 0
            && gate->failures == 0)
        {
            n = ngx_atoi(value[i].data + 9, value[i].len - 9);

            if (n < 1 || n > NGX_HTTP_TSFACE_BREAKER_FAILURES_MAX) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\" of \"%V\": it "
                                   "must be between 1 and %d", &value[i],
                                   &cmd->name,
                                   NGX_HTTP_TSFACE_BREAKER_FAILURES_MAX);
                return NGX_CONF_ERROR;
            }

            gate->failures = (ngx_uint_t) n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "open=", 5) == 0
            && gate->open == NGX_HTTP_TSFACE_GATE_UNSET)
        {
            if (ngx_http_tsface_credentials_time(cf, cmd, &value[i], 5,
                                                 &gate->open)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "open_max=", 9) == 0
            && gate->open_max == NGX_HTTP_TSFACE_GATE_UNSET)
        {
            if (ngx_http_tsface_credentials_time(cf, cmd, &value[i], 9,
                                                 &gate->open_max)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid or repeated parameter \"%V\" of \"%V\"",
                           &value[i], &cmd->name);
        return NGX_CONF_ERROR;
    }

    if (gate->failures == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must be \"off\", or have the \"failures\" "
                           "parameter", &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_tsface_credentials_pause(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char  *p = conf;

    uint64_t   *time;
    ngx_str_t  *value;

    time = (uint64_t *) (p + cmd->offset);

    if (*time != NGX_HTTP_TSFACE_GATE_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        *time = 0;
        return NGX_CONF_OK;
    }

    return ngx_http_tsface_credentials_time(cf, cmd, &value[1], 0, time)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* What stands behind the first skip bytes of param. */
static ngx_int_t
ngx_http_tsface_credentials_time(ngx_conf_t *cf, ngx_command_t *cmd,
    const ngx_str_t *param, size_t skip, uint64_t *time)
{
    ngx_int_t  ms;
    ngx_str_t  value;

    value.data = param->data + skip;
    value.len = param->len - skip;

    ms = ngx_parse_time(&value, 0);

    if (ms < 1
        || (uint64_t) ms > NGX_HTTP_TSFACE_GATE_MAX_TIME / 1000)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\" of \"%V\": it must be between "
                           "1ms and 1h", param, &cmd->name);
        return NGX_ERROR;
    }

    *time = (uint64_t) ms * 1000;

    return NGX_OK;
}


void
ngx_http_tsface_credentials_gate_create(
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_http_tsface_gate_conf_t  *gate;

    gate = &credentials->gate;

    /* the block's own zeroes: gate->rate */

    gate->concurrency = NGX_CONF_UNSET_UINT;
    gate->failures = NGX_CONF_UNSET_UINT;
    gate->open = NGX_HTTP_TSFACE_GATE_UNSET;
    gate->open_max = NGX_HTTP_TSFACE_GATE_UNSET;
    gate->retry_after_max = NGX_HTTP_TSFACE_GATE_UNSET;
    gate->slow_start = NGX_HTTP_TSFACE_GATE_UNSET;
}


ngx_int_t
ngx_http_tsface_credentials_gate_init(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_http_tsface_gate_conf_t            *gate;
    const ngx_http_tsface_endpoint_conf_t  *ecf;

    gate = &credentials->gate;
    ecf = &credentials->endpoint_conf;

    ngx_conf_init_uint_value(gate->concurrency, 0);
    ngx_conf_init_uint_value(gate->failures, 0);

    if (gate->retry_after_max == NGX_HTTP_TSFACE_GATE_UNSET) {
        gate->retry_after_max = NGX_HTTP_TSFACE_RETRY_AFTER_MAX;
    }

    if (gate->slow_start == NGX_HTTP_TSFACE_GATE_UNSET) {
        gate->slow_start = 0;
    }

    if (gate->open_max == NGX_HTTP_TSFACE_GATE_UNSET) {
        gate->open_max = NGX_HTTP_TSFACE_BREAKER_OPEN_MAX;

        if (gate->open != NGX_HTTP_TSFACE_GATE_UNSET) {
            gate->open_max = ngx_max(gate->open, gate->open_max);
        }
    }

    if (gate->open == NGX_HTTP_TSFACE_GATE_UNSET) {
        gate->open = ngx_min(NGX_HTTP_TSFACE_BREAKER_OPEN, gate->open_max);
    }

    if (gate->open > gate->open_max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"open\" is longer than \"open_max\" in the "
                           "\"breaker\" of tsface_credentials \"%V\"",
                           &credentials->name);
        return NGX_ERROR;
    }

    if (gate->slow_start && gate->rate.rate == 0 && gate->concurrency == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"slow_start\" in tsface_credentials \"%V\" needs "
                           "a \"rate\" or a \"concurrency\" to come up to",
                           &credentials->name);
        return NGX_ERROR;
    }

    /* a connection may be tried anew, the token be waited for, the disk too */

    gate->probe = (2 * ((uint64_t) ecf->connect_timeout + ecf->send_timeout
                        + ecf->read_timeout)
                   + credentials->token_wait + NGX_HTTP_TSFACE_PROBE_GRACE)
                  * 1000;

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_credentials_gate_check(ngx_conf_t *cf,
    const ngx_array_t *array, const ngx_http_tsface_credentials_t *credentials)
{
    ngx_uint_t                             i;
    const ngx_http_tsface_gate_conf_t     *one, *two;
    const ngx_http_tsface_credentials_t  **cp;

    cp = array->elts;
    one = &credentials->gate;

    for (i = 0; i < array->nelts; i++) {

        if (ngx_memcmp(cp[i]->gate_key, credentials->gate_key,
                       NGX_HTTP_TSFACE_FINGERPRINT_LEN)
            != 0)
        {
            continue;
        }

        two = &cp[i]->gate;

        if (one->rate.rate == two->rate.rate
            && one->rate.period == two->rate.period
            && one->rate.burst == two->rate.burst
            && one->concurrency == two->concurrency
            && one->retry_after_max == two->retry_after_max
            && one->failures == two->failures
            && one->open == two->open
            && one->open_max == two->open_max
            && one->slow_start == two->slow_start)
        {
            return NGX_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tsface_credentials \"%V\" and \"%V\" are one "
                           "client at one endpoint: give them the same "
                           "\"rate\", \"concurrency\", \"retry_after_max\", "
                           "\"breaker\" and \"slow_start\"",
                           &cp[i]->name, &credentials->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}
