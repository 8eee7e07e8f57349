
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Follows a trail line by line and keeps the intents of one host that have
 * neither outcome nor refusal yet.  Pure, and in one thread's hands.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_INTENTS_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_INTENTS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"


#define NGX_HTTP_TSFACE_TRAIL_INTENTS_CHAINS   4096

/* more open intents than these are left out */
#define NGX_HTTP_TSFACE_TRAIL_INTENTS_MAX      16384
#define NGX_HTTP_TSFACE_TRAIL_INTENTS_BYTES    (32 * 1024 * 1024)


typedef struct ngx_http_tsface_trail_intent_s  ngx_http_tsface_trail_intent_t;


/* Its strings are as they are written, in the line behind it. */
struct ngx_http_tsface_trail_intent_s {
    ngx_queue_t                      queue;
    ngx_http_tsface_trail_intent_t  *next;      /* of its chain */
    uint32_t                         hash;

    uint64_t                         seq;
    ngx_int_t                        pid;
    ngx_int_t                        attempt;
    ngx_str_t                        request_id;
    ngx_str_t                        time;
    ngx_str_t                        body;
    size_t                           len;       /* of the line */
};


typedef struct {
    ngx_queue_t                      open;      /* in the trail's order */
    ngx_http_tsface_trail_intent_t **chains;
    ngx_uint_t                       n;
    size_t                           bytes;
    ngx_uint_t                       left_out;

    ngx_http_tsface_record_key_t    *key;
    ngx_http_tsface_record_key_t    *previous;  /* or NULL */
    u_char                          *host;      /* quoted, as in a record */
    size_t                           host_len;

    /* the line before, if it is known */
    uint64_t                         seq;
    u_char                           mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    unsigned                         known:1;
} ngx_http_tsface_trail_intents_t;


/*
 * previous is the key before, or NULL.  NGX_ERROR: no memory; free() is to be
 * called all the same.
 */
ngx_int_t ngx_http_tsface_trail_intents_init(
    ngx_http_tsface_trail_intents_t *intents, const ngx_str_t *key,
    const ngx_str_t *previous, const ngx_str_t *host);
void ngx_http_tsface_trail_intents_free(
    ngx_http_tsface_trail_intents_t *intents);

/*
 * The next line, without its LF.  Where one does not follow the one before by
 * seq and mac, or is no record, an outcome may be missing, or what was read
 * is not what was left there: all that was open so far is forgotten.
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_tsface_trail_intents_line(
    ngx_http_tsface_trail_intents_t *intents, const ngx_str_t *line);

/* Forgets everything: what follows is not known to follow. */
void ngx_http_tsface_trail_intents_reset(
    ngx_http_tsface_trail_intents_t *intents);

/* Takes one out and frees it. */
void ngx_http_tsface_trail_intents_remove(
    ngx_http_tsface_trail_intents_t *intents,
    ngx_http_tsface_trail_intent_t *intent);

/*
 * The body of the outcome that nobody else will write any more: the intent's
 * members, but for pid, who writes it; "unknown" and "orphaned".  buf has
 * RECORD_BODY_MAX bytes.  0: it does not fit.
 */
size_t ngx_http_tsface_trail_intents_outcome(
    const ngx_http_tsface_trail_intent_t *intent, ngx_int_t pid, u_char *buf);


#endif /* _NGX_HTTP_TSFACE_TRAIL_INTENTS_H_INCLUDED_ */
