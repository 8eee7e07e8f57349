
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_sender.h"
#include "ngx_http_tsface_syslog_figures.h"
#include "ngx_http_tsface_writer.h"


/* how often it is looked for new records, and for a sender that has died */
#define NGX_HTTP_TSFACE_SENDER_TICK       1000

/* between attempts: doubled from the first to the second, half of it random */
#define NGX_HTTP_TSFACE_SENDER_PAUSE_MIN  500
#define NGX_HTTP_TSFACE_SENDER_PAUSE_MAX  30000

/* of bytes: what is less waits for the next tick, and for more to come */
#define NGX_HTTP_TSFACE_SENDER_LINGER     65536

/* a worker that is told to leave waits so long for a delivery under way */
#define NGX_HTTP_TSFACE_SENDER_EXIT       2000


static void ngx_http_tsface_sender_cleanup(void *data);
static void ngx_http_tsface_sender_free(ngx_http_tsface_sender_t *sender);
static void ngx_http_tsface_sender_tick(ngx_event_t *ev);
static ngx_uint_t ngx_http_tsface_sender_leave(
    ngx_http_tsface_sender_t *sender);
static void ngx_http_tsface_sender_retry(ngx_event_t *ev);
static void ngx_http_tsface_sender_run(ngx_http_tsface_sender_t *sender);
static void ngx_http_tsface_sender_thread(void *data, ngx_log_t *log);
static void ngx_http_tsface_sender_done(ngx_event_t *ev);
static void ngx_http_tsface_sender_next(ngx_http_tsface_sender_t *sender);
static void ngx_http_tsface_sender_deliver(ngx_http_tsface_sender_t *sender);
static void ngx_http_tsface_sender_delivered(void *ctx);
static void ngx_http_tsface_sender_failed(ngx_http_tsface_sender_t *sender);
static void ngx_http_tsface_sender_sending(ngx_http_tsface_sender_t *sender,
    ngx_uint_t sending);
static void ngx_http_tsface_sender_abort(ngx_http_tsface_sender_t *sender);


