
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_refusals.h"
#include "ngx_http_tsface_trail.h"
#include "ngx_http_tsface_trail_create.h"
#include "ngx_http_tsface_trail_file.h"
#include "ngx_http_tsface_writer.h"


#if !(NGX_THREADS)
#error "tsface_audit_trail needs nginx built with --with-threads"
#endif


/* of what waits in one worker, when a disk is slow or gone */
#define NGX_HTTP_TSFACE_TRAIL_QUEUE         65536
#define NGX_HTTP_TSFACE_TRAIL_QUEUE_BYTES   (64 * 1024 * 1024)


static ngx_int_t ngx_http_tsface_trail_take(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail, ngx_http_tsface_writer_t *w,
    ngx_log_t *log);
static ngx_int_t ngx_http_tsface_trail_begin(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail, ngx_http_tsface_trail_file_conf_t *conf);
static ngx_http_tsface_writer_t *ngx_http_tsface_trail_writer(
    ngx_http_tsface_trail_t *trail);


/* The body under construction: one at a time, on the event loop. */
static u_char  ngx_http_tsface_trail_body[NGX_HTTP_TSFACE_RECORD_MAX];


ngx_int_t
ngx_http_tsface_trail_init(ngx_cycle_t *cycle, ngx_http_tsface_trail_t *trail)
{
    ngx_pool_cleanup_t        *cln;
    ngx_http_tsface_writer_t  *w;

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    w = ngx_calloc(sizeof(ngx_http_tsface_writer_t), cycle->log);
    if (w == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_tsface_writer_cleanup;
    cln->data = w;

    ngx_queue_init(&w->waiting);
    ngx_queue_init(&w->flight);
    ngx_queue_init(&w->spare);

    w->trail = trail;
    w->log = cycle->log;
    w->fd = -1;
    w->chain_fd = -1;
    w->sent_fd = -1;

    trail->writer = w;

    if (ngx_http_tsface_trail_take(cycle, trail, w, cycle->log) == NGX_OK) {
        return NGX_OK;
    }

    /*
     * An error would end the master, and with it a service that still works
     * with the trails it had: workers try for themselves, and complain.
     */

    return ngx_is_init_cycle(cycle->old_cycle) ? NGX_ERROR : NGX_OK;
}


ngx_uid_t
ngx_http_tsface_trail_user(ngx_cycle_t *cycle)
{
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    /* while the configuration is read "user" may not have been met yet */

    if (geteuid() != 0 || ccf->user == (ngx_uid_t) NGX_CONF_UNSET_UINT) {
        return (ngx_uid_t) -1;
    }

    return ccf->user;
}


/* The master's descriptors, which workers fall back to. */

static ngx_int_t
ngx_http_tsface_trail_take(ngx_cycle_t *cycle, ngx_http_tsface_trail_t *trail,
    ngx_http_tsface_writer_t *w, ngx_log_t *log)
{
    int                               fd;
    int                              *fds[NGX_HTTP_TSFACE_TRAIL_NFILES];
    ngx_int_t                         rc;
    ngx_uint_t                        i;
    ngx_http_tsface_trail_result_t    result;

    rc = NGX_OK;

    fds[NGX_HTTP_TSFACE_TRAIL_RECORDS] = &w->fd;
    fds[NGX_HTTP_TSFACE_TRAIL_CHAIN] = &w->chain_fd;
    fds[NGX_HTTP_TSFACE_TRAIL_SENT] = &w->sent_fd;

    for (i = 0; i < NGX_HTTP_TSFACE_TRAIL_NFILES; i++) {

        if (i == NGX_HTTP_TSFACE_TRAIL_SENT && trail->syslog == NULL) {
            continue;
        }

        fd = ngx_http_tsface_trail_create(&trail->path, i,
                                          ngx_http_tsface_trail_user(cycle),
                                          &result);

        if (fd == -1) {
            ngx_http_tsface_writer_complain(NGX_LOG_EMERG, log, trail,
                                            &result, "the trail has no file");
            rc = NGX_ERROR;
            continue;
        }

        if (*fds[i] != -1) {
            (void) close(*fds[i]);
        }

        *fds[i] = fd;
    }

    return rc;
}


/*
 * A hook of ngx_reopen_files(), which the master runs before it signals its
 * workers.  They look at the name with each batch, and follow it unasked;
 * but where the directory is root's only the master can make the new file.
 * nginx would make it readable by everybody.
 */

void
ngx_http_tsface_trail_reopen(ngx_open_file_t *file, ngx_log_t *log)
{
    ngx_http_tsface_trail_t *trail = file->data;

    ngx_http_tsface_writer_t  *w;

    w = trail->writer;

    /* also called at the exit of a worker, to flush */

    if (w == NULL || w->stopped || ngx_process == NGX_PROCESS_WORKER
        || ngx_process == NGX_PROCESS_HELPER)
    {
        return;
    }

    (void) ngx_http_tsface_trail_take((ngx_cycle_t *) ngx_cycle, trail, w,
                                      log);
}


ngx_int_t
ngx_http_tsface_trail_start(ngx_cycle_t *cycle, ngx_http_tsface_trail_t *trail,
    ngx_shm_zone_t *zone)
{
    ngx_http_tsface_trail_file_conf_t  conf;

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    if (zone) {
        trail->counts = ngx_http_tsface_zone_trail(zone, &trail->name);
    }

    if (ngx_http_tsface_trail_begin(cycle, trail, &conf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_tsface_writer_orphans_start(trail->writer, &conf);

    return NGX_OK;
}


/* Sets conf, and starts a writer with it. */

static ngx_int_t
ngx_http_tsface_trail_begin(ngx_cycle_t *cycle, ngx_http_tsface_trail_t *trail,
    ngx_http_tsface_trail_file_conf_t *conf)
{
    ngx_http_tsface_writer_t        *w;
    ngx_http_tsface_trail_result_t   result;

    w = trail->writer;

    w->log = cycle->log;
    w->host = cycle->hostname;

    ngx_http_tsface_writer_conf(cycle, trail, ngx_pid, conf);

    w->file = ngx_http_tsface_trail_file_new(conf);
    if (w->file == NULL) {
        return NGX_ERROR;
    }

    w->bodies = ngx_alloc(NGX_HTTP_TSFACE_WRITER_BATCH * sizeof(ngx_str_t),
                          cycle->log);
    if (w->bodies == NULL) {
        return NGX_ERROR;
    }

    w->key = ngx_http_tsface_record_key_new(&trail->key->value);
    if (w->key == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_tsface_refusals_start(cycle, trail) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_tsface_writer_start(w);

    /* what lacks there of those before us, who were killed, say */

    if (ngx_http_tsface_writer_copy_init(w, conf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_tsface_writer_copy_due(w);

    if (ngx_http_tsface_trail_file_open(w->file, &result) != NGX_OK) {
        ngx_http_tsface_writer_complain(NGX_LOG_CRIT, cycle->log, trail,
                                        &result, "the next record tries again");
        w->last_errno = result.err ? result.err : EIO;
        ngx_http_tsface_zone_trail_now(trail->counts, 0, w->last_errno);
    }

    return NGX_OK;
}


void
ngx_http_tsface_writer_conf(ngx_cycle_t *cycle,
    const ngx_http_tsface_trail_t *trail, ngx_int_t pid,
    ngx_http_tsface_trail_file_conf_t *conf)
{
    conf->path = &trail->path;
    conf->key = &trail->key->value;
    conf->previous = trail->key_previous ? &trail->key_previous->value : NULL;
    conf->name = &trail->name;
    conf->host = &cycle->hostname;
    conf->pid = pid;
    conf->durable = (trail->durability
                     == NGX_HTTP_TSFACE_DURABILITY_FDATASYNC);
    conf->signer = trail->signer;
    conf->records = trail->checkpoint_records;
    conf->interval = trail->checkpoint_interval;
    conf->copy = trail->checkpoint_file.len ? &trail->checkpoint_file : NULL;
    conf->rotate = trail->rotate_size;
    conf->fd = trail->writer->fd;
    conf->chain_fd = trail->writer->chain_fd;
}


void
ngx_http_tsface_trail_stop(ngx_cycle_t *cycle, ngx_http_tsface_trail_t *trail)
{
    ngx_http_tsface_writer_t  *w;

    w = trail->writer;

    if (w == NULL || !w->started || w->stopped) {
        return;
    }

    ngx_http_tsface_refusals_stop(trail);
    ngx_http_tsface_writer_stop(w);
}


ngx_http_tsface_entry_t *
ngx_http_tsface_trail_submit(ngx_http_tsface_trail_t *trail,
    ngx_http_tsface_record_t *record, ngx_http_tsface_entry_pt handler,
    void *data)
{
    size_t                     len;
    ngx_http_tsface_entry_t   *entry;
    ngx_http_tsface_writer_t  *w;

    w = ngx_http_tsface_trail_writer(trail);

    if (w == NULL) {
        return NULL;
    }

    if (w->queued >= NGX_HTTP_TSFACE_TRAIL_QUEUE
        || w->bytes >= NGX_HTTP_TSFACE_TRAIL_QUEUE_BYTES)
    {
        w->lost++;
        ngx_http_tsface_zone_trail_failed(trail->counts,
                                          NGX_HTTP_TSFACE_QUEUE_FULL, 1);
        return NULL;
    }

    record->trail = trail->name;
    record->host = w->host;
    record->pid = ngx_pid;

    len = ngx_http_tsface_record_body(record, ngx_http_tsface_trail_body,
                                      sizeof(ngx_http_tsface_trail_body));
    if (len == 0) {
        return NULL;
    }

    entry = ngx_http_tsface_writer_entry(w, len);
    if (entry == NULL) {
        return NULL;
    }

    entry->handler = handler;
    entry->data = data;
    entry->type = record->type;
    entry->body.len = len;
    entry->body.data = (u_char *) (entry + 1);

    ngx_memcpy(entry->body.data, ngx_http_tsface_trail_body, len);

    ngx_http_tsface_writer_push(w, entry);

    return entry;
}


/* The writer, at work; NULL if there is none, or no more. */

static ngx_http_tsface_writer_t *
ngx_http_tsface_trail_writer(ngx_http_tsface_trail_t *trail)
{
    ngx_http_tsface_writer_t           *w;
    ngx_http_tsface_trail_file_conf_t   conf;

    w = trail->writer;

    if (w == NULL || w->stopped) {
        return NULL;
    }

    if (!w->started) {

        /*
         * In single process mode the cycles after the first get neither
         * init_process nor threads: their batches block.
         */

        if (ngx_process != NGX_PROCESS_SINGLE
            || ngx_http_tsface_trail_begin((ngx_cycle_t *) ngx_cycle, trail,
                                           &conf)
               != NGX_OK)
        {
            return NULL;
        }

        w->threads = 0;
    }

    return w;
}


ngx_int_t
ngx_http_tsface_trail_fingerprint(ngx_http_tsface_trail_t *trail,
    const char *label, const ngx_str_t *value, u_char *out, size_t n)
{
    ngx_http_tsface_writer_t  *w;

    w = ngx_http_tsface_trail_writer(trail);

    if (w == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_tsface_record_fingerprint(w->key, label, value, out, n);
}


void
ngx_http_tsface_trail_detach(ngx_http_tsface_entry_t *entry)
{
    entry->handler = NULL;
    entry->data = NULL;
}


void
ngx_http_tsface_trail_stat(const ngx_http_tsface_trail_t *trail,
    ngx_http_tsface_zone_trail_stat_t *stat)
{
    ngx_msec_t                       since;
    const ngx_http_tsface_writer_t  *w;

    if (trail->counts) {
        ngx_http_tsface_zone_trail_stat(trail->counts, stat);
        return;
    }

    ngx_memzero(stat, sizeof(ngx_http_tsface_zone_trail_stat_t));

    w = trail->writer;

    if (w == NULL) {
        return;
    }

    stat->queued = ngx_http_tsface_writer_queued(w);
    stat->err = w->last_errno;
    stat->failing = w->last_errno ? 1 : 0;

    since = ngx_http_tsface_writer_copy_since(w);
    stat->copy_lag = since ? (ngx_current_msec - since + 1) / 1000 : 0;
}
