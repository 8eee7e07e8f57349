
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Limits: GCRA (gcra.h) on a key, in shared zones of their own.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_gcra.h"
#include "ngx_http_tsface_limit_store.h"
#include "ngx_http_tsface_limit_table.h"


#define NGX_HTTP_TSFACE_MAX_LIMITS      8

/* SHA-256; a zone keeps less of it */
#define NGX_HTTP_TSFACE_LIMIT_KEY_LEN   32


typedef struct ngx_http_tsface_limit_zone_s  ngx_http_tsface_limit_zone_t;


/* tsface_limit: a zone, as one place applies it. */
typedef struct {
    ngx_shm_zone_t                    *shm_zone;
    ngx_uint_t                         delay;         /* requests that wait */
    ngx_msec_t                         delay_max;     /* how long at most */
    ngx_msec_t                         retry_jitter;
    unsigned                           dry_run:1;
} ngx_http_tsface_limit_t;


/* One limit and one request: what is asked, and what was decided. */
typedef struct {
    const ngx_http_tsface_limit_t     *limit;
    ngx_http_tsface_limit_zone_t      *zone;
    const ngx_http_tsface_gcra_t      *rate;       /* the zone's, a share */
    uint64_t                           most;       /* us; ahead, to be kept */
    u_char                             digest[NGX_HTTP_TSFACE_LIMIT_KEY_LEN];

    ngx_http_tsface_limit_decision_e   decision;   /* if it has one */
    ngx_http_tsface_gcra_result_t      gcra;
    uint64_t                           before;     /* tat, if it was taken */
    uint64_t                           ahead;      /* told by a store; us */
    ngx_uint_t                         alarm;      /* to be logged if not 0 */
    unsigned                           full:1;     /* no room: no gcra */
    unsigned                           rebuilt:1;
} ngx_http_tsface_limit_use_t;


/*
 * All limits that apply to one request, in its pool, in the order in which
 * their zones are locked.  Zeroes are a request without limits.
 */
typedef struct {
    ngx_http_tsface_limit_use_t       *uses;
    ngx_uint_t                         nuses;
    ngx_http_tsface_limit_caller_t     caller;

    /* the question to a store, and when it was asked (limit_share.h) */
    ngx_http_tsface_limit_call_t      *call;
    uint64_t                           asked;
    unsigned                           told:1;     /* how far keys are ahead */

    ngx_http_tsface_limit_decision_e   decision;   /* the worst of them */
    uint64_t                           retry;      /* us; refused if not 0 */
    uint64_t                           wait;       /* us */
    uint64_t                           until;      /* its end; 0: at once */
    unsigned                           taken:1;    /* places, in each zone */
} ngx_http_tsface_limits_t;


/*
 * tsface_limit_zone KEY zone=NAME:SIZE rate=Nr/s|m|h|d [burst=N]: appends to
 * main conf's limit_zones, an array of pointers.
 */
char *ngx_http_tsface_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * tsface_limit zone=NAME | off: appends to an ngx_array_t * of
 * ngx_http_tsface_limit_t at cmd->offset of a location's configuration
 * (NULL-able, starts as NGX_CONF_UNSET_PTR; "off" makes it NULL).  Names may
 * come before their zone.
 */
char *ngx_http_tsface_limit_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * postconfiguration: emerg for a tsface_limit whose zone nobody defined, and
 * for zones of one place that don't have the same store, as nobody could
 * decide by them all at once.
 */
ngx_int_t ngx_http_tsface_limit_check(ngx_conf_t *cf, ngx_array_t *limits);

/*
 * postconfiguration, before that: finds the stores that zones name.  Emerg for
 * one that nobody defined, and for a limit too long for a store's numbers.
 */
ngx_int_t ngx_http_tsface_limit_stores(ngx_conf_t *cf, ngx_array_t *zones,
    ngx_array_t *stores);

/*
 * A request is limited in three parts, so that there may be a wait between
 * any two of them (limit_step.c).
 *
 * 1. Evaluates the keys, once a request, into request, which is zero.  A key
 * with an empty value is exempt: NGX_DECLINED, no limit is left; NGX_ERROR:
 * logged, and request->retry is set.
 */
ngx_int_t ngx_http_tsface_limit_keys(ngx_http_request_t *r,
    ngx_array_t *limits, const ngx_str_t *caller,
    ngx_http_tsface_limits_t *request);

/*
 * 2. Decides by the zones of this host, all or nothing: NGX_OK (taken from
 * each of them, for request->until), NGX_BUSY (refused by at least one, taken
 * from none), NGX_ERROR (no room in a zone and nothing to evict: the request
 * must be refused).  Logs nothing.  When a store told, there is always room.
 */
ngx_int_t ngx_http_tsface_limit_decide(ngx_http_tsface_limits_t *request);

/*
 * 3. Sums up what part 2, whose result is rc, left in request->uses: logs,
 * and sets retry (the longest wait; 1 s for want of room).
 */
void ngx_http_tsface_limit_result(ngx_http_request_t *r,
    ngx_http_tsface_limits_t *request, ngx_int_t rc);

/*
 * The request isn't sent: its client leaves while it waits for its time, or
 * the gate refuses it.  Its places are free again where nobody has come since;
 * a store's are not.
 */
void ngx_http_tsface_limit_return(ngx_http_tsface_limits_t *request);


#endif /* _NGX_HTTP_TSFACE_LIMIT_H_INCLUDED_ */