ngx_int_t
ngx_http_tsface_syslog_start(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail)
{
    ngx_pool_cleanup_t                    *cln;
    ngx_http_tsface_sender_t              *sender;
    ngx_http_tsface_syslog_t              *syslog;
    ngx_http_tsface_syslog_source_conf_t   conf;

    syslog = trail->syslog;

    if (syslog == NULL) {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    sender = ngx_calloc(sizeof(ngx_http_tsface_sender_t), cycle->log);
    if (sender == NULL) {
        return NGX_ERROR;
    }

    conf.path = &trail->path;
    conf.durable = (trail->durability == NGX_HTTP_TSFACE_DURABILITY_FDATASYNC);
    conf.chain_fd = trail->writer->chain_fd;
    conf.sent_fd = trail->writer->sent_fd;
    conf.head.pri = syslog->facility * 8 + syslog->severity;
    conf.head.host = cycle->hostname;
    conf.head.app_name = syslog->app_name;
    conf.head.sd_id = syslog->sd_id;

    sender->source = ngx_http_tsface_syslog_source_new(&conf);
    if (sender->source == NULL) {
        ngx_free(sender);
        return NGX_ERROR;
    }

    cln->handler = ngx_http_tsface_sender_cleanup;
    cln->data = sender;

    syslog->sender = sender;

    sender->trail = trail;
    sender->syslog = syslog;
    sender->sh = ngx_http_tsface_syslog_figures(trail);
    sender->log = cycle->log;
    sender->limit = NGX_HTTP_TSFACE_SYSLOG_BATCH;

    sender->task.handler = ngx_http_tsface_sender_thread;
    sender->task.ctx = sender;
    sender->task.event.handler = ngx_http_tsface_sender_done;
    sender->task.event.data = sender;
    sender->task.event.log = sender->log;

    /*
     * Failures are reported once, by the sender: not the log of what failed,
     * which says it with each attempt.
     */

    sender->delivery.log = *cycle->log;

    if (sender->delivery.log.log_level <= NGX_LOG_DEBUG) {
        sender->delivery.log.log_level = NGX_LOG_ALERT;
    }

    sender->delivery.timeout = syslog->timeout;
    sender->delivery.handler = ngx_http_tsface_sender_delivered;
    sender->delivery.ctx = sender;

    ngx_http_tsface_syslog_delivery_init(&sender->delivery);

    sender->dumb.fd = (ngx_socket_t) -1;
    sender->dumb.data = sender;

    sender->tick.handler = ngx_http_tsface_sender_tick;
    sender->tick.data = &sender->dumb;
    sender->tick.log = sender->log;
    sender->tick.cancelable = 1;

    sender->retry.handler = ngx_http_tsface_sender_retry;
    sender->retry.data = &sender->dumb;
    sender->retry.log = sender->log;
    sender->retry.cancelable = 1;

    ngx_add_timer(&sender->tick, 1);

    return NGX_OK;
}


void
ngx_http_tsface_syslog_stop(ngx_http_tsface_trail_t *trail)
{
    ngx_http_tsface_sender_t  *sender;

    if (trail->syslog == NULL || trail->syslog->sender == NULL) {
        return;
    }

    sender = trail->syslog->sender;

    if (sender->stopped) {
        return;
    }

    sender->stopped = 1;

    /* a delivery that is not done is made again by whoever sends next */

    ngx_http_tsface_syslog_delivery_cancel(&sender->delivery);

    if (sender->tick.timer_set) {
        ngx_del_timer(&sender->tick);
    }

    if (sender->retry.timer_set) {
        ngx_del_timer(&sender->retry);
    }

    ngx_http_tsface_syslog_figures_beat(sender->sh, 0);
}


static void
ngx_http_tsface_sender_cleanup(void *data)
{
    ngx_http_tsface_sender_t *sender = data;

    ngx_http_tsface_syslog_stop(sender->trail);

    if (sender->busy && !sender->done) {

        /* single process mode: the thread's end frees it */

        sender->orphan = 1;
        return;
    }

    ngx_http_tsface_sender_free(sender);
}


static void
ngx_http_tsface_sender_free(ngx_http_tsface_sender_t *sender)
{
    ngx_http_tsface_syslog_source_free(sender->source);

    ngx_free(sender);
}


/* All that is not an answer to something else begins here. */

static void
ngx_http_tsface_sender_tick(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_tsface_sender_t  *sender;

    c = ev->data;
    sender = c->data;

    if (sender->leader) {
        ngx_http_tsface_syslog_figures_beat(sender->sh, 1);
    }

    if (ngx_exiting && ngx_http_tsface_sender_leave(sender)) {
        return;
    }

    ngx_add_timer(&sender->tick, NGX_HTTP_TSFACE_SENDER_TICK);

    if (ngx_exiting) {
        return;
    }

    if (!sender->leader) {

        if (ngx_http_tsface_syslog_figures_other(sender->sh)) {
            return;
        }

        sender->read = 1;

    } else if (sender->sending || sender->retry.timer_set) {
        sender->measure = 1;

    } else {
        sender->read = 1;
    }

    ngx_http_tsface_sender_run(sender);
}


/*
 * A worker that is told to leave may have requests for long: another one
 * sends.  Returns 1 when there is nothing more to do.
 */

static ngx_uint_t
ngx_http_tsface_sender_leave(ngx_http_tsface_sender_t *sender)
{
    if (sender->leaving == 0) {
        sender->leaving = ngx_current_msec | 1;
    }

    if (sender->sending) {

        if (ngx_current_msec - sender->leaving < NGX_HTTP_TSFACE_SENDER_EXIT) {
            return 0;
        }

        ngx_http_tsface_sender_abort(sender);
    }

    if (!sender->leader && !sender->busy) {
        return 1;
    }

    sender->release = 1;

    ngx_http_tsface_sender_run(sender);

    return 0;
}


static void
ngx_http_tsface_sender_retry(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_tsface_sender_t  *sender;

    c = ev->data;
    sender = c->data;

    sender->read = 1;

    ngx_http_tsface_sender_run(sender);
}


/* Posts what there is to do, unless a job is under way: then after it. */

static void
ngx_http_tsface_sender_run(ngx_http_tsface_sender_t *sender)
{
    ngx_http_tsface_syslog_job_t  *job;

    if (sender->busy || sender->stopped) {
        return;
    }

    if (!sender->commit && !sender->read && !sender->release
        && !sender->measure)
    {
        return;
    }

    job = &sender->job;

    /* the position first, whatever comes after it; a batch is not read over */

    job->commit = sender->commit;
    job->release = !sender->commit && sender->release;
    job->read = !sender->release && sender->read && !sender->sending;
    job->sending = sender->sending;
    job->limit = sender->limit;

    sender->commit = 0;
    sender->read = 0;
    sender->measure = 0;

    if (job->release) {
        sender->release = 0;
    }

    sender->done = 0;
    sender->busy = 1;

    if (ngx_thread_task_post(sender->trail->thread_pool, &sender->task)
        != NGX_OK)
    {
        sender->busy = 0;
        sender->commit = job->commit;

        /* the next tick tries again */
    }
}


static void
ngx_http_tsface_sender_thread(void *data, ngx_log_t *log)
{
    ngx_http_tsface_sender_t *sender = data;

    ngx_http_tsface_syslog_source_step(sender->source, &sender->job);

    /* for the pool's cleanup, when no completion comes any more */

    ngx_memory_barrier();

    sender->done = 1;
}


static void
ngx_http_tsface_sender_done(ngx_event_t *ev)
{
    ngx_http_tsface_sender_t *sender = ev->data;

    if (sender->orphan) {
        ngx_http_tsface_sender_free(sender);
        return;
    }

    sender->busy = 0;

    if (sender->stopped) {
        return;
    }

    ngx_http_tsface_sender_report(sender);
    ngx_http_tsface_sender_next(sender);
}


static void
ngx_http_tsface_sender_next(ngx_http_tsface_sender_t *sender)
{
    ngx_http_tsface_syslog_job_t  *job;

    job = &sender->job;

    if (job->release || job->rc == NGX_BUSY) {

        if (sender->leader) {
            sender->leader = 0;
            ngx_http_tsface_syslog_figures_beat(sender->sh, 0);
        }

        /* what is under way belongs to the process that has the lock now */

        ngx_http_tsface_sender_abort(sender);

        sender->commit = 0;

        return;
    }

    if (job->rc == NGX_OK) {
        sender->leader = 1;
        ngx_http_tsface_syslog_figures_beat(sender->sh, 1);
    }

    if (sender->leader) {
        ngx_http_tsface_syslog_figures_backlog(sender->sh, job->records,
                                               job->bytes, job->commit);
    }

    if (job->read && job->rc == NGX_OK && !sender->leaving) {

        sender->batch = *job;

        if (job->n) {
            ngx_http_tsface_sender_deliver(sender);
            return;
        }

        ngx_http_tsface_sender_report_batch(sender);

        /* idle: the second connection is not kept for nothing */

        ngx_http_tsface_syslog_delivery_cancel(&sender->delivery);
    }

    if (job->commit && !sender->leaving
        && job->bytes >= NGX_HTTP_TSFACE_SENDER_LINGER)
    {
        sender->read = 1;
    }

    ngx_http_tsface_sender_run(sender);
}


static void
ngx_http_tsface_sender_deliver(ngx_http_tsface_sender_t *sender)
{
    ngx_http_tsface_syslog_job_t  *job;

    job = &sender->batch;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, sender->log, 0,
                   "tsface syslog \"%V\": %ui records up to %uL",
                   &sender->trail->name, job->n, job->last);

    ngx_http_tsface_sender_sending(sender, 1);

    ngx_http_tsface_syslog_delivery_start(&sender->delivery,
                                          &sender->syslog->addrs[sender->addr],
                                          job->data, job->len);
}


