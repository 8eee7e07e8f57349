
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include <linux/sockios.h>

#include "ngx_http_tsface_syslog_delivery.h"


#define NGX_HTTP_TSFACE_SYSLOG_CONNECT_TIMEOUT   5000

/*
 * All connections of a process end at once when it dies; so long is waited
 * for the second one to end as well.
 */
#define NGX_HTTP_TSFACE_SYSLOG_HOLD              50


enum {
    NGX_HTTP_TSFACE_SYSLOG_IDLE = 0,
    NGX_HTTP_TSFACE_SYSLOG_CONNECTING,
    NGX_HTTP_TSFACE_SYSLOG_SENDING,
    NGX_HTTP_TSFACE_SYSLOG_SECOND,
    NGX_HTTP_TSFACE_SYSLOG_ENDED,
    NGX_HTTP_TSFACE_SYSLOG_HELD
};


static ngx_int_t ngx_http_tsface_syslog_connect(
    ngx_http_tsface_syslog_delivery_t *delivery, ngx_peer_connection_t *peer);
static void ngx_http_tsface_syslog_connect_handler(ngx_event_t *ev);
static void ngx_http_tsface_syslog_send(
    ngx_http_tsface_syslog_delivery_t *delivery);
static void ngx_http_tsface_syslog_write_handler(ngx_event_t *ev);
static void ngx_http_tsface_syslog_sent(
    ngx_http_tsface_syslog_delivery_t *delivery);
static void ngx_http_tsface_syslog_end(
    ngx_http_tsface_syslog_delivery_t *delivery);
static void ngx_http_tsface_syslog_read_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_tsface_syslog_read(ngx_connection_t *c,
    ngx_err_t *err);
static void ngx_http_tsface_syslog_dummy_handler(ngx_event_t *ev);
static void ngx_http_tsface_syslog_timer_handler(ngx_event_t *ev);
static int ngx_http_tsface_syslog_unread(
    ngx_http_tsface_syslog_delivery_t *delivery);
static void ngx_http_tsface_syslog_fail(
    ngx_http_tsface_syslog_delivery_t *delivery,
    ngx_http_tsface_syslog_error_e error, ngx_err_t err);
static void ngx_http_tsface_syslog_close(ngx_peer_connection_t *peer,
    ngx_uint_t reset);


static const char *const  ngx_http_tsface_syslog_texts[] = {
    "takes the records",
    "can't be connected to",
    "closed the connection while records were sent",
    "closed the connection before it had read all",
    "ended before it had dealt with all",
    "sends something, so it is no syslog server",
    "reads nothing"
};


void
ngx_http_tsface_syslog_delivery_init(
    ngx_http_tsface_syslog_delivery_t *delivery)
{
    delivery->dumb.fd = (ngx_socket_t) -1;
    delivery->dumb.data = delivery;

    delivery->timer.handler = ngx_http_tsface_syslog_timer_handler;
    delivery->timer.data = &delivery->dumb;
    delivery->timer.log = &delivery->log;
}


const char *
ngx_http_tsface_syslog_delivery_text(ngx_uint_t error)
{
    return ngx_http_tsface_syslog_texts[error];
}


void
ngx_http_tsface_syslog_delivery_start(
    ngx_http_tsface_syslog_delivery_t *delivery, ngx_addr_t *addr,
    u_char *data, size_t len)
{
    delivery->error = NGX_HTTP_TSFACE_SYSLOG_OK;
    delivery->err = 0;
    delivery->pos = data;
    delivery->last = data + len;

    /* the second connection of the delivery before is the first of this one */

    if (delivery->second.connection && delivery->addr == addr
        && delivery->second_connected)
    {
        delivery->peer = delivery->second;
        delivery->second.connection = NULL;

        ngx_http_tsface_syslog_send(delivery);
        return;
    }

    ngx_http_tsface_syslog_close(&delivery->second, 0);

    delivery->addr = addr;
    delivery->connected = 0;
    delivery->state = NGX_HTTP_TSFACE_SYSLOG_CONNECTING;

    if (ngx_http_tsface_syslog_connect(delivery, &delivery->peer) == NGX_OK) {
        ngx_http_tsface_syslog_send(delivery);
    }
}


