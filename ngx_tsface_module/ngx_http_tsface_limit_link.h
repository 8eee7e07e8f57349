
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A worker's connection to a store: hiredis on nginx's event loop, and when
 * it may be used.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_LINK_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_LINK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <hiredis/async.h>

#include "ngx_http_tsface_limit_store.h"


/*
 * Makes the link and begins to connect.  There is one connection; it proves
 * well, then and after each failure, by running the script on a key that
 * limits nobody.  While it doesn't it is tried again, less and less often,
 * each time at the next server.
 */
ngx_http_tsface_limit_link_t *ngx_http_tsface_limit_link_create(
    ngx_http_tsface_limit_store_t *store);

/* Frees all; callbacks that are still owed come now, with no reply. */
void ngx_http_tsface_limit_link_destroy(ngx_http_tsface_limit_link_t *link);

/*
 * Sends a command.  NGX_OK: callback comes once, from within hiredis, where
 * no request may be touched, with a reply or NULL; NGX_DECLINED: not now.
 */
ngx_int_t ngx_http_tsface_limit_link_send(ngx_http_tsface_limit_link_t *link,
    redisCallbackFn *callback, void *data, ngx_uint_t argc, const char **argv,
    const size_t *argvlen);

/* The same for a command that follows from an answer, in its callback. */
ngx_int_t ngx_http_tsface_limit_link_resend(ngx_http_tsface_limit_link_t *link,
    redisCallbackFn *callback, void *data, ngx_uint_t argc, const char **argv,
    const size_t *argvlen);

/* What became of a command: it was answered in time, ... */
void ngx_http_tsface_limit_link_succeeded(ngx_http_tsface_limit_link_t *link);

/* ... it was not (never called from within hiredis), ... */
void ngx_http_tsface_limit_link_timed_out(ngx_http_tsface_limit_link_t *link);

/*
 * ... the answer is an error, or not one of the script's: the callback says
 * so, and the link ends after it.
 */
void ngx_http_tsface_limit_link_refused(ngx_http_tsface_limit_link_t *link,
    const redisReply *reply);


#endif /* _NGX_HTTP_TSFACE_LIMIT_LINK_H_INCLUDED_ */
