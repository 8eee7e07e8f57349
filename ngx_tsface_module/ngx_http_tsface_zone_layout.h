
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The layout of tsface_zone's memory, for the files that touch it and no
 * others: zone.c (zone and chains), slot.c (one credentials' slot),
 * zone_gate.c (gates), zone_count.c (counters) and zone_trail.c (those of a
 * trail).
 */


#ifndef _NGX_HTTP_TSFACE_ZONE_LAYOUT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_ZONE_LAYOUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_gate.h"
#include "ngx_http_tsface_zone.h"


/* Chains of slots, by the first byte of the fingerprint. */
#define NGX_HTTP_TSFACE_ZONE_CHAINS    64

/* Workers whose waiting requests are counted. */
#define NGX_HTTP_TSFACE_ZONE_WORKERS   64

/* COUNT_SUCCESS to COUNT_REFUSED. */
#define NGX_HTTP_TSFACE_NRESULTS       (NGX_HTTP_TSFACE_COUNT_REFUSED         \
                                        - NGX_HTTP_TSFACE_COUNT_SUCCESS + 1)


typedef struct ngx_http_tsface_zone_gate_s  ngx_http_tsface_zone_gate_t;


struct ngx_http_tsface_zone_gate_s {
    ngx_http_tsface_zone_gate_t *next;
    u_char                       key[NGX_HTTP_TSFACE_FINGERPRINT_LEN];
    ngx_uint_t                   used;          /* by a slot: see expire */
    uint64_t                     reaped;
    ngx_uint_t                   opened;
    ngx_uint_t                   pauses;
    ngx_http_tsface_gate_t       gate;

    /* without the lock */
    ngx_atomic_t                 refused[NGX_HTTP_TSFACE_GATE_NVERDICTS];
};


struct ngx_http_tsface_slot_s {
    ngx_http_tsface_slot_t      *next;
    ngx_http_tsface_zone_gate_t *gate;          /* of its own life */
    u_char                       fingerprint[NGX_HTTP_TSFACE_FINGERPRINT_LEN];
    ngx_atomic_t                 version;
    ngx_msec_t                   touched;

    ngx_uint_t                   generation;
    ngx_uint_t                   valid;
    ngx_msec_t                   obtained;
    ngx_msec_t                   expires;
    ngx_msec_t                   refresh;
    u_char                      *token;
    size_t                       len;

    ngx_pid_t                    lease_pid;     /* 0: free */
    ngx_msec_t                   lease_until;
    ngx_uint_t                   lease;

    ngx_http_tsface_exchange_e   failure;
    ngx_uint_t                   fails;
    ngx_msec_t                   not_before;
    ngx_uint_t                   timed;         /* not_before counts */

    ngx_uint_t                   placed;        /* pace of place; 0: none */
    ngx_http_tsface_lane_e       lane;
    ngx_msec_t                   place;

    ngx_uint_t                   secret;        /* that worked, 1 or 2 */
    u_char                       works[NGX_HTTP_TSFACE_SECRET_DIGEST_LEN];
    u_char                       refused[NGX_HTTP_TSFACE_SECRET_DIGEST_LEN];

    ngx_uint_t                   exchanges[NGX_HTTP_TSFACE_EXCHANGE_NCLASSES];

    /* without the lock */
    ngx_http_tsface_meter_t      exchange;
    uint32_t                     waiting[NGX_HTTP_TSFACE_ZONE_WORKERS];
};


/* Names of trails are no longer, see record.c. */
#define NGX_HTTP_TSFACE_ZONE_TRAIL_NAME   64
#define NGX_HTTP_TSFACE_ZONE_TRAILS       64


/* All of it is used without the lock, but for next and the name. */
struct ngx_http_tsface_zone_trail_s {
    ngx_http_tsface_zone_trail_t  *next;
    size_t                         len;
    u_char                         name[NGX_HTTP_TSFACE_ZONE_TRAIL_NAME];

