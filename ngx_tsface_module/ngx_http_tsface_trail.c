
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "ngx_http_tsface_block.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_setter.h"
#include "ngx_http_tsface_trail.h"
#include "ngx_http_tsface_trail_file.h"


#if !(NGX_THREADS)
#error "tsface_audit_trail needs nginx built with --with-threads"
#endif


/* of one batch: the trail's lock is held while it is sealed and written */
#define NGX_HTTP_TSFACE_TRAIL_BATCH         512
#define NGX_HTTP_TSFACE_TRAIL_BATCH_BYTES   (1024 * 1024)

/* of what waits in one worker, when a disk is slow or gone */
#define NGX_HTTP_TSFACE_TRAIL_QUEUE         65536
#define NGX_HTTP_TSFACE_TRAIL_QUEUE_BYTES   (64 * 1024 * 1024)

/* an entry's body as a rule, and how many such entries are kept for reuse */
#define NGX_HTTP_TSFACE_TRAIL_ENTRY         1024
#define NGX_HTTP_TSFACE_TRAIL_SPARE         128

#define NGX_HTTP_TSFACE_TRAIL_GUARD         5000
#define NGX_HTTP_TSFACE_TRAIL_STOP          2000
#define NGX_HTTP_TSFACE_TRAIL_STRAY_MIN     1000

/* a batch that the event loop writes itself: too long, and then not for */
#define NGX_HTTP_TSFACE_TRAIL_LONG          20
#define NGX_HTTP_TSFACE_TRAIL_WARY          10000


struct ngx_http_tsface_entry_s {
    ngx_queue_t                        queue;
    size_t                             size;      /* of the room for body */
    ngx_http_tsface_entry_pt           handler;
    void                              *data;
    ngx_str_t                          body;
};


/*
 * In the master, which only holds the descriptors, and in each worker.  Not
 * of a pool: a thread may still use it when the cycle's pool goes.
 */
struct ngx_http_tsface_writer_s {
    ngx_http_tsface_trail_file_t      *file;
    ngx_http_tsface_trail_t           *trail;
    ngx_http_tsface_record_key_t      *key;    /* the event loop's own */
    ngx_log_t                         *log;
    ngx_str_t                          host;

    int                                fd;
    int                                chain_fd;

    ngx_queue_t                        waiting;
    ngx_uint_t                         queued;
    size_t                             bytes;

    ngx_queue_t                        spare;
    ngx_uint_t                         nspare;

    /* the batch in flight; the thread reads bodies and sets the results */
    ngx_queue_t                        flight;
    ngx_str_t                         *bodies;
    ngx_uint_t                         n;
    ngx_int_t                          rc;
    ngx_http_tsface_trail_result_t     result;
    ngx_thread_task_t                  task;
    ngx_atomic_t                       written;

    ngx_msec_t                         since;
    ngx_msec_t                         stray_since;
    ngx_msec_t                         wary_since;
    ngx_event_t                        post;
    ngx_event_t                        guard;
    ngx_connection_t                   dumb;

    ngx_uint_t                         records;
    ngx_uint_t                         batches;
    ngx_uint_t                         failures;
    ngx_uint_t                         lost;
    ngx_err_t                          last_errno;

    unsigned                           started:1;
    unsigned                           busy:1;
    unsigned                           threads:1;
    unsigned                           failing:1;
    unsigned                           stray:1;
    unsigned                           told:1;
    unsigned                           wary:1;
    unsigned                           slow:1;
    unsigned                           stopped:1;
    unsigned                           orphan:1;
};


static ngx_int_t ngx_http_tsface_trail_required(ngx_conf_t *cf,
    ngx_http_tsface_trail_t *trail);
static ngx_int_t ngx_http_tsface_trail_path(ngx_conf_t *cf,
    const ngx_array_t *trails, ngx_http_tsface_trail_t *trail);
static void ngx_http_tsface_trail_complain(ngx_uint_t level, ngx_log_t *log,
    const ngx_http_tsface_trail_t *trail,
    const ngx_http_tsface_trail_result_t *result, const char *then);

