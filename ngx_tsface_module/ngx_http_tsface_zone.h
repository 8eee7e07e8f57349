
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * tsface_zone: what the workers of one host share: tokens and counters.  It
 * outlives reloads.  No other file touches its memory.
 *
 * Figures are added to, and read, without a lock.  Every other function locks
 * the slab pool's mutex for microseconds and makes no system call under it;
 * that mutex is the only lock, because it is the only one that nginx's master
 * opens again when a worker dies holding it.
 */


#ifndef _NGX_HTTP_TSFACE_ZONE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_credentials.h"
#include "ngx_http_tsface_meter.h"
#include "ngx_http_tsface_operation.h"
#include "ngx_http_tsface_plan.h"
#include "ngx_http_tsface_problem.h"
#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_rotation.h"


#define NGX_HTTP_TSFACE_MAX_TOKEN   8192

/* Counters of a request that is none of the operations. */
#define NGX_HTTP_TSFACE_NO_OPERATION   NGX_HTTP_TSFACE_NOPERATIONS


typedef struct ngx_http_tsface_zone_s  ngx_http_tsface_zone_t;
typedef struct ngx_http_tsface_slot_s  ngx_http_tsface_slot_t;


typedef enum {
    NGX_HTTP_TSFACE_COUNT_REQUESTS = 0,
    NGX_HTTP_TSFACE_COUNT_SUCCESS,
    NGX_HTTP_TSFACE_COUNT_DENIED,
    NGX_HTTP_TSFACE_COUNT_ERROR,
    NGX_HTTP_TSFACE_COUNT_UNKNOWN,
    NGX_HTTP_TSFACE_COUNT_REFUSED,
    NGX_HTTP_TSFACE_COUNT_REPLAYS,
    NGX_HTTP_TSFACE_COUNT_UNRECORDED,
    NGX_HTTP_TSFACE_COUNT_SUMMARISED,
    NGX_HTTP_TSFACE_NCOUNTERS
} ngx_http_tsface_counter_e;


/* What a slot holds, copied out of the zone.  Times are ngx_current_msec. */
typedef struct {
    ngx_uint_t                   version;      /* changes when a slot does */
    ngx_uint_t                   generation;   /* 0: no token so far */
    ngx_uint_t                   valid;        /* 0: rejected or none */
    ngx_msec_t                   obtained;
    ngx_msec_t                   expires;
    ngx_msec_t                   refresh;

    ngx_http_tsface_exchange_e   failure;      /* of the last exchange */
    ngx_uint_t                   fails;        /* in a row */
    ngx_msec_t                   not_before;   /* of the next exchange */
    ngx_uint_t                   leased;       /* an exchange is under way */

    ngx_uint_t                   exchanges[NGX_HTTP_TSFACE_EXCHANGE_NCLASSES];

    ngx_uint_t                   secret;       /* 1, 2; 0: none worked */
    u_char                       works[NGX_HTTP_TSFACE_SECRET_DIGEST_LEN];

    size_t                       len;          /* of the token */
} ngx_http_tsface_slot_info_t;


typedef struct ngx_http_tsface_zone_trail_s  ngx_http_tsface_zone_trail_t;

/* Errors that failures of a trail are counted by, see error_names. */
#define NGX_HTTP_TSFACE_NERRORS      12
#define NGX_HTTP_TSFACE_QUEUE_FULL   -1

/* A copy of a trail's counters. */
typedef struct {
    ngx_uint_t                   records[NGX_HTTP_TSFACE_RECORD_NTYPES];
    ngx_uint_t                   failures[NGX_HTTP_TSFACE_NERRORS];
    ngx_uint_t                   orphaned;
    ngx_uint_t                   bytes;
    ngx_uint_t                   lost;         /* records */
    ngx_uint_t                   uncopied;     /* writes of checkpoints */
    ngx_uint_t                   copy_lag;     /* seconds that one waits */
    ngx_uint_t                   has_signed;   /* there was a checkpoint, */
    ngx_uint_t                   signed_ago;   /* seconds ago */
    ngx_http_tsface_meter_stat_t commit;       /* its count is of batches */
    ngx_uint_t                   queued;       /* records, now */
    ngx_uint_t                   failing;      /* workers, now */
    ngx_err_t                    err;          /* of one of them, or 0 */
} ngx_http_tsface_zone_trail_stat_t;

extern const char *const
    ngx_http_tsface_zone_trail_error_names[NGX_HTTP_TSFACE_NERRORS];


