
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_tsface_clock.h"
#include "ngx_http_tsface_refusal_flood.h"
#include "ngx_http_tsface_refusals.h"


#define NGX_HTTP_TSFACE_REFUSALS_RATE        1
#define NGX_HTTP_TSFACE_REFUSALS_BURST       1000
#define NGX_HTTP_TSFACE_REFUSALS_BURST_MAX   1000000

/* how often a worker writes what it has counted, at most */
#define NGX_HTTP_TSFACE_REFUSALS_INTERVAL    1000


/*
 * A worker's.  Callers that are known have a rate of their own: whoever floods
 * without being let in can't keep the refusals of those who are from being
 * written one by one.
 */
struct ngx_http_tsface_refusals_s {
    ngx_http_tsface_trail_t   *trail;
    uint64_t                   unknown;       /* times of GCRA */
    uint64_t                   known;
    ngx_http_tsface_flood_t    flood;         /* not written yet */
    ngx_http_tsface_flood_t    flight;        /* in entry, which may fail */
    ngx_http_tsface_entry_t   *entry;
    ngx_event_t                timer;
};


static void ngx_http_tsface_refusals_cleanup(void *data);
static void ngx_http_tsface_refusals_timer(ngx_event_t *ev);
static ngx_http_tsface_entry_t *ngx_http_tsface_refusals_submit(
    ngx_http_tsface_refusals_t *refusals,
    const ngx_http_tsface_flood_t *flood, ngx_http_tsface_entry_pt handler);
static void ngx_http_tsface_refusals_written(void *data, ngx_int_t rc);


char *
ngx_http_tsface_refusals_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_trail_t *trail = conf;

    ngx_int_t                burst;
    ngx_str_t               *value, s;
    ngx_uint_t               i;
    ngx_http_tsface_gcra_t   gcra;

    if (trail->refusals.rate != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "all") == 0) {
        trail->refusals.rate = 0;
        return NGX_CONF_OK;
    }

    burst = -1;
    ngx_memzero(&gcra, sizeof(ngx_http_tsface_gcra_t));

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "rate=", 5) == 0 && gcra.rate == 0) {

            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            if (ngx_http_tsface_gcra_parse_rate(&gcra, &s) == NGX_OK) {
                continue;
            }

        } else if (ngx_strncmp(value[i].data, "burst=", 6) == 0 && burst == -1)
        {
            burst = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (burst >= 0 && burst <= NGX_HTTP_TSFACE_REFUSALS_BURST_MAX) {
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"%V\": it must be "
                           "\"all\", or \"rate=Nr/s\" (or /m, /h, /d) with N "
                           "between 1 and 1000000, and \"burst=N\" with N "
                           "between 0 and %d", &value[i], &cmd->name,
                           NGX_HTTP_TSFACE_REFUSALS_BURST_MAX);
        return NGX_CONF_ERROR;
    }

    if (gcra.rate == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have the \"rate\" parameter",
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    ngx_http_tsface_gcra_init(&gcra, (burst == -1) ? 0 : burst);

    trail->refusals = gcra;

    return NGX_CONF_OK;
}


void
ngx_http_tsface_refusals_default(ngx_http_tsface_trail_t *trail)
{
    if (trail->refusals.rate != NGX_CONF_UNSET_UINT) {
        return;
    }

    trail->refusals.rate = NGX_HTTP_TSFACE_REFUSALS_RATE;
    trail->refusals.period = 1;

    ngx_http_tsface_gcra_init(&trail->refusals,
                              NGX_HTTP_TSFACE_REFUSALS_BURST);
}