    ngx_atomic_t                   records[NGX_HTTP_TSFACE_RECORD_NTYPES];
    ngx_atomic_t                   failures[NGX_HTTP_TSFACE_NERRORS];
    ngx_atomic_t                   orphaned;
    ngx_atomic_t                   bytes;
    ngx_atomic_t                   lost;
    ngx_atomic_t                   uncopied;
    ngx_atomic_t                   signed_at;   /* ms, odd; 0: never */
    ngx_atomic_t                   owed_since;  /* a copy; ms, odd; 0: none */
    ngx_http_tsface_meter_t        commit;

    /* of each worker: those of one that is dead don't count */
    ngx_atomic_t                   pid[NGX_HTTP_TSFACE_ZONE_WORKERS];
    uint32_t                       queued[NGX_HTTP_TSFACE_ZONE_WORKERS];
    uint32_t                       err[NGX_HTTP_TSFACE_ZONE_WORKERS];
};


/* The root of the zone. */
typedef struct {
    ngx_uint_t                   magic;
    ngx_uint_t                   version;
    size_t                       slot_size;
    size_t                       root_size;

    /*
     * A slot is linked by one store, and unlinked by one: a worker that is
     * killed in between leaves a whole chain.
     */
    ngx_http_tsface_slot_t      *slots[NGX_HTTP_TSFACE_ZONE_CHAINS];

    ngx_http_tsface_zone_gate_t *gates[NGX_HTTP_TSFACE_ZONE_CHAINS];

    /* of the newest configuration; places of another pace are void */
    ngx_msec_t                   intervals[NGX_HTTP_TSFACE_NLANES];
    ngx_uint_t                   pace;
    ngx_msec_t                   lanes[NGX_HTTP_TSFACE_NLANES];
    ngx_msec_t                   swept;

    ngx_http_tsface_zone_trail_t
                                *trails;
    ngx_uint_t                   ntrails;

    /* without the lock */
    ngx_atomic_t                 workers[NGX_HTTP_TSFACE_ZONE_WORKERS];
    ngx_atomic_t                 counters[NGX_HTTP_TSFACE_NCOUNTERS];
    ngx_atomic_t                 requests[NGX_HTTP_TSFACE_NOPERATIONS + 1]
                                         [NGX_HTTP_TSFACE_NRESULTS];
    ngx_atomic_t                 refusals[NGX_HTTP_TSFACE_NPROBLEMS];
    ngx_http_tsface_meter_t      upstream[NGX_HTTP_TSFACE_NOPERATIONS];
} ngx_http_tsface_zone_sh_t;


/* Cycle memory; only the pointers lead into the zone. */
struct ngx_http_tsface_zone_s {
    ngx_http_tsface_zone_sh_t   *sh;
    ngx_slab_pool_t             *shpool;
    ngx_msec_t                   intervals[NGX_HTTP_TSFACE_NLANES];
};


/* Under the lock: gives up the slots that nobody has used for ten minutes. */
void ngx_http_tsface_zone_expire(ngx_http_tsface_zone_t *zone);

/* Under the lock: gives up the gates that no slot leads to. */
void ngx_http_tsface_zone_gate_expire(ngx_http_tsface_zone_t *zone);

/* Under the lock: takes the token out of a slot; it is wiped where it lay. */
void ngx_http_tsface_slot_drop(ngx_http_tsface_zone_t *zone,
    ngx_http_tsface_slot_t *slot);

/*
 * Whether there is a process of this pid, which is 0 for none; makes a system
 * call.
 */
ngx_uint_t ngx_http_tsface_zone_lives(ngx_pid_t pid);


/* Whether a is later than b; ngx_msec_t wraps on 32-bit systems. */
static ngx_inline ngx_uint_t
ngx_http_tsface_later(ngx_msec_t a, ngx_msec_t b)
{
    return (ngx_msec_int_t) (a - b) > 0;
}


#endif /* _NGX_HTTP_TSFACE_ZONE_LAYOUT_H_INCLUDED_ */