/* The secret that the token endpoint took: it is tried first from then on. */
typedef struct {
    ngx_uint_t                   number;       /* 1, 2; 0: not by a secret */
    const u_char                *works;        /* its digest */
} ngx_http_tsface_slot_secret_t;


/* tsface_zone zone=NAME:SIZE [exchange_rate=RATE] */
char *ngx_http_tsface_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/*
 * The least size of a zone for so many credentials and trails, in bytes:
 * postconfiguration refuses a smaller one.
 */
size_t ngx_http_tsface_zone_min_size(ngx_uint_t credentials,
    ngx_uint_t trails);

/*
 * The slot of a fingerprint, made if there is none.  NULL: no memory, even
 * after the slots that nobody has used for ten minutes were given up.
 */
ngx_http_tsface_slot_t *ngx_http_tsface_zone_slot(ngx_shm_zone_t *zone,
    const u_char *fingerprint);

/*
 * Wipes tokens of configurations that are no more: of slots that no worker has
 * used for three minutes.  Looks at a part of the zone, as large as the time
 * since the last call: once in a minute is often enough.
 */
void ngx_http_tsface_zone_sweep(ngx_shm_zone_t *zone);

/* Without the lock: the number that changes with every change of the slot. */
ngx_uint_t ngx_http_tsface_slot_version(const ngx_http_tsface_slot_t *slot);

/*
 * Copies the slot.  token, if not NULL, has room for size bytes and gets the
 * token when there is a valid one (info->len > 0).  NGX_AGAIN: size is too
 * small for info->len.
 */
ngx_int_t ngx_http_tsface_slot_read(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, ngx_http_tsface_slot_info_t *info,
    u_char *token, size_t size);

/*
 * Asks for the right to make an exchange; urgent: requests wait.  NGX_OK: it
 * is ours until `until`, *lease names it.  NGX_BUSY: another worker has it,
 * *next is when its lease ends.  NGX_DECLINED: none is due before *next.
 * NGX_AGAIN: one is due, and its turn among all credentials comes at *next.
 */
ngx_int_t ngx_http_tsface_slot_lease(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t urgent, ngx_msec_t now,
    ngx_msec_t until, ngx_uint_t *lease, ngx_msec_t *next);

/*
 * The secrets are others than those that were refused: the pause after the
 * refusal is over.  Returns 1 if this call ended it.
 */
ngx_uint_t ngx_http_tsface_slot_hurry(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, const u_char *secrets, ngx_msec_t now);

/*
 * Counts an exchange that does not end the lease, as another follows it, until
 * `until`.  NGX_DECLINED: the lease was lost.
 */
ngx_int_t ngx_http_tsface_slot_again(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t lease,
    ngx_http_tsface_exchange_e result, ngx_msec_t until);

/*
 * Ends a lease with a token.  A lease that was lost to another worker
 * (it took longer than `until`) changes nothing: NGX_DECLINED.  NGX_ERROR: no
 * memory; the lease goes on, to be ended as a failure.
 */
ngx_int_t ngx_http_tsface_slot_store(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t lease, const ngx_str_t *token,
    const ngx_http_tsface_slot_secret_t *secret, ngx_msec_t now,
    const ngx_http_tsface_plan_t *plan, ngx_msec_t not_before);

/*
 * Ends a lease with a failure; same results.  refused, or NULL: the digest of
 * the secrets that were, for slot_hurry().
 */
ngx_int_t ngx_http_tsface_slot_fail(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t lease,
    ngx_http_tsface_exchange_e failure, const u_char *refused,
    ngx_msec_t not_before);

/*
 * The endpoint rejected the token of that generation: drops it if it is still
 * the one in the slot.  Returns 1 if this call dropped it.
 */
ngx_uint_t ngx_http_tsface_slot_reject(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t generation);

/* Frees a lease whose holder is no more.  Returns 1 if there was one. */
ngx_uint_t ngx_http_tsface_slot_reap_lease(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot);

/*
 * The counters and meters.  zone may be NULL where one is added to: there is
 * none without credentials.
 */
void ngx_http_tsface_zone_count(ngx_shm_zone_t *zone,
    ngx_http_tsface_counter_e counter);
ngx_uint_t ngx_http_tsface_zone_counter(ngx_shm_zone_t *zone,
    ngx_http_tsface_counter_e counter);

/*
 * What became of a request, once for each: result is COUNT_SUCCESS to
 * COUNT_REFUSED, operation NULL if it is none.
 */