static ngx_uid_t ngx_http_tsface_trail_user(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_tsface_trail_take(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail, ngx_http_tsface_writer_t *w,
    ngx_log_t *log);
static void ngx_http_tsface_trail_reopen(ngx_open_file_t *file,
    ngx_log_t *log);
static void ngx_http_tsface_trail_cleanup(void *data);
static void ngx_http_tsface_trail_free(ngx_http_tsface_writer_t *w);

static ngx_http_tsface_writer_t *ngx_http_tsface_trail_writer(
    ngx_http_tsface_trail_t *trail);
static void ngx_http_tsface_trail_schedule(ngx_http_tsface_writer_t *w);
static void ngx_http_tsface_trail_post_handler(ngx_event_t *ev);
static void ngx_http_tsface_trail_guard_handler(ngx_event_t *ev);
static void ngx_http_tsface_trail_batch(ngx_http_tsface_writer_t *w);
static ngx_int_t ngx_http_tsface_trail_direct(ngx_http_tsface_writer_t *w);
static ngx_msec_t ngx_http_tsface_trail_now(void);
static void ngx_http_tsface_trail_thread(void *data, ngx_log_t *log);
static void ngx_http_tsface_trail_done_handler(ngx_event_t *ev);
static void ngx_http_tsface_trail_done(ngx_http_tsface_writer_t *w);
static void ngx_http_tsface_trail_report(ngx_http_tsface_writer_t *w);
static ngx_http_tsface_entry_t *ngx_http_tsface_trail_entry(
    ngx_http_tsface_writer_t *w, size_t len);
static void ngx_http_tsface_trail_entry_free(ngx_http_tsface_writer_t *w,
    ngx_http_tsface_entry_t *entry);
static void ngx_http_tsface_trail_drop(ngx_queue_t *queue);


/* Bytes; the file's every 32 bytes of key are 256 bits, as SHA-256 has. */
static size_t  ngx_http_tsface_trail_key_min = 32;


static ngx_conf_enum_t  ngx_http_tsface_trail_durability[] = {
    { ngx_string("fdatasync"), NGX_HTTP_TSFACE_DURABILITY_FDATASYNC },
    { ngx_string("write"), NGX_HTTP_TSFACE_DURABILITY_WRITE },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_tsface_trail_on_failure[] = {
    { ngx_string("refuse"), NGX_HTTP_TSFACE_ON_FAILURE_REFUSE },
    { ngx_string("forward"), NGX_HTTP_TSFACE_ON_FAILURE_FORWARD },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_tsface_trail_user_id[] = {
    { ngx_string("hmac"), NGX_HTTP_TSFACE_USER_ID_HMAC },
    { ngx_string("plain"), NGX_HTTP_TSFACE_USER_ID_PLAIN },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_tsface_trail_commands[] = {

    { ngx_string("file"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, path),
      NULL },

    { ngx_string("key"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, key),
      &ngx_http_tsface_trail_key_min },

    { ngx_string("durability"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, durability),
      &ngx_http_tsface_trail_durability },

    { ngx_string("timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, timeout),
      &ngx_http_tsface_timeout_post },

    { ngx_string("on_failure"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, on_failure),
      &ngx_http_tsface_trail_on_failure },

    { ngx_string("user_id"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, user_id),
      &ngx_http_tsface_trail_user_id },

      ngx_null_command
};


/* The body under construction: one at a time, on the event loop. */
static u_char  ngx_http_tsface_trail_body[NGX_HTTP_TSFACE_RECORD_MAX];


char *
ngx_http_tsface_trail_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_main_conf_t *tmcf = conf;

    char                      *rv;
    ngx_http_tsface_trail_t   *trail;

    trail = ngx_http_tsface_block_create(cf, cmd, &tmcf->trails,
                                         sizeof(ngx_http_tsface_trail_t));
    if (trail == NULL) {
        return NGX_CONF_ERROR;
    }

    /*
     * set by ngx_http_tsface_block_create():
     *
     *     trail->name;
     *     trail->path = { 0, NULL };
     *     trail->key = NULL;
     *     trail->writer = NULL;
     */

    trail->durability = NGX_CONF_UNSET_UINT;
    trail->on_failure = NGX_CONF_UNSET_UINT;
    trail->user_id = NGX_CONF_UNSET_UINT;
    trail->timeout = NGX_CONF_UNSET_MSEC;

    rv = ngx_http_tsface_block_parse(cf, ngx_http_tsface_trail_commands,
                                     trail, "tsface_audit_trail");
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_http_tsface_trail_required(cf, trail) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_uint_value(trail->durability,
                             NGX_HTTP_TSFACE_DURABILITY_FDATASYNC);
    ngx_conf_init_uint_value(trail->on_failure,
                             NGX_HTTP_TSFACE_ON_FAILURE_REFUSE);
    ngx_conf_init_uint_value(trail->user_id, NGX_HTTP_TSFACE_USER_ID_HMAC);
    ngx_conf_init_msec_value(trail->timeout, 2000);

    trail->thread_pool = ngx_thread_pool_add(cf, NULL);
    if (trail->thread_pool == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_tsface_trail_path(cf, &tmcf->trails, trail) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_tsface_block_add(&tmcf->trails, trail);
}


ngx_http_tsface_trail_t *
ngx_http_tsface_trail_find(const ngx_array_t *trails, const ngx_str_t *name)
{
    return ngx_http_tsface_block_find(trails, name);
}


static ngx_int_t
ngx_http_tsface_trail_required(ngx_conf_t *cf, ngx_http_tsface_trail_t *trail)
{
    const char  *missing;

    if (trail->path.len == 0) {
        missing = "file";

    } else if (trail->key == NULL) {
        missing = "key";

    } else {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "no \"%s\" in tsface_audit_trail \"%V\"",
                       missing, &trail->name);

    return NGX_ERROR;
}


/*
 * Looks at the file before a reload is committed, and makes it, with a mode
 * that nginx's own opening of it, below, would not give.
 */

static ngx_int_t
ngx_http_tsface_trail_path(ngx_conf_t *cf, const ngx_array_t *trails,
    ngx_http_tsface_trail_t *trail)
{
    int                               fd;
    ngx_uint_t                        i;
    ngx_open_file_t                  *file;
    ngx_http_tsface_trail_t         **other;
    ngx_http_tsface_trail_result_t    result;

    if (ngx_conf_full_name(cf->cycle, &trail->path, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    other = trails->elts;

    for (i = 0; i < trails->nelts; i++) {
        if (other[i]->path.len == trail->path.len
            && ngx_memcmp(other[i]->path.data, trail->path.data,
                          trail->path.len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "tsface_audit_trail \"%V\" has the file \"%V\" "
                               "that \"%V\" has: give each its own",
                               &trail->name, &trail->path, &other[i]->name);
            return NGX_ERROR;
        }
    }

    /* "nginx -s" reads the configuration too, and has no business there */

    if (ngx_process == NGX_PROCESS_SIGNALLER) {
        return NGX_OK;
    }

    if (ngx_test_config) {
        if (ngx_http_tsface_trail_file_check(&trail->path, &result)
            != NGX_OK)
        {
            goto failed;
        }

        return NGX_OK;
    }

    for (i = 0; i < 2; i++) {
        fd = ngx_http_tsface_trail_file_create(&trail->path, i,
                                    ngx_http_tsface_trail_user(cf->cycle),
                                    &result);
        if (fd == -1) {
            goto failed;
        }

        (void) close(fd);
    }

    /*
     * For the hook only: nginx calls it when it is told to reopen its files.
     * The descriptor that nginx opens here and closes at its own time must
     * never be used (a thread could write to whatever has its number then).
     */

    file = ngx_conf_open_file(cf->cycle, &trail->path);
    if (file == NULL) {
        return NGX_ERROR;
    }

    if (file->name.data != trail->path.data) {

        /* somebody opened it before */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the file \"%V\" of tsface_audit_trail \"%V\" is "
                           "also a log", &trail->path, &trail->name);
        return NGX_ERROR;
    }

    file->flush = ngx_http_tsface_trail_reopen;
    file->data = trail;

    return NGX_OK;

failed:

    if (result.flags & NGX_HTTP_TSFACE_TRAIL_FOREIGN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V%s\" of tsface_audit_trail \"%V\" is not a "
                           "trail's file, or has another name as well: give "
                           "a new name, or move it away",
                           &trail->path, result.suffix, &trail->name);

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, result.err,
                           "%s \"%V%s\" failed for tsface_audit_trail \"%V\"",
                           result.call ? result.call : "malloc()",
                           &trail->path, result.suffix, &trail->name);
    }

    return NGX_ERROR;
}


static void
ngx_http_tsface_trail_complain(ngx_uint_t level, ngx_log_t *log,
    const ngx_http_tsface_trail_t *trail,
    const ngx_http_tsface_trail_result_t *result, const char *then)
{
    if (result->flags & NGX_HTTP_TSFACE_TRAIL_FOREIGN) {
        ngx_log_error(level, log, 0,
                      "audit trail \"%V\": \"%V%s\" does not end in one of "
                      "its records, or is no regular file: move it away; %s",
                      &trail->name, &trail->path, result->suffix, then);
        return;
    }

    ngx_log_error(level, log, result->err,
                  "audit trail \"%V\": %s \"%V%s\" failed; %s",
                  &trail->name, result->call ? result->call : "malloc()",
                  &trail->path, result->suffix ? result->suffix : "", then);
}


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

    cln->handler = ngx_http_tsface_trail_cleanup;
    cln->data = w;

    ngx_queue_init(&w->waiting);
    ngx_queue_init(&w->flight);
    ngx_queue_init(&w->spare);

    w->trail = trail;
    w->log = cycle->log;
    w->fd = -1;
    w->chain_fd = -1;

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


/* Whom the files are given to: -1, nobody, where that can't be done. */

static ngx_uid_t
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
    int                               fd, *fdp;
    ngx_int_t                         rc;
    ngx_uint_t                        i;
    ngx_http_tsface_trail_result_t    result;

    rc = NGX_OK;

    for (i = 0; i < 2; i++) {

        fdp = i ? &w->chain_fd : &w->fd;

        fd = ngx_http_tsface_trail_file_create(&trail->path, i,
                                          ngx_http_tsface_trail_user(cycle),
                                          &result);

        if (fd == -1) {
            ngx_http_tsface_trail_complain(NGX_LOG_EMERG, log, trail,
                                           &result, "the trail has no file");
            rc = NGX_ERROR;
            continue;
        }

        if (*fdp != -1) {
            (void) close(*fdp);
        }

        *fdp = fd;
    }

    return rc;
}


/*
 * A hook of ngx_reopen_files(), which the master runs before it signals its
 * workers.  They look at the name with each batch, and follow it unasked;
 * but where the directory is root's only the master can make the new file.
 * nginx would make it readable by everybody.
 */

static void
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


static void
ngx_http_tsface_trail_cleanup(void *data)
{
    ngx_http_tsface_writer_t *w = data;

    w->stopped = 1;

    ngx_http_tsface_trail_drop(&w->waiting);

    if (w->post.posted) {
        ngx_delete_posted_event(&w->post);
    }

    if (w->guard.timer_set) {
        ngx_del_timer(&w->guard);
    }

    if (w->busy && !w->written) {

        /* single process mode: the thread's end frees it */

        w->orphan = 1;
        return;
    }

    ngx_http_tsface_trail_free(w);
}


static void
ngx_http_tsface_trail_free(ngx_http_tsface_writer_t *w)
{
    ngx_http_tsface_trail_drop(&w->flight);
    ngx_http_tsface_trail_drop(&w->spare);

    if (w->file) {
        ngx_http_tsface_trail_file_free(w->file);
    }

    if (w->fd != -1) {
        (void) close(w->fd);
    }

    if (w->chain_fd != -1) {
        (void) close(w->chain_fd);
    }

    if (w->bodies) {
        ngx_free(w->bodies);
    }

    ngx_http_tsface_record_key_free(w->key);

    ngx_free(w);
}


ngx_int_t
ngx_http_tsface_trail_start(ngx_cycle_t *cycle, ngx_http_tsface_trail_t *trail)
{
    ngx_http_tsface_writer_t           *w;
    ngx_http_tsface_trail_result_t      result;
    ngx_http_tsface_trail_file_conf_t   conf;

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    w = trail->writer;

    w->log = cycle->log;
    w->host = cycle->hostname;

    conf.path = &trail->path;
    conf.key = &trail->key->value;
    conf.name = &trail->name;
    conf.host = &cycle->hostname;
    conf.pid = ngx_pid;
    conf.durable = (trail->durability == NGX_HTTP_TSFACE_DURABILITY_FDATASYNC);
    conf.fd = w->fd;
    conf.chain_fd = w->chain_fd;

    w->file = ngx_http_tsface_trail_file_new(&conf);
    if (w->file == NULL) {
        return NGX_ERROR;
    }

    w->bodies = ngx_alloc(NGX_HTTP_TSFACE_TRAIL_BATCH * sizeof(ngx_str_t),
                          cycle->log);
    if (w->bodies == NULL) {
        return NGX_ERROR;
    }

    w->key = ngx_http_tsface_record_key_new(&trail->key->value);
    if (w->key == NULL) {
        return NGX_ERROR;
    }

    w->dumb.fd = (ngx_socket_t) -1;
    w->dumb.data = w;

    w->post.handler = ngx_http_tsface_trail_post_handler;
    w->post.data = &w->dumb;
    w->post.log = cycle->log;

    /* not cancelable: nginx would exit under a batch in flight */

    w->guard.handler = ngx_http_tsface_trail_guard_handler;
    w->guard.data = &w->dumb;
    w->guard.log = cycle->log;

    w->task.handler = ngx_http_tsface_trail_thread;
    w->task.ctx = w;
    w->task.event.handler = ngx_http_tsface_trail_done_handler;
    w->task.event.data = w;
    w->task.event.log = cycle->log;

    w->started = 1;

    w->threads = 1;

    if (ngx_http_tsface_trail_file_open(w->file, &result) != NGX_OK) {
        ngx_http_tsface_trail_complain(NGX_LOG_CRIT, cycle->log, trail,
                                       &result, "the next record tries again");
        w->last_errno = result.err;
    }

    return NGX_OK;
}


void
ngx_http_tsface_trail_stop(ngx_cycle_t *cycle, ngx_http_tsface_trail_t *trail)
{
    ngx_msec_t                 waited;
    ngx_http_tsface_writer_t  *w;

    w = trail->writer;

    if (w == NULL || !w->started || w->stopped) {
        return;
    }

    w->stopped = 1;

    /*
     * The thread pool's exit ran before this one and waited for its tasks,
     * so that a batch in flight is done; its completion comes no more.  If
     * there is one all the same, the file is the thread's and nothing can
     * be written without waiting for it for ever.
     */

    for (waited = 0;
         w->busy && !w->written && waited < NGX_HTTP_TSFACE_TRAIL_STOP;
         waited += 5)
    {
        ngx_msleep(5);
    }

    if (w->busy) {

        if (!w->written) {
            ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                          "audit trail \"%V\": %ui records in the hands of a "
                          "thread that hangs and %ui that wait may be lost",
                          &trail->name, w->n, w->queued);
            return;
        }

        ngx_memory_barrier();

        ngx_http_tsface_trail_report(w);
        ngx_http_tsface_trail_drop(&w->flight);

        w->busy = 0;
    }

    while (!ngx_queue_empty(&w->waiting)) {

        ngx_http_tsface_trail_batch(w);

        w->rc = ngx_http_tsface_trail_file_write(w->file, w->bodies, w->n,
                                                 NGX_HTTP_TSFACE_TRAIL_STOP,
                                                 &w->result);

        ngx_http_tsface_trail_report(w);
        ngx_http_tsface_trail_drop(&w->flight);

        w->busy = 0;

        if (w->rc != NGX_OK) {
            break;
        }
    }

    if (!ngx_queue_empty(&w->waiting)) {
        ngx_log_error(NGX_LOG_CRIT, cycle->log, 0,
                      "audit trail \"%V\": %ui records are lost at exit",
                      &trail->name, w->queued);
    }

    if (w->post.posted) {
        ngx_delete_posted_event(&w->post);
    }

    if (w->guard.timer_set) {
        ngx_del_timer(&w->guard);
    }
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
        w->failures++;
        w->lost++;
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

    entry = ngx_http_tsface_trail_entry(w, len);
    if (entry == NULL) {
        return NULL;
    }

    entry->handler = handler;
    entry->data = data;
    entry->body.len = len;
    entry->body.data = (u_char *) (entry + 1);

    ngx_memcpy(entry->body.data, ngx_http_tsface_trail_body, len);

    ngx_queue_insert_tail(&w->waiting, &entry->queue);
    w->queued++;
    w->bytes += len;

    ngx_http_tsface_trail_schedule(w);

    return entry;
}


/* The writer, at work; NULL if there is none, or no more. */

static ngx_http_tsface_writer_t *
ngx_http_tsface_trail_writer(ngx_http_tsface_trail_t *trail)
{
    ngx_http_tsface_writer_t  *w;

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
            || ngx_http_tsface_trail_start((ngx_cycle_t *) ngx_cycle, trail)
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
    ngx_http_tsface_trail_stat_t *stat)
{
    const ngx_http_tsface_writer_t  *w;

    ngx_memzero(stat, sizeof(ngx_http_tsface_trail_stat_t));

    w = trail->writer;

    if (w == NULL) {
        return;
    }

    stat->records = w->records;
    stat->batches = w->batches;
    stat->failures = w->failures;
    stat->queued = w->queued + (w->busy ? w->n : 0);
    stat->last_errno = w->last_errno;
}


/*
 * All that is submitted in one turn of the event loop makes one batch, and
 * so does all that is submitted while another one is written.
 */

static void
ngx_http_tsface_trail_schedule(ngx_http_tsface_writer_t *w)
{
    if (ngx_queue_empty(&w->waiting)) {

        if (!w->busy && w->guard.timer_set) {
            ngx_del_timer(&w->guard);
        }

        return;
    }

    if (!w->guard.timer_set) {
        ngx_add_timer(&w->guard, NGX_HTTP_TSFACE_TRAIL_GUARD);
    }

    if (!w->busy && !w->post.posted) {
        ngx_post_event(&w->post, &ngx_posted_events);
    }
}


static void
ngx_http_tsface_trail_post_handler(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_tsface_writer_t  *w;

    c = ev->data;
    w = c->data;

    if (w->busy || w->stopped || ngx_queue_empty(&w->waiting)) {
        return;
    }

    ngx_http_tsface_trail_batch(w);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, w->log, 0,
                   "tsface trail \"%V\" batch of %ui", &w->trail->name, w->n);

    if (!w->threads) {
        ngx_http_tsface_trail_thread(w, w->log);
        ngx_http_tsface_trail_done(w);
        return;
    }

    if (ngx_http_tsface_trail_direct(w) == NGX_OK) {
        ngx_http_tsface_trail_done(w);
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

    ngx_http_tsface_trail_done(w);
}


/* Keeps the worker alive, and tells of a disk that does not answer. */

static void
ngx_http_tsface_trail_guard_handler(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_tsface_writer_t  *w;

    c = ev->data;
    w = c->data;

    if (!w->busy && ngx_queue_empty(&w->waiting)) {
        return;
    }

    if (w->busy && !w->slow
        && ngx_current_msec - w->since >= NGX_HTTP_TSFACE_TRAIL_GUARD)
    {
        w->slow = 1;

        ngx_log_error(NGX_LOG_CRIT, w->log, 0,
                      "audit trail \"%V\": a batch for \"%V\" has been in the "
                      "works for %M ms, %ui records wait: is the disk well?",
                      &w->trail->name, &w->trail->path,
                      ngx_current_msec - w->since, w->queued);
    }

    ngx_add_timer(&w->guard, NGX_HTTP_TSFACE_TRAIL_GUARD);
}


/* Moves what waits, or as much as one batch may have, to the flight. */

static void
ngx_http_tsface_trail_batch(ngx_http_tsface_writer_t *w)
{
    size_t                    bytes;
    ngx_queue_t              *q;
    ngx_http_tsface_entry_t  *entry;

    bytes = 0;
    w->n = 0;

    while (!ngx_queue_empty(&w->waiting)
           && w->n < NGX_HTTP_TSFACE_TRAIL_BATCH
           && bytes < NGX_HTTP_TSFACE_TRAIL_BATCH_BYTES)
    {
        q = ngx_queue_head(&w->waiting);
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&w->flight, q);

        entry = ngx_queue_data(q, ngx_http_tsface_entry_t, queue);

        w->bodies[w->n++] = entry->body;
        bytes += entry->body.len;
    }

    w->queued -= w->n;
    w->bytes -= bytes;

    w->since = ngx_current_msec;
    w->written = 0;
    w->busy = 1;
}


/*
 * A batch that is not synced is a few system calls into the page cache, as a
 * line of an access log is, and handing it to a thread and back costs several
 * times as much.  So the event loop writes it.  NGX_DECLINED leaves it to the
 * thread: if another writer has the trail, and for a while after a batch that
 * failed or took long, as a worker must not hang together with a disk.
 */

static ngx_int_t
ngx_http_tsface_trail_direct(ngx_http_tsface_writer_t *w)
{
    ngx_msec_t  start;

    if (w->trail->durability != NGX_HTTP_TSFACE_DURABILITY_WRITE) {
        return NGX_DECLINED;
    }

    if (w->wary) {

        if (ngx_current_msec - w->wary_since < NGX_HTTP_TSFACE_TRAIL_WARY) {
            return NGX_DECLINED;
        }

        w->wary = 0;
    }

    start = ngx_http_tsface_trail_now();

    w->rc = ngx_http_tsface_trail_file_write(w->file, w->bodies, w->n,
                                             NGX_HTTP_TSFACE_TRAIL_NOWAIT,
                                             &w->result);

    if (w->result.flags & NGX_HTTP_TSFACE_TRAIL_LOCKED) {
        return NGX_DECLINED;
    }

    if (w->rc != NGX_OK
        || ngx_http_tsface_trail_now() - start >= NGX_HTTP_TSFACE_TRAIL_LONG)
    {
        w->wary = 1;
        w->wary_since = ngx_current_msec;
    }

    return NGX_OK;
}


/* ngx_current_msec does not move while the event loop is at work. */

static ngx_msec_t
ngx_http_tsface_trail_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (ngx_msec_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
ngx_http_tsface_trail_thread(void *data, ngx_log_t *log)
{
    ngx_http_tsface_writer_t *w = data;

    w->rc = ngx_http_tsface_trail_file_write(w->file, w->bodies, w->n, 0,
                                             &w->result);

    /* for exit_process, to which no completion comes */

    ngx_memory_barrier();

    w->written = 1;
}


static void
ngx_http_tsface_trail_done_handler(ngx_event_t *ev)
{
    ngx_http_tsface_writer_t *w = ev->data;

    if (w->orphan) {
        ngx_http_tsface_trail_free(w);
        return;
    }

    ngx_http_tsface_trail_done(w);
}


static void
ngx_http_tsface_trail_done(ngx_http_tsface_writer_t *w)
{
    ngx_int_t                  rc;
    ngx_queue_t               *q;
    ngx_http_tsface_entry_t   *entry;
    ngx_http_tsface_entry_pt   handler;

    ngx_http_tsface_trail_report(w);

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

        ngx_http_tsface_trail_entry_free(w, entry);
    }

    w->busy = 0;

    ngx_http_tsface_trail_schedule(w);
}


static void
ngx_http_tsface_trail_report(ngx_http_tsface_writer_t *w)
{
    ngx_log_t                       *log;
    ngx_http_tsface_trail_t         *trail;
    ngx_http_tsface_trail_result_t  *result;

    log = w->log;
    trail = w->trail;
    result = &w->result;

    w->slow = 0;

    if (result->flags & NGX_HTTP_TSFACE_TRAIL_TORN) {
        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "audit trail \"%V\": a writer had died in the middle of "
                      "a record: its %uz bytes at the end of \"%V\" %s",
                      &trail->name, result->torn, &trail->path,
                      (result->flags & NGX_HTTP_TSFACE_TRAIL_TORN_LOST)
                      ? "are cut off, and can't be kept in a \".torn\" file "
                        "in a directory that workers can't write to"
                      : "were moved to its \".torn\" file");
    }

    if (result->flags & NGX_HTTP_TSFACE_TRAIL_SHRUNK) {
        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "audit trail \"%V\": records are missing at the end of "
                      "\"%V\": somebody cut, emptied, deleted or replaced it",
                      &trail->name, &trail->path);
    }

    /*
     * For a moment it is so whenever the master makes a new file and has yet
     * to give it away.
     */

    if (!(result->flags & NGX_HTTP_TSFACE_TRAIL_STRAY)) {
        w->stray = 0;
        w->told = 0;

    } else if (!w->stray) {
        w->stray = 1;
        w->stray_since = ngx_current_msec;

    } else if (!w->told
               && ngx_current_msec - w->stray_since
                  >= NGX_HTTP_TSFACE_TRAIL_STRAY_MIN)
    {
        w->told = 1;

        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "audit trail \"%V\": \"%V\" was moved and workers can't "
                      "open or make another one: records still go to the one "
                      "that was moved; make nginx reopen its files (USR1)",
                      &trail->name, &trail->path);
    }

    w->batches++;

    if (w->rc != NGX_OK) {

        w->failures++;
        w->lost += w->n;
        w->last_errno = result->err ? result->err : EIO;

        if (!w->failing) {
            w->failing = 1;

            ngx_http_tsface_trail_complain(NGX_LOG_CRIT, log, trail, result,
                trail->on_failure == NGX_HTTP_TSFACE_ON_FAILURE_REFUSE
                ? "nothing is forwarded until it can be written"
                : "requests are forwarded WITHOUT A RECORD");
        }

        return;
    }

    w->records += w->n;
    w->last_errno = 0;

    if (w->failing) {
        w->failing = 0;

        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "audit trail \"%V\": \"%V\" is written again, %ui "
                      "records were not",
                      &trail->name, &trail->path, w->lost);

        w->lost = 0;
    }

    if (result->reason) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "audit trail \"%V\": \"%V\" has a new \"open\" record "
                      "(%s), the last seq is %uL", &trail->name, &trail->path,
                      result->reason, result->seq);
    }
}


