
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "ngx_http_tsface_trail.h"
#include "ngx_http_tsface_trail_file.h"
#include "ngx_http_tsface_writer.h"


/* of one batch: the trail's lock is held while it is sealed and written */
#define NGX_HTTP_TSFACE_WRITER_BATCH_BYTES   (1024 * 1024)

/* an entry's body as a rule, and how many such entries are kept for reuse */
#define NGX_HTTP_TSFACE_WRITER_ENTRY         1024
#define NGX_HTTP_TSFACE_WRITER_SPARE         128

/* of memory that is free, what a worker keeps is twice this */
#define NGX_HTTP_TSFACE_WRITER_HEAP          (512 * 1024)

#define NGX_HTTP_TSFACE_WRITER_GUARD         5000
#define NGX_HTTP_TSFACE_WRITER_STOP          2000

/* until a checkpoint is tried again that could not be written */
#define NGX_HTTP_TSFACE_WRITER_AGAIN         1000
#define NGX_HTTP_TSFACE_WRITER_AGAIN_MAX     60000


static void ngx_http_tsface_writer_free(ngx_http_tsface_writer_t *w);
static void ngx_http_tsface_writer_heap(ngx_log_t *log);
static void ngx_http_tsface_writer_schedule(ngx_http_tsface_writer_t *w);
static void ngx_http_tsface_writer_post_handler(ngx_event_t *ev);
static void ngx_http_tsface_writer_guard_handler(ngx_event_t *ev);
static void ngx_http_tsface_writer_checkpoint_handler(ngx_event_t *ev);
static void ngx_http_tsface_writer_due(ngx_http_tsface_writer_t *w);
static void ngx_http_tsface_writer_batch(ngx_http_tsface_writer_t *w);
static void ngx_http_tsface_writer_thread(void *data, ngx_log_t *log);
static void ngx_http_tsface_writer_done_handler(ngx_event_t *ev);
static void ngx_http_tsface_writer_done(ngx_http_tsface_writer_t *w);
static void ngx_http_tsface_writer_entry_free(ngx_http_tsface_writer_t *w,
    ngx_http_tsface_entry_t *entry);
static void ngx_http_tsface_writer_drop(ngx_queue_t *queue);


void
ngx_http_tsface_writer_cleanup(void *data)
{
    ngx_http_tsface_writer_t *w = data;

    w->stopped = 1;

    ngx_http_tsface_writer_orphans_stop(w);
    ngx_http_tsface_writer_copy_free(w);
    ngx_http_tsface_writer_drop(&w->waiting);

    if (w->post.posted) {
        ngx_delete_posted_event(&w->post);
    }

    if (w->guard.timer_set) {
        ngx_del_timer(&w->guard);
    }

    if (w->checkpoint.timer_set) {
        ngx_del_timer(&w->checkpoint);
    }

    if (w->busy && !w->written) {

        /* single process mode: the thread's end frees it */

        w->orphan = 1;
        return;
    }

    ngx_http_tsface_writer_free(w);
}


static void
ngx_http_tsface_writer_free(ngx_http_tsface_writer_t *w)
{
    ngx_http_tsface_writer_drop(&w->flight);
    ngx_http_tsface_writer_drop(&w->spare);

    if (w->file) {
        ngx_http_tsface_trail_file_free(w->file);
    }

    if (w->fd != -1) {
        (void) close(w->fd);
    }

    if (w->chain_fd != -1) {
        (void) close(w->chain_fd);
    }

    if (w->sent_fd != -1) {
        (void) close(w->sent_fd);
    }

    if (w->bodies) {
        ngx_free(w->bodies);
    }

    ngx_http_tsface_record_key_free(w->key);

    ngx_free(w);
}


void
ngx_http_tsface_writer_start(ngx_http_tsface_writer_t *w)
{
    w->dumb.fd = (ngx_socket_t) -1;
    w->dumb.data = w;

    w->post.handler = ngx_http_tsface_writer_post_handler;
    w->post.data = &w->dumb;
    w->post.log = w->log;

    /* not cancelable: nginx would exit under a batch in flight */

    w->guard.handler = ngx_http_tsface_writer_guard_handler;
    w->guard.data = &w->dumb;
    w->guard.log = w->log;

    w->checkpoint.handler = ngx_http_tsface_writer_checkpoint_handler;
    w->checkpoint.data = &w->dumb;
    w->checkpoint.log = w->log;
    w->checkpoint.cancelable = 1;
    w->again = NGX_HTTP_TSFACE_WRITER_AGAIN;

    w->task.handler = ngx_http_tsface_writer_thread;
    w->task.ctx = w;
    w->task.event.handler = ngx_http_tsface_writer_done_handler;
    w->task.event.data = w;
    w->task.event.log = w->log;

    w->started = 1;
    w->threads = 1;

    ngx_http_tsface_writer_heap(w->log);
}


