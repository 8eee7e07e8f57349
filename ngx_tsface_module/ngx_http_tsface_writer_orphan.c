
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "ngx_http_tsface_trail.h"
#include "ngx_http_tsface_trail_orphan.h"
#include "ngx_http_tsface_writer.h"


/* Not of a pool: a thread may still use it when the cycle's pool goes. */
struct ngx_http_tsface_writer_orphans_s {
    ngx_http_tsface_writer_t             *writer;   /* NULL: gone */
    ngx_http_tsface_trail_orphan_t       *orphan;
    ngx_thread_task_t                     task;

    /* the thread's, until written */
    ngx_int_t                             rc;
    ngx_http_tsface_trail_orphan_stat_t   stat;
    ngx_http_tsface_trail_result_t        result;
    ngx_atomic_t                          written;
};


static void ngx_http_tsface_writer_orphans_thread(void *data, ngx_log_t *log);
static void ngx_http_tsface_writer_orphans_done(ngx_event_t *ev);
static void ngx_http_tsface_writer_orphans_report(
    ngx_http_tsface_writer_orphans_t *orphans);
static void ngx_http_tsface_writer_orphans_free(
    ngx_http_tsface_writer_orphans_t *orphans);


void
ngx_http_tsface_writer_orphans_start(ngx_http_tsface_writer_t *w,
    const ngx_http_tsface_trail_file_conf_t *conf)
{
    ngx_http_tsface_writer_orphans_t  *orphans;

    orphans = ngx_calloc(sizeof(ngx_http_tsface_writer_orphans_t), w->log);
    if (orphans == NULL) {
        return;
    }

    orphans->orphan = ngx_http_tsface_trail_orphan_new(conf);
    if (orphans->orphan == NULL) {
        ngx_http_tsface_writer_orphans_free(orphans);
        return;
    }

    orphans->writer = w;

    orphans->task.ctx = orphans;
    orphans->task.handler = ngx_http_tsface_writer_orphans_thread;
    orphans->task.event.handler = ngx_http_tsface_writer_orphans_done;
    orphans->task.event.data = orphans;
    orphans->task.event.log = w->log;

    if (ngx_thread_task_post(w->trail->thread_pool, &orphans->task) != NGX_OK)
    {
        ngx_http_tsface_writer_orphans_free(orphans);
        return;
    }

    w->orphans = orphans;
}


void
ngx_http_tsface_writer_orphans_stop(ngx_http_tsface_writer_t *w)
{
    ngx_http_tsface_writer_orphans_t  *orphans;

    orphans = w->orphans;

    if (orphans == NULL) {
        return;
    }

    w->orphans = NULL;

    /*
     * At the exit of a process the thread pool has waited for its tasks, but
     * no completion comes.  Otherwise, in single process mode, one does.
     */

    if (orphans->written && (ngx_exiting || ngx_terminate || ngx_quit)) {
        ngx_memory_barrier();
        ngx_http_tsface_writer_orphans_report(orphans);
        ngx_http_tsface_writer_orphans_free(orphans);
        return;
    }

    orphans->writer = NULL;
}


static void
ngx_http_tsface_writer_orphans_thread(void *data, ngx_log_t *log)
{
    ngx_http_tsface_writer_orphans_t *orphans = data;

    orphans->rc = ngx_http_tsface_trail_orphan_close(orphans->orphan,
                                        NGX_HTTP_TSFACE_TRAIL_ORPHAN_WINDOW,
                                        &orphans->stat, &orphans->result);
    ngx_memory_barrier();

    orphans->written = 1;
}


static void
ngx_http_tsface_writer_orphans_done(ngx_event_t *ev)
{
    ngx_http_tsface_writer_orphans_t *orphans = ev->data;

    if (orphans->writer) {
        orphans->writer->orphans = NULL;
        ngx_http_tsface_writer_orphans_report(orphans);
    }

    ngx_http_tsface_writer_orphans_free(orphans);
}


static void
ngx_http_tsface_writer_orphans_report(
    ngx_http_tsface_writer_orphans_t *orphans)
{
    ngx_log_t                            *log;
    ngx_http_tsface_trail_t              *trail;
    ngx_http_tsface_trail_orphan_stat_t  *stat;

    log = orphans->writer->log;
    trail = orphans->writer->trail;
    stat = &orphans->stat;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, log, 0,
                   "tsface trail \"%V\" orphans: %ui closed, %ui of living "
                   "writers, %ui left out", &trail->name, stat->closed,
                   stat->alive, stat->left_out);

    ngx_http_tsface_zone_trail_orphaned(trail->counts, stat->closed, stat->own,
                                        stat->bytes);

    ngx_http_tsface_writer_found(log, trail, &orphans->result);

    if (stat->own[NGX_HTTP_TSFACE_RECORD_CHECKPOINT]) {
        ngx_http_tsface_writer_copy_due(orphans->writer);
    }

    if (stat->closed) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "audit trail \"%V\": %ui intents of workers that are "
                      "gone had no outcome: each has one now, \"unknown\" "
                      "(\"orphaned\"); look at these users' state",
                      &trail->name, stat->closed);
    }

    if (orphans->rc != NGX_OK) {
        ngx_http_tsface_writer_complain(NGX_LOG_CRIT, log, trail,
                                        &orphans->result,
                                        "intents of workers that are gone may "
                                        "have no outcome");
    }
}


static void
ngx_http_tsface_writer_orphans_free(ngx_http_tsface_writer_orphans_t *orphans)
{
    if (orphans->orphan) {
        ngx_http_tsface_trail_orphan_free(orphans->orphan);
    }

    ngx_free(orphans);
}
