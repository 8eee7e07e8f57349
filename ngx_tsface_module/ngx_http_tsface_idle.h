
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The idle connections of an endpoint, in one worker.
 */


#ifndef _NGX_HTTP_TSFACE_IDLE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_IDLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include "ngx_http_tsface_endpoint.h"
#include "ngx_http_tsface_resolve.h"


ngx_http_tsface_idle_t *ngx_http_tsface_idle_create(ngx_cycle_t *cycle,
    const ngx_http_tsface_endpoint_t *endpoint);

/* Closes them all. */
void ngx_http_tsface_idle_close(ngx_http_tsface_idle_t *idle);

/*
 * The connection that was used last and is still open, to an address that the
 * endpoint still has; or NULL.  It is the caller's then; addr gets the address
 * (not its name).
 */
ngx_connection_t *ngx_http_tsface_idle_get(ngx_http_tsface_idle_t *idle,
    ngx_http_tsface_addr_t *addr);

/*
 * Takes over pc->connection, which must have nothing left to read or write.
 * Returns NGX_OK, or NGX_DECLINED if it stays the caller's: to be closed.
 */
ngx_int_t ngx_http_tsface_idle_put(ngx_http_tsface_idle_t *idle,
    ngx_peer_connection_t *pc);


#endif /* _NGX_HTTP_TSFACE_IDLE_H_INCLUDED_ */