/*
 * The requests of a batch end in one turn of the event loop, and their memory
 * together is more than glibc keeps at the top of the heap: it went back to
 * the kernel and was faulted in again with each batch, a tenth of all CPU
 * time.  glibc keeps as much as twice the largest block that it mapped and saw
 * freed (mallopt(3), "dynamic mmap threshold"), so it is shown one.
 */

static void
ngx_http_tsface_writer_heap(ngx_log_t *log)
{
    void  *p;

    p = ngx_alloc(NGX_HTTP_TSFACE_WRITER_HEAP, log);

    if (p) {
        ngx_free(p);
    }
}


void
ngx_http_tsface_writer_stop(ngx_http_tsface_writer_t *w)
{
    ngx_msec_t  waited;

    w->stopped = 1;

    /*
     * The thread pool's exit ran before this one and waited for its tasks,
     * so that a batch in flight is done; its completion comes no more.  If
     * there is one all the same, the file is the thread's and nothing can
     * be written without waiting for it for ever.
     */

    for (waited = 0;
         w->busy && !w->written && waited < NGX_HTTP_TSFACE_WRITER_STOP;
         waited += 5)
    {
        ngx_msleep(5);
    }

    if (w->busy) {

        if (!w->written) {
            ngx_log_error(NGX_LOG_ALERT, w->log, 0,
                          "audit trail \"%V\": %ui records in the hands of a "
                          "thread that hangs and %ui that wait may be lost",
                          &w->trail->name, w->n, w->queued);
            return;
        }

        ngx_memory_barrier();

        ngx_http_tsface_writer_report(w);
        ngx_http_tsface_writer_drop(&w->flight);

        w->busy = 0;
    }

    while (!ngx_queue_empty(&w->waiting)) {

        ngx_http_tsface_writer_batch(w);

        w->rc = ngx_http_tsface_trail_file_write(w->file, w->bodies, w->n,
                                                 NGX_HTTP_TSFACE_WRITER_STOP,
                                                 &w->result);

        ngx_http_tsface_writer_report(w);
        ngx_http_tsface_writer_drop(&w->flight);

        w->busy = 0;

        if (w->rc != NGX_OK) {
            break;
        }
    }

    if (!ngx_queue_empty(&w->waiting)) {
        ngx_log_error(NGX_LOG_CRIT, w->log, 0,
                      "audit trail \"%V\": %ui records are lost at exit",
                      &w->trail->name, w->queued);
    }

    /* the others may have nothing to write for a long time */

    if (w->rc == NGX_OK && w->result.due) {

        /* of nothing: what the last batch had, and took, was counted */

        ngx_http_tsface_writer_batch(w);

        w->rc = ngx_http_tsface_trail_file_note(w->file,
                                                NGX_HTTP_TSFACE_RECORD_CLOSE,
                                                NULL,
                                                NGX_HTTP_TSFACE_WRITER_STOP,
                                                &w->result);
        ngx_http_tsface_writer_report(w);

        w->busy = 0;
    }

    ngx_http_tsface_writer_copy_stop(w);

    if (w->post.posted) {
        ngx_delete_posted_event(&w->post);
    }

    if (w->guard.timer_set) {
        ngx_del_timer(&w->guard);
    }

    if (w->checkpoint.timer_set) {
        ngx_del_timer(&w->checkpoint);
    }
}


void
ngx_http_tsface_writer_push(ngx_http_tsface_writer_t *w,
    ngx_http_tsface_entry_t *entry)
{
    ngx_queue_insert_tail(&w->waiting, &entry->queue);
    w->queued++;
    w->bytes += entry->body.len;

    ngx_http_tsface_zone_trail_now(w->trail->counts,
                                   ngx_http_tsface_writer_queued(w),
                                   w->last_errno);
    ngx_http_tsface_writer_schedule(w);
}


