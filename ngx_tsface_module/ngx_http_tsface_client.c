
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_client.h"


static u_char *ngx_http_tsface_client_log(ngx_log_t *log, u_char *buf,
    size_t len);
static void ngx_http_tsface_client_resolved(void *data);
static void ngx_http_tsface_client_connect(ngx_http_tsface_client_t *client);
static ngx_int_t ngx_http_tsface_client_connect_next(
    ngx_http_tsface_client_t *client);
static void ngx_http_tsface_client_connect_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_tsface_client_test_connect(ngx_connection_t *c);
static void ngx_http_tsface_client_connected(ngx_http_tsface_client_t *client);
static void ngx_http_tsface_client_ssl(ngx_http_tsface_client_t *client);
static void ngx_http_tsface_client_handshaked(ngx_connection_t *c);
static void ngx_http_tsface_client_dummy(ngx_event_t *ev);
static void ngx_http_tsface_client_send(ngx_http_tsface_client_t *client);
static void ngx_http_tsface_client_write_handler(ngx_event_t *ev);
static void ngx_http_tsface_client_read_handler(ngx_event_t *ev);
static void ngx_http_tsface_client_read(ngx_http_tsface_client_t *client);
static ngx_int_t ngx_http_tsface_client_parse(
    ngx_http_tsface_client_t *client);
static void ngx_http_tsface_client_eof(ngx_http_tsface_client_t *client);
static void ngx_http_tsface_client_deadline(ngx_event_t *ev);
static void ngx_http_tsface_client_finish(ngx_http_tsface_client_t *client,
    ngx_http_tsface_exchange_e result, const char *error);
static void ngx_http_tsface_client_done(ngx_event_t *ev);
static void ngx_http_tsface_client_close(ngx_http_tsface_client_t *client);
static void ngx_http_tsface_client_close_connection(ngx_connection_t *c);


ngx_int_t
ngx_http_tsface_client_start(ngx_http_tsface_client_t *client)
{
    client->buf = ngx_create_temp_buf(client->pool,
                                      NGX_HTTP_TSFACE_CLIENT_MAX_HEADER);
    if (client->buf == NULL) {
        return NGX_ERROR;
    }

    /*
     * A framing of its own: chunks are joined here, so that the token lies in
     * one piece that can be wiped.
     */

    client->body.data = ngx_pnalloc(client->pool,
                                    NGX_HTTP_TSFACE_CLIENT_MAX_BODY);
    if (client->body.data == NULL) {
        return NGX_ERROR;
    }

    client->log = *ngx_cycle->log;
    client->log.handler = ngx_http_tsface_client_log;
    client->log.data = client;
    client->log.action = "resolving the token endpoint";
    client->pool->log = &client->log;

    client->waiter.handler = ngx_http_tsface_client_resolved;
    client->waiter.data = client;

    client->done.handler = ngx_http_tsface_client_done;
    client->done.data = client;
    client->done.log = &client->log;

    client->deadline.handler = ngx_http_tsface_client_deadline;
    client->deadline.data = client;
    client->deadline.log = &client->log;

    /* not cancelable: a worker that exits first sees the exchange through */

    ngx_add_timer(&client->deadline, client->timeout);

    client->addrs = ngx_http_tsface_resolve_get(client->endpoint->resolve);

    if (client->addrs == NULL) {
        client->waiting = 1;
        ngx_http_tsface_resolve_wait(client->endpoint->resolve,
                                     &client->waiter);
        return NGX_OK;
    }

    ngx_http_tsface_client_connect(client);

    return NGX_OK;
}


void
ngx_http_tsface_client_cancel(ngx_http_tsface_client_t *client)
{
    ngx_http_tsface_client_close(client);

    if (client->done.posted) {
        ngx_delete_posted_event(&client->done);
    }
}


static u_char *
ngx_http_tsface_client_log(ngx_log_t *log, u_char *buf, size_t len)
{
    ngx_http_tsface_client_t *client = log->data;

    u_char  *p;

    p = buf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
    }

    return ngx_snprintf(p, len, ", credentials: \"%V\", endpoint: \"%V\"",
                        &client->name, &client->endpoint->url.authority);
}


static void
ngx_http_tsface_client_resolved(void *data)
{
    ngx_http_tsface_client_t *client = data;

    client->waiting = 0;

    client->addrs = ngx_http_tsface_resolve_get(client->endpoint->resolve);

    if (client->addrs == NULL) {
        ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                      "no address");
        return;
    }

    ngx_http_tsface_client_connect(client);
}


