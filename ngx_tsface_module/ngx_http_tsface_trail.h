
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The audit trail as the event loop sees it: entries go in, a handler is told
 * when they are on disk.  Writing happens in nginx's thread pool, a batch at
 * a time (trail_file.h); the event loop never waits for a disk.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_thread_pool.h>

#include <openssl/evp.h>

#include "ngx_http_tsface_gcra.h"
#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_secret.h"
#include "ngx_http_tsface_zone.h"


#define NGX_HTTP_TSFACE_DURABILITY_FDATASYNC  0
#define NGX_HTTP_TSFACE_DURABILITY_WRITE      1

#define NGX_HTTP_TSFACE_ON_FAILURE_REFUSE     0
#define NGX_HTTP_TSFACE_ON_FAILURE_FORWARD    1

#define NGX_HTTP_TSFACE_USER_ID_HMAC          0
#define NGX_HTTP_TSFACE_USER_ID_PLAIN         1


typedef struct ngx_http_tsface_writer_s  ngx_http_tsface_writer_t;
typedef struct ngx_http_tsface_entry_s   ngx_http_tsface_entry_t;
typedef struct ngx_http_tsface_refusals_s  ngx_http_tsface_refusals_t;
typedef struct ngx_http_tsface_syslog_s  ngx_http_tsface_syslog_t;


/* A tsface_audit_trail block. */
typedef struct {
    ngx_str_t                   name;           /* first: block.h */
    ngx_str_t                   path;           /* full, NUL-terminated */
    ngx_http_tsface_secret_t   *key;
    ngx_http_tsface_secret_t   *key_previous;   /* NULL: none */
    ngx_http_tsface_secret_t   *checkpoint_key; /* NULL: no checkpoints */
    EVP_PKEY                   *signer;         /* which it holds */
    ngx_int_t                   checkpoint_records;
    ngx_msec_t                  checkpoint_interval;
    ngx_str_t                   checkpoint_file; /* as path; empty: none */
    off_t                       rotate_size;    /* 0: off */
    ngx_uint_t                  durability;
    ngx_uint_t                  on_failure;
    ngx_uint_t                  user_id;
    ngx_msec_t                  timeout;
    ngx_http_tsface_syslog_t   *syslog;         /* NULL: none */
    ngx_thread_pool_t          *thread_pool;
    ngx_http_tsface_gcra_t      refusals;       /* rate 0: all of them */

    /* the process's own */
    ngx_http_tsface_writer_t   *writer;
    ngx_http_tsface_refusals_t *flood;          /* NULL: none is counted */
    ngx_http_tsface_zone_trail_t
                               *counts;         /* or NULL */
} ngx_http_tsface_trail_t;


/*
 * Called on the event loop, once, when the entry is durable (NGX_OK) or can't
 * be made so (NGX_ERROR); the entry is gone after it.  It may finalize
 * requests and submit new entries.
 */
typedef void (*ngx_http_tsface_entry_pt)(void *data, ngx_int_t rc);


/* The setter of "tsface_audit_trail NAME { ... }": appends to main conf. */
char *ngx_http_tsface_trail_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

ngx_http_tsface_trail_t *ngx_http_tsface_trail_find(const ngx_array_t *trails,
    const ngx_str_t *name);

/*
 * Life cycle: init_module (master), init_process, exit_process.  zone, where
 * records are counted, may be NULL.
 */
ngx_int_t ngx_http_tsface_trail_init(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail);
ngx_int_t ngx_http_tsface_trail_start(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail, ngx_shm_zone_t *zone);
void ngx_http_tsface_trail_stop(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail);

/*
 * In the master, and trail_note.c: a record that says that nginx starts, when
 * the trail is there, or stops, when there are no workers any more.  Waits
 * for a lock for a second; a failure is logged, and nothing follows from it.
 * Counted in zone, if there is one.
 */
void ngx_http_tsface_trail_note_start(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail, ngx_shm_zone_t *zone);
void ngx_http_tsface_trail_note_stop(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail, ngx_shm_zone_t *zone);

/*
 * For the block: whom the trail's files are given to (-1, nobody, where that
 * can't be done), and what nginx calls when it is told to reopen its files
 * (file->data is the trail).
 */
ngx_uid_t ngx_http_tsface_trail_user(ngx_cycle_t *cycle);
void ngx_http_tsface_trail_reopen(ngx_open_file_t *file, ngx_log_t *log);

/*
 * Queues a record (trail, host and pid are filled in here).  Entries of one
 * worker are written in the order they are submitted.  handler may be NULL:
 * nobody waits.  Never calls handler itself.  Returns NULL if the entry can't
 * be taken (no memory, the queue is full): the same as a failure.
 */
ngx_http_tsface_entry_t *ngx_http_tsface_trail_submit(
    ngx_http_tsface_trail_t *trail, ngx_http_tsface_record_t *record,
    ngx_http_tsface_entry_pt handler, void *data);

/* record_fingerprint() under the trail's key. */
ngx_int_t ngx_http_tsface_trail_fingerprint(ngx_http_tsface_trail_t *trail,
    const char *label, const ngx_str_t *value, u_char *out, size_t n);

/* Whoever waited is gone: the entry is still written, no handler is called. */
void ngx_http_tsface_trail_detach(ngx_http_tsface_entry_t *entry);


/*
 * For the status page.  Without a zone: what this worker knows of its last
 * batch and its queue.
 */
void ngx_http_tsface_trail_stat(const ngx_http_tsface_trail_t *trail,
    ngx_http_tsface_zone_trail_stat_t *stat);


#endif /* _NGX_HTTP_TSFACE_TRAIL_H_INCLUDED_ */