/*
 * All that is submitted in one turn of the event loop makes one batch, and
 * so does all that is submitted while another one is written.
 */

static void
ngx_http_tsface_writer_schedule(ngx_http_tsface_writer_t *w)
{
    if (ngx_queue_empty(&w->waiting) && !w->wanted) {

        if (!w->busy && w->guard.timer_set) {
            ngx_del_timer(&w->guard);
        }

        return;
    }

    if (!w->guard.timer_set) {
        ngx_add_timer(&w->guard, NGX_HTTP_TSFACE_WRITER_GUARD);
    }

    if (!w->busy && !w->post.posted) {
        ngx_post_event(&w->post, &ngx_posted_events);
    }
}


static void
ngx_http_tsface_writer_post_handler(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_tsface_writer_t  *w;

    c = ev->data;
    w = c->data;

    if (w->busy || w->stopped
        || (ngx_queue_empty(&w->waiting) && !w->wanted))
    {
        return;
    }

    ngx_http_tsface_writer_batch(w);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, w->log, 0,
                   "tsface trail \"%V\" batch of %ui", &w->trail->name, w->n);

    if (!w->threads) {
        ngx_http_tsface_writer_thread(w, w->log);
        ngx_http_tsface_writer_done(w);
        return;
    }

    if (ngx_thread_task_post(w->trail->thread_pool, &w->task) == NGX_OK) {
        return;
    }

    w->rc = NGX_ERROR;

    ngx_memzero(&w->result, sizeof(ngx_http_tsface_trail_result_t));
    w->result.call = "ngx_thread_task_post()";
    w->result.suffix = "";
    w->result.err = EAGAIN;

    ngx_http_tsface_writer_done(w);
}


/* Keeps the worker alive, and tells of a disk that does not answer. */

static void
ngx_http_tsface_writer_guard_handler(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_tsface_writer_t  *w;

    c = ev->data;
    w = c->data;

    if (!w->busy && ngx_queue_empty(&w->waiting)) {
        return;
    }

    if (w->busy && !w->slow
        && ngx_current_msec - w->since >= NGX_HTTP_TSFACE_WRITER_GUARD)
    {
        w->slow = 1;

        ngx_log_error(NGX_LOG_CRIT, w->log, 0,
                      "audit trail \"%V\": a batch for \"%V\" has been in the "
                      "works for %M ms, %ui records wait: is the disk well?",
                      &w->trail->name, &w->trail->path,
                      ngx_current_msec - w->since, w->queued);
    }

    ngx_add_timer(&w->guard, NGX_HTTP_TSFACE_WRITER_GUARD);
}


/* With the next batch, or with one of its own. */

static void
ngx_http_tsface_writer_checkpoint_handler(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_tsface_writer_t  *w;

    c = ev->data;
    w = c->data;

    if (w->stopped) {
        return;
    }

    w->wanted = 1;

    ngx_http_tsface_writer_schedule(w);
}


/*
 * Whoever wrote last of all workers comes back for the checkpoint; those who
 * wrote before find that it is there.
 */

static void
ngx_http_tsface_writer_due(ngx_http_tsface_writer_t *w)
{
    if (w->rc != NGX_OK) {

        /* it may be long until anybody has a record to write */

        if (w->trail->signer && !w->checkpoint.timer_set) {
            ngx_add_timer(&w->checkpoint, w->again);
            w->again = ngx_min(2 * w->again, NGX_HTTP_TSFACE_WRITER_AGAIN_MAX);
        }

        return;
    }

    w->again = NGX_HTTP_TSFACE_WRITER_AGAIN;

    if (w->result.due == 0) {

        if (w->checkpoint.timer_set) {
            ngx_del_timer(&w->checkpoint);
        }

        return;
    }

    if (!w->checkpoint.timer_set) {
        ngx_add_timer(&w->checkpoint, w->result.due);
    }
}


/* Moves what waits, or as much as one batch may have, to the flight. */