/*
 * NGX_OK: connected.  NGX_AGAIN: connect_handler or the timer goes on.
 * NGX_ERROR: the delivery has failed.
 */

static ngx_int_t
ngx_http_tsface_syslog_connect(ngx_http_tsface_syslog_delivery_t *delivery,
    ngx_peer_connection_t *peer)
{
    ngx_int_t          rc;
    ngx_err_t          err;
    ngx_connection_t  *c;

    ngx_memzero(peer, sizeof(ngx_peer_connection_t));

    peer->sockaddr = delivery->addr->sockaddr;
    peer->socklen = delivery->addr->socklen;
    peer->name = &delivery->addr->name;
    peer->get = ngx_event_get_peer;
    peer->log = &delivery->log;
    peer->log_error = NGX_ERROR_INFO;

    rc = ngx_event_connect_peer(peer);

    if (rc == NGX_ERROR || rc == NGX_BUSY || rc == NGX_DECLINED) {
        err = ngx_socket_errno;

        ngx_http_tsface_syslog_close(peer, 0);
        ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_CONNECT,
                                    err);
        return NGX_ERROR;
    }

    c = peer->connection;

    c->data = delivery;
    c->log = &delivery->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ngx_http_tsface_syslog_read_handler;
    c->write->handler = rc == NGX_AGAIN
                        ? ngx_http_tsface_syslog_connect_handler
                        : ngx_http_tsface_syslog_dummy_handler;

    if (rc == NGX_AGAIN) {
        ngx_add_timer(&delivery->timer,
                      NGX_HTTP_TSFACE_SYSLOG_CONNECT_TIMEOUT);
    }

    return rc;
}


static void
ngx_http_tsface_syslog_connect_handler(ngx_event_t *ev)
{
    int                                 err;
    socklen_t                           len;
    ngx_connection_t                   *c;
    ngx_http_tsface_syslog_delivery_t  *delivery;

    c = ev->data;
    delivery = c->data;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_CONNECT,
                                    err);
        return;
    }

    c->write->handler = ngx_http_tsface_syslog_dummy_handler;

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_CONNECT,
                                    0);
        return;
    }

    if (c == delivery->second.connection) {
        delivery->second_connected = 1;
        ngx_http_tsface_syslog_end(delivery);
        return;
    }

    ngx_http_tsface_syslog_send(delivery);
}


static void
ngx_http_tsface_syslog_send(ngx_http_tsface_syslog_delivery_t *delivery)
{
    ngx_connection_t  *c;

    delivery->state = NGX_HTTP_TSFACE_SYSLOG_SENDING;
    delivery->connected = 1;

    /* not cancelable, as all its waits but for the owner's */

    ngx_add_timer(&delivery->timer, delivery->timeout);

    c = delivery->peer.connection;

    c->write->handler = ngx_http_tsface_syslog_write_handler;

    ngx_http_tsface_syslog_write_handler(c->write);
}


static void
ngx_http_tsface_syslog_write_handler(ngx_event_t *ev)
{
    ssize_t                             n;
    ngx_connection_t                   *c;
    ngx_http_tsface_syslog_delivery_t  *delivery;

    c = ev->data;
    delivery = c->data;

    while (delivery->pos < delivery->last) {

        n = c->send(c, delivery->pos, delivery->last - delivery->pos);

        if (n == NGX_AGAIN) {
            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                ngx_http_tsface_syslog_fail(delivery,
                                            NGX_HTTP_TSFACE_SYSLOG_SEND, 0);
            }

            return;
        }

        if (n <= 0) {
            ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_SEND,
                                        ngx_socket_errno);
            return;
        }

        delivery->pos += n;

        ngx_add_timer(&delivery->timer, delivery->timeout);
    }

    c->write->handler = ngx_http_tsface_syslog_dummy_handler;

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_SEND, 0);
        return;
    }

    ngx_http_tsface_syslog_sent(delivery);
}


