
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The shared memory of a tsface_limit_zone: keys and their times.  All but
 * init is called with its mutex, zone->shpool->mutex, locked.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_ZONE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_gcra.h"
#include "ngx_http_tsface_limit.h"


#define NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN   16


/*
 * A key and its theoretical arrival time.  Keys are kept as the first half of
 * their SHA-256: of one size whatever a caller is called, and not to be read
 * from a core file.
 */
typedef struct {
    ngx_rbtree_node_t               by_key;
    ngx_rbtree_node_t               by_tat;
    uint64_t                        tat;
    u_char                          digest[NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN];
} ngx_http_tsface_limit_node_t;


/*
 * All of a zone's memory: one block, taken when the zone is made.  Nodes below
 * top are in both trees, those from it on were never used; none is ever given
 * back, it is taken over by another key when its own limits nobody any more.
 * That is why both trees can be made anew from the nodes alone, when a worker
 * dies between two changes of them and leaves busy set.
 *
 * The tree of times makes "limits nobody" exact: its least node is the first
 * to become free, so a request is refused for want of memory only if every
 * node is needed.  (The queue of limit_req, by last use, would stop at a key
 * with a long way to go in front of thousands of free ones.)
 */
typedef struct {
    ngx_rbtree_t                    keys;
    ngx_rbtree_node_t               keys_sentinel;
    ngx_rbtree_t                    tats;
    ngx_rbtree_node_t               tats_sentinel;

    ngx_uint_t                      top;
    ngx_uint_t                      max;
    ngx_uint_t                      busy;

    /* for want of memory: requests since the last message, its time */
    ngx_uint_t                      refused;
    uint64_t                        reported;

    ngx_http_tsface_limit_node_t    nodes[1];
} ngx_http_tsface_limit_sh_t;


/*
 * shm_zone->data, of one configuration.  It is made by the first directive
 * that names the zone, whose place it keeps for a message if tsface_limit_zone
 * never comes.
 */
struct ngx_http_tsface_limit_zone_s {
    ngx_http_tsface_limit_sh_t     *sh;
    ngx_slab_pool_t                *shpool;

    ngx_http_complex_value_t        key;
    ngx_http_tsface_gcra_t          gcra;

    u_char                         *file;
    ngx_uint_t                      line;

    unsigned                        defined:1;
};


/* shm_zone->init */
ngx_int_t ngx_http_tsface_limit_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);

/*
 * Comes first, each time the mutex is taken.  Returns 1 if a worker had died
 * in the zone, which was put in order.
 */
ngx_uint_t ngx_http_tsface_limit_zone_enter(
    ngx_http_tsface_limit_zone_t *zone);

/* The node of a key, or NULL. */
ngx_http_tsface_limit_node_t *ngx_http_tsface_limit_zone_lookup(
    ngx_http_tsface_limit_zone_t *zone, const u_char *digest);

/* Is there a node for a new key: one never used, or one that limits nobody? */
ngx_uint_t ngx_http_tsface_limit_zone_has_room(
    ngx_http_tsface_limit_zone_t *zone, uint64_t now);

/*
 * Counts a request that is refused for want of room.  Returns how many were
 * since the last message, or 0 if it is too early for another one.
 */
ngx_uint_t ngx_http_tsface_limit_zone_refuse(
    ngx_http_tsface_limit_zone_t *zone, uint64_t now);

/* Stores a new time; node is NULL for a new key, which has_room() let in. */
void ngx_http_tsface_limit_zone_store(ngx_http_tsface_limit_zone_t *zone,
    ngx_http_tsface_limit_node_t *node, const u_char *digest, uint64_t tat);


#endif /* _NGX_HTTP_TSFACE_LIMIT_ZONE_H_INCLUDED_ */
