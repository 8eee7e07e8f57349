
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_limit_zone.h"


/* microseconds between two messages for want of memory */
#define NGX_HTTP_TSFACE_LIMIT_REPORT   60000000


static uint32_t ngx_http_tsface_limit_zone_hash(const u_char *d);
static void ngx_http_tsface_limit_zone_rebuild(ngx_http_tsface_limit_sh_t *sh);
static void ngx_http_tsface_limit_zone_insert_key(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static void ngx_http_tsface_limit_zone_insert_tat(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static void ngx_http_tsface_limit_zone_link(ngx_rbtree_node_t **p,
    ngx_rbtree_node_t *parent, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel);


/*
 * Runs before a reload is known to succeed, while the old workers go on: it
 * only links what is there, or makes what is nobody's yet.
 */

ngx_int_t
ngx_http_tsface_limit_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_tsface_limit_zone_t  *old = data;

    size_t                         size;
    ngx_http_tsface_limit_sh_t    *sh;
    ngx_http_tsface_limit_zone_t  *zone;

    zone = shm_zone->data;

    if (old) {

        /* times may go on under another rate, but not for another key */

        if (zone->key.value.len != old->key.value.len
            || ngx_memcmp(zone->key.value.data, old->key.value.data,
                          zone->key.value.len)
               != 0)
        {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "tsface_limit_zone \"%V\" uses the \"%V\" key "
                          "while previously it used the \"%V\" key: "
                          "give it another name", &shm_zone->shm.name,
                          &zone->key.value, &old->key.value);
            return NGX_ERROR;
        }

        zone->sh = old->sh;
        zone->shpool = old->shpool;

        return NGX_OK;
    }

    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        zone->sh = zone->shpool->data;

        return NGX_OK;
    }

    /* every page the pool has, so nothing is ever allocated later */

    size = zone->shpool->pfree << ngx_pagesize_shift;

    sh = ngx_slab_alloc(zone->shpool, size);
    if (sh == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(sh, sizeof(ngx_http_tsface_limit_sh_t));

    sh->max = (size - offsetof(ngx_http_tsface_limit_sh_t, nodes))
              / sizeof(ngx_http_tsface_limit_node_t);

    ngx_http_tsface_limit_zone_rebuild(sh);

    zone->sh = sh;
    zone->shpool->data = sh;

    return NGX_OK;
}


ngx_uint_t
ngx_http_tsface_limit_zone_enter(ngx_http_tsface_limit_zone_t *zone)
{
    ngx_http_tsface_limit_sh_t  *sh;

    sh = zone->sh;

    /*
     * Functions are where this process has them; the last to write here may
     * have had the module at another address.
     */

    sh->keys.insert = ngx_http_tsface_limit_zone_insert_key;
    sh->tats.insert = ngx_http_tsface_limit_zone_insert_tat;

    if (!sh->busy) {
        return 0;
    }

    ngx_http_tsface_limit_zone_rebuild(sh);

    return 1;
}


