
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Transmit's regions, and the URLs that follow from them.
 */


#ifndef _NGX_HTTP_TSFACE_REGION_H_INCLUDED_
#define _NGX_HTTP_TSFACE_REGION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_TSFACE_TOKEN_PATH   "/oidc/token"


typedef struct {
    ngx_str_t    name;
    ngx_str_t    endpoint;
    ngx_str_t    token_endpoint;
} ngx_http_tsface_region_t;


/* By name, or NULL. */
const ngx_http_tsface_region_t *ngx_http_tsface_region_find(
    const ngx_str_t *name);

/*
 * Sets those of the two URLs that are not given (their data is NULL).  region
 * may be NULL if both are.
 */
ngx_int_t ngx_http_tsface_region_urls(ngx_conf_t *cf,
    const ngx_http_tsface_region_t *region, ngx_str_t *endpoint,
    ngx_str_t *token_endpoint);


#endif /* _NGX_HTTP_TSFACE_REGION_H_INCLUDED_ */
