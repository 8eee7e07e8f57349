
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_clock.h"
#include "ngx_http_tsface_limit_agree.h"
#include "ngx_http_tsface_limit_share.h"
#include "ngx_http_tsface_limit_zone.h"


static void ngx_http_tsface_limit_share_recall(
    ngx_http_tsface_limit_use_t *use, ngx_http_tsface_limit_ask_t *ask,
    uint64_t now);


void
ngx_http_tsface_limit_share_init(ngx_http_tsface_gcra_t *share,
    const ngx_http_tsface_gcra_t *gcra, ngx_uint_t nodes)
{
    ngx_uint_t  n;

    *share = *gcra;

    n = (gcra->burst + 1) / nodes;

    share->interval = gcra->interval * nodes;
    share->burst = n ? n - 1 : 0;
    share->tolerance = share->burst * share->interval;
}


ngx_int_t
ngx_http_tsface_limit_share_ask(ngx_http_tsface_limits_t *request,
    ngx_http_tsface_limit_call_pt handler, void *data)
{
    ngx_uint_t                      i;
    ngx_http_tsface_limit_use_t    *use;
    ngx_http_tsface_limit_ask_t     asks[NGX_HTTP_TSFACE_MAX_LIMITS];
    ngx_http_tsface_limit_store_t  *store;

    use = request->uses;
    store = use[0].zone->store;

    if (store == NULL) {
        return NGX_DECLINED;
    }

    /*
     * This is not after the store's decision, wherever that falls: what is
     * remembered never runs ahead of what the store knows.
     */

    request->asked = ngx_http_tsface_clock();

    for (i = 0; i < request->nuses; i++) {
        ngx_http_tsface_limit_share_recall(&use[i], &asks[i], request->asked);
    }

    request->call = ngx_http_tsface_limit_store_ask(store, asks,
                                                    request->nuses, handler,
                                                    data);

    return request->call ? NGX_AGAIN : NGX_ERROR;
}


static void
ngx_http_tsface_limit_share_recall(ngx_http_tsface_limit_use_t *use,
    ngx_http_tsface_limit_ask_t *ask, uint64_t now)
{
    uint64_t                         tat;
    ngx_http_tsface_limit_node_t    *node;
    ngx_http_tsface_script_limit_t  *limit;

    limit = &ask->limit;

    ask->zone = &use->limit->shm_zone->shm.name;
    ask->digest = use->digest;

    limit->interval = use->rate->interval;
    limit->tolerance = use->rate->tolerance;
    limit->queue = ngx_http_tsface_limit_queue(use->limit, use->rate);
    limit->most = use->most;
    limit->dry_run = use->limit->dry_run;

    ngx_shmtx_lock(&use->zone->shpool->mutex);

    use->rebuilt |= ngx_http_tsface_limit_table_enter(use->zone->table);

    node = ngx_http_tsface_limit_table_lookup(use->zone->table, use->digest);

    tat = node ? ngx_http_tsface_limit_recall(use, node, now) : 0;

    ngx_shmtx_unlock(&use->zone->shpool->mutex);

    limit->ahead = (tat > now) ? tat - now : 0;
}


ngx_int_t
ngx_http_tsface_limit_share_answer(ngx_http_tsface_limits_t *request)
{
    uint64_t    now;
    ngx_int_t   rc;
    ngx_uint_t  i;

    for (i = 0; i < request->nuses; i++) {
        request->uses[i].ahead = ngx_http_tsface_limit_store_ahead(
                                                            request->call, i);
    }

    request->told = 1;

    rc = ngx_http_tsface_limit_decide(request);

    /* what was taken stays taken: the store is not asked to give it back */

    request->taken = 0;

    if (request->until) {
        now = ngx_http_tsface_clock();

        /* from the store's decision on, which is not after its answer */

        request->until += now - request->asked;
    }

    return rc;
}


ngx_int_t
ngx_http_tsface_limit_share_fallback(ngx_http_tsface_limits_t *request)
{
    ngx_uint_t                      i;
    ngx_http_tsface_limit_use_t    *use;
    ngx_http_tsface_limit_store_t  *store;

    use = request->uses;
    store = use[0].zone->store;

    ngx_http_tsface_limit_store_undecided(store);

    if (store->on_failure == NGX_HTTP_TSFACE_STORE_REFUSE) {
        return NGX_ABORT;
    }

    if (store->on_failure == NGX_HTTP_TSFACE_STORE_ALLOW) {

        /* there is nothing to tell of any limit */

        request->nuses = 0;

        return NGX_OK;
    }

    for (i = 0; i < request->nuses; i++) {
        use[i].rate = &use[i].zone->share;
    }

    return ngx_http_tsface_limit_decide(request);
}
