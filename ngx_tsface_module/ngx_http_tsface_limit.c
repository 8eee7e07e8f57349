
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/evp.h>

#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_module.h"


#define NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN    16

#define NGX_HTTP_TSFACE_LIMIT_BURST_MAX     1000000

/* microseconds */
#define NGX_HTTP_TSFACE_LIMIT_RETRY         1000000
#define NGX_HTTP_TSFACE_LIMIT_REPORT        60000000


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


/* One limit of one request. */
typedef struct {
    ngx_shm_zone_t                 *shm_zone;
    ngx_http_tsface_limit_zone_t   *zone;
    ngx_http_tsface_limit_node_t   *node;       /* NULL: a new key */
    ngx_http_tsface_gcra_result_t   gcra;
    uint32_t                        hash;
    u_char                          digest[EVP_MAX_MD_SIZE];

    ngx_uint_t                      refused;    /* to be logged if not 0 */
    unsigned                        full:1;
    unsigned                        rebuilt:1;
} ngx_http_tsface_limit_ctx_t;


static ngx_shm_zone_t *ngx_http_tsface_limit_add(ngx_conf_t *cf,
    ngx_str_t *name, size_t size);
static ngx_int_t ngx_http_tsface_limit_parse_zone(ngx_conf_t *cf,
    ngx_str_t *value, ngx_str_t *name, ssize_t *size);
static ngx_int_t ngx_http_tsface_limit_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);

static ngx_int_t ngx_http_tsface_limit_key(ngx_http_request_t *r,
    ngx_http_tsface_limit_ctx_t *ctx);
static ngx_int_t ngx_http_tsface_limit_digest(const ngx_str_t *key,
    u_char *digest);
static void ngx_http_tsface_limit_cleanup(void *data);
static ngx_int_t ngx_http_tsface_limit_decide(ngx_http_tsface_limit_ctx_t *ctx,
    ngx_uint_t n, uint64_t now);
static void ngx_http_tsface_limit_enter(ngx_http_tsface_limit_ctx_t *ctx);
static ngx_http_tsface_limit_node_t *ngx_http_tsface_limit_lookup(
    ngx_http_tsface_limit_ctx_t *ctx);
static ngx_uint_t ngx_http_tsface_limit_has_room(
    ngx_http_tsface_limit_sh_t *sh, uint64_t now);
static void ngx_http_tsface_limit_commit(ngx_http_tsface_limit_ctx_t *ctx);
static void ngx_http_tsface_limit_rebuild(ngx_http_tsface_limit_sh_t *sh);
static void ngx_http_tsface_limit_insert_key(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static void ngx_http_tsface_limit_insert_tat(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static void ngx_http_tsface_limit_result(ngx_http_request_t *r,
    ngx_http_tsface_limit_ctx_t *ctx, ngx_uint_t n, ngx_int_t rc,
    ngx_http_tsface_limit_result_t *result);
static uint64_t ngx_http_tsface_limit_now(void);


/*
 * The tag of these zones.  It is not the module, which is the tag of its other
 * zone: a name that changes its use over a reload must not find the memory of
 * the other kind.
 */
static ngx_uint_t  ngx_http_tsface_limit_tag;


/* A worker's. */
static EVP_MD      *ngx_http_tsface_limit_md;
static EVP_MD_CTX  *ngx_http_tsface_limit_md_ctx;


char *
ngx_http_tsface_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_main_conf_t *tmcf = conf;

    ssize_t                            size;
    ngx_int_t                          burst;
    ngx_str_t                         *value, name, s;
    ngx_uint_t                         i;
    ngx_shm_zone_t                    *shm_zone, **slot;
    ngx_http_tsface_gcra_t             gcra;
    ngx_http_tsface_limit_zone_t      *zone;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    size = 0;
    burst = -1;
    ngx_str_null(&name);
    ngx_memzero(&gcra, sizeof(ngx_http_tsface_gcra_t));

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0 && name.len == 0) {

            if (ngx_http_tsface_limit_parse_zone(cf, &value[i], &name, &size)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "rate=", 5) == 0 && gcra.rate == 0) {

            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            if (ngx_http_tsface_gcra_parse_rate(&gcra, &s) != NGX_OK) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid rate \"%V\": it must be Nr/s, "
                                   "Nr/m, Nr/h or Nr/d with N between 1 "
                                   "and 1000000", &value[i]);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "burst=", 6) == 0 && burst == -1) {

            burst = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (burst < 0 || burst > NGX_HTTP_TSFACE_LIMIT_BURST_MAX) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid burst \"%V\": it must be "
                                   "between 0 and %d", &value[i],
                                   NGX_HTTP_TSFACE_LIMIT_BURST_MAX);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid or repeated parameter \"%V\" of \"%V\"",
                           &value[i], &cmd->name);
        return NGX_CONF_ERROR;
    }

    if (name.len == 0 || gcra.rate == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have the \"%s\" parameter",
                           &cmd->name, name.len ? "rate" : "zone");
        return NGX_CONF_ERROR;
    }

    ngx_http_tsface_gcra_init(&gcra, (burst == -1) ? 0 : burst);

    shm_zone = ngx_http_tsface_limit_add(cf, &name, size);
    if (shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    zone = shm_zone->data;

    if (zone->defined) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate %V \"%V\": it has the key \"%V\" "
                           "already", &cmd->name, &name, &zone->key.value);
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = &zone->key;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    zone->gcra = gcra;
    zone->defined = 1;

    shm_zone->init = ngx_http_tsface_limit_init_zone;

    if (tmcf->limit_zones.elts == NULL
        && ngx_array_init(&tmcf->limit_zones, cf->pool, 4,
                          sizeof(ngx_shm_zone_t *))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    slot = ngx_array_push(&tmcf->limit_zones);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = shm_zone;

    return NGX_CONF_OK;
}


