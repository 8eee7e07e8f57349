
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_limit_agree.h"


static ngx_http_tsface_limit_node_t *ngx_http_tsface_limit_look(
    ngx_http_tsface_limit_use_t *use, uint64_t *tat, ngx_uint_t told,
    uint64_t now);
static void ngx_http_tsface_limit_note(ngx_http_tsface_limit_use_t *use,
    ngx_http_tsface_limit_node_t *node, uint64_t tat, uint64_t now);


ngx_int_t
ngx_http_tsface_limit_agree(ngx_http_tsface_limits_t *request, uint64_t now)
{
    uint64_t                           at;
    uint64_t                           tats[NGX_HTTP_TSFACE_MAX_LIMITS];
    ngx_int_t                          rc;
    ngx_uint_t                         i;
    ngx_http_tsface_limit_use_t       *use;
    ngx_http_tsface_limit_node_t      *nodes[NGX_HTTP_TSFACE_MAX_LIMITS];
    ngx_http_tsface_limit_decision_e   decision;

    rc = NGX_OK;
    at = now;

    for (i = 0; i < request->nuses; i++) {
        use = &request->uses[i];

        nodes[i] = ngx_http_tsface_limit_look(use, &tats[i], request->told,
                                              now);

        if (use->limit->dry_run) {
            continue;
        }

        if (use->full) {
            rc = (rc == NGX_OK) ? NGX_ERROR : rc;

        } else if (use->gcra.retry != 0) {
            rc = NGX_BUSY;

        } else {
            at = ngx_max(at, now + use->gcra.wait);
        }
    }

    for (i = 0; i < request->nuses; i++) {
        use = &request->uses[i];

        if (use->full || use->gcra.retry != 0) {
            decision = NGX_HTTP_TSFACE_LIMIT_REFUSED;

            ngx_http_tsface_limit_table_blame(use->zone->table,
                                              &request->caller);

        } else if (rc != NGX_OK) {

            /* another limit refuses, so nothing is taken from this one */

            ngx_http_tsface_gcra_look(use->rate, tats[i], now, &use->gcra);
            continue;

        } else {
            decision = (use->gcra.wait != 0) ? NGX_HTTP_TSFACE_LIMIT_DELAYED
                                             : NGX_HTTP_TSFACE_LIMIT_ALLOWED;

            /*
             * Every limit counts the request at the time at which it goes on,
             * or many that were let in one by one could go on together, having
             * waited for another.
             */

            if (at > now + use->gcra.wait) {
                ngx_http_tsface_gcra_take(use->rate, tats[i], at, now,
                                          &use->gcra);
            }

            if (!request->told) {
                use->before = tats[i];

                ngx_http_tsface_limit_table_store(use->zone->table, nodes[i],
                                                  use->digest, use->gcra.tat);
            }

            tats[i] = use->gcra.tat;
        }

        if (use->limit->dry_run && decision != NGX_HTTP_TSFACE_LIMIT_ALLOWED) {
            decision = NGX_HTTP_TSFACE_LIMIT_DRY_RUN;
        }

        use->zone->table->decisions[decision]++;

        use->decision = decision;
    }

    for (i = 0; request->told && i < request->nuses; i++) {
        ngx_http_tsface_limit_note(&request->uses[i], nodes[i], tats[i], now);
    }

    request->taken = (rc == NGX_OK);
    request->wait = request->taken ? at - now : 0;
    request->until = request->wait ? at : 0;

    return rc;
}


static ngx_http_tsface_limit_node_t *
ngx_http_tsface_limit_look(ngx_http_tsface_limit_use_t *use, uint64_t *tat,
    ngx_uint_t told, uint64_t now)
{
    ngx_http_tsface_limit_node_t   *node;
    ngx_http_tsface_limit_table_t  *table;

    table = use->zone->table;

    use->rebuilt |= ngx_http_tsface_limit_table_enter(table);

    node = ngx_http_tsface_limit_table_lookup(table, use->digest);

    if (told) {
        *tat = now + use->ahead;

    } else if (node) {
        *tat = ngx_http_tsface_limit_recall(use, node, now);

    } else {
        *tat = 0;

        if (!ngx_http_tsface_limit_table_has_room(table, now)) {
            use->full = 1;
            use->alarm = ngx_http_tsface_limit_table_full(table, now);

            return NULL;
        }
    }

    ngx_http_tsface_gcra_decide(use->rate,
                                ngx_http_tsface_limit_queue(use->limit,
                                                            &use->zone->gcra),
                                *tat, now, &use->gcra);

    return node;
}


/* What a store told, as far as it is news. */

static void
ngx_http_tsface_limit_note(ngx_http_tsface_limit_use_t *use,
    ngx_http_tsface_limit_node_t *node, uint64_t tat, uint64_t now)
{
    ngx_http_tsface_limit_table_t  *table;

    table = use->zone->table;

    if (node ? node->tat < tat
             : tat > now && ngx_http_tsface_limit_table_has_room(table, now))
    {
        ngx_http_tsface_limit_table_store(table, node, use->digest, tat);
    }
}


uint64_t
ngx_http_tsface_limit_recall(const ngx_http_tsface_limit_use_t *use,
    ngx_http_tsface_limit_node_t *node, uint64_t now)
{
    uint64_t  last;

    last = now + use->most;

    if (node->tat > last) {

        /* not for this request only: it is refused, and stores nothing */

        ngx_http_tsface_limit_table_store(use->zone->table, node, use->digest,
                                          last);
    }

    return node->tat;
}


uint64_t
ngx_http_tsface_limit_queue(const ngx_http_tsface_limit_t *limit,
    const ngx_http_tsface_gcra_t *gcra)
{
    return ngx_min((uint64_t) limit->delay * gcra->interval,
                   (uint64_t) limit->delay_max * 1000);
}


void
ngx_http_tsface_limit_disagree(ngx_http_tsface_limits_t *request,
    uint64_t now)
{
    ngx_uint_t                      i;
    ngx_http_tsface_limit_use_t    *use;
    ngx_http_tsface_limit_node_t   *node;
    ngx_http_tsface_limit_table_t  *table;

    for (i = 0; i < request->nuses; i++) {
        use = &request->uses[i];

        if (use->full || use->gcra.retry != 0) {
            continue;
        }

        table = use->zone->table;

        (void) ngx_http_tsface_limit_table_enter(table);

        node = ngx_http_tsface_limit_table_lookup(table, use->digest);

        if (node && node->tat == use->gcra.tat) {
            ngx_http_tsface_limit_table_store(table, node, use->digest,
                                              use->before);
            table->returned++;

            ngx_http_tsface_gcra_look(use->rate, use->before, now,
                                      &use->gcra);
        }
    }

    request->taken = 0;
}