ngx_http_tsface_limit_node_t *
ngx_http_tsface_limit_zone_lookup(ngx_http_tsface_limit_zone_t *zone,
    const u_char *digest)
{
    uint32_t                       hash;
    ngx_int_t                      rc;
    ngx_rbtree_node_t             *node, *sentinel;
    ngx_http_tsface_limit_sh_t    *sh;
    ngx_http_tsface_limit_node_t  *ln;

    sh = zone->sh;
    hash = ngx_http_tsface_limit_zone_hash(digest);

    node = sh->keys.root;
    sentinel = sh->keys.sentinel;

    while (node != sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_key);

        rc = ngx_memcmp(digest, ln->digest, NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN);

        if (rc == 0) {
            return ln;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


ngx_uint_t
ngx_http_tsface_limit_zone_has_room(ngx_http_tsface_limit_zone_t *zone,
    uint64_t now)
{
    ngx_rbtree_node_t             *node;
    ngx_http_tsface_limit_sh_t    *sh;
    ngx_http_tsface_limit_node_t  *ln;

    sh = zone->sh;

    if (sh->top < sh->max) {
        return 1;
    }

    node = ngx_rbtree_min(sh->tats.root, sh->tats.sentinel);
    ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_tat);

    return ln->tat <= now;
}


ngx_uint_t
ngx_http_tsface_limit_zone_refuse(ngx_http_tsface_limit_zone_t *zone,
    uint64_t now)
{
    ngx_uint_t                   refused;
    ngx_http_tsface_limit_sh_t  *sh;

    sh = zone->sh;
    sh->refused++;

    if (sh->reported != 0
        && (int64_t) (now - sh->reported) < NGX_HTTP_TSFACE_LIMIT_REPORT)
    {
        return 0;
    }

    refused = sh->refused;

    sh->refused = 0;
    sh->reported = now;

    return refused;
}


void
ngx_http_tsface_limit_zone_store(ngx_http_tsface_limit_zone_t *zone,
    ngx_http_tsface_limit_node_t *ln, const u_char *digest, uint64_t tat)
{
    ngx_rbtree_node_t           *node;
    ngx_http_tsface_limit_sh_t  *sh;

    sh = zone->sh;

    sh->busy = 1;
    ngx_memory_barrier();

    if (ln != NULL) {
        ngx_rbtree_delete(&sh->tats, &ln->by_tat);

    } else {

        if (sh->top < sh->max) {
            ln = &sh->nodes[sh->top];

            /* if this is all that becomes of it, it limits nobody */

            ln->tat = 0;
            ngx_memory_barrier();

            sh->top++;

        } else {
            node = ngx_rbtree_min(sh->tats.root, sh->tats.sentinel);
            ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_tat);

            ngx_rbtree_delete(&sh->tats, &ln->by_tat);
            ngx_rbtree_delete(&sh->keys, &ln->by_key);
        }

        ngx_memcpy(ln->digest, digest, NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN);

        ln->by_key.key = ngx_http_tsface_limit_zone_hash(digest);
        ngx_rbtree_insert(&sh->keys, &ln->by_key);
    }

    ln->tat = tat;
    ngx_rbtree_insert(&sh->tats, &ln->by_tat);

    ngx_memory_barrier();
    sh->busy = 0;
}


static uint32_t
ngx_http_tsface_limit_zone_hash(const u_char *d)
{
    return (uint32_t) d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];
}


/*
 * Makes both trees from the nodes.  A node that was being handed over may have
 * a digest of no key: it is lost until its time has passed, which it has.
 */

static void
ngx_http_tsface_limit_zone_rebuild(ngx_http_tsface_limit_sh_t *sh)
{
    ngx_uint_t                     i;
    ngx_http_tsface_limit_node_t  *ln;

    sh->busy = 1;
    ngx_memory_barrier();

    ngx_rbtree_init(&sh->keys, &sh->keys_sentinel,
                    ngx_http_tsface_limit_zone_insert_key);
    ngx_rbtree_init(&sh->tats, &sh->tats_sentinel,
                    ngx_http_tsface_limit_zone_insert_tat);

    for (i = 0; i < sh->top; i++) {
        ln = &sh->nodes[i];

        ln->by_key.key = ngx_http_tsface_limit_zone_hash(ln->digest);

        ngx_rbtree_insert(&sh->keys, &ln->by_key);
        ngx_rbtree_insert(&sh->tats, &ln->by_tat);
    }

    ngx_memory_barrier();
    sh->busy = 0;
}


static void
ngx_http_tsface_limit_zone_insert_key(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t             **p;
    ngx_http_tsface_limit_node_t   *ln, *lnt;

    ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_key);

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            lnt = ngx_rbtree_data(temp, ngx_http_tsface_limit_node_t, by_key);

            p = (ngx_memcmp(ln->digest, lnt->digest,
                            NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN)
                 < 0) ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    ngx_http_tsface_limit_zone_link(p, temp, node, sentinel);
}


/* Not ngx_rbtree_insert_value(): a node's key may have 32 bits only. */

static void
ngx_http_tsface_limit_zone_insert_tat(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t             **p;
    ngx_http_tsface_limit_node_t   *ln, *lnt;

    ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_tat);

    for ( ;; ) {
        lnt = ngx_rbtree_data(temp, ngx_http_tsface_limit_node_t, by_tat);

        p = (ln->tat < lnt->tat) ? &temp->left : &temp->right;

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    ngx_http_tsface_limit_zone_link(p, temp, node, sentinel);
}


/* What each function that inserts ends with: node is at *p, below parent. */

static void
ngx_http_tsface_limit_zone_link(ngx_rbtree_node_t **p,
    ngx_rbtree_node_t *parent, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    *p = node;
    node->parent = parent;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}
