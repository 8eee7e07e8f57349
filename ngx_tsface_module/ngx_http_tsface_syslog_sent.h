
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * PATH.sent as a right: of all processes the one that has its lock sends.  The
 * kernel drops the lock when that one dies.  System calls only, for a thread.
 */


#ifndef _NGX_HTTP_TSFACE_SYSLOG_SENT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SYSLOG_SENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog_position.h"
#include "ngx_http_tsface_trail_node.h"


typedef struct {
    ngx_http_tsface_trail_node_t   node;
    ngx_uint_t                     held;
} ngx_http_tsface_syslog_sent_t;


/* Opens nothing.  node.name is NULL if there was no memory. */
void ngx_http_tsface_syslog_sent_init(ngx_http_tsface_syslog_sent_t *sent,
    const ngx_str_t *path, int inherited);

/*
 * Gets the lock, and reads the position.  NGX_BUSY: another process has it.
 * flags gets SYSLOG_NEW and SYSLOG_LOST.
 */
ngx_int_t ngx_http_tsface_syslog_sent_claim(
    ngx_http_tsface_syslog_sent_t *sent,
    ngx_http_tsface_syslog_position_t *position, ngx_uint_t *flags,
    ngx_http_tsface_trail_result_t *result);

/*
 * Whoever holds it makes sure that it still is what its name means.  PATH.sent
 * may have been deleted: it is made anew, where that can be, and says position
 * again.  One that is there in its place is believed: NGX_BUSY, to be claimed.
 */
ngx_int_t ngx_http_tsface_syslog_sent_renew(
    ngx_http_tsface_syslog_sent_t *sent,
    const ngx_http_tsface_syslog_position_t *position,
    ngx_http_tsface_trail_result_t *result);

/* Gives it up, if it is held. */
void ngx_http_tsface_syslog_sent_release(ngx_http_tsface_syslog_sent_t *sent);


#endif /* _NGX_HTTP_TSFACE_SYSLOG_SENT_H_INCLUDED_ */
