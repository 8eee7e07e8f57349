
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * One revoke, from the caller to the answer (DESIGN 1).
 */


#ifndef _NGX_HTTP_TSFACE_TRANSACTION_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRANSACTION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_answer.h"
#include "ngx_http_tsface_forward.h"
#include "ngx_http_tsface_gate.h"
#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_operation.h"
#include "ngx_http_tsface_resolve.h"
#include "ngx_http_tsface_token.h"
#include "ngx_http_tsface_trace.h"


/* Retry-After of a request whose trail failed, that waited for no token. */
#define NGX_HTTP_TSFACE_AUDIT_RETRY   5000
#define NGX_HTTP_TSFACE_TOKEN_RETRY   5000


/* Rows of the table that steps go to by themselves: its last ones. */
enum {
    NGX_HTTP_TSFACE_STEP_INTENT = 7,
    NGX_HTTP_TSFACE_STEP_TOKEN,
    NGX_HTTP_TSFACE_STEP_FORWARD,
    NGX_HTTP_TSFACE_STEP_OUTCOME,
    NGX_HTTP_TSFACE_STEP_ANSWER,
    NGX_HTTP_TSFACE_STEP_REFUSAL,
    NGX_HTTP_TSFACE_STEP_PROBLEM,
    NGX_HTTP_TSFACE_NSTEPS
};


/* What a transaction waits for; at most one thing at a time. */
typedef enum {
    NGX_HTTP_TSFACE_WAIT_NONE = 0,
    NGX_HTTP_TSFACE_WAIT_BODY,
    NGX_HTTP_TSFACE_WAIT_LIMIT,
    NGX_HTTP_TSFACE_WAIT_AUDIT,
    NGX_HTTP_TSFACE_WAIT_TOKEN,
    NGX_HTTP_TSFACE_WAIT_ADDRESS,
    NGX_HTTP_TSFACE_WAIT_TURN,
    NGX_HTTP_TSFACE_WAIT_ATTEMPT
} ngx_http_tsface_wait_e;


/* In the main request's pool. */
typedef struct {
    ngx_http_request_t                 *request;
    ngx_http_tsface_loc_conf_t         *conf;
    ngx_shm_zone_t                     *zone;

    /* what is known so far */
    ngx_str_t                           request_id;
    ngx_http_tsface_trace_t             trace;
    ngx_str_t                           caller;
    ngx_http_tsface_credentials_t      *credentials;
    const ngx_http_tsface_operation_t  *operation;
    ngx_str_t                           body;
    ngx_str_t                           user_id;
    ngx_str_t                          *members;         /* other than it */
    ngx_uint_t                          nmembers;
    ngx_str_t                           bearer;          /* the caller's */
    ngx_http_tsface_problem_e           problem;
    ngx_http_tsface_answer_extra_t      extra;
    ngx_http_tsface_limits_t            limits;
    ngx_http_tsface_gate_ticket_t       ticket;

    /* attempts, from 1 */
    ngx_uint_t                          attempts;
    ngx_http_tsface_attempt_t          *attempt;
    ngx_uint_t                          generation;
    ngx_msec_t                          token_age;
    u_char                              fingerprint[16];
    u_char                              user_hmac[64];
    const char                         *result;          /* of outcome */

    /* the machine */
    ngx_uint_t                          step;
    ngx_http_tsface_wait_e              wait;
    ngx_int_t                           resumed;
    ngx_event_t                         timer;
    ngx_http_tsface_entry_t            *entry;
    ngx_http_tsface_token_waiter_t      token_waiter;
    ngx_http_tsface_resolve_waiter_t    address_waiter;

    ngx_msec_t                          token_deadline;
    size_t                              body_size;       /* read so far */
    size_t                              body_max;        /* room for it */
    unsigned                            body_reading:1;
    unsigned                            keying:1;        /* $tsface_user */
    unsigned                            intent:1;        /* one is open */
    unsigned                            recorded:1;      /* its last word */
    unsigned                            answered:1;
    unsigned                            admitted:1;      /* has a ticket */
    unsigned                            has_fingerprint:1;
    unsigned                            has_user_hmac:1;
} ngx_http_tsface_ctx_t;


/* The content handler that tsface_pass sets. */
ngx_int_t ngx_http_tsface_handler(ngx_http_request_t *r);

/*
 * For the steps, which live in files of their own: waits for something, at
 * most timeout ms (0: whoever is waited for sees to that).
 */
void ngx_http_tsface_transaction_wait(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_wait_e wait, ngx_msec_t timeout);

/* How a record is made and submitted: one of the functions of journal.h. */
typedef ngx_http_tsface_entry_t *(*ngx_http_tsface_journal_pt)(
    ngx_http_tsface_ctx_t *ctx, ngx_http_tsface_entry_pt handler);

/*
 * Submits a record and waits until it is durable, as long as the trail's
 * timeout allows.  NGX_AGAIN: it does; NGX_ERROR: the trail has not taken it.
 */
ngx_int_t ngx_http_tsface_transaction_record(ngx_http_tsface_ctx_t *ctx,
    ngx_http_tsface_journal_pt journal);

/*
 * Ends a wait from an event and goes on with the steps: the request may be
 * gone after it.
 */
void ngx_http_tsface_transaction_resume(ngx_http_tsface_ctx_t *ctx,
    ngx_int_t rc);

/* The same from within core's own handling of the request. */
void ngx_http_tsface_transaction_run(ngx_http_request_t *r);

/* The transaction of a request or of its clone, or NULL. */
ngx_http_tsface_ctx_t *ngx_http_tsface_transaction(ngx_http_request_t *r);


#endif /* _NGX_HTTP_TSFACE_TRANSACTION_H_INCLUDED_ */