char *
ngx_http_tsface_limit_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t        *value, name;
    ngx_uint_t        i;
    ngx_array_t     **limits;
    ngx_shm_zone_t   *shm_zone, **elts;

    limits = (ngx_array_t **) (p + cmd->offset);
    value = cf->args->elts;

    if (value[1].len == 3 && ngx_strcmp(value[1].data, "off") == 0) {

        if (*limits == NULL) {
            return "is duplicate";
        }

        if (*limits != NGX_CONF_UNSET_PTR) {
            return "is \"off\" although a zone stands before it";
        }

        *limits = NULL;

        return NGX_CONF_OK;
    }

    if (*limits == NULL) {
        return "names a zone although \"off\" stands before it";
    }

    if (ngx_strncmp(value[1].data, "zone=", 5) != 0 || value[1].len == 5) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"%V\": it must be "
                           "zone=NAME or off", &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    name.data = value[1].data + 5;
    name.len = value[1].len - 5;

    shm_zone = ngx_http_tsface_limit_add(cf, &name, 0);
    if (shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (*limits == NGX_CONF_UNSET_PTR) {
        *limits = ngx_array_create(cf->pool, 2, sizeof(ngx_shm_zone_t *));
        if (*limits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    elts = (*limits)->elts;

    for (i = 0; i < (*limits)->nelts; i++) {
        if (elts[i] == shm_zone) {
            return "is duplicate";
        }
    }

    if (i == NGX_HTTP_TSFACE_MAX_LIMITS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "more than %d \"%V\" in one place",
                           NGX_HTTP_TSFACE_MAX_LIMITS, &cmd->name);
        return NGX_CONF_ERROR;
    }

    elts = ngx_array_push(*limits);
    if (elts == NULL) {
        return NGX_CONF_ERROR;
    }

    *elts = shm_zone;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_tsface_limit_check(ngx_conf_t *cf, ngx_array_t *limits)
{
    ngx_uint_t                      i;
    ngx_shm_zone_t                **elts;
    ngx_http_tsface_limit_zone_t   *zone;

    if (limits == NULL || limits == NGX_CONF_UNSET_PTR) {
        return NGX_OK;
    }

    elts = limits->elts;

    for (i = 0; i < limits->nelts; i++) {
        zone = elts[i]->data;

        if (!zone->defined) {

            /* not ngx_conf_log_error(): cf stands at the end of http{} */

            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown tsface_limit_zone \"%V\" in %s:%ui",
                          &elts[i]->shm.name, zone->file, zone->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_shm_zone_t *
ngx_http_tsface_limit_add(ngx_conf_t *cf, ngx_str_t *name, size_t size)
{
    ngx_shm_zone_t                *shm_zone;
    ngx_http_tsface_limit_zone_t  *zone;

    shm_zone = ngx_shared_memory_add(cf, name, size,
                                     &ngx_http_tsface_limit_tag);
    if (shm_zone == NULL) {
        return NULL;
    }

    if (shm_zone->data == NULL) {

        zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_tsface_limit_zone_t));
        if (zone == NULL) {
            return NULL;
        }

        zone->file = cf->conf_file->file.name.data;
        zone->line = cf->conf_file->line;

        shm_zone->data = zone;
    }

    return shm_zone;
}


static ngx_int_t
ngx_http_tsface_limit_parse_zone(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *name, ssize_t *size)
{
    u_char     *p;
    ngx_str_t   s;

    name->data = value->data + 5;

    p = (u_char *) ngx_strchr(name->data, ':');

    if (p == NULL || p == name->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\": it must be "
                           "zone=NAME:SIZE", value);
        return NGX_ERROR;
    }

    name->len = p - name->data;

    s.data = p + 1;
    s.len = value->data + value->len - s.data;

    *size = ngx_parse_size(&s);

    if (*size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size in \"%V\"", value);
        return NGX_ERROR;
    }

    if (*size < (ssize_t) (8 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is too small: it must have at least %uz "
                           "bytes", value, (size_t) (8 * ngx_pagesize));
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Runs before a reload is known to succeed, while the old workers go on: it
 * only links what is there, or makes what is nobody's yet.
 */

static ngx_int_t
ngx_http_tsface_limit_init_zone(ngx_shm_zone_t *shm_zone, void *data)
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

    ngx_http_tsface_limit_rebuild(sh);

    zone->sh = sh;
    zone->shpool->data = sh;

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_limit_apply(ngx_http_request_t *r, ngx_array_t *limits,
    ngx_http_tsface_limit_result_t *result)
{
    uint64_t                        now;
    ngx_int_t                       rc;
    ngx_uint_t                      i, j, n;
    ngx_shm_zone_t                **elts;
    ngx_http_tsface_limit_ctx_t     ctx[NGX_HTTP_TSFACE_MAX_LIMITS], key;

    ngx_memzero(result, sizeof(ngx_http_tsface_limit_result_t));

    if (limits == NULL) {
        return NGX_OK;
    }

    elts = limits->elts;
    n = 0;

    for (i = 0; i < limits->nelts; i++) {

        ngx_memzero(&key, sizeof(ngx_http_tsface_limit_ctx_t));

        key.shm_zone = elts[i];
        key.zone = elts[i]->data;

        rc = ngx_http_tsface_limit_key(r, &key);

        if (rc == NGX_DECLINED) {
            continue;
        }

        if (rc == NGX_ERROR) {
            result->gcra.retry = NGX_HTTP_TSFACE_LIMIT_RETRY;
            return NGX_ERROR;
        }

        /*
         * Locks are taken in the order of the memory's addresses, which
         * workers of the old and the new configuration agree upon, as they
         * inherit the mappings; their ngx_shm_zone_t differ.
         */

        for (j = n; j > 0 && ctx[j - 1].zone->shpool > key.zone->shpool; j--) {
            ctx[j] = ctx[j - 1];
        }

        ctx[j] = key;
        n++;
    }

    if (n == 0) {
        return NGX_OK;
    }

    now = ngx_http_tsface_limit_now();

    for (i = 0; i < n; i++) {
        ngx_shmtx_lock(&ctx[i].zone->shpool->mutex);
    }

    rc = ngx_http_tsface_limit_decide(ctx, n, now);

    if (rc == NGX_OK) {
        for (i = 0; i < n; i++) {
            ngx_http_tsface_limit_commit(&ctx[i]);
        }
    }

    for (i = n; i > 0; i--) {
        ngx_shmtx_unlock(&ctx[i - 1].zone->shpool->mutex);
    }

    ngx_http_tsface_limit_result(r, ctx, n, rc, result);

    return rc;
}


/* NGX_DECLINED: the key is empty, so the limit doesn't apply. */

static ngx_int_t
ngx_http_tsface_limit_key(ngx_http_request_t *r,
    ngx_http_tsface_limit_ctx_t *ctx)
{
    u_char     *d;
    ngx_str_t   key;

    if (ngx_http_complex_value(r, &ctx->zone->key, &key) != NGX_OK) {
        return NGX_ERROR;
    }

    if (key.len == 0) {
        return NGX_DECLINED;
    }

    d = ctx->digest;

    if (ngx_http_tsface_limit_digest(&key, d) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "could not digest the key of tsface_limit_zone \"%V\"",
                      &ctx->shm_zone->shm.name);
        return NGX_ERROR;
    }

    ctx->hash = (uint32_t) d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];

    return NGX_OK;
}


/* SHA-256, looked up in OpenSSL once: that takes longer than a key does. */

static ngx_int_t
ngx_http_tsface_limit_digest(const ngx_str_t *key, u_char *digest)
{
    ngx_pool_cleanup_t  *cln;

    if (ngx_http_tsface_limit_md_ctx == NULL) {

        /* in single process mode the module may go with a cycle */

        cln = ngx_pool_cleanup_add(ngx_cycle->pool, 0);
        if (cln == NULL) {
            return NGX_ERROR;
        }

        cln->handler = ngx_http_tsface_limit_cleanup;

        ngx_http_tsface_limit_md = EVP_MD_fetch(NULL, "SHA256", NULL);
        ngx_http_tsface_limit_md_ctx = EVP_MD_CTX_new();
    }

    if (ngx_http_tsface_limit_md == NULL
        || ngx_http_tsface_limit_md_ctx == NULL
        || !EVP_DigestInit_ex(ngx_http_tsface_limit_md_ctx,
                              ngx_http_tsface_limit_md, NULL)
        || !EVP_DigestUpdate(ngx_http_tsface_limit_md_ctx, key->data,
                             key->len)
        || !EVP_DigestFinal_ex(ngx_http_tsface_limit_md_ctx, digest, NULL))
    {
        ngx_http_tsface_limit_cleanup(NULL);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_tsface_limit_cleanup(void *data)
{
    EVP_MD_CTX_free(ngx_http_tsface_limit_md_ctx);
    EVP_MD_free(ngx_http_tsface_limit_md);

    ngx_http_tsface_limit_md_ctx = NULL;
    ngx_http_tsface_limit_md = NULL;
}


/*
 * What all limits together say.  A refusal by rate goes before want of
 * memory: it is the caller's to know.
 */

static ngx_int_t
ngx_http_tsface_limit_decide(ngx_http_tsface_limit_ctx_t *ctx, ngx_uint_t n,
    uint64_t now)
{
    ngx_int_t                    rc;
    ngx_uint_t                   i;
    ngx_http_tsface_limit_sh_t  *sh;

    rc = NGX_OK;

    for (i = 0; i < n; i++) {
        sh = ctx[i].zone->sh;

        ngx_http_tsface_limit_enter(&ctx[i]);

        ctx[i].node = ngx_http_tsface_limit_lookup(&ctx[i]);

        if (ctx[i].node == NULL
            && !ngx_http_tsface_limit_has_room(sh, now))
        {
            ctx[i].full = 1;
            sh->refused++;

            if (sh->reported == 0
                || (int64_t) (now - sh->reported)
                   >= NGX_HTTP_TSFACE_LIMIT_REPORT)
            {
                ctx[i].refused = sh->refused;
                sh->refused = 0;
                sh->reported = now;
            }

            if (rc == NGX_OK) {
                rc = NGX_ERROR;
            }

            continue;
        }

        ngx_http_tsface_gcra_decide(&ctx[i].zone->gcra,
                                    ctx[i].node ? ctx[i].node->tat : 0,
                                    now, &ctx[i].gcra);

        if (ctx[i].gcra.retry != 0) {
            rc = NGX_BUSY;
        }
    }

    return rc;
}


static void
ngx_http_tsface_limit_enter(ngx_http_tsface_limit_ctx_t *ctx)
{
    ngx_http_tsface_limit_sh_t  *sh;

    sh = ctx->zone->sh;

    /*
     * Functions are where this process has them; the last to write here may
     * have had the module at another address.
     */

    sh->keys.insert = ngx_http_tsface_limit_insert_key;
    sh->tats.insert = ngx_http_tsface_limit_insert_tat;

    if (sh->busy) {
        ctx->rebuilt = 1;
        ngx_http_tsface_limit_rebuild(sh);
    }
}


static ngx_http_tsface_limit_node_t *
ngx_http_tsface_limit_lookup(ngx_http_tsface_limit_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_rbtree_node_t             *node, *sentinel;
    ngx_http_tsface_limit_sh_t    *sh;
    ngx_http_tsface_limit_node_t  *ln;

    sh = ctx->zone->sh;

    node = sh->keys.root;
    sentinel = sh->keys.sentinel;

    while (node != sentinel) {

        if (ctx->hash != node->key) {
            node = (ctx->hash < node->key) ? node->left : node->right;
            continue;
        }

        ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_key);

        rc = ngx_memcmp(ctx->digest, ln->digest,
                        NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN);

        if (rc == 0) {
            return ln;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


/* Is there a node for a new key: one never used, or one that limits nobody? */

static ngx_uint_t
ngx_http_tsface_limit_has_room(ngx_http_tsface_limit_sh_t *sh, uint64_t now)
{
    ngx_rbtree_node_t             *node;
    ngx_http_tsface_limit_node_t  *ln;

    if (sh->top < sh->max) {
        return 1;
    }

    node = ngx_rbtree_min(sh->tats.root, sh->tats.sentinel);
    ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_tat);

    return ln->tat <= now;
}


/* Stores the new time; a new key has room, as decide() saw. */

static void
ngx_http_tsface_limit_commit(ngx_http_tsface_limit_ctx_t *ctx)
{
    ngx_rbtree_node_t             *node;
    ngx_http_tsface_limit_sh_t    *sh;
    ngx_http_tsface_limit_node_t  *ln;

    sh = ctx->zone->sh;
    ln = ctx->node;

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

        ngx_memcpy(ln->digest, ctx->digest, NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN);

        ln->by_key.key = ctx->hash;
        ngx_rbtree_insert(&sh->keys, &ln->by_key);
    }

    ln->tat = ctx->gcra.tat;
    ngx_rbtree_insert(&sh->tats, &ln->by_tat);

    ngx_memory_barrier();
    sh->busy = 0;
}


/*
 * Makes both trees from the nodes.  A node that was being handed over may have
 * a digest of no key: it is lost until its time has passed, which it has.
 */

static void
ngx_http_tsface_limit_rebuild(ngx_http_tsface_limit_sh_t *sh)
{
    u_char                        *d;
    ngx_uint_t                     i;
    ngx_http_tsface_limit_node_t  *ln;

    sh->busy = 1;
    ngx_memory_barrier();

    ngx_rbtree_init(&sh->keys, &sh->keys_sentinel,
                    ngx_http_tsface_limit_insert_key);
    ngx_rbtree_init(&sh->tats, &sh->tats_sentinel,
                    ngx_http_tsface_limit_insert_tat);

    for (i = 0; i < sh->top; i++) {
        ln = &sh->nodes[i];
        d = ln->digest;

        ln->by_key.key = (uint32_t) d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];

        ngx_rbtree_insert(&sh->keys, &ln->by_key);
        ngx_rbtree_insert(&sh->tats, &ln->by_tat);
    }

    ngx_memory_barrier();
    sh->busy = 0;
}


static void
ngx_http_tsface_limit_insert_key(ngx_rbtree_node_t *temp,
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

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


/* Not ngx_rbtree_insert_value(): a node's key may have 32 bits only. */

static void
ngx_http_tsface_limit_insert_tat(ngx_rbtree_node_t *temp,
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

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


/* Chooses which limit to tell of, and logs; all mutexes are free again. */

static void
ngx_http_tsface_limit_result(ngx_http_request_t *r,
    ngx_http_tsface_limit_ctx_t *ctx, ngx_uint_t n, ngx_int_t rc,
    ngx_http_tsface_limit_result_t *result)
{
    ngx_uint_t                    i;
    ngx_http_tsface_limit_ctx_t  *best;

    best = NULL;

    for (i = 0; i < n; i++) {

        ngx_log_debug5(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "tsface limit \"%V\": full:%d retry:%uLus "
                       "remaining:%ui reset:%uLus",
                       &ctx[i].shm_zone->shm.name, ctx[i].full,
                       ctx[i].gcra.retry, ctx[i].gcra.remaining,
                       ctx[i].gcra.reset);

        if (ctx[i].rebuilt) {
            ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                          "tsface_limit_zone \"%V\" was put in order after "
                          "a worker died in it, nothing is lost",
                          &ctx[i].shm_zone->shm.name);
        }

        if (ctx[i].refused) {
            ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                          "tsface_limit_zone \"%V\" is full: each of its %ui "
                          "keys is being limited, %ui requests were refused "
                          "since the last message; make it larger",
                          &ctx[i].shm_zone->shm.name,
                          ctx[i].zone->sh->max, ctx[i].refused);
        }

        if (ctx[i].full != (rc == NGX_ERROR)) {
            continue;
        }

        if (best == NULL
            || (rc == NGX_BUSY && ctx[i].gcra.retry > best->gcra.retry)
            || (rc == NGX_OK
                && (ctx[i].gcra.remaining < best->gcra.remaining
                    || (ctx[i].gcra.remaining == best->gcra.remaining
                        && ctx[i].gcra.reset > best->gcra.reset))))
        {
            best = &ctx[i];
        }
    }

    if (best == NULL) {
        return;
    }

    result->zone = best->zone;
    result->gcra = best->gcra;
    result->rate = best->zone->gcra;
    result->name = best->shm_zone->shm.name;

    if (rc == NGX_ERROR) {
        result->gcra.retry = NGX_HTTP_TSFACE_LIMIT_RETRY;
    }
}


/* ngx_current_msec is the time of the last event, and too coarse. */

static uint64_t
ngx_http_tsface_limit_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
