
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


/* One limit of one request. */
typedef struct {
    ngx_shm_zone_t                 *shm_zone;
    ngx_http_tsface_limit_zone_t   *zone;
    ngx_http_tsface_limit_node_t   *node;       /* NULL: a new key */
    ngx_http_tsface_gcra_result_t   gcra;
    u_char                          digest[EVP_MAX_MD_SIZE];

    ngx_uint_t                      refused;    /* to be logged if not 0 */
    unsigned                        full:1;
    unsigned                        rebuilt:1;
} ngx_http_tsface_limit_ctx_t;


static ngx_int_t ngx_http_tsface_limit_key(ngx_http_request_t *r,
    ngx_http_tsface_limit_ctx_t *ctx);
static ngx_int_t ngx_http_tsface_limit_digest(const ngx_str_t *key,
    u_char *digest);
static void ngx_http_tsface_limit_cleanup(void *data);
static ngx_int_t ngx_http_tsface_limit_decide(ngx_http_tsface_limit_ctx_t *ctx,
    ngx_uint_t n, uint64_t now);
static void ngx_http_tsface_limit_result(ngx_http_request_t *r,
    ngx_http_tsface_limit_ctx_t *ctx, ngx_uint_t n, ngx_int_t rc,
    ngx_http_tsface_limit_result_t *result);
static uint64_t ngx_http_tsface_limit_now(void);


/* A worker's. */
static EVP_MD      *ngx_http_tsface_limit_md;
static EVP_MD_CTX  *ngx_http_tsface_limit_md_ctx;


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
            ngx_http_tsface_limit_zone_store(ctx[i].zone, ctx[i].node,
                                             ctx[i].digest, ctx[i].gcra.tat);
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
    ngx_str_t  key;

    if (ngx_http_complex_value(r, &ctx->zone->key, &key) != NGX_OK) {
        return NGX_ERROR;
    }

    if (key.len == 0) {
        return NGX_DECLINED;
    }

    if (ngx_http_tsface_limit_digest(&key, ctx->digest) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "could not digest the key of tsface_limit_zone \"%V\"",
                      &ctx->shm_zone->shm.name);
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


/*
 * What all limits together say.  A refusal by rate goes before want of
 * memory: it is the caller's to know.
 */

static ngx_int_t
ngx_http_tsface_limit_decide(ngx_http_tsface_limit_ctx_t *ctx, ngx_uint_t n,
    uint64_t now)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    rc = NGX_OK;

    for (i = 0; i < n; i++) {
        ctx[i].rebuilt = ngx_http_tsface_limit_zone_enter(ctx[i].zone);

        ctx[i].node = ngx_http_tsface_limit_zone_lookup(ctx[i].zone,
                                                        ctx[i].digest);

        if (ctx[i].node == NULL
            && !ngx_http_tsface_limit_zone_has_room(ctx[i].zone, now))
        {
            ctx[i].full = 1;
            ctx[i].refused = ngx_http_tsface_limit_zone_refuse(ctx[i].zone,
                                                               now);

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
