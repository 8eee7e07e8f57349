
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Where a token comes from: the lease, the secrets, the exchange, and when to
 * look again.  For token.c only: what it is made of is nobody else's matter.
 */


#ifndef _NGX_HTTP_TSFACE_TOKEN_REFRESH_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TOKEN_REFRESH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_exchange.h"
#include "ngx_http_tsface_rotation.h"
#include "ngx_http_tsface_token.h"


/* One for each credentials in each worker, in cycle memory. */
struct ngx_http_tsface_token_s {
    ngx_http_tsface_credentials_t  *credentials;
    ngx_shm_zone_t                 *zone;
    ngx_http_tsface_slot_t         *slot;

    /* this worker's copy */
    ngx_http_tsface_slot_info_t     info;
    u_char                         *value;
    size_t                          size;       /* of value */

    ngx_event_t                     timer;
    ngx_event_t                     resume;     /* posted */
    ngx_queue_t                     waiters;
    ngx_queue_t                     ready;
    ngx_uint_t                     *waiting;    /* in both, for the slot */
    ngx_uint_t                      count;      /* what that points to */

    /* the exchange that this worker makes */
    ngx_http_tsface_rotation_t      rotation;
    ngx_http_tsface_exchange_t     *exchange;
    ngx_uint_t                      lease;
    ngx_uint_t                      secret;     /* of rotation's */
    u_char                          digest[NGX_HTTP_TSFACE_SECRET_DIGEST_LEN];
    u_char                          both[NGX_HTTP_TSFACE_SECRET_DIGEST_LEN];
    unsigned                        fetching:1;
    unsigned                        second:1;   /* the other was refused */
};


/*
 * Makes an exchange if one is due and nobody else makes it, and sets the
 * timer for the next look.
 */
void ngx_http_tsface_token_poke(ngx_http_tsface_token_t *token);

/* The handlers of timer and rotation. */
void ngx_http_tsface_token_timer(ngx_event_t *ev);
void ngx_http_tsface_token_reread(void *data);

/* Of token.c: copies the zone's state, and the token if there is one. */
void ngx_http_tsface_token_sync(ngx_http_tsface_token_t *token);

/* Of token.c: if waiting has come to an end, lets the waiters look again. */
void ngx_http_tsface_token_release(ngx_http_tsface_token_t *token);


#endif /* _NGX_HTTP_TSFACE_TOKEN_REFRESH_H_INCLUDED_ */
