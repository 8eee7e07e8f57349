
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
#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_operation.h"
#include "ngx_http_tsface_resolve.h"
#include "ngx_http_tsface_token.h"


/* What is read of a body that is too large before the connection is cut. */
#define NGX_HTTP_TSFACE_MAX_DISCARD   1048576

/* Retry-After of a request whose trail failed, that waited for no token. */
#define NGX_HTTP_TSFACE_AUDIT_RETRY   5000
#define NGX_HTTP_TSFACE_TOKEN_RETRY   5000


/* What a transaction waits for; at most one thing at a time. */
typedef enum {
    NGX_HTTP_TSFACE_WAIT_NONE = 0,
    NGX_HTTP_TSFACE_WAIT_BODY,
    NGX_HTTP_TSFACE_WAIT_AUDIT,
    NGX_HTTP_TSFACE_WAIT_TOKEN,
    NGX_HTTP_TSFACE_WAIT_ADDRESS,
    NGX_HTTP_TSFACE_WAIT_ATTEMPT
} ngx_http_tsface_wait_e;


/* In the main request's pool. */
typedef struct {
    ngx_http_request_t                 *request;
    ngx_http_tsface_loc_conf_t         *conf;
    ngx_shm_zone_t                     *zone;

    /* what is known so far */
    ngx_str_t                           request_id;
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
    ngx_http_tsface_limit_result_t      limit;

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
    unsigned                            intent:1;        /* one is open */
    unsigned                            recorded:1;      /* its last word */
    unsigned                            answered:1;
    unsigned                            has_fingerprint:1;
    unsigned                            has_user_hmac:1;
} ngx_http_tsface_ctx_t;


/* The content handler that tsface_pass sets. */
ngx_int_t ngx_http_tsface_handler(ngx_http_request_t *r);

/*
 * The request body filter that module.c puts into nginx's chain: *in becomes
 * what the next filter is to see.
 */
ngx_int_t ngx_http_tsface_transaction_body(ngx_http_request_t *r,
    ngx_chain_t **in);

/* The transaction of a request or of its clone, or NULL. */
ngx_http_tsface_ctx_t *ngx_http_tsface_transaction(ngx_http_request_t *r);

/* postconfiguration: the index of $request_id. */
ngx_int_t ngx_http_tsface_transaction_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_TSFACE_TRANSACTION_H_INCLUDED_ */
