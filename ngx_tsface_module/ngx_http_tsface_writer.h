
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What a process has of a trail: the entries that wait, the batch that is in
 * a thread's hands, and what became of the last one.  For trail.c only.
 */


#ifndef _NGX_HTTP_TSFACE_WRITER_H_INCLUDED_
#define _NGX_HTTP_TSFACE_WRITER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_tsface_trail.h"
#include "ngx_http_tsface_trail_file.h"


/* entries of one batch, at most */
#define NGX_HTTP_TSFACE_WRITER_BATCH   512


struct ngx_http_tsface_entry_s {
    ngx_queue_t                        queue;
    size_t                             size;      /* of the room for body */
    ngx_http_tsface_entry_pt           handler;
    void                              *data;
    ngx_http_tsface_record_type_e      type;
    ngx_str_t                          body;
};


typedef struct ngx_http_tsface_writer_orphans_s
    ngx_http_tsface_writer_orphans_t;

typedef struct ngx_http_tsface_writer_copy_s  ngx_http_tsface_writer_copy_t;


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
    int                                sent_fd;

    ngx_queue_t                        waiting;
    ngx_uint_t                         queued;
    size_t                             bytes;

    ngx_queue_t                        spare;
    ngx_uint_t                         nspare;

    /* the batch in flight; the thread reads bodies and sets the results */
    ngx_queue_t                        flight;
    ngx_str_t                         *bodies;
    ngx_uint_t                         n;
    ngx_uint_t                         types[NGX_HTTP_TSFACE_RECORD_NTYPES];
    ngx_int_t                          rc;
    ngx_http_tsface_trail_result_t     result;
    ngx_thread_task_t                  task;
    ngx_atomic_t                       written;

    ngx_http_tsface_writer_orphans_t  *orphans;
    ngx_http_tsface_writer_copy_t     *copy;        /* NULL: none is made */

    ngx_msec_t                         since;
    ngx_msec_t                         stray_since;
    ngx_event_t                        post;
    ngx_event_t                        guard;
    ngx_event_t                        checkpoint;  /* when the next is due */
    ngx_msec_t                         again;       /* or after a failure */
    ngx_connection_t                   dumb;

    ngx_uint_t                         lost;   /* since it fails */
    ngx_err_t                          last_errno;

    unsigned                           started:1;
    unsigned                           busy:1;
    unsigned                           threads:1;
    unsigned                           failing:1;
    unsigned                           stray:1;
    unsigned                           told:1;
    unsigned                           slow:1;
    unsigned                           stopped:1;
    unsigned                           orphan:1;
    unsigned                           wanted:1;    /* a checkpoint is due */
    unsigned                           large:1;
};


/*
 * Sets conf for this process's use of the trail's files, in records with that
 * pid (-1: none).  In trail.c, for trail_note.c too.
 */
void ngx_http_tsface_writer_conf(ngx_cycle_t *cycle,
    const ngx_http_tsface_trail_t *trail, ngx_int_t pid,
    ngx_http_tsface_trail_file_conf_t *conf);

/*
 * The event loop's part of a writer that has file, bodies (room for a batch)
 * and log: from now on entries can be pushed.
 */
void ngx_http_tsface_writer_start(ngx_http_tsface_writer_t *w);

/* Room for an entry with a body of len bytes, or NULL. */
ngx_http_tsface_entry_t *ngx_http_tsface_writer_entry(
    ngx_http_tsface_writer_t *w, size_t len);

/* Queues an entry, which is the writer's then; it is freed after its batch. */
void ngx_http_tsface_writer_push(ngx_http_tsface_writer_t *w,
    ngx_http_tsface_entry_t *entry);

/* Records that are not written yet, the batch in flight among them. */
#define ngx_http_tsface_writer_queued(w)                                      \
    ((w)->queued + ((w)->busy ? (w)->n : 0))

/* At the exit of the process: writes what waits, without any thread. */
void ngx_http_tsface_writer_stop(ngx_http_tsface_writer_t *w);

/* Of the cycle's pool: frees w, or leaves that to the thread that has it. */
void ngx_http_tsface_writer_cleanup(void *data);


/* writer_report.c: what a trail's reader should know of its writing */

/* Counts the batch that was written, or not, and logs what is new of it. */
void ngx_http_tsface_writer_report(ngx_http_tsface_writer_t *w);

/* Logs what a batch, or the search for orphans, met: TORN and the like. */
void ngx_http_tsface_writer_found(ngx_log_t *log,
    const ngx_http_tsface_trail_t *trail,
    const ngx_http_tsface_trail_result_t *result);

/* Logs a failure of the trail's file; then says what follows from it. */
void ngx_http_tsface_writer_complain(ngx_uint_t level, ngx_log_t *log,
    const ngx_http_tsface_trail_t *trail,
    const ngx_http_tsface_trail_result_t *result, const char *then);


/* writer_orphan.c: intents that a crash has left, closed by a thread */

/* Starts the search.  It does without what it can't have. */
void ngx_http_tsface_writer_orphans_start(ngx_http_tsface_writer_t *w,
    const ngx_http_tsface_trail_file_conf_t *conf);

/* w is about to go. */
void ngx_http_tsface_writer_orphans_stop(ngx_http_tsface_writer_t *w);


/*
 * writer_copy.c: checkpoints in a second place, written there by a thread.  All
 * but init() do nothing if there is none.
 */

/* Makes what is needed for it, if conf has a second place. */
ngx_int_t ngx_http_tsface_writer_copy_init(ngx_http_tsface_writer_t *w,
    const ngx_http_tsface_trail_file_conf_t *conf);

/*
 * Something may lack there: it is written as soon as it can be.  If w is
 * stopped only stop() does that.
 */
void ngx_http_tsface_writer_copy_due(ngx_http_tsface_writer_t *w);

/* Since when that is so; 0: it isn't. */
ngx_msec_t ngx_http_tsface_writer_copy_since(const ngx_http_tsface_writer_t *w);

/* At exit: the same without an event loop, and for two seconds at most. */
void ngx_http_tsface_writer_copy_stop(ngx_http_tsface_writer_t *w);

/* Frees what init() made, or leaves that to the thread that has it. */
void ngx_http_tsface_writer_copy_free(ngx_http_tsface_writer_t *w);


#endif /* _NGX_HTTP_TSFACE_WRITER_H_INCLUDED_ */
