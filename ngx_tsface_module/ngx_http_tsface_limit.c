
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/evp.h>

#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_limit_zone.h"


/* microseconds */
#define NGX_HTTP_TSFACE_LIMIT_RETRY   1000000


static ngx_int_t ngx_http_tsface_limit_key(ngx_http_request_t *r,
    ngx_http_tsface_limit_use_t *use);
static ngx_int_t ngx_http_tsface_limit_digest(const ngx_str_t *key,
    u_char *digest);
static void ngx_http_tsface_limit_cleanup(void *data);
static ngx_int_t ngx_http_tsface_limit_agree(
    ngx_http_tsface_limits_t *request, ngx_http_tsface_limit_node_t **nodes,
    uint64_t now);
static void ngx_http_tsface_limit_log(ngx_http_request_t *r,
    const ngx_http_tsface_limit_use_t *use);


/* A worker's. */
static EVP_MD      *ngx_http_tsface_limit_md;
static EVP_MD_CTX  *ngx_http_tsface_limit_md_ctx;


ngx_int_t
ngx_http_tsface_limit_keys(ngx_http_request_t *r, ngx_array_t *limits,
    ngx_http_tsface_limits_t *request)
{
    ngx_int_t                     rc;
    ngx_uint_t                    i, j;
    ngx_http_tsface_limit_t      *limit;
    ngx_http_tsface_limit_use_t   use, *uses;

    uses = ngx_palloc(r->pool,
                      limits->nelts * sizeof(ngx_http_tsface_limit_use_t));
    if (uses == NULL) {
        request->retry = NGX_HTTP_TSFACE_LIMIT_RETRY;
        return NGX_ERROR;
    }

    limit = limits->elts;

    for (i = 0; i < limits->nelts; i++) {

        ngx_memzero(&use, sizeof(ngx_http_tsface_limit_use_t));

        use.limit = &limit[i];
        use.zone = limit[i].shm_zone->data;

        rc = ngx_http_tsface_limit_key(r, &use);

        if (rc == NGX_DECLINED) {
            continue;
        }

        if (rc == NGX_ERROR) {
            request->retry = NGX_HTTP_TSFACE_LIMIT_RETRY;
            return NGX_ERROR;
        }

        /*
         * Locks are taken in the order of the memory's addresses, which
         * workers of the old and the new configuration agree upon, as they
         * inherit the mappings; their ngx_shm_zone_t differ.
         */

        for (j = request->nuses;
             j > 0 && uses[j - 1].zone->shpool > use.zone->shpool;
             j--)
        {
            uses[j] = uses[j - 1];
        }

        uses[j] = use;
        request->nuses++;
    }

    request->uses = uses;

    return request->nuses ? NGX_OK : NGX_DECLINED;
}


/* NGX_DECLINED: the key is empty, so the limit doesn't apply. */

static ngx_int_t
ngx_http_tsface_limit_key(ngx_http_request_t *r,
    ngx_http_tsface_limit_use_t *use)
{
    ngx_str_t  key;

    if (ngx_http_complex_value(r, &use->zone->key, &key) != NGX_OK) {
        return NGX_ERROR;
    }

    if (key.len == 0) {
        return NGX_DECLINED;
    }

    if (ngx_http_tsface_limit_digest(&key, use->digest) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "could not digest the key of tsface_limit_zone \"%V\"",
                      &use->limit->shm_zone->shm.name);
        return NGX_ERROR;
    }

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