static void
ngx_http_tsface_client_connect(ngx_http_tsface_client_t *client)
{
    client->log.action = "connecting to the token endpoint";

    client->first = ngx_http_tsface_resolve_next(client->endpoint->resolve);
    client->tried = 0;

    client->peer.get = ngx_event_get_peer;
    client->peer.log = &client->log;
    client->peer.log_error = NGX_ERROR_ERR;

    if (ngx_http_tsface_client_connect_next(client) != NGX_OK) {
        ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                      "connect failed");
    }
}


/* NGX_OK if a connection is being made or is there. */
static ngx_int_t
ngx_http_tsface_client_connect_next(ngx_http_tsface_client_t *client)
{
    ngx_int_t                rc;
    ngx_connection_t        *c;
    ngx_http_tsface_addr_t  *addr;

    while (client->tried < client->addrs->naddrs) {

        addr = &client->addrs->addrs[(client->first + client->tried++)
                                     % client->addrs->naddrs];

        client->peer.sockaddr = &addr->sockaddr.sockaddr;
        client->peer.socklen = addr->socklen;
        client->peer.name = &addr->name;
        client->peer.connection = NULL;

        rc = ngx_event_connect_peer(&client->peer);

        if (rc == NGX_BUSY || rc == NGX_DECLINED || rc == NGX_ERROR) {
            ngx_http_tsface_client_close_connection(client->peer.connection);
            client->peer.connection = NULL;
            continue;
        }

        c = client->peer.connection;

        c->data = client;
        c->log = &client->log;
        c->read->log = c->log;
        c->write->log = c->log;

        c->pool = ngx_create_pool(256, c->log);
        if (c->pool == NULL) {
            return NGX_ERROR;
        }

        /*
         * Until the handshake is done nothing is read: bytes that come in
         * plain text before it are not the endpoint's (CVE-2026-1642).
         */

        c->read->handler = ngx_http_tsface_client_dummy;
        c->write->handler = ngx_http_tsface_client_connect_handler;

        if (rc == NGX_AGAIN) {
            ngx_add_timer(c->write, client->endpoint->conf.connect_timeout);
            return NGX_OK;
        }

        ngx_http_tsface_client_connected(client);
        return NGX_OK;
    }

    return NGX_DECLINED;
}


static void
ngx_http_tsface_client_connect_handler(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_tsface_client_t  *client;

    c = ev->data;
    client = c->data;

    if (c->close) {
        ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                      "shutting down");
        return;
    }

    if (!ev->timedout && ngx_http_tsface_client_test_connect(c) == NGX_OK) {
        if (ev->timer_set) {
            ngx_del_timer(ev);
        }

        ngx_http_tsface_client_connected(client);
        return;
    }

    if (ev->timedout) {
        ngx_log_error(NGX_LOG_ERR, c->log, NGX_ETIMEDOUT,
                      "tsface connect to \"%V\" timed out", client->peer.name);
    }

    ngx_http_tsface_client_close_connection(c);
    client->peer.connection = NULL;

    if (ngx_http_tsface_client_connect_next(client) != NGX_OK) {
        ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                      "connect failed");
    }
}


static ngx_int_t
ngx_http_tsface_client_test_connect(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        (void) ngx_connection_error(c, err, "connect() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_tsface_client_connected(ngx_http_tsface_client_t *client)
{
    if (client->endpoint->ssl) {
        ngx_http_tsface_client_ssl(client);
        return;
    }

    ngx_http_tsface_client_send(client);
}


static void
ngx_http_tsface_client_ssl(ngx_http_tsface_client_t *client)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_http_tsface_endpoint_t  *endpoint;

    c = client->peer.connection;
    endpoint = client->endpoint;

    client->log.action = "SSL handshaking to the token endpoint";

    if (ngx_ssl_create_connection(endpoint->ssl, c,
                                  NGX_SSL_BUFFER|NGX_SSL_CLIENT)
        != NGX_OK)
    {
        ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                      "no memory for TLS");
        return;
    }

    /*
     * Many servers end a body by closing the connection without a word of TLS.
     * A token is in a JSON object, which is whole or no JSON at all.
     */

#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
    SSL_set_options(c->ssl->connection, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif

    if (ngx_http_tsface_tls_ask(c->ssl->connection, &endpoint->ssl_name)
        != NGX_OK)
    {
        ngx_ssl_error(NGX_LOG_ERR, c->log, 0,
                      "SSL_set_tlsext_host_name(\"%V\") failed",
                      &endpoint->ssl_name);
        ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                      "TLS failed");
        return;
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        if (!c->write->timer_set) {
            ngx_add_timer(c->write, endpoint->conf.connect_timeout);
        }

        c->ssl->handler = ngx_http_tsface_client_handshaked;
        return;
    }

    ngx_http_tsface_client_handshaked(c);
}


