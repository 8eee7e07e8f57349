
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * An endpoint: one scheme://host:port with one TLS setting, its addresses
 * (resolve.h) and its idle connections (idle.h).  Requests forwarded there
 * and token exchanges share it, so no connection made under one trust setting
 * is ever used under another.
 */


#ifndef _NGX_HTTP_TSFACE_ENDPOINT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_ENDPOINT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_tls.h"


typedef struct ngx_http_tsface_endpoint_s  ngx_http_tsface_endpoint_t;
typedef struct ngx_http_tsface_resolve_s   ngx_http_tsface_resolve_t;
typedef struct ngx_http_tsface_idle_s      ngx_http_tsface_idle_t;


/* What the configuration says of an endpoint. */
typedef struct {
    ngx_http_tsface_tls_conf_t       tls;
    ngx_flag_t                       ssl_session_reuse;
    ngx_msec_t                       connect_timeout;
    ngx_msec_t                       send_timeout;
    ngx_msec_t                       read_timeout;
    ngx_uint_t                       keepalive;           /* connections */
    ngx_msec_t                       keepalive_timeout;
    ngx_uint_t                       keepalive_requests;
} ngx_http_tsface_endpoint_conf_t;


/* A URL as the configuration gives it, taken apart. */
typedef struct {
    ngx_str_t                        host;       /* no brackets */
    in_port_t                        port;
    ngx_str_t                        authority;  /* for Host */
    ngx_str_t                        peer;       /* host:port, for records */
    ngx_str_t                        path;       /* "" or "/cis" */
    unsigned                         tls:1;
    unsigned                         loopback:1;
    unsigned                         literal:1;  /* host is an address */
} ngx_http_tsface_url_t;


struct ngx_http_tsface_endpoint_s {
    /*
     * First, and not registered anywhere: u->conf->upstream points here, so
     * that core calls our peer.init without any upstream{} block.
     */
    ngx_http_upstream_srv_conf_t     upstream;

    ngx_http_tsface_url_t            url;
    ngx_str_t                        ssl_name;   /* NUL-terminated */
    ngx_ssl_t                       *ssl;        /* NULL: plain */
    ngx_http_tsface_endpoint_conf_t  conf;
    ngx_http_upstream_conf_t         upstream_conf;
    unsigned                         ssl_name_is_address:1;

    /* the worker's own from ngx_http_tsface_endpoint_start() on */
    ngx_http_tsface_resolve_t       *resolve;
    ngx_http_tsface_idle_t          *idle;
    ngx_ssl_session_t               *session;
};


/*
 * Takes text apart.  Refuses, with an emerg message that names directive, what
 * is not http:// or https://, has user info, a query or a fragment, an http:
 * URL that is not loopback.  A trailing slash of the path is dropped.
 */
ngx_int_t ngx_http_tsface_endpoint_parse(ngx_conf_t *cf, const ngx_str_t *text,
    const char *directive, ngx_http_tsface_url_t *url);

/*
 * The endpoint with its TLS context (freed with cf->pool), appended to
 * endpoints, an array of pointers: or one of them, if it is for the same URL
 * and conf; ten thousand credentials have one set of CA certificates.  Returns
 * NULL after an emerg message.
 */
ngx_http_tsface_endpoint_t *ngx_http_tsface_endpoint_create(ngx_conf_t *cf,
    ngx_array_t *endpoints, const ngx_http_tsface_url_t *url,
    const ngx_http_tsface_endpoint_conf_t *conf);

/*
 * Second step, when http{} is complete: the resolver, and the parts of
 * upstream_conf that need it.
 */
ngx_int_t ngx_http_tsface_endpoint_init(ngx_conf_t *cf,
    ngx_http_tsface_endpoint_t *endpoint);

/* In a worker: begins to resolve.  exit: closes idle connections. */
ngx_int_t ngx_http_tsface_endpoint_start(ngx_cycle_t *cycle,
    ngx_http_tsface_endpoint_t *endpoint);
void ngx_http_tsface_endpoint_stop(ngx_http_tsface_endpoint_t *endpoint);


#endif /* _NGX_HTTP_TSFACE_ENDPOINT_H_INCLUDED_ */
