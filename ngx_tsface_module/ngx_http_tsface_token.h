
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The token of each credentials, as one worker sees it: a copy of the zone's,
 * a timer that plans the next exchange, requests that wait.
 */


#ifndef _NGX_HTTP_TSFACE_TOKEN_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TOKEN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_credentials.h"
#include "ngx_http_tsface_zone.h"
#include "ngx_http_tsface_zone_gate.h"


/* Valid until the event loop turns: copy what is needed beyond. */
typedef struct {
    ngx_str_t                       value;
    ngx_uint_t                      generation;
    ngx_msec_t                      age;
} ngx_http_tsface_token_value_t;


/*
 * A request that waits for a token.  Its owner bounds the wait with a timer
 * of its own and takes it back when it gives up.  handler is called at most
 * once, out of the queue, when looking again is worth it.
 */
typedef struct {
    ngx_queue_t                     queue;
    void                          (*handler)(void *data);
    void                           *data;
} ngx_http_tsface_token_waiter_t;


/* init_process, for all credentials. */
ngx_int_t ngx_http_tsface_token_start(ngx_cycle_t *cycle,
    ngx_shm_zone_t *zone, const ngx_array_t *credentials);

/* exit_process: cancels exchanges and wipes this worker's copies. */
void ngx_http_tsface_token_stop(void);

/*
 * NGX_OK: value is set.  NGX_AGAIN: there is none, waiting may help.
 * NGX_DECLINED: there is none and none will come within token_wait: *retry is
 * the time in ms after which to try again.
 */
ngx_int_t ngx_http_tsface_token_get(ngx_http_tsface_token_t *token,
    ngx_http_tsface_token_value_t *value, ngx_msec_t *retry);

/* Waits, until handler is called; or no longer, before it is. */
void ngx_http_tsface_token_wait(ngx_http_tsface_token_t *token,
    ngx_http_tsface_token_waiter_t *waiter);
void ngx_http_tsface_token_unwait(ngx_http_tsface_token_t *token,
    ngx_http_tsface_token_waiter_t *waiter);

/* The endpoint answered 401 to the token of that generation. */
void ngx_http_tsface_token_reject(ngx_http_tsface_token_t *token,
    ngx_uint_t generation);

/* What it has in the zone; NULL: there was no room. */
ngx_http_tsface_slot_t *ngx_http_tsface_token_slot(
    const ngx_http_tsface_token_t *token);

/* For the status page, all of it of the whole host. */
typedef struct {
    ngx_http_tsface_slot_info_t     slot;
    ngx_http_tsface_meter_stat_t    exchange;
    ngx_uint_t                      waiting;
    ngx_uint_t                      usable;      /* there is a token */
    ngx_msec_t                      serves;      /* how long it can be used */
    ngx_http_tsface_zone_gate_stat_t gate;
} ngx_http_tsface_token_stat_t;

void ngx_http_tsface_token_stat(ngx_http_tsface_token_t *token,
    ngx_http_tsface_token_stat_t *stat);

/* How old a token is that was obtained then, not less than 0. */
ngx_msec_t ngx_http_tsface_token_age(ngx_msec_t obtained);


#endif /* _NGX_HTTP_TSFACE_TOKEN_H_INCLUDED_ */