static void
ngx_http_tsface_client_handshaked(ngx_connection_t *c)
{
    ngx_http_tsface_client_t *client = c->data;

    long  rc;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (!c->ssl->handshaked) {
        ngx_http_tsface_client_finish(client,
                              c->write->timedout
                                  ? NGX_HTTP_TSFACE_EXCHANGE_TIMEOUT
                                  : NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                              "SSL handshake failed");
        return;
    }

    /* the context has refused a bad certificate already; this is the belt */

    if (client->endpoint->conf.tls.verify) {
        rc = SSL_get_verify_result(c->ssl->connection);

        if (rc != X509_V_OK) {
            ngx_log_error(NGX_LOG_ERR, c->log, 0,
                          "tsface certificate verify error: (%l:%s)",
                          rc, X509_verify_cert_error_string(rc));
            ngx_http_tsface_client_finish(client,
                              NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                              "certificate verify failed");
            return;
        }
    }

    ngx_http_tsface_client_send(client);
}


static void
ngx_http_tsface_client_dummy(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ev->log, 0, "tsface client dummy");
}


static void
ngx_http_tsface_client_send(ngx_http_tsface_client_t *client)
{
    ngx_connection_t  *c;

    c = client->peer.connection;

    client->log.action = "exchanging credentials";

    c->write->handler = ngx_http_tsface_client_write_handler;
    c->read->handler = ngx_http_tsface_client_read_handler;

    ngx_http_tsface_client_write_handler(c->write);
}


static void
ngx_http_tsface_client_write_handler(ngx_event_t *ev)
{
    ssize_t                    n;
    ngx_buf_t                 *b;
    ngx_connection_t          *c;
    ngx_http_tsface_client_t  *client;

    c = ev->data;
    client = c->data;
    b = client->request;

    if (c->close) {
        ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                      "shutting down");
        return;
    }

    while (b->pos < b->last) {
        n = c->send(c, b->pos, b->last - b->pos);

        if (n == NGX_AGAIN) {
            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                ngx_http_tsface_client_finish(client,
                                       NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                       "event failed");
            }

            return;
        }

        if (n <= 0) {
            ngx_http_tsface_client_finish(client,
                                          NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                          "sending failed");
            return;
        }

        b->pos += n;
    }

    /* it holds the client secret */

    ngx_explicit_memzero(b->start, b->end - b->start);

    c->write->handler = ngx_http_tsface_client_dummy;

    /* takes the event away where it comes for as long as one can write */

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                      "event failed");
        return;
    }

    /* an answer may have come together with the end of the handshake */

    ngx_http_tsface_client_read(client);
}


static void
ngx_http_tsface_client_read_handler(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_tsface_client_t  *client;

    c = ev->data;
    client = c->data;

    if (c->close) {
        ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                      "shutting down");
        return;
    }

    ngx_http_tsface_client_read(client);
}


static void
ngx_http_tsface_client_read(ngx_http_tsface_client_t *client)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    c = client->peer.connection;
    b = client->buf;

    for ( ;; ) {

        if (b->last == b->end) {
            ngx_http_tsface_client_finish(client,
                                          NGX_HTTP_TSFACE_EXCHANGE_MALFORMED,
                                          "the header is too large");
            return;
        }

        n = c->recv(c, b->last, b->end - b->last);

        if (n == NGX_AGAIN) {
            if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
                ngx_http_tsface_client_finish(client,
                                       NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                       "event failed");
            }

            return;
        }

        if (n == NGX_ERROR) {
            ngx_http_tsface_client_finish(client,
                                          NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                          "receiving failed");
            return;
        }

        if (n == 0) {
            ngx_http_tsface_client_eof(client);
            return;
        }

        b->last += n;

        rc = ngx_http_tsface_client_parse(client);

        if (rc == NGX_OK) {
            ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_OK,
                                          NULL);
            return;
        }

        if (rc == NGX_ERROR) {
            return;
        }
    }
}


