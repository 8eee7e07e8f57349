
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_endpoint.h"
#include "ngx_http_tsface_region.h"


#define ngx_http_tsface_region(name, host)                                    \
    { ngx_string(name),                                                       \
      ngx_string("https://" host "/cis"),                                     \
      ngx_string("https://" host NGX_HTTP_TSFACE_TOKEN_PATH) }

static const ngx_http_tsface_region_t  ngx_http_tsface_regions[] = {

    ngx_http_tsface_region("sbx", "api.sbx.transmitsecurity.io"),
    ngx_http_tsface_region("us", "api.transmitsecurity.io"),
    ngx_http_tsface_region("eu", "api.eu.transmitsecurity.io"),
    ngx_http_tsface_region("ca", "api.ca.transmitsecurity.io"),
    ngx_http_tsface_region("au", "api.au.transmitsecurity.io"),
    ngx_http_tsface_region("jp", "api.gasne1-ts01.transmitsecurity.io"),

    { ngx_null_string, ngx_null_string, ngx_null_string }
};


const ngx_http_tsface_region_t *
ngx_http_tsface_region_find(const ngx_str_t *name)
{
    const ngx_http_tsface_region_t  *region;

    for (region = ngx_http_tsface_regions; region->name.len; region++) {

        if (region->name.len == name->len
            && ngx_memcmp(region->name.data, name->data, name->len) == 0)
        {
            return region;
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_tsface_region_urls(ngx_conf_t *cf,
    const ngx_http_tsface_region_t *region, ngx_str_t *endpoint,
    ngx_str_t *token_endpoint)
{
    u_char                 *p;
    ngx_http_tsface_url_t   url;

    if (endpoint->data == NULL) {
        *endpoint = region->endpoint;

        if (token_endpoint->data == NULL) {
            *token_endpoint = region->token_endpoint;
        }

        return NGX_OK;
    }

    if (token_endpoint->data != NULL) {
        return NGX_OK;
    }

    /*
     * The host of an endpoint of one's own (a custom domain) has its token
     * endpoint too: without a region, or with another host than the region's,
     * the region's token endpoint is never asked.
     */

    if (ngx_http_tsface_endpoint_parse(cf, endpoint, "endpoint", &url)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(cf->pool, sizeof("https://") - 1 + url.authority.len
                              + sizeof(NGX_HTTP_TSFACE_TOKEN_PATH));
    if (p == NULL) {
        return NGX_ERROR;
    }

    token_endpoint->data = p;

    p = ngx_sprintf(p, "%s://%V" NGX_HTTP_TSFACE_TOKEN_PATH,
                    url.tls ? "https" : "http", &url.authority);

    token_endpoint->len = p - token_endpoint->data;
    *p = '\0';

    return NGX_OK;
}
