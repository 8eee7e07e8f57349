
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The gates (gate.h) of tsface_zone: one for each client at each endpoint,
 * whatever its secret, so that a new secret doesn't make it forget what the
 * endpoint asked for.  A slot leads to its gate, which lives as long as any
 * of its slots.
 */


#ifndef _NGX_HTTP_TSFACE_ZONE_GATE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_ZONE_GATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_gate.h"
#include "ngx_http_tsface_zone.h"


/* The gate, and what it has done since it was made. */
typedef struct {
    ngx_http_tsface_breaker_e    breaker;
    ngx_msec_t                   open;          /* for how long yet */
    ngx_msec_t                   paused;        /* the same */
    ngx_uint_t                   failures;      /* in a row */
    ngx_uint_t                   in_flight;
    ngx_uint_t                   refused[NGX_HTTP_TSFACE_GATE_NVERDICTS];
    ngx_uint_t                   opened;        /* the breaker */
    ngx_uint_t                   pauses;
} ngx_http_tsface_zone_gate_stat_t;


/*
 * Gives a slot the gate of that key, made if there is none.  NGX_ERROR: no
 * memory.
 */
ngx_int_t ngx_http_tsface_slot_gate(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, const u_char *key);

/*
 * As the functions of gate.h, for this process at this time.  A gate that
 * refuses because of requests of a process that was killed looks after them
 * before it does.
 */
ngx_http_tsface_gate_verdict_e ngx_http_tsface_slot_enter(
    ngx_shm_zone_t *zone, ngx_http_tsface_slot_t *slot,
    const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_gate_ticket_t *ticket, uint64_t *retry,
    ngx_uint_t *events);
ngx_http_tsface_gate_verdict_e ngx_http_tsface_slot_send(
    ngx_shm_zone_t *zone, ngx_http_tsface_slot_t *slot,
    const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_gate_ticket_t *ticket, uint64_t *wait, uint64_t *retry,
    ngx_uint_t *events);
void ngx_http_tsface_slot_enter_again(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_gate_ticket_t *ticket);
ngx_uint_t ngx_http_tsface_slot_leave(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, const ngx_http_tsface_gate_conf_t *conf,
    const ngx_http_tsface_gate_ticket_t *ticket,
    ngx_http_tsface_gate_result_e result, uint64_t retry_after);

/*
 * init_process: what processes that are no more had in flight is given back.
 * The number of one of them may be this process's by now.
 */
void ngx_http_tsface_slot_reap_gate(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot);

void ngx_http_tsface_slot_gate_stat(ngx_shm_zone_t *zone,
    ngx_http_tsface_slot_t *slot, const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_zone_gate_stat_t *stat);


#endif /* _NGX_HTTP_TSFACE_ZONE_GATE_H_INCLUDED_ */