/* The second connection, in time before the first one is ended. */

static void
ngx_http_tsface_syslog_sent(ngx_http_tsface_syslog_delivery_t *delivery)
{
    delivery->state = NGX_HTTP_TSFACE_SYSLOG_SECOND;
    delivery->second_connected = 0;

    if (ngx_http_tsface_syslog_connect(delivery, &delivery->second) == NGX_OK)
    {
        delivery->second_connected = 1;
        ngx_http_tsface_syslog_end(delivery);
    }
}


static void
ngx_http_tsface_syslog_end(ngx_http_tsface_syslog_delivery_t *delivery)
{
    ngx_connection_t  *c;

    c = delivery->peer.connection;

    if (shutdown(c->fd, SHUT_WR) == -1) {
        ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_SEND,
                                    ngx_socket_errno);
        return;
    }

    delivery->state = NGX_HTTP_TSFACE_SYSLOG_ENDED;
    delivery->unread = ngx_http_tsface_syslog_unread(delivery);

    ngx_add_timer(&delivery->timer, delivery->timeout);
}


/* Of both connections: nothing is expected but the end of the first. */

static void
ngx_http_tsface_syslog_read_handler(ngx_event_t *ev)
{
    ngx_int_t                           rc;
    ngx_err_t                           err;
    ngx_connection_t                   *c;
    ngx_http_tsface_syslog_delivery_t  *delivery;

    c = ev->data;
    delivery = c->data;

    rc = ngx_http_tsface_syslog_read(c, &err);

    if (rc == NGX_AGAIN) {
        return;
    }

    if (c == delivery->second.connection) {

        if (delivery->state == NGX_HTTP_TSFACE_SYSLOG_IDLE) {
            ngx_http_tsface_syslog_close(&delivery->second, 0);
            return;
        }

        ngx_http_tsface_syslog_fail(delivery,
                                    rc == NGX_OK
                                    ? NGX_HTTP_TSFACE_SYSLOG_ANSWER
                                    : NGX_HTTP_TSFACE_SYSLOG_GONE, err);
        return;
    }

    if (rc == NGX_OK) {
        ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_ANSWER,
                                    0);
        return;
    }

    /*
     * An end that was sent before all of this side's had come is none of the
     * expected: it doesn't acknowledge the last bytes.
     */

    if (rc == NGX_DONE && delivery->state == NGX_HTTP_TSFACE_SYSLOG_ENDED
        && ngx_http_tsface_syslog_unread(delivery) == 0)
    {
        delivery->state = NGX_HTTP_TSFACE_SYSLOG_HELD;
        ngx_add_timer(&delivery->timer, NGX_HTTP_TSFACE_SYSLOG_HOLD);

        c->read->handler = ngx_http_tsface_syslog_dummy_handler;

        /* takes the event away where it comes for as long as one can read */

        c->read->ready = 1;
        (void) ngx_handle_read_event(c->read, 0);

        return;
    }

    if (delivery->state == NGX_HTTP_TSFACE_SYSLOG_CONNECTING) {
        ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_CONNECT,
                                    err);
        return;
    }

    ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_CLOSED, err);
}


/* NGX_OK: there is data; NGX_AGAIN; NGX_DONE: the end; NGX_ERROR. */