ngx_int_t
ngx_http_tsface_refusals_start(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail)
{
    ngx_pool_cleanup_t          *cln;
    ngx_http_tsface_refusals_t  *refusals;

    if (trail->refusals.rate == 0) {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(cycle->pool,
                               sizeof(ngx_http_tsface_refusals_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_tsface_refusals_cleanup;

    refusals = cln->data;
    ngx_memzero(refusals, sizeof(ngx_http_tsface_refusals_t));

    refusals->trail = trail;

    /* a worker that leaves writes what it has counted, and need not wait */

    refusals->timer.handler = ngx_http_tsface_refusals_timer;
    refusals->timer.data = refusals;
    refusals->timer.log = cycle->log;
    refusals->timer.cancelable = 1;

    trail->flood = refusals;

    return NGX_OK;
}


/* In single process mode the event loop goes on when a cycle has ended. */

static void
ngx_http_tsface_refusals_cleanup(void *data)
{
    ngx_http_tsface_refusals_t *refusals = data;

    if (refusals->timer.timer_set) {
        ngx_del_timer(&refusals->timer);
    }

    if (refusals->entry) {
        ngx_http_tsface_trail_detach(refusals->entry);
        refusals->entry = NULL;
    }

    refusals->trail->flood = NULL;
}


void
ngx_http_tsface_refusals_stop(ngx_http_tsface_trail_t *trail)
{
    ngx_http_tsface_refusals_t  *refusals;

    refusals = trail->flood;

    if (refusals == NULL) {
        return;
    }

    trail->flood = NULL;

    if (refusals->timer.timer_set) {
        ngx_del_timer(&refusals->timer);
    }

    /* the writer will free it, and call nobody any more */

    if (refusals->entry) {
        ngx_http_tsface_trail_detach(refusals->entry);
        refusals->entry = NULL;
    }

    if (refusals->flood.count
        && ngx_http_tsface_refusals_submit(refusals, &refusals->flood, NULL)
           == NULL)
    {
        ngx_log_error(NGX_LOG_CRIT, refusals->timer.log, 0,
                      "audit trail \"%V\": the count of %uL refusals is lost "
                      "at exit", &trail->name, refusals->flood.count);
    }
}


ngx_int_t
ngx_http_tsface_refusals_count(ngx_http_tsface_trail_t *trail,
    ngx_http_tsface_problem_e reason, const ngx_str_t *client_addr,
    const ngx_str_t *caller)
{
    uint64_t                    now, usec;
    ngx_time_t                 *tp;
    ngx_http_tsface_refusals_t  *refusals;

    refusals = trail->flood;

    if (refusals == NULL) {
        return NGX_DECLINED;
    }

    now = ngx_http_tsface_clock();

    if (!ngx_http_tsface_flood_over(&trail->refusals,
                                    caller->len ? &refusals->known
                                                : &refusals->unknown,
                                    now))
    {
        return NGX_DECLINED;
    }

    tp = ngx_timeofday();
    usec = (uint64_t) tp->sec * 1000000 + tp->msec * 1000;

    ngx_http_tsface_flood_add(&refusals->flood, reason, client_addr, caller,
                              usec);

    if (!refusals->timer.timer_set) {

        if (refusals->entry == NULL) {
            ngx_log_error(NGX_LOG_WARN, refusals->timer.log, 0,
                          "audit trail \"%V\": more refusals than %ui in %ui "
                          "s: they are counted and no longer written one by "
                          "one", &trail->name, trail->refusals.rate,
                          trail->refusals.period);
        }

        ngx_add_timer(&refusals->timer, NGX_HTTP_TSFACE_REFUSALS_INTERVAL);
    }

    return NGX_OK;
}


/*
 * Once an interval while there is something to write, and once more after it:
 * who counts then, after a pause, begins another flood.
 */

static void
ngx_http_tsface_refusals_timer(ngx_event_t *ev)
{
    ngx_http_tsface_refusals_t *refusals = ev->data;

    if (refusals->entry) {

        /* a slow disk: what is counted meanwhile goes into the next one */

        ngx_add_timer(ev, NGX_HTTP_TSFACE_REFUSALS_INTERVAL);
        return;
    }

    if (refusals->flood.count == 0) {
        return;
    }

    refusals->entry = ngx_http_tsface_refusals_submit(refusals,
                                             &refusals->flood,
                                             ngx_http_tsface_refusals_written);

    if (refusals->entry) {
        refusals->flight = refusals->flood;
        ngx_memzero(&refusals->flood, sizeof(ngx_http_tsface_flood_t));
    }

    ngx_add_timer(ev, NGX_HTTP_TSFACE_REFUSALS_INTERVAL);
}


static ngx_http_tsface_entry_t *
ngx_http_tsface_refusals_submit(ngx_http_tsface_refusals_t *refusals,
    const ngx_http_tsface_flood_t *flood, ngx_http_tsface_entry_pt handler)
{
    u_char                     text[NGX_HTTP_TSFACE_FLOOD_MAX];
    ngx_http_tsface_record_t   record;

    ngx_http_tsface_record_init(&record, NGX_HTTP_TSFACE_RECORD_REFUSALS);

    record.refusals.data = text;
    record.refusals.len = ngx_http_tsface_flood_write(text, flood) - text;

    return ngx_http_tsface_trail_submit(refusals->trail, &record, handler,
                                        refusals);
}


/* What could not be written is counted again, for the next one. */

static void
ngx_http_tsface_refusals_written(void *data, ngx_int_t rc)
{
    ngx_http_tsface_refusals_t *refusals = data;

    refusals->entry = NULL;

    if (rc != NGX_OK) {
        ngx_http_tsface_flood_merge(&refusals->flood, &refusals->flight);
    }

    ngx_memzero(&refusals->flight, sizeof(ngx_http_tsface_flood_t));
}
