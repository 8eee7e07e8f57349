
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A tsface_limit_zone in one configuration, and the shared memory that it may
 * have from another.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_ZONE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_gcra.h"
#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_limit_table.h"


/*
 * shm_zone->data, of one configuration.  It is made by the first directive
 * that names the zone, whose place it keeps for a message if tsface_limit_zone
 * never comes.
 */
struct ngx_http_tsface_limit_zone_s {
    ngx_http_tsface_limit_table_t  *table;     /* under shpool->mutex */
    ngx_slab_pool_t                *shpool;

    ngx_http_complex_value_t        key;
    ngx_http_tsface_gcra_t          gcra;
    uint64_t                        most;      /* us; that a key is ahead */
    ngx_str_t                       policy;    /* as callers are told */

    /* NULL: the zone decides; else the store does, or the share does */
    ngx_http_tsface_limit_store_t  *store;
    ngx_http_tsface_gcra_t          share;
    ngx_str_t                       store_name;

    u_char                         *file;
    ngx_uint_t                      line;

    unsigned                        defined:1;
};


typedef struct {
    ngx_uint_t                      keys;
    ngx_uint_t                      keys_max;
    ngx_uint_t                      decisions[
                                           NGX_HTTP_TSFACE_LIMIT_NDECISIONS];
    ngx_uint_t                      full;
    ngx_uint_t                      evicted;
    ngx_uint_t                      returned;

    /* most refusals first; a count of 0 ends it */
    ngx_http_tsface_limit_top_t     refusals[NGX_HTTP_TSFACE_LIMIT_NTOP];
} ngx_http_tsface_limit_stat_t;


/* shm_zone->init */
ngx_int_t ngx_http_tsface_limit_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);

/* What the status page tells of a zone; takes its mutex. */
void ngx_http_tsface_limit_zone_stat(ngx_shm_zone_t *shm_zone,
    ngx_http_tsface_limit_stat_t *stat);


#endif /* _NGX_HTTP_TSFACE_LIMIT_ZONE_H_INCLUDED_ */
