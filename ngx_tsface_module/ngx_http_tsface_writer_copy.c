
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include <pthread.h>

#include "ngx_http_tsface_trail.h"
#include "ngx_http_tsface_trail_copy.h"
#include "ngx_http_tsface_writer.h"


/* nobody waits for a copy: how often it is looked whether it is made */
#define NGX_HTTP_TSFACE_WRITER_COPY_LOOK   10
#define NGX_HTTP_TSFACE_WRITER_COPY_LOOKS  1000

/* from a failure to the next try */
#define NGX_HTTP_TSFACE_WRITER_COPY_TRY    1000
#define NGX_HTTP_TSFACE_WRITER_COPY_TRIES  30000

/* a copy that took so long is late, and said to be */
#define NGX_HTTP_TSFACE_WRITER_COPY_LATE   5000

/* at exit */
#define NGX_HTTP_TSFACE_WRITER_COPY_STOP   2000


typedef enum {
    NGX_HTTP_TSFACE_WRITER_COPY_RUNS = 0,
    NGX_HTTP_TSFACE_WRITER_COPY_DONE,
    NGX_HTTP_TSFACE_WRITER_COPY_LEFT    /* the thread's to free */
} ngx_http_tsface_writer_copy_state_e;


/* Not of a pool: a thread may still use it when the process leaves. */
struct ngx_http_tsface_writer_copy_s {
    ngx_http_tsface_writer_t        *writer;
    ngx_event_t                      event;
    ngx_msec_t                       look;
    ngx_msec_t                       delay;
    ngx_msec_t                       since;     /* it is wanted; 0: it isn't */

    unsigned                         wanted:1;  /* since the thread began */
    unsigned                         running:1;
    unsigned                         failing:1; /* and it was said */

    /* the thread's, as long as state says so */
    ngx_http_tsface_trail_copy_t    *copy;
    ngx_int_t                        rc;
    ngx_http_tsface_trail_result_t   result;
    ngx_atomic_t                     state;
};


static void ngx_http_tsface_writer_copy_handler(ngx_event_t *ev);
static void ngx_http_tsface_writer_copy_go(ngx_http_tsface_writer_copy_t *c);
static void ngx_http_tsface_writer_copy_start(
    ngx_http_tsface_writer_copy_t *c);
static void *ngx_http_tsface_writer_copy_thread(void *data);
static ngx_uint_t ngx_http_tsface_writer_copy_runs(
    ngx_http_tsface_writer_copy_t *c);
static void ngx_http_tsface_writer_copy_done(ngx_http_tsface_writer_copy_t *c);
static void ngx_http_tsface_writer_copy_destroy(
    ngx_http_tsface_writer_copy_t *c);