static ngx_int_t
ngx_http_tsface_syslog_read(ngx_connection_t *c, ngx_err_t *err)
{
    u_char   buf[1];
    ssize_t  n;

    *err = 0;

    do {
        n = recv(c->fd, buf, sizeof(buf), MSG_PEEK);
    } while (n == -1 && ngx_socket_errno == NGX_EINTR);

    if (n > 0) {
        return NGX_OK;
    }

    if (n == 0) {
        return NGX_DONE;
    }

    *err = ngx_socket_errno;

    if (*err != NGX_EAGAIN) {
        return NGX_ERROR;
    }

    c->read->ready = 0;

    return ngx_handle_read_event(c->read, 0) == NGX_OK ? NGX_AGAIN
                                                       : NGX_ERROR;
}


static void
ngx_http_tsface_syslog_dummy_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ev->log, 0, "tsface syslog dummy");
}


static void
ngx_http_tsface_syslog_timer_handler(ngx_event_t *ev)
{
    int                                 unread;
    ngx_err_t                           err;
    ngx_connection_t                   *c;
    ngx_http_tsface_syslog_delivery_t  *delivery;

    c = ev->data;
    delivery = c->data;

    switch (delivery->state) {

    case NGX_HTTP_TSFACE_SYSLOG_HELD:

        if (ngx_http_tsface_syslog_read(delivery->second.connection, &err)
            != NGX_AGAIN)
        {
            ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_GONE,
                                        err);
            return;
        }

        ngx_http_tsface_syslog_close(&delivery->peer, 0);

        delivery->state = NGX_HTTP_TSFACE_SYSLOG_IDLE;
        delivery->handler(delivery->ctx);

        return;

    case NGX_HTTP_TSFACE_SYSLOG_CONNECTING:
    case NGX_HTTP_TSFACE_SYSLOG_SECOND:

        ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_CONNECT,
                                    NGX_ETIMEDOUT);
        return;

    case NGX_HTTP_TSFACE_SYSLOG_ENDED:

        /* it is slow, but it reads */

        unread = ngx_http_tsface_syslog_unread(delivery);

        if (unread < delivery->unread) {
            delivery->unread = unread;
            ngx_add_timer(&delivery->timer, delivery->timeout);
            return;
        }

        break;
    }

    ngx_http_tsface_syslog_fail(delivery, NGX_HTTP_TSFACE_SYSLOG_TIMEOUT, 0);
}


/*
 * Bytes that the receiver's kernel has not acknowledged, our end among them;
 * of a unix socket, that it has not read.
 */

static int
ngx_http_tsface_syslog_unread(ngx_http_tsface_syslog_delivery_t *delivery)
{
    int  n;

    n = 0;

    if (ioctl(delivery->peer.connection->fd, SIOCOUTQ, &n) == -1) {
        return 0;
    }

    return n;
}


static void
ngx_http_tsface_syslog_fail(ngx_http_tsface_syslog_delivery_t *delivery,
    ngx_http_tsface_syslog_error_e error, ngx_err_t err)
{
    ngx_http_tsface_syslog_delivery_cancel(delivery);

    delivery->error = error;
    delivery->err = err;

    delivery->handler(delivery->ctx);
}


void
ngx_http_tsface_syslog_delivery_cancel(
    ngx_http_tsface_syslog_delivery_t *delivery)
{
    if (delivery->timer.timer_set) {
        ngx_del_timer(&delivery->timer);
    }

    ngx_http_tsface_syslog_close(&delivery->peer, 1);
    ngx_http_tsface_syslog_close(&delivery->second, 0);

    delivery->state = NGX_HTTP_TSFACE_SYSLOG_IDLE;
}


/* reset: what the kernel has not sent yet must not come after its repetition */

static void
ngx_http_tsface_syslog_close(ngx_peer_connection_t *peer, ngx_uint_t reset)
{
    struct linger      linger;
    ngx_connection_t  *c;

    c = peer->connection;

    if (c == NULL) {
        return;
    }

    peer->connection = NULL;

    if (reset) {
        linger.l_onoff = 1;
        linger.l_linger = 0;

        (void) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, (const void *) &linger,
                          sizeof(struct linger));
    }

    ngx_close_connection(c);
}