static void
ngx_http_tsface_writer_batch(ngx_http_tsface_writer_t *w)
{
    size_t                    bytes;
    ngx_queue_t              *q;
    ngx_http_tsface_entry_t  *entry;

    bytes = 0;
    w->n = 0;

    ngx_memzero(w->types, sizeof(w->types));

    while (!ngx_queue_empty(&w->waiting)
           && w->n < NGX_HTTP_TSFACE_WRITER_BATCH
           && bytes < NGX_HTTP_TSFACE_WRITER_BATCH_BYTES)
    {
        q = ngx_queue_head(&w->waiting);
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&w->flight, q);

        entry = ngx_queue_data(q, ngx_http_tsface_entry_t, queue);

        w->bodies[w->n++] = entry->body;
        w->types[entry->type]++;
        bytes += entry->body.len;
    }

    w->queued -= w->n;
    w->bytes -= bytes;

    w->since = ngx_current_msec;
    w->written = 0;
    w->wanted = 0;
    w->busy = 1;
}


static void
ngx_http_tsface_writer_thread(void *data, ngx_log_t *log)
{
    ngx_http_tsface_writer_t *w = data;

    w->rc = ngx_http_tsface_trail_file_write(w->file, w->bodies, w->n, 0,
                                             &w->result);

    /* for exit_process, to which no completion comes */

    ngx_memory_barrier();

    w->written = 1;
}


static void
ngx_http_tsface_writer_done_handler(ngx_event_t *ev)
{
    ngx_http_tsface_writer_t *w = ev->data;

    if (w->orphan) {
        ngx_http_tsface_writer_free(w);
        return;
    }

    ngx_http_tsface_writer_done(w);
}


static void
ngx_http_tsface_writer_done(ngx_http_tsface_writer_t *w)
{
    ngx_int_t                  rc;
    ngx_queue_t               *q;
    ngx_http_tsface_entry_t   *entry;
    ngx_http_tsface_entry_pt   handler;

    ngx_http_tsface_writer_report(w);
    ngx_http_tsface_writer_due(w);

    rc = w->rc;

    /*
     * A handler may finalize requests, which detach from entries further on
     * in the flight, and may submit new ones, which wait until this is over.
     */

    while (!ngx_queue_empty(&w->flight)) {

        q = ngx_queue_head(&w->flight);
        ngx_queue_remove(q);

        entry = ngx_queue_data(q, ngx_http_tsface_entry_t, queue);

        handler = entry->handler;

        if (handler) {
            entry->handler = NULL;
            handler(entry->data, rc);
        }

        ngx_http_tsface_writer_entry_free(w, entry);
    }

    w->busy = 0;

    ngx_http_tsface_zone_trail_now(w->trail->counts,
                                   ngx_http_tsface_writer_queued(w),
                                   w->last_errno);

    ngx_http_tsface_writer_schedule(w);
}


/* malloc() would go to the kernel and back with each batch. */

ngx_http_tsface_entry_t *
ngx_http_tsface_writer_entry(ngx_http_tsface_writer_t *w, size_t len)
{
    size_t                    size;
    ngx_queue_t              *q;
    ngx_http_tsface_entry_t  *entry;

    if (len <= NGX_HTTP_TSFACE_WRITER_ENTRY && w->nspare) {
        q = ngx_queue_head(&w->spare);
        ngx_queue_remove(q);
        w->nspare--;

        return ngx_queue_data(q, ngx_http_tsface_entry_t, queue);
    }

    size = ngx_max(len, NGX_HTTP_TSFACE_WRITER_ENTRY);

    entry = ngx_alloc(sizeof(ngx_http_tsface_entry_t) + size, w->log);
    if (entry == NULL) {
        return NULL;
    }

    entry->size = size;

    return entry;
}


static void
ngx_http_tsface_writer_entry_free(ngx_http_tsface_writer_t *w,
    ngx_http_tsface_entry_t *entry)
{
    if (entry->size > NGX_HTTP_TSFACE_WRITER_ENTRY
        || w->nspare >= NGX_HTTP_TSFACE_WRITER_SPARE)
    {
        ngx_free(entry);
        return;
    }

    ngx_queue_insert_head(&w->spare, &entry->queue);
    w->nspare++;
}


static void
ngx_http_tsface_writer_drop(ngx_queue_t *queue)
{
    ngx_queue_t              *q;
    ngx_http_tsface_entry_t  *entry;

    while (!ngx_queue_empty(queue)) {
        q = ngx_queue_head(queue);
        ngx_queue_remove(q);

        entry = ngx_queue_data(q, ngx_http_tsface_entry_t, queue);

        ngx_free(entry);
    }
}
