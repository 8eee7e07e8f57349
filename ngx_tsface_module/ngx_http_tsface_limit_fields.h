
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What limits say to the caller: the fields RateLimit-Policy and RateLimit of
 * draft-ietf-httpapi-ratelimit-headers, lists of structured fields (RFC 9651).
 * Pure.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_FIELDS_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_FIELDS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_limit.h"


/* Sets zone->policy, in pool: what the first field says of it; or NGX_ERROR. */
ngx_int_t ngx_http_tsface_limit_fields_zone(ngx_pool_t *pool,
    const ngx_str_t *name, ngx_http_tsface_limit_zone_t *zone);

/* Room for the longer of the two fields. */
size_t ngx_http_tsface_limit_fields_size(
    const ngx_http_tsface_limits_t *limits);

/*
 * Each limit that the request was asked about, the strictest first; dry runs
 * are no business of the caller's.  The second leaves out what is not known:
 * a key for which there was no room.  Empty: nothing to tell.
 */
u_char *ngx_http_tsface_limit_fields_policy(u_char *p,
    const ngx_http_tsface_limits_t *limits);
u_char *ngx_http_tsface_limit_fields_state(u_char *p,
    const ngx_http_tsface_limits_t *limits);

/* Can a field of this value be one line of a list with ours? */
ngx_uint_t ngx_http_tsface_limit_fields_joins(const ngx_str_t *value);


#endif /* _NGX_HTTP_TSFACE_LIMIT_FIELDS_H_INCLUDED_ */
