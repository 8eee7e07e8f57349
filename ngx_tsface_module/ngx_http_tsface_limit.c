
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/evp.h>

#include "ngx_http_tsface_clock.h"
#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_limit_agree.h"
#include "ngx_http_tsface_limit_script.h"
#include "ngx_http_tsface_limit_zone.h"


/* microseconds */
#define NGX_HTTP_TSFACE_LIMIT_RETRY   1000000


static ngx_int_t ngx_http_tsface_limit_key(ngx_http_request_t *r,
    ngx_http_tsface_limit_use_t *use);
static ngx_int_t ngx_http_tsface_limit_digest(const ngx_str_t *key,
    u_char *digest);
static void ngx_http_tsface_limit_cleanup(void *data);
static void ngx_http_tsface_limit_lock(
    const ngx_http_tsface_limits_t *request);
static void ngx_http_tsface_limit_unlock(
    const ngx_http_tsface_limits_t *request);
static void ngx_http_tsface_limit_log(ngx_http_request_t *r,
    const ngx_http_tsface_limit_use_t *use);


/* A worker's. */
static EVP_MD      *ngx_http_tsface_limit_md;
static EVP_MD_CTX  *ngx_http_tsface_limit_md_ctx;


ngx_int_t
ngx_http_tsface_limit_keys(ngx_http_request_t *r, ngx_array_t *limits,
    const ngx_str_t *caller, ngx_http_tsface_limits_t *request)
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

    request->uses = uses;

    limit = limits->elts;

    for (i = 0; i < limits->nelts; i++) {

        ngx_memzero(&use, sizeof(ngx_http_tsface_limit_use_t));

        use.limit = &limit[i];
        use.zone = limit[i].shm_zone->data;
        use.rate = &use.zone->gcra;
        use.most = use.zone->most;

        if (ngx_exiting) {

            /* what is further ahead may be new workers', of a lower rate */

            use.most = ngx_max(use.most, NGX_HTTP_TSFACE_SCRIPT_MAX_TIME);
        }

        rc = ngx_http_tsface_limit_key(r, &use);

        if (rc == NGX_DECLINED) {
            continue;
        }

        if (rc == NGX_ERROR) {
            request->nuses = 0;
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

    ngx_http_tsface_limit_caller(&request->caller, caller);

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
    ngx_int_t  rc;

    ngx_http_tsface_limit_lock(request);

    /* only now, so that times are in the order of the decisions */

    rc = ngx_http_tsface_limit_agree(request,
                                     request->told
                                     ? request->asked
                                     : ngx_http_tsface_clock());

    ngx_http_tsface_limit_unlock(request);

    return rc;
}


void
ngx_http_tsface_limit_return(ngx_http_tsface_limits_t *request)
{
    if (!request->taken) {
        return;
    }

    ngx_http_tsface_limit_lock(request);

    ngx_http_tsface_limit_disagree(request, ngx_http_tsface_clock());

    ngx_http_tsface_limit_unlock(request);
}


static void
ngx_http_tsface_limit_lock(const ngx_http_tsface_limits_t *request)
{
    ngx_uint_t  i;

    for (i = 0; i < request->nuses; i++) {
        ngx_shmtx_lock(&request->uses[i].zone->shpool->mutex);
    }
}


static void
ngx_http_tsface_limit_unlock(const ngx_http_tsface_limits_t *request)
{
    ngx_uint_t  i;

    for (i = request->nuses; i > 0; i--) {
        ngx_shmtx_unlock(&request->uses[i - 1].zone->shpool->mutex);
    }
}


void
ngx_http_tsface_limit_result(ngx_http_request_t *r,
    ngx_http_tsface_limits_t *request, ngx_int_t rc)
{
    ngx_uint_t                    i;
    ngx_msec_t                    jitter;
    ngx_http_tsface_limit_use_t  *use;

    jitter = 0;

    for (i = 0; i < request->nuses; i++) {
        use = &request->uses[i];

        ngx_http_tsface_limit_log(r, use);

        if (use->decision > request->decision) {
            request->decision = use->decision;
        }

        if (use->limit->dry_run) {
            continue;
        }

        if (rc == NGX_BUSY && use->gcra.retry > request->retry) {
            request->retry = use->gcra.retry;
        }

        if (use->decision == NGX_HTTP_TSFACE_LIMIT_REFUSED
            && use->limit->retry_jitter > jitter)
        {
            jitter = use->limit->retry_jitter;
        }
    }

    if (rc == NGX_ERROR) {
        request->retry = NGX_HTTP_TSFACE_LIMIT_RETRY;
    }

    if (rc != NGX_OK) {
        request->decision = NGX_HTTP_TSFACE_LIMIT_REFUSED;

        /* those who were refused together need not come back together */

        request->retry += (uint64_t) (ngx_random() % (jitter + 1)) * 1000;
    }
}


static void
ngx_http_tsface_limit_log(ngx_http_request_t *r,
    const ngx_http_tsface_limit_use_t *use)
{
    ngx_str_t  *name;

    name = &use->limit->shm_zone->shm.name;

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "tsface limit \"%V\": decision:%d retry:%uLus "
                   "wait:%uLus remaining:%ui",
                   name, use->decision, use->gcra.retry, use->gcra.wait,
                   use->gcra.remaining);

    if (use->rebuilt) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "tsface_limit_zone \"%V\" was put in order after a "
                      "worker died in it, nothing is lost", name);
    }

    if (use->alarm) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                      "tsface_limit_zone \"%V\" is full: each of its %ui "
                      "keys is being limited, %ui requests found no room "
                      "since the last message; make it larger",
                      name, use->zone->table->max, use->alarm);
    }
}
