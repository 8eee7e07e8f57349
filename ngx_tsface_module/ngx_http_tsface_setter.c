
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_endpoint.h"
#include "ngx_http_tsface_setter.h"


#define NGX_HTTP_TSFACE_TIMEOUT_MAX   3600000
#define NGX_HTTP_TSFACE_SECONDS_MAX   3600


static char *ngx_http_tsface_check_timeout(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_tsface_check_seconds(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_tsface_check_not_empty(ngx_conf_t *cf, void *post,
    void *data);


ngx_conf_post_t  ngx_http_tsface_timeout_post = {
    ngx_http_tsface_check_timeout
};

ngx_conf_post_t  ngx_http_tsface_seconds_post = {
    ngx_http_tsface_check_seconds
};

ngx_conf_post_t  ngx_http_tsface_not_empty_post = {
    ngx_http_tsface_check_not_empty
};


char *
ngx_http_tsface_set_word_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    size_t      i, *max;
    ngx_str_t  *field, *value;

    field = (ngx_str_t *) (p + cmd->offset);

    if (field->data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    max = cmd->post;

    if (value[1].len == 0 || value[1].len > *max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have 1 to %uz characters, not %uz",
                           &cmd->name, *max, value[1].len);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < value[1].len; i++) {

        if (value[1].data[i] <= ' ' || value[1].data[i] >= 0x7f) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid character in \"%V\" \"%V\": only "
                               "visible ASCII is allowed",
                               &cmd->name, &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    *field = value[1];

    return NGX_CONF_OK;
}


char *
ngx_http_tsface_set_url_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t              *field, *value;
    ngx_http_tsface_url_t   url;

    field = (ngx_str_t *) (p + cmd->offset);

    if (field->data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_tsface_endpoint_parse(cf, &value[1],
                                       (const char *) cmd->name.data, &url)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    *field = value[1];

    return NGX_CONF_OK;
}


char *
ngx_http_tsface_set_path_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t  *field, *value;

    field = (ngx_str_t *) (p + cmd->offset);

    if (field->data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "needs the path of a file";
    }

    *field = value[1];

    if (ngx_conf_full_name(cf->cycle, field, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_tsface_setting_equal(const ngx_str_t *one, const ngx_str_t *two)
{
    return one->len == two->len
           && (one->len == 0
               || ngx_memcmp(one->data, two->data, one->len) == 0);
}


static char *
ngx_http_tsface_check_timeout(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *msp = data;

    if (*msp == 0 || *msp > NGX_HTTP_TSFACE_TIMEOUT_MAX) {
        return "must be between 1ms and 1h";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tsface_check_seconds(ngx_conf_t *cf, void *post, void *data)
{
    time_t *sp = data;

    if (*sp == 0 || *sp > NGX_HTTP_TSFACE_SECONDS_MAX) {
        return "must be between 1s and 1h";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tsface_check_not_empty(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t *value = data;

    if (value->len == 0) {
        return "must not be empty";
    }

    return NGX_CONF_OK;
}