void ngx_http_tsface_zone_request(ngx_shm_zone_t *zone,
    const ngx_http_tsface_operation_t *operation,
    ngx_http_tsface_counter_e result);

/* By index into the table of operations, or NO_OPERATION. */
ngx_uint_t ngx_http_tsface_zone_requests(ngx_shm_zone_t *zone,
    ngx_uint_t operation, ngx_http_tsface_counter_e result);

/* A refusal, by reason; it is counted as a refused request, too. */
void ngx_http_tsface_zone_refuse(ngx_shm_zone_t *zone,
    const ngx_http_tsface_operation_t *operation,
    ngx_http_tsface_problem_e reason);
ngx_uint_t ngx_http_tsface_zone_refusals(ngx_shm_zone_t *zone,
    ngx_http_tsface_problem_e reason);

/* How long an attempt took. */
void ngx_http_tsface_zone_upstream(ngx_shm_zone_t *zone,
    const ngx_http_tsface_operation_t *operation, ngx_msec_t took);
void ngx_http_tsface_zone_upstream_stat(ngx_shm_zone_t *zone,
    ngx_uint_t operation, ngx_http_tsface_meter_stat_t *stat);

/* How long an exchange took. */
void ngx_http_tsface_slot_exchanged(ngx_http_tsface_slot_t *slot,
    ngx_msec_t took);
void ngx_http_tsface_slot_exchange_stat(const ngx_http_tsface_slot_t *slot,
    ngx_http_tsface_meter_stat_t *stat);

/*
 * Requests that wait for a token.  A worker gives its number, n, of each slot
 * soon after worker_start(), and when it changes; the sum is that of the
 * workers that live.  So the number of one that dies goes with it.  Workers
 * behind the 64th are not counted.
 */
void ngx_http_tsface_zone_worker_start(ngx_shm_zone_t *zone);
void ngx_http_tsface_slot_wait(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, ngx_uint_t n);
ngx_uint_t ngx_http_tsface_slot_waiting(ngx_shm_zone_t *zone,
    const ngx_http_tsface_slot_t *slot);

/*
 * What became of a trail's records, in all workers since the zone was made,
 * by the trail's name.  NULL: there is no memory, nothing is counted.  To be
 * called by each worker when it starts.  The functions below take NULL.
 */
ngx_http_tsface_zone_trail_t *ngx_http_tsface_zone_trail(ngx_shm_zone_t *zone,
    const ngx_str_t *name);

/* A batch was written: so many records of each type, in so many ms. */
void ngx_http_tsface_zone_trail_written(ngx_http_tsface_zone_trail_t *trail,
    const ngx_uint_t *records, size_t bytes, ngx_msec_t took);

/* Intents of dead workers got n outcomes, among so many of the trail's own. */
void ngx_http_tsface_zone_trail_orphaned(ngx_http_tsface_zone_trail_t *trail,
    ngx_uint_t n, const ngx_uint_t *own, size_t bytes);

/* A batch failed, and with it so many records.  err may be QUEUE_FULL. */
void ngx_http_tsface_zone_trail_failed(ngx_http_tsface_zone_trail_t *trail,
    ngx_err_t err, ngx_uint_t lost);

/* A write to the second place of checkpoints failed. */
void ngx_http_tsface_zone_trail_uncopied(
    ngx_http_tsface_zone_trail_t *trail);

/*
 * That place lacks something since then (ms, not 0); or lacks nothing any more,
 * since being 0, or what came since then.
 */
void ngx_http_tsface_zone_trail_owes(ngx_http_tsface_zone_trail_t *trail,
    ngx_msec_t since);
void ngx_http_tsface_zone_trail_copied(ngx_http_tsface_zone_trail_t *trail,
    ngx_msec_t since);

/* How it is with this worker now: records that wait, and the last error. */
void ngx_http_tsface_zone_trail_now(ngx_http_tsface_zone_trail_t *trail,
    ngx_uint_t queued, ngx_err_t err);

/* trail must not be NULL. */
void ngx_http_tsface_zone_trail_stat(
    const ngx_http_tsface_zone_trail_t *trail,
    ngx_http_tsface_zone_trail_stat_t *stat);

/* How much of the zone's memory is in whole pages that nothing is in. */
size_t ngx_http_tsface_zone_free_size(ngx_shm_zone_t *zone);


#endif /* _NGX_HTTP_TSFACE_ZONE_H_INCLUDED_ */