static void
ngx_http_tsface_sender_delivered(void *ctx)
{
    ngx_http_tsface_sender_t *sender = ctx;

    ngx_http_tsface_syslog_sh_t  *sh;

    sh = sender->sh;

    ngx_http_tsface_sender_sending(sender, 0);

    if (sender->delivery.error != NGX_HTTP_TSFACE_SYSLOG_OK) {
        ngx_http_tsface_sender_failed(sender);
        return;
    }

    if (sender->fails) {
        ngx_log_error(NGX_LOG_NOTICE, sender->log, 0,
                      "audit trail \"%V\": syslog server \"%V\" takes records "
                      "again", &sender->trail->name, &sender->syslog->server);
    }

    sender->fails = 0;
    sender->limit = ngx_min(2 * sender->limit, NGX_HTTP_TSFACE_SYSLOG_BATCH);
    sender->commit = 1;

    sh->error = NGX_HTTP_TSFACE_SYSLOG_OK;
    sh->err = 0;

    (void) ngx_atomic_fetch_add(&sh->records, sender->batch.n);
    (void) ngx_atomic_fetch_add(&sh->missing, sender->batch.gap);
    (void) ngx_atomic_fetch_add(&sh->batches, 1);

    ngx_http_tsface_sender_report_batch(sender);

    ngx_http_tsface_sender_run(sender);
}


static void
ngx_http_tsface_sender_failed(ngx_http_tsface_sender_t *sender)
{
    ngx_msec_t                          pause;
    ngx_http_tsface_syslog_sh_t        *sh;
    ngx_http_tsface_syslog_delivery_t  *delivery;

    sh = sender->sh;
    delivery = &sender->delivery;

    sh->error = delivery->error;
    sh->err = delivery->err;
    (void) ngx_atomic_fetch_add(&sh->failures, 1);

    if (sender->fails == 0) {
        ngx_log_error(NGX_LOG_ERR, sender->log, delivery->err,
                      "audit trail \"%V\": syslog server \"%V\" %s; what it "
                      "doesn't take stays in \"%V\"",
                      &sender->trail->name, &sender->syslog->server,
                      ngx_http_tsface_syslog_delivery_text(delivery->error),
                      &sender->trail->path);
    }

    /* what can't be taken in time as a whole can be in parts */

    if (delivery->connected) {
        sender->limit = ngx_max(sender->limit / 2, 1);
    }

    sender->addr = (sender->addr + 1) % sender->syslog->naddrs;

    pause = NGX_HTTP_TSFACE_SENDER_PAUSE_MIN << ngx_min(sender->fails, 6);
    pause = ngx_min(pause, NGX_HTTP_TSFACE_SENDER_PAUSE_MAX);
    pause = pause / 2 + ngx_random() % (pause / 2);

    sender->fails++;

    ngx_add_timer(&sender->retry, pause);
}


/* The tick keeps a worker from leaving under a delivery. */

static void
ngx_http_tsface_sender_sending(ngx_http_tsface_sender_t *sender,
    ngx_uint_t sending)
{
    sender->sending = sending;
    sender->tick.cancelable = !sending;
}


static void
ngx_http_tsface_sender_abort(ngx_http_tsface_sender_t *sender)
{
    ngx_http_tsface_syslog_delivery_cancel(&sender->delivery);

    ngx_http_tsface_sender_sending(sender, 0);

    if (sender->retry.timer_set) {
        ngx_del_timer(&sender->retry);
    }
}
