
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * One batch of messages, handed to a syslog receiver over a stream socket.
 *
 * Syslog has no acknowledgement.  What it has is the end of a connection: this
 * side ends its direction when all is sent, and a receiver that has read to
 * that end closes its own.  One that was killed doesn't look the same:
 *
 *   - The kernel resets a connection with data that nobody had read.
 *   - It closes one whose data were read, but maybe not dealt with, in the way
 *     that a program would.  So a second connection is always open to the
 *     receiver before the first is ended.  A program closes the first one
 *     alone, the end of a process closes both; a moment is waited to tell.
 *
 * The second connection carries the next batch.  Anything but the expected
 * end is a failure: the batch is to be sent again, as a whole.
 */


#ifndef _NGX_HTTP_TSFACE_SYSLOG_DELIVERY_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SYSLOG_DELIVERY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>


typedef enum {
    NGX_HTTP_TSFACE_SYSLOG_OK = 0,
    NGX_HTTP_TSFACE_SYSLOG_CONNECT,     /* no connection */
    NGX_HTTP_TSFACE_SYSLOG_SEND,        /* it broke while sending */
    NGX_HTTP_TSFACE_SYSLOG_CLOSED,      /* closed before all was read */
    NGX_HTTP_TSFACE_SYSLOG_GONE,        /* the receiver has died */
    NGX_HTTP_TSFACE_SYSLOG_ANSWER,      /* it sends something: no syslog */
    NGX_HTTP_TSFACE_SYSLOG_TIMEOUT,     /* nothing was read for too long */
    NGX_HTTP_TSFACE_SYSLOG_NERRORS
} ngx_http_tsface_syslog_error_e;


typedef struct ngx_http_tsface_syslog_delivery_s
    ngx_http_tsface_syslog_delivery_t;

/*
 * Called once for each delivery, as the last thing that is done with it; but
 * maybe from within start().
 */
typedef void (*ngx_http_tsface_syslog_delivery_pt)(void *ctx);


struct ngx_http_tsface_syslog_delivery_s {
    /* set by the owner, once */
    ngx_msec_t                           timeout;
    ngx_log_t                            log;
    ngx_http_tsface_syslog_delivery_pt   handler;
    void                                *ctx;

    /* how it went: error is OK if the receiver has taken all of it */
    ngx_http_tsface_syslog_error_e       error;
    ngx_err_t                            err;
    unsigned                             connected:1;

    /* its own */
    unsigned                             state:3;
    ngx_addr_t                          *addr;
    u_char                              *pos;
    u_char                              *last;
    int                                  unread;
    ngx_peer_connection_t                peer;
    ngx_peer_connection_t                second;
    unsigned                             second_connected:1;
    ngx_event_t                          timer;
    ngx_connection_t                     dumb;
};


/* After the owner has set its part of a struct of zeros. */
void ngx_http_tsface_syslog_delivery_init(
    ngx_http_tsface_syslog_delivery_t *delivery);

/* data stays until the handler is called or the delivery is cancelled. */
void ngx_http_tsface_syslog_delivery_start(
    ngx_http_tsface_syslog_delivery_t *delivery, ngx_addr_t *addr,
    u_char *data, size_t len);

/*
 * Closes all that is open, the second connection of the delivery before as
 * well.  The handler is not called.
 */
void ngx_http_tsface_syslog_delivery_cancel(
    ngx_http_tsface_syslog_delivery_t *delivery);

/* What an error is, for a log. */
const char *ngx_http_tsface_syslog_delivery_text(ngx_uint_t error);


#endif /* _NGX_HTTP_TSFACE_SYSLOG_DELIVERY_H_INCLUDED_ */