ngx_int_t
ngx_http_tsface_writer_copy_init(ngx_http_tsface_writer_t *w,
    const ngx_http_tsface_trail_file_conf_t *conf)
{
    ngx_http_tsface_writer_copy_t  *c;

    if (conf->copy == NULL) {

        /* there may have been one, before a reload, that lacked something */

        ngx_http_tsface_zone_trail_copied(w->trail->counts, 0);
        return NGX_OK;
    }

    c = ngx_calloc(sizeof(ngx_http_tsface_writer_copy_t), w->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->copy = ngx_http_tsface_trail_copy_new(conf);
    if (c->copy == NULL) {
        ngx_free(c);
        return NGX_ERROR;
    }

    c->writer = w;
    c->delay = NGX_HTTP_TSFACE_WRITER_COPY_TRY;

    /* a worker that leaves does not wait for it: stop() does, for a while */

    c->event.handler = ngx_http_tsface_writer_copy_handler;
    c->event.data = &w->dumb;
    c->event.log = w->log;
    c->event.cancelable = 1;

    w->copy = c;

    return NGX_OK;
}


void
ngx_http_tsface_writer_copy_due(ngx_http_tsface_writer_t *w)
{
    ngx_http_tsface_writer_copy_t  *c;

    c = w->copy;

    if (c == NULL) {
        return;
    }

    c->wanted = 1;

    if (c->since == 0) {
        c->since = ngx_current_msec | 1;
        ngx_http_tsface_zone_trail_owes(w->trail->counts, c->since);
    }

    if (w->stopped || c->running) {
        return;
    }

    ngx_http_tsface_writer_copy_go(c);
}


static void
ngx_http_tsface_writer_copy_handler(ngx_event_t *ev)
{
    ngx_connection_t               *dumb;
    ngx_http_tsface_writer_t       *w;
    ngx_http_tsface_writer_copy_t  *c;

    dumb = ev->data;
    w = dumb->data;
    c = w->copy;

    if (!c->running) {

        /* another try */

        ngx_http_tsface_writer_copy_go(c);

    } else if (ngx_http_tsface_writer_copy_runs(c)) {
        c->look = ngx_min(2 * c->look, NGX_HTTP_TSFACE_WRITER_COPY_LOOKS);
        ngx_add_timer(&c->event, c->look);

    } else if (c->rc == NGX_OK && c->wanted) {
        ngx_http_tsface_writer_copy_go(c);
    }

    if (c->since && !c->failing
        && (ngx_msec_int_t) (ngx_current_msec - c->since)
           >= NGX_HTTP_TSFACE_WRITER_COPY_LATE)
    {
        c->failing = 1;

        ngx_http_tsface_zone_trail_uncopied(w->trail->counts);

        ngx_log_error(NGX_LOG_CRIT, w->log, 0,
                      "audit trail \"%V\": checkpoints have waited %M ms for "
                      "\"%V\": is its disk well? they are in the trail alone",
                      &w->trail->name, ngx_current_msec - c->since,
                      &w->trail->checkpoint_file);
    }
}


/* Starts a thread, and sets the time to look after it, or to try again. */

static void
ngx_http_tsface_writer_copy_go(ngx_http_tsface_writer_copy_t *c)
{
    ngx_http_tsface_writer_copy_start(c);

    if (c->running) {
        c->look = NGX_HTTP_TSFACE_WRITER_COPY_LOOK;
        ngx_add_timer(&c->event, c->look);
    }
}


/*
 * A thread of its own for each time, not one of nginx's pool.  Of those, which
 * the batches need, it would hold one while the disk hangs; and at its exit a
 * worker waits for all of the pool's, without an end and without a pause.  This
 * one goes with the process.
 */

static void
ngx_http_tsface_writer_copy_start(ngx_http_tsface_writer_copy_t *c)
{
    int             err;
    sigset_t        set, before;
    pthread_t       tid;
    pthread_attr_t  attr;

    c->wanted = 0;
    c->state = NGX_HTTP_TSFACE_WRITER_COPY_RUNS;

    /* signals are the event loop's */

    (void) sigfillset(&set);
    (void) sigdelset(&set, SIGILL);
    (void) sigdelset(&set, SIGFPE);
    (void) sigdelset(&set, SIGSEGV);
    (void) sigdelset(&set, SIGBUS);

    err = pthread_attr_init(&attr);

    if (err == 0) {
        (void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        (void) pthread_sigmask(SIG_BLOCK, &set, &before);

        err = pthread_create(&tid, &attr, ngx_http_tsface_writer_copy_thread,
                             c);

        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        (void) pthread_attr_destroy(&attr);
    }

    if (err == 0) {
        c->running = 1;
        return;
    }

    ngx_memzero(&c->result, sizeof(ngx_http_tsface_trail_result_t));

    c->rc = ngx_http_tsface_trail_failed(&c->result, "pthread_create()", "",
                                         err);
    ngx_http_tsface_writer_copy_done(c);
}


static void *
ngx_http_tsface_writer_copy_thread(void *data)
{
    ngx_http_tsface_writer_copy_t *c = data;

    c->rc = ngx_http_tsface_trail_copy_run(c->copy, &c->result);

    if (!ngx_atomic_cmp_set(&c->state, NGX_HTTP_TSFACE_WRITER_COPY_RUNS,
                            NGX_HTTP_TSFACE_WRITER_COPY_DONE))
    {
        ngx_http_tsface_writer_copy_destroy(c);
    }

    return NULL;
}


/* Whether the thread is still at it; if not, what it did is taken note of. */

static ngx_uint_t
ngx_http_tsface_writer_copy_runs(ngx_http_tsface_writer_copy_t *c)
{
    if (!c->running) {
        return 0;
    }

    if (c->state == NGX_HTTP_TSFACE_WRITER_COPY_RUNS) {
        return 1;
    }

    ngx_memory_barrier();

    c->running = 0;

    ngx_http_tsface_writer_copy_done(c);

    return 0;
}


/* Counts and logs what came of it, and sets the time to try again. */

static void
ngx_http_tsface_writer_copy_done(ngx_http_tsface_writer_copy_t *c)
{
    ngx_http_tsface_trail_t   *trail;
    ngx_http_tsface_writer_t  *w;

    w = c->writer;
    trail = w->trail;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, w->log, 0,
                   "tsface trail \"%V\" checkpoints copied: %i",
                   &trail->name, c->rc);

    if (c->rc == NGX_OK) {

        c->delay = NGX_HTTP_TSFACE_WRITER_COPY_TRY;

        c->since = c->wanted ? ngx_current_msec | 1 : 0;

        ngx_http_tsface_zone_trail_copied(trail->counts, c->since);

        if (c->failing) {
            c->failing = 0;

            ngx_log_error(NGX_LOG_NOTICE, w->log, 0,
                          "audit trail \"%V\": checkpoints are written to "
                          "\"%V\" again", &trail->name,
                          &trail->checkpoint_file);
        }

        return;
    }

    ngx_http_tsface_zone_trail_uncopied(trail->counts);
    ngx_http_tsface_zone_trail_owes(trail->counts, c->since);

    if (!c->failing) {
        c->failing = 1;

        ngx_log_error(NGX_LOG_CRIT, w->log, c->result.err,
                      "audit trail \"%V\": a checkpoint could not be written "
                      "to \"%V\", %s failed; it is in the trail alone until "
                      "it can be", &trail->name, &trail->checkpoint_file,
                      c->result.call);
    }

    c->wanted = 1;

    if (w->stopped) {
        return;
    }

    ngx_add_timer(&c->event, c->delay);

    c->delay = ngx_min(2 * c->delay, NGX_HTTP_TSFACE_WRITER_COPY_TRIES);
}


ngx_msec_t
ngx_http_tsface_writer_copy_since(const ngx_http_tsface_writer_t *w)
{
    return w->copy ? w->copy->since : 0;
}


void
ngx_http_tsface_writer_copy_stop(ngx_http_tsface_writer_t *w)
{
    ngx_msec_t                      waited;
    ngx_http_tsface_writer_copy_t  *c;

    c = w->copy;

    if (c == NULL) {
        return;
    }

    if (c->event.timer_set) {
        ngx_del_timer(&c->event);
    }

    for (waited = 0; waited < NGX_HTTP_TSFACE_WRITER_COPY_STOP;
         waited += 5)
    {
        if (!ngx_http_tsface_writer_copy_runs(c)) {

            if (!c->wanted) {
                return;
            }

            /* what failed just now would fail once more */

            if (waited && c->rc != NGX_OK) {
                break;
            }

            ngx_http_tsface_writer_copy_start(c);

        } else if (c->failing && waited == 0) {

            /* it hangs, and has done so for long */

            break;
        }

        ngx_msleep(5);
    }

    ngx_log_error(NGX_LOG_CRIT, w->log, 0,
                  "audit trail \"%V\": checkpoints are not in \"%V\" at exit: "
                  "they are in the trail, and written there when nginx runs "
                  "again", &w->trail->name, &w->trail->checkpoint_file);
}


void
ngx_http_tsface_writer_copy_free(ngx_http_tsface_writer_t *w)
{
    ngx_http_tsface_writer_copy_t  *c;

    c = w->copy;

    if (c == NULL) {
        return;
    }

    w->copy = NULL;

    if (c->event.timer_set) {
        ngx_del_timer(&c->event);
    }

    if (c->running
        && ngx_atomic_cmp_set(&c->state, NGX_HTTP_TSFACE_WRITER_COPY_RUNS,
                              NGX_HTTP_TSFACE_WRITER_COPY_LEFT))
    {
        return;
    }

    ngx_http_tsface_writer_copy_destroy(c);
}


static void
ngx_http_tsface_writer_copy_destroy(ngx_http_tsface_writer_copy_t *c)
{
    ngx_http_tsface_trail_copy_free(c->copy);
    ngx_free(c);
}
