
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_credentials_auth.h"


/* In the order of ngx_http_tsface_auth_method_e. */

static const char  *ngx_http_tsface_auth_names[] = {
    "client_secret_post",
    "client_secret_basic"
};


ngx_int_t
ngx_http_tsface_credentials_auth_check(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials)
{
    ngx_uint_t   method;
    const char  *unused;

    ngx_conf_init_uint_value(credentials->auth_method,
                             NGX_HTTP_TSFACE_CLIENT_SECRET_POST);

    method = credentials->auth_method;

    if (credentials->client_secret == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"client_secret\" in tsface_credentials "
                           "\"%V\"", &credentials->name);
        return NGX_ERROR;
    }

    unused = NULL;

    if (method != NGX_HTTP_TSFACE_CLIENT_SECRET_BASIC
        && credentials->basic_encoding != NGX_CONF_UNSET_UINT)
    {
        unused = "basic_encoding";
    }

    if (unused != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" in tsface_credentials \"%V\" is not used "
                           "by \"token_auth_method %s\"",
                           unused, &credentials->name,
                           ngx_http_tsface_auth_names[method]);
        return NGX_ERROR;
    }

    ngx_conf_init_uint_value(credentials->basic_encoding,
                             NGX_HTTP_TSFACE_BASIC_FORM);

    /* RFC 7617 2: the first colon is where the secret begins */

    if (credentials->basic_encoding == NGX_HTTP_TSFACE_BASIC_RAW
        && ngx_strlchr(credentials->client_id.data,
                       credentials->client_id.data
                       + credentials->client_id.len, ':')
           != NULL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"basic_encoding raw\" can't carry the colon of "
                           "client_id \"%V\"", &credentials->client_id);
        return NGX_ERROR;
    }

    return NGX_OK;
}
