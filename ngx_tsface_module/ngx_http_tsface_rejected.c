
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_challenge.h"
#include "ngx_http_tsface_rejected.h"


static ngx_uint_t ngx_http_tsface_rejected_status(const ngx_array_t *statuses,
    ngx_uint_t status);


char *
ngx_http_tsface_rejected_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t     *value;
    ngx_int_t      status;
    ngx_uint_t     i, *elt;
    ngx_array_t  **statuses;

    statuses = (ngx_array_t **) (p + cmd->offset);

    if (*statuses != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    *statuses = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                 sizeof(ngx_uint_t));
    if (*statuses == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        status = ngx_atoi(value[i].data, value[i].len);

        /*
         * Only where the request was refused as it came: any other may have
         * been carried out.  408 and 429 are about time, not about a token.
         */

        if (status < 400 || status > 499 || status == 408 || status == 429) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid status \"%V\" in \"%V\": 400 to 499 "
                               "without 408 and 429 can mean that a token was "
                               "rejected", &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }

        if (ngx_http_tsface_rejected_status(*statuses, status)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate status \"%V\" in \"%V\"",
                               &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }

        elt = ngx_array_push(*statuses);
        if (elt == NULL) {
            return NGX_CONF_ERROR;
        }

        *elt = status;
    }

    return NGX_CONF_OK;
}


/*
 * RFC 6750 3.1: "invalid_token" says so with any status, and a token without
 * the scope it would need is none that another exchange could mend.
 */
ngx_uint_t
ngx_http_tsface_rejected(const ngx_array_t *statuses,
    const ngx_http_tsface_attempt_t *attempt)
{
    ngx_str_t                           name;
    ngx_uint_t                          i;
    ngx_http_tsface_challenge_e         error;
    ngx_http_tsface_response_header_t  *header;

    if (attempt->status < 400 || attempt->status > 499) {
        return 0;
    }

    ngx_str_set(&name, "WWW-Authenticate");

    header = attempt->headers.elts;

    for (i = 0; i < attempt->headers.nelts; i++) {

        if (header[i].name.len != name.len
            || ngx_strncasecmp(header[i].name.data, name.data, name.len) != 0)
        {
            continue;
        }

        error = ngx_http_tsface_challenge_error(&header[i].value);

        if (error != NGX_HTTP_TSFACE_CHALLENGE_NONE) {
            return error == NGX_HTTP_TSFACE_CHALLENGE_TOKEN;
        }
    }

    return ngx_http_tsface_rejected_status(statuses, attempt->status);
}


static ngx_uint_t
ngx_http_tsface_rejected_status(const ngx_array_t *statuses, ngx_uint_t status)
{
    ngx_uint_t  i, *elt;

    if (statuses == NULL) {
        return status == NGX_HTTP_UNAUTHORIZED;
    }

    elt = statuses->elts;

    for (i = 0; i < statuses->nelts; i++) {
        if (elt[i] == status) {
            return 1;
        }
    }

    return 0;
}
