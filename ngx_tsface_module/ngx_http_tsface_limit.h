
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Limits: GCRA (gcra.h) on a key, in shared zones of their own.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_gcra.h"


#define NGX_HTTP_TSFACE_MAX_LIMITS   8


typedef struct ngx_http_tsface_limit_zone_s  ngx_http_tsface_limit_zone_t;


/* What the limits of a location said to one request. */
typedef struct {
    ngx_http_tsface_limit_zone_t   *zone;      /* the strictest, or NULL */
    ngx_http_tsface_gcra_result_t   gcra;
    ngx_http_tsface_gcra_t          rate;
    ngx_str_t                       name;      /* the zone's */
} ngx_http_tsface_limit_result_t;


/*
 * tsface_limit_zone KEY zone=NAME:SIZE rate=Nr/s|m|h|d [burst=N]: appends to
 * main conf's limit_zones, an array of pointers.
 */
char *ngx_http_tsface_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * tsface_limit zone=NAME | off: appends to an ngx_array_t * of
 * ngx_shm_zone_t * at cmd->offset of a location's configuration (NULL-able,
 * starts as NGX_CONF_UNSET_PTR; "off" makes it NULL).  Names may come before
 * their zone.
 */
char *ngx_http_tsface_limit_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* postconfiguration: emerg for a tsface_limit whose zone nobody defined. */
ngx_int_t ngx_http_tsface_limit_check(ngx_conf_t *cf, ngx_array_t *limits);

/*
 * Applies all limits to the request, all or nothing: NGX_OK (taken from each
 * of them), NGX_BUSY (refused by at least one, taken from none; result tells
 * the longest wait), NGX_ERROR (no memory in a zone and nothing to evict: the
 * request must be refused; result->gcra.retry is 1 s).  result->zone is the
 * strictest limit (least remaining) on NGX_OK, for RateLimit headers, NULL if
 * no limit applied.  A key that evaluates to an empty value is exempt.
 */
ngx_int_t ngx_http_tsface_limit_apply(ngx_http_request_t *r,
    ngx_array_t *limits, ngx_http_tsface_limit_result_t *result);


#endif /* _NGX_HTTP_TSFACE_LIMIT_H_INCLUDED_ */
