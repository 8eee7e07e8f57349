
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_idle.h"
#include "ngx_http_tsface_peer.h"
#include "ngx_http_tsface_resolve.h"


typedef struct {
    ngx_http_tsface_endpoint_t  *endpoint;
    ngx_http_upstream_t         *upstream;
    ngx_pool_t                  *pool;
    ngx_http_tsface_addrs_t     *addrs;
    ngx_uint_t                   first;
    ngx_uint_t                   tried;
    ngx_http_tsface_addr_t       addr;
} ngx_http_tsface_peer_t;


static ngx_int_t ngx_http_tsface_peer_get(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_http_tsface_peer_name(ngx_peer_connection_t *pc,
    ngx_http_tsface_peer_t *peer);
static void ngx_http_tsface_peer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static void ngx_http_tsface_peer_wipe(ngx_connection_t *c);
static ngx_int_t ngx_http_tsface_peer_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_tsface_peer_save_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_tsface_peer_cleanup(void *data);


ngx_int_t
ngx_http_tsface_peer_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_upstream_t     *u;
    ngx_http_tsface_peer_t  *peer;

    u = r->upstream;

    peer = ngx_pcalloc(r->pool, sizeof(ngx_http_tsface_peer_t));
    if (peer == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    peer->endpoint = (ngx_http_tsface_endpoint_t *) us;
    peer->upstream = u;
    peer->pool = r->pool;

    /* a reference: DNS may change while the request is in flight */

    peer->addrs = ngx_http_tsface_resolve_get(peer->endpoint->resolve);

    if (peer->addrs == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_tsface_peer_cleanup;
    cln->data = peer;

    peer->first = ngx_http_tsface_resolve_next(peer->endpoint->resolve);

    u->peer.data = peer;
    u->peer.get = ngx_http_tsface_peer_get;
    u->peer.free = ngx_http_tsface_peer_free;
    u->peer.set_session = ngx_http_tsface_peer_set_session;
    u->peer.save_session = ngx_http_tsface_peer_save_session;

    /* all: a host without IPv6 may meet any number of such addresses first */

    u->peer.tries = peer->addrs->naddrs;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_peer_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_tsface_peer_t  *peer = data;

    ngx_uint_t         n;
    ngx_connection_t  *c;

    c = NULL;

    if (peer->tried == 0) {
        c = ngx_http_tsface_idle_get(peer->endpoint->idle, &peer->addr);
    }

    if (c == NULL) {
        n = (peer->first + peer->tried) % peer->addrs->naddrs;

        peer->addr.socklen = peer->addrs->addrs[n].socklen;
        ngx_memcpy(&peer->addr.sockaddr, &peer->addrs->addrs[n].sockaddr,
                   peer->addr.socklen);
    }

    peer->tried++;

    pc->sockaddr = &peer->addr.sockaddr.sockaddr;
    pc->socklen = peer->addr.socklen;

    if (ngx_http_tsface_peer_name(pc, peer) != NGX_OK) {
        if (c) {
            pc->connection = c;
            pc->cached = 1;
        }

        return NGX_ERROR;
    }

    if (c == NULL) {
        pc->cached = 0;
        pc->connection = NULL;
        return NGX_OK;
    }

    c->log = pc->log;
    c->read->log = pc->log;
    c->write->log = pc->log;
    c->pool->log = pc->log;

    pc->connection = c;
    pc->cached = 1;

    return NGX_DONE;
}


/*
 * The access log reads the name when the addresses may be others already: it
 * lives as long as the request.
 */
static ngx_int_t
ngx_http_tsface_peer_name(ngx_peer_connection_t *pc,
    ngx_http_tsface_peer_t *peer)
{
    ngx_str_t  *name;

    name = ngx_palloc(peer->pool, sizeof(ngx_str_t) + NGX_SOCKADDR_STRLEN);
    if (name == NULL) {
        return NGX_ERROR;
    }

    name->data = (u_char *) name + sizeof(ngx_str_t);
    name->len = ngx_sock_ntop(pc->sockaddr, pc->socklen, name->data,
                              NGX_SOCKADDR_STRLEN, 1);

    pc->name = name;

    return NGX_OK;
}


static void
ngx_http_tsface_peer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_tsface_peer_t  *peer = data;

    ngx_http_upstream_t  *u;

    u = peer->upstream;

    if (pc->connection) {
        ngx_http_tsface_peer_wipe(pc->connection);
    }

    if (pc->connection
        && !(state & NGX_PEER_FAILED)
        && u->keepalive
        && u->request_body_sent
        && peer->endpoint->idle
        && ngx_http_tsface_idle_put(peer->endpoint->idle, pc) == NGX_OK)
    {
        pc->connection = NULL;
    }

    if (pc->tries) {
        pc->tries--;
    }
}


/*
 * Core copies what it sends over TLS into a buffer that lives as long as the
 * connection: the bearer would outlast its token there.
 */
static void
ngx_http_tsface_peer_wipe(ngx_connection_t *c)
{
    ngx_buf_t  *b;

    b = c->ssl ? c->ssl->buf : NULL;

    if (b && b->start) {
        ngx_explicit_memzero(b->start, b->end - b->start);
    }
}


static ngx_int_t
ngx_http_tsface_peer_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_tsface_peer_t  *peer = data;

    if (peer->endpoint->session == NULL) {
        return NGX_OK;
    }

    return ngx_ssl_set_session(pc->connection, peer->endpoint->session);
}


static void
ngx_http_tsface_peer_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_tsface_peer_t  *peer = data;

    ngx_ssl_session_t  *session;

    session = ngx_ssl_get_session(pc->connection);

    if (session == NULL) {
        return;
    }

    if (peer->endpoint->session) {
        ngx_ssl_free_session(peer->endpoint->session);
    }

    peer->endpoint->session = session;
}


static void
ngx_http_tsface_peer_cleanup(void *data)
{
    ngx_http_tsface_peer_t  *peer = data;

    ngx_http_tsface_resolve_release(peer->addrs);
}
