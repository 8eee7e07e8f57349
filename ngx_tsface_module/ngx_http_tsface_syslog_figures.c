
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_syslog.h"
#include "ngx_http_tsface_syslog_delivery.h"
#include "ngx_http_tsface_syslog_figures.h"


static ngx_int_t ngx_http_tsface_syslog_zone_init(ngx_shm_zone_t *zone,
    void *data);
static ngx_msec_t ngx_http_tsface_syslog_since(ngx_msec_t time);


static const char *const  ngx_http_tsface_syslog_errors[] = {
    "",
    "connect",
    "send",
    "closed",
    "gone",
    "answer",
    "timeout",
    NULL
};


ngx_int_t
ngx_http_tsface_syslog_zone(ngx_conf_t *cf, ngx_http_tsface_trail_t *trail)
{
    ngx_str_t  name;

    if (trail->syslog == NULL) {
        return NGX_OK;
    }

    name.len = sizeof("tsface_syslog:") - 1 + trail->name.len;

    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name.data, "tsface_syslog:%V", &trail->name);

    /* the least that a zone can have */

    trail->syslog->zone = ngx_shared_memory_add(cf, &name, 8 * ngx_pagesize,
                                                &ngx_http_tsface_module);
    if (trail->syslog->zone == NULL) {
        return NGX_ERROR;
    }

    trail->syslog->zone->init = ngx_http_tsface_syslog_zone_init;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_syslog_zone_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    shpool->data = ngx_slab_calloc(shpool,
                                   sizeof(ngx_http_tsface_syslog_sh_t));
    if (shpool->data == NULL) {
        return NGX_ERROR;
    }

    zone->data = shpool->data;

    return NGX_OK;
}


ngx_http_tsface_syslog_sh_t *
ngx_http_tsface_syslog_figures(const ngx_http_tsface_trail_t *trail)
{
    return trail->syslog->zone->data;
}


void
ngx_http_tsface_syslog_figures_beat(ngx_http_tsface_syslog_sh_t *sh,
    ngx_uint_t sends)
{
    if (sends) {
        sh->pid = ngx_pid;
        sh->beat = ngx_current_msec | 1;

    } else if (sh->pid == (ngx_atomic_uint_t) ngx_pid) {
        sh->beat = 0;
    }
}


ngx_uint_t
ngx_http_tsface_syslog_figures_other(const ngx_http_tsface_syslog_sh_t *sh)
{
    ngx_msec_t  beat;

    beat = sh->beat;

    return beat
           && sh->pid != (ngx_atomic_uint_t) ngx_pid
           && ngx_http_tsface_syslog_since(beat)
              < NGX_HTTP_TSFACE_SYSLOG_FRESH;
}


void
ngx_http_tsface_syslog_figures_backlog(ngx_http_tsface_syslog_sh_t *sh,
    uint64_t records, uint64_t bytes, ngx_uint_t taken)
{
    sh->backlog = (ngx_atomic_uint_t) records;
    sh->bytes = (ngx_atomic_uint_t) bytes;

    if (records == 0) {
        sh->since = 0;

    } else if (taken || sh->since == 0) {
        sh->since = ngx_current_msec | 1;
    }
}


void
ngx_http_tsface_syslog_stat(const ngx_http_tsface_trail_t *trail,
    ngx_http_tsface_syslog_stat_t *stat)
{
    ngx_msec_t                          beat, since;
    ngx_uint_t                          error;
    const ngx_http_tsface_syslog_sh_t  *sh;

    sh = ngx_http_tsface_syslog_figures(trail);

    beat = sh->beat;
    since = sh->since;
    error = sh->error;

    stat->active = beat && ngx_http_tsface_syslog_since(beat)
                           < NGX_HTTP_TSFACE_SYSLOG_FRESH;
    stat->failing = (error != NGX_HTTP_TSFACE_SYSLOG_OK);
    stat->error = ngx_http_tsface_syslog_errors[error];
    stat->err = (ngx_err_t) sh->err;
    stat->records = sh->records;
    stat->batches = sh->batches;
    stat->failures = sh->failures;
    stat->missing = sh->missing;
    stat->backlog = sh->backlog;
    stat->bytes = sh->bytes;
    stat->stalled = since ? ngx_http_tsface_syslog_since(since) : 0;
}


/* Clocks of workers are apart by some milliseconds. */

static ngx_msec_t
ngx_http_tsface_syslog_since(ngx_msec_t time)
{
    ngx_msec_int_t  ms;

    ms = (ngx_msec_int_t) (ngx_current_msec - time);

    return ms > 0 ? (ngx_msec_t) ms : 0;
}
