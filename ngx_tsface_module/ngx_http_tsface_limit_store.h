
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Limits that many gateways share: tsface_limit_store, a Valkey or a Redis.
 * It decides, all limits of a request in one script and one round trip; what
 * it said last is kept in the zones of this host, for the time when it says
 * nothing (limit_share.h).
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_STORE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_STORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_limit_script.h"
#include "ngx_http_tsface_meter.h"
#include "ngx_http_tsface_secret.h"
#include "ngx_http_tsface_tls.h"


#define NGX_HTTP_TSFACE_STORE_PREFIX_MAX   64

/* of the digest of a key, in a key of the store: {prefix}:zone:digest */
#define NGX_HTTP_TSFACE_STORE_DIGEST_LEN   16


/* on_failure: how a request is decided that the store doesn't decide. */
typedef enum {
    NGX_HTTP_TSFACE_STORE_LOCAL = 0,
    NGX_HTTP_TSFACE_STORE_REFUSE,
    NGX_HTTP_TSFACE_STORE_ALLOW,
    NGX_HTTP_TSFACE_STORE_NPOLICIES
} ngx_http_tsface_store_policy_e;


/* A worker's view of a store. */
typedef enum {
    NGX_HTTP_TSFACE_STORE_NONE = 0,      /* no worker */
    NGX_HTTP_TSFACE_STORE_CONNECTING,    /* for the first time */
    NGX_HTTP_TSFACE_STORE_UP,
    NGX_HTTP_TSFACE_STORE_SLOW,          /* it owes an answer; not asked */
    NGX_HTTP_TSFACE_STORE_DOWN,          /* not asked until it proves well */
    NGX_HTTP_TSFACE_STORE_NSTATES
} ngx_http_tsface_store_state_e;


/* Why a worker stopped asking a store. */
typedef enum {
    NGX_HTTP_TSFACE_STORE_CONNECT = 0,   /* no connection was made */
    NGX_HTTP_TSFACE_STORE_CLOSED,        /* it was lost */
    NGX_HTTP_TSFACE_STORE_TIMEOUT,
    NGX_HTTP_TSFACE_STORE_ERROR,         /* the answer was an error */
    NGX_HTTP_TSFACE_STORE_MALFORMED,     /* or nothing that makes sense */
    NGX_HTTP_TSFACE_STORE_NFAILURES
} ngx_http_tsface_store_failure_e;


/* A zone of its own: atomics and bytes, each written by one, no lock. */
typedef struct {
    ngx_atomic_t                decisions[2];     /* allowed, refused */
    ngx_atomic_t                late;         /* answers nobody waited for */
    ngx_atomic_t                connects;
    ngx_atomic_t                failures[NGX_HTTP_TSFACE_STORE_NFAILURES];
    ngx_atomic_t                undecided[NGX_HTTP_TSFACE_STORE_NPOLICIES];
    ngx_http_tsface_meter_t     latency;      /* of decisions, in time */

    /* by ngx_process_slot: who takes a dead worker's place takes its byte */
    u_char                      states[NGX_MAX_PROCESSES];
} ngx_http_tsface_limit_store_sh_t;


/* An address; one that hiredis needs not look up. */
typedef struct {
    u_char                     *address;      /* NUL-terminated, or a path */
    in_port_t                   port;         /* 0: a path */
    ngx_str_t                   host;         /* for TLS, NUL-terminated */
    ngx_str_t                   text;         /* for logs */
} ngx_http_tsface_store_addr_t;


typedef struct ngx_http_tsface_limit_link_s  ngx_http_tsface_limit_link_t;


/* tsface_limit_store NAME { }; link is the worker's, all else never changes. */
typedef struct {
    ngx_str_t                       name;     /* must be first */

    ngx_array_t                     addrs;    /* of store_addr_t */
    ngx_str_t                       user;
    ngx_http_tsface_secret_t       *password;
    ngx_int_t                       database;
    ngx_str_t                       prefix;
    ngx_flag_t                      ssl;
    ngx_http_tsface_tls_conf_t      tls_conf;
    ngx_str_t                       client_certificate;
    ngx_http_tsface_secret_t       *client_certificate_key;
    ngx_ssl_t                      *tls;      /* NULL: plain */
    ngx_msec_t                      connect_timeout;
    ngx_msec_t                      timeout;
    ngx_uint_t                      on_failure;
    ngx_int_t                       nodes;

    ngx_shm_zone_t                 *shm_zone;
    u_char                          sha1[40];

    ngx_http_tsface_limit_link_t   *link;
} ngx_http_tsface_limit_store_t;


/* Of shm_zone->data. */
#define ngx_http_tsface_limit_store_sh(store)                                 \
    ((ngx_http_tsface_limit_store_sh_t *) (store)->shm_zone->data)


/* The setter of tsface_limit_store: appends to main conf's limit_stores. */
char *ngx_http_tsface_limit_store_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * In a worker: begins to connect; ends.  Without the first, the first request
 * begins it.
 */
ngx_int_t ngx_http_tsface_limit_store_start(
    ngx_http_tsface_limit_store_t *store);
void ngx_http_tsface_limit_store_stop(ngx_http_tsface_limit_store_t *store);


/* A question to a store. */
typedef struct ngx_http_tsface_limit_call_s  ngx_http_tsface_limit_call_t;

/*
 * Called once, from an event, while the call is still the asker's: NGX_OK
 * (taken from each limit), NGX_BUSY (from none); NGX_ERROR: no answer.
 */
typedef void (*ngx_http_tsface_limit_call_pt)(void *data, ngx_int_t rc);

/* A limit of a question: its key is made of zone and digest. */
typedef struct {
    const ngx_str_t                  *zone;
    const u_char                     *digest;      /* 16 bytes of it */
    ngx_http_tsface_script_limit_t    limit;       /* without key */
} ngx_http_tsface_limit_ask_t;


/*
 * Asks; n is 1 to 8.  Returns the call, which is the asker's until it is
 * detached, or NULL if the store can't be asked now.  What takes longer than
 * the store's timeout has failed; the timer is not cancelable.
 */
ngx_http_tsface_limit_call_t *ngx_http_tsface_limit_store_ask(
    ngx_http_tsface_limit_store_t *store,
    const ngx_http_tsface_limit_ask_t *asks, ngx_uint_t n,
    ngx_http_tsface_limit_call_pt handler, void *data);

/*
 * What the handler may ask: how far the key of a limit was ahead, before it
 * was taken from.
 */
uint64_t ngx_http_tsface_limit_store_ahead(
    const ngx_http_tsface_limit_call_t *call, ngx_uint_t i);

/* The asker is done with it, or gone: the handler is not called any more. */
void ngx_http_tsface_limit_store_detach(ngx_http_tsface_limit_call_t *call);

/* Counts a request that is decided by on_failure. */
void ngx_http_tsface_limit_store_undecided(
    ngx_http_tsface_limit_store_t *store);


#endif /* _NGX_HTTP_TSFACE_LIMIT_STORE_H_INCLUDED_ */