/* NGX_OK: a whole response; NGX_AGAIN; NGX_ERROR: finished by this call. */
static ngx_int_t
ngx_http_tsface_client_parse(ngx_http_tsface_client_t *client)
{
    u_char     *pos;
    ngx_int_t   rc;
    ngx_buf_t  *b;
    ngx_str_t   data;

    b = client->buf;

    if (!client->header_done) {

        rc = ngx_http_tsface_response_read_header(&client->response, &b->pos,
                                                  b->last);
        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc == NGX_ERROR) {
            ngx_http_tsface_client_finish(client,
                                          NGX_HTTP_TSFACE_EXCHANGE_MALFORMED,
                                          client->response.error);
            return NGX_ERROR;
        }

        client->header_done = 1;

        ngx_http_tsface_body_init(&client->framing, &client->response);
    }

    /*
     * Header fields point into the buffer before pos; what follows is read
     * over and over.
     */

    pos = b->pos;
    rc = client->framing.done ? NGX_OK : NGX_AGAIN;

    while (rc == NGX_AGAIN && pos < b->last) {
        rc = ngx_http_tsface_body_next(&client->framing, &pos, b->last, &data);

        if (rc == NGX_ERROR) {
            ngx_http_tsface_client_finish(client,
                                          NGX_HTTP_TSFACE_EXCHANGE_MALFORMED,
                                          client->framing.error);
            return NGX_ERROR;
        }

        if (data.len > NGX_HTTP_TSFACE_CLIENT_MAX_BODY - client->body.len) {
            ngx_http_tsface_client_finish(client,
                                          NGX_HTTP_TSFACE_EXCHANGE_MALFORMED,
                                          "the body is too large");
            return NGX_ERROR;
        }

        ngx_memcpy(client->body.data + client->body.len, data.data, data.len);
        client->body.len += data.len;
    }

    ngx_explicit_memzero(b->pos, b->last - b->pos);
    b->last = b->pos;

    return rc;
}


static void
ngx_http_tsface_client_eof(ngx_http_tsface_client_t *client)
{
    if (client->header_done
        && client->framing.framing == NGX_HTTP_TSFACE_FRAMING_CLOSE)
    {
        ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_OK,
                                      NULL);
        return;
    }

    ngx_http_tsface_client_finish(client, NGX_HTTP_TSFACE_EXCHANGE_NETWORK,
                                  "the connection was closed too early");
}


static void
ngx_http_tsface_client_deadline(ngx_event_t *ev)
{
    ngx_http_tsface_client_finish(ev->data, NGX_HTTP_TSFACE_EXCHANGE_TIMEOUT,
                                  "the deadline has passed");
}


/* The result is handed over from the event loop, not from within a call. */
static void
ngx_http_tsface_client_finish(ngx_http_tsface_client_t *client,
    ngx_http_tsface_exchange_e result, const char *error)
{
    if (client->finished) {
        return;
    }

    client->finished = 1;
    client->result = result;
    client->error = error;

    ngx_http_tsface_client_close(client);

    ngx_post_event(&client->done, &ngx_posted_events);
}


static void
ngx_http_tsface_client_done(ngx_event_t *ev)
{
    ngx_http_tsface_client_t *client = ev->data;

    client->handler(client);
}


static void
ngx_http_tsface_client_close(ngx_http_tsface_client_t *client)
{
    if (client->waiting) {
        client->waiting = 0;
        ngx_queue_remove(&client->waiter.queue);
    }

    if (client->deadline.timer_set) {
        ngx_del_timer(&client->deadline);
    }

    if (client->peer.connection) {
        ngx_http_tsface_client_close_connection(client->peer.connection);
        client->peer.connection = NULL;
    }

    if (client->addrs) {
        ngx_http_tsface_resolve_release(client->addrs);
        client->addrs = NULL;
    }

    ngx_explicit_memzero(client->request->start,
                         client->request->end - client->request->start);
}


static void
ngx_http_tsface_client_close_connection(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

    if (c == NULL) {
        return;
    }

    if (c->ssl) {
        /* says goodbye, waits for nothing: its log ends with the client */

        c->ssl->no_wait_shutdown = 1;

        if (ngx_ssl_shutdown(c) == NGX_AGAIN) {
            c->timedout = 1;
            (void) ngx_ssl_shutdown(c);
        }
    }

    pool = c->pool;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}