ngx_int_t
ngx_http_tsface_limit_decide(ngx_http_tsface_limits_t *request)
{
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_http_tsface_limit_use_t   *use;
    ngx_http_tsface_limit_node_t  *nodes[NGX_HTTP_TSFACE_MAX_LIMITS];

    use = request->uses;

    for (i = 0; i < request->nuses; i++) {
        ngx_shmtx_lock(&use[i].zone->shpool->mutex);
    }

    /* only now, so that times are in the order of the decisions */

    rc = ngx_http_tsface_limit_agree(request, nodes,
                                     ngx_http_tsface_limit_now());

    if (rc == NGX_OK) {
        for (i = 0; i < request->nuses; i++) {
            ngx_http_tsface_limit_zone_store(use[i].zone, nodes[i],
                                             use[i].digest, use[i].gcra.tat);
        }
    }

    for (i = request->nuses; i > 0; i--) {
        ngx_shmtx_unlock(&use[i - 1].zone->shpool->mutex);
    }

    return rc;
}


/*
 * What all limits together say.  A refusal by rate goes before want of
 * memory: it is the caller's to know.
 */

static ngx_int_t
ngx_http_tsface_limit_agree(ngx_http_tsface_limits_t *request,
    ngx_http_tsface_limit_node_t **nodes, uint64_t now)
{
    ngx_int_t                     rc;
    ngx_uint_t                    i;
    ngx_http_tsface_limit_use_t  *use;

    rc = NGX_OK;

    for (i = 0; i < request->nuses; i++) {
        use = &request->uses[i];

        use->rebuilt = ngx_http_tsface_limit_zone_enter(use->zone);

        nodes[i] = ngx_http_tsface_limit_zone_lookup(use->zone, use->digest);

        if (nodes[i] == NULL
            && !ngx_http_tsface_limit_zone_has_room(use->zone, now))
        {
            use->full = 1;
            use->alarm = ngx_http_tsface_limit_zone_refuse(use->zone, now);

            if (rc == NGX_OK) {
                rc = NGX_ERROR;
            }

            continue;
        }

        ngx_http_tsface_gcra_decide(&use->zone->gcra,
                                    nodes[i] ? nodes[i]->tat : 0, now,
                                    &use->gcra);

        if (use->gcra.retry != 0) {
            rc = NGX_BUSY;
        }
    }

    return rc;
}


void
ngx_http_tsface_limit_result(ngx_http_request_t *r,
    ngx_http_tsface_limits_t *request, ngx_int_t rc)
{
    ngx_uint_t                    i;
    ngx_http_tsface_limit_use_t  *use, *best;

    best = NULL;

    for (i = 0; i < request->nuses; i++) {
        use = &request->uses[i];

        ngx_http_tsface_limit_log(r, use);

        if (use->full != (rc == NGX_ERROR)) {
            continue;
        }

        if (best == NULL
            || (rc == NGX_BUSY && use->gcra.retry > best->gcra.retry)
            || (rc == NGX_OK
                && (use->gcra.remaining < best->gcra.remaining
                    || (use->gcra.remaining == best->gcra.remaining
                        && use->gcra.reset > best->gcra.reset))))
        {
            best = use;
        }
    }

    request->strictest = best;

    if (rc == NGX_BUSY) {
        request->retry = best->gcra.retry;

    } else if (rc == NGX_ERROR) {
        request->retry = NGX_HTTP_TSFACE_LIMIT_RETRY;
    }
}


static void
ngx_http_tsface_limit_log(ngx_http_request_t *r,
    const ngx_http_tsface_limit_use_t *use)
{
    ngx_str_t  *name;

    name = &use->limit->shm_zone->shm.name;

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "tsface limit \"%V\": full:%d retry:%uLus "
                   "remaining:%ui reset:%uLus",
                   name, use->full, use->gcra.retry, use->gcra.remaining,
                   use->gcra.reset);

    if (use->rebuilt) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "tsface_limit_zone \"%V\" was put in order after a "
                      "worker died in it, nothing is lost", name);
    }

    if (use->alarm) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                      "tsface_limit_zone \"%V\" is full: each of its %ui "
                      "keys is being limited, %ui requests were refused "
                      "since the last message; make it larger",
                      name, use->zone->sh->max, use->alarm);
    }
}


/* ngx_current_msec is the time of the last event, and too coarse. */

uint64_t
ngx_http_tsface_limit_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
