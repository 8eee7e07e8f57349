
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The gate in front of an endpoint: whether one more request may go to it now.
 * It keeps to what the endpoint asks for (Retry-After), to a budget (rate and
 * requests in flight), and leaves an endpoint alone that fails (a circuit
 * breaker).  Pure: a state machine over memory that the caller locks.  Times
 * are microseconds of a monotonic clock, random numbers are arguments.
 */


#ifndef _NGX_HTTP_TSFACE_GATE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_GATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_gcra.h"


/* Processes that may have requests in flight at one time. */
#define NGX_HTTP_TSFACE_GATE_HOLDERS   96

/* The longest of all times in gate_conf_t: 1 h, so that squares fit. */
#define NGX_HTTP_TSFACE_GATE_MAX_TIME  ((uint64_t) 3600 * 1000000)


typedef struct {
    ngx_http_tsface_gcra_t    rate;             /* rate.rate 0: no limit */
    ngx_uint_t                concurrency;      /* 0: no limit */
    uint64_t                  retry_after_max;  /* 0: Retry-After is nothing */
    ngx_uint_t                failures;         /* in a row; 0: no breaker */
    uint64_t                  open;             /* at first */
    uint64_t                  open_max;         /* at last */
    uint64_t                  probe;            /* a probe's time */
    uint64_t                  slow_start;       /* 0: none */
} ngx_http_tsface_gate_conf_t;


typedef enum {
    NGX_HTTP_TSFACE_BREAKER_CLOSED = 0,         /* requests pass */
    NGX_HTTP_TSFACE_BREAKER_OPEN,               /* none does */
    NGX_HTTP_TSFACE_BREAKER_HALF_OPEN           /* one does: the probe */
} ngx_http_tsface_breaker_e;


/* What a gate says to a request. */
typedef enum {
    NGX_HTTP_TSFACE_GATE_OK = 0,
    NGX_HTTP_TSFACE_GATE_THROTTLED,             /* the endpoint said wait */
    NGX_HTTP_TSFACE_GATE_UNAVAILABLE,           /* the breaker is open */
    NGX_HTTP_TSFACE_GATE_BUSY,                  /* the budget is used up */
    NGX_HTTP_TSFACE_GATE_NVERDICTS
} ngx_http_tsface_gate_verdict_e;


/* What became of a request that was let through. */
typedef enum {
    NGX_HTTP_TSFACE_GATE_NOTHING = 0,           /* nobody knows */
    NGX_HTTP_TSFACE_GATE_ANSWERED,              /* up to 4xx */
    NGX_HTTP_TSFACE_GATE_FAILED,                /* 5xx, or no answer */
    NGX_HTTP_TSFACE_GATE_TOO_MANY               /* 429 */
} ngx_http_tsface_gate_result_e;


/* What has changed by a call; each is told once. */
#define NGX_HTTP_TSFACE_GATE_EV_OPENED       0x01
#define NGX_HTTP_TSFACE_GATE_EV_REOPENED     0x02   /* a probe failed */
#define NGX_HTTP_TSFACE_GATE_EV_PROBING      0x04   /* this one is the probe */
#define NGX_HTTP_TSFACE_GATE_EV_CLOSED       0x08
#define NGX_HTTP_TSFACE_GATE_EV_THROTTLED    0x10
#define NGX_HTTP_TSFACE_GATE_EV_UNTHROTTLED  0x20


/* One of a process's requests that was let through. */
typedef struct {
    ngx_uint_t                epoch;
    ngx_uint_t                probe;            /* 0: it is none */
    ngx_uint_t                counted;          /* as one in flight */
    uint64_t                  send_at;          /* its turn; 0: none yet */
} ngx_http_tsface_gate_ticket_t;


typedef struct {
    int32_t                   pid;              /* 0: free */
    uint32_t                  n;                /* of its requests */
} ngx_http_tsface_gate_holder_t;


/* All zeroes is the gate of an endpoint that nothing is known of. */
typedef struct {
    ngx_http_tsface_breaker_e       breaker;
    ngx_uint_t                      epoch;      /* of the breaker's state */
    ngx_uint_t                      failures;   /* in a row */
    ngx_uint_t                      opens;      /* without a calm in between */
    uint64_t                        opened_for;
    uint64_t                        open_until;
    uint64_t                        closed_at;

    ngx_uint_t                      probes;     /* numbers given */
    ngx_uint_t                      probe;      /* under way; 0: none */
    int32_t                         probe_pid;
    uint64_t                        probe_until;

    ngx_uint_t                      throttles;  /* without Retry-After */
    uint64_t                        throttled_until;    /* 0: it is not */

    /* the rate's clock stands still, and then runs slow, in a slow start */
    uint64_t                        interval;   /* that tat was made with */
    uint64_t                        tat;        /* of who was let in */
    uint64_t                        sent;       /* of who was sent */
    uint64_t                        lag;        /* behind the real one */
    uint64_t                        slow_since; /* 0: no slow start */

    ngx_http_tsface_gate_holder_t   holders[NGX_HTTP_TSFACE_GATE_HOLDERS];
} ngx_http_tsface_gate_t;


/* For the status. */
typedef struct {
    ngx_http_tsface_breaker_e breaker;
    ngx_uint_t                failures;         /* in a row */
    ngx_uint_t                in_flight;
    uint64_t                  throttled;        /* for how long yet */
    uint64_t                  open;             /* the same */
} ngx_http_tsface_gate_stat_t;


/*
 * Asks to let a request of process pid through.  On OK it is counted, and
 * leave() must be called once for the ticket.  Otherwise *retry is when to
 * ask again, exact where that is known, and nothing was counted.  *events
 * gets EV_ bits.
 */
ngx_http_tsface_gate_verdict_e ngx_http_tsface_gate_enter(
    ngx_http_tsface_gate_t *gate, const ngx_http_tsface_gate_conf_t *conf,
    int32_t pid, uint64_t now, ngx_http_tsface_gate_ticket_t *ticket,
    uint64_t *retry, ngx_uint_t *events);

/*
 * A request that is in is about to be sent, and may have waited in between for
 * its token or the disk, with many others: they are not to go together, nor
 * if the endpoint wants none by now.  On OK it waits for *wait, 0 if it is its
 * turn, and is asked for again.  Otherwise as of enter(); leave() must be
 * called in any case.
 */
ngx_http_tsface_gate_verdict_e ngx_http_tsface_gate_send(
    ngx_http_tsface_gate_t *gate, const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_gate_ticket_t *ticket, uint64_t now, uint64_t *wait,
    uint64_t *retry, ngx_uint_t *events);

/* A request that is in is sent once more: the rate pays for it. */
void ngx_http_tsface_gate_again(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_gate_ticket_t *ticket, uint64_t now);

/*
 * A request is over.  retry_after: what its answer asked for, 0 if nothing.
 * Returns EV_ bits.
 */
ngx_uint_t ngx_http_tsface_gate_leave(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf,
    const ngx_http_tsface_gate_ticket_t *ticket, int32_t pid,
    ngx_http_tsface_gate_result_e result, uint64_t retry_after, uint64_t now,
    uint32_t random);

/*
 * A process is no more: its requests are not in flight, its probe probes
 * nothing.  Returns how many it had.
 */
ngx_uint_t ngx_http_tsface_gate_reap(ngx_http_tsface_gate_t *gate,
    int32_t pid);

/* Changes nothing: a time that is over is shown as over. */
void ngx_http_tsface_gate_stat(const ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now,
    ngx_http_tsface_gate_stat_t *stat);


#endif /* _NGX_HTTP_TSFACE_GATE_H_INCLUDED_ */