/* malloc() would go to the kernel and back with each batch. */

static ngx_http_tsface_entry_t *
ngx_http_tsface_trail_entry(ngx_http_tsface_writer_t *w, size_t len)
{
    size_t                    size;
    ngx_queue_t              *q;
    ngx_http_tsface_entry_t  *entry;

    if (len <= NGX_HTTP_TSFACE_TRAIL_ENTRY && w->nspare) {
        q = ngx_queue_head(&w->spare);
        ngx_queue_remove(q);
        w->nspare--;

        return ngx_queue_data(q, ngx_http_tsface_entry_t, queue);
    }

    size = ngx_max(len, NGX_HTTP_TSFACE_TRAIL_ENTRY);

    entry = ngx_alloc(sizeof(ngx_http_tsface_entry_t) + size, w->log);
    if (entry == NULL) {
        return NULL;
    }

    entry->size = size;

    return entry;
}


static void
ngx_http_tsface_trail_entry_free(ngx_http_tsface_writer_t *w,
    ngx_http_tsface_entry_t *entry)
{
    if (entry->size > NGX_HTTP_TSFACE_TRAIL_ENTRY
        || w->nspare >= NGX_HTTP_TSFACE_TRAIL_SPARE)
    {
        ngx_free(entry);
        return;
    }

    ngx_queue_insert_head(&w->spare, &entry->queue);
    w->nspare++;
}


static void
ngx_http_tsface_trail_drop(ngx_queue_t *queue)
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
