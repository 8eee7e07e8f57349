
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_endpoint.h"
#include "ngx_http_tsface_idle.h"
#include "ngx_http_tsface_peer.h"
#include "ngx_http_tsface_resolve.h"


/* The header block of an answer; the body passes through the same buffer. */
#define NGX_HTTP_TSFACE_UPSTREAM_BUFFER   16384

/* After as many connect timeouts no other address is tried. */
#define NGX_HTTP_TSFACE_CONNECTS          3


static ngx_int_t ngx_http_tsface_endpoint_authority(ngx_conf_t *cf,
    ngx_http_tsface_url_t *url, const ngx_str_t *text, const char *directive);
static ngx_uint_t ngx_http_tsface_endpoint_loopback(
    const ngx_http_tsface_url_t *url);
static ngx_uint_t ngx_http_tsface_endpoint_same(
    const ngx_http_tsface_endpoint_t *endpoint,
    const ngx_http_tsface_url_t *url,
    const ngx_http_tsface_endpoint_conf_t *conf);
static ngx_int_t ngx_http_tsface_endpoint_ssl(ngx_conf_t *cf,
    ngx_http_tsface_endpoint_t *endpoint, const ngx_array_t *endpoints);
static X509_STORE *ngx_http_tsface_endpoint_trusted(
    const ngx_http_tsface_endpoint_t *endpoint, const ngx_array_t *endpoints);


static ngx_str_t  ngx_http_tsface_endpoint_hide_headers[] = {
    ngx_null_string
};


ngx_int_t
ngx_http_tsface_endpoint_parse(ngx_conf_t *cf, const ngx_str_t *text,
    const char *directive, ngx_http_tsface_url_t *url)
{
    u_char      *p, *last, ch;
    ngx_str_t    authority;
    ngx_uint_t   scheme;

    ngx_memzero(url, sizeof(ngx_http_tsface_url_t));

    if (text->len > 8
        && ngx_strncasecmp(text->data, (u_char *) "https://", 8) == 0)
    {
        url->tls = 1;
        scheme = 8;

    } else if (text->len > 7
               && ngx_strncasecmp(text->data, (u_char *) "http://", 7) == 0)
    {
        scheme = 7;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid URL \"%V\" in \"%s\", "
                           "\"https://host[:port][/path]\" is expected",
                           text, directive);
        return NGX_ERROR;
    }

    authority.data = text->data + scheme;
    last = text->data + text->len;

    for (p = authority.data; p < last; p++) {
        ch = *p;

        if (ch <= ' ' || ch >= 0x7f || ch == '?' || ch == '#' || ch == '@'
            || ch == '\\' || ch == '"' || ch == '%')
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid URL \"%V\" in \"%s\": user "
                               "information, queries, fragments and encoded "
                               "characters have no place in it",
                               text, directive);
            return NGX_ERROR;
        }
    }

    p = ngx_strlchr(authority.data, last, '/');
    if (p == NULL) {
        p = last;
    }

    authority.len = p - authority.data;

    url->path.data = p;
    url->path.len = last - p;

    while (url->path.len && url->path.data[url->path.len - 1] == '/') {
        url->path.len--;
    }

    if (ngx_http_tsface_endpoint_authority(cf, url, &authority, directive)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    url->loopback = ngx_http_tsface_endpoint_loopback(url);
    url->literal = ngx_http_tsface_tls_is_address(&url->host)
                   || (url->host.len == 9
                       && ngx_strncmp(url->host.data, "localhost", 9) == 0);

    if (!url->tls && !url->loopback) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s %V\" would send tokens in plain text: only a "
                           "loopback address may be http:, use https:",
                           directive, text);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_endpoint_authority(ngx_conf_t *cf, ngx_http_tsface_url_t *url,
    const ngx_str_t *text, const char *directive)
{
    u_char      *p, *last;
    ngx_int_t    port;
    ngx_str_t    host;

    last = text->data + text->len;
    host.data = text->data;

    if (text->len && text->data[0] == '[') {
        host.data++;
        p = ngx_strlchr(host.data, last, ']');
        if (p == NULL) {
            goto invalid;
        }

        host.len = p++ - host.data;

    } else {
        p = ngx_strlchr(text->data, last, ':');
        if (p == NULL) {
            p = last;
        }

        host.len = p - host.data;
    }

    if (host.len == 0 || host.len > 253) {
        goto invalid;
    }

    port = url->tls ? 443 : 80;

    if (p < last) {
        if (*p++ != ':') {
            goto invalid;
        }

        port = ngx_atoi(p, last - p);
        if (port < 1 || port > 65535) {
            goto invalid;
        }
    }

    url->port = (in_port_t) port;

    url->host.len = host.len;
    url->host.data = ngx_pnalloc(cf->pool, host.len + 1);
    if (url->host.data == NULL) {
        return NGX_ERROR;
    }

    ngx_strlow(url->host.data, host.data, host.len);
    url->host.data[host.len] = '\0';

    url->authority.len = text->len;
    url->authority.data = ngx_pnalloc(cf->pool, text->len);
    if (url->authority.data == NULL) {
        return NGX_ERROR;
    }

    ngx_strlow(url->authority.data, text->data, text->len);

    url->peer.data = ngx_pnalloc(cf->pool, text->len + sizeof(":65535"));
    if (url->peer.data == NULL) {
        return NGX_ERROR;
    }

    url->peer.len = ngx_sprintf(url->peer.data,
                                text->data[0] == '[' ? "[%V]:%ui" : "%V:%ui",
                                &url->host, (ngx_uint_t) url->port)
                    - url->peer.data;

    return NGX_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid host or port \"%V\" in \"%s\"",
                       text, directive);
    return NGX_ERROR;
}


static ngx_uint_t
ngx_http_tsface_endpoint_loopback(const ngx_http_tsface_url_t *url)
{
    in_addr_t  addr;

#if (NGX_HAVE_INET6)
    struct in6_addr  addr6;

    if (ngx_inet6_addr(url->host.data, url->host.len, addr6.s6_addr)
        == NGX_OK)
    {
        return IN6_IS_ADDR_LOOPBACK(&addr6);
    }
#endif

    addr = ngx_inet_addr(url->host.data, url->host.len);

    if (addr != INADDR_NONE) {
        return (ntohl(addr) >> 24) == 127;
    }

    return url->host.len == 9
           && ngx_strncmp(url->host.data, "localhost", 9) == 0;
}


ngx_http_tsface_endpoint_t *
ngx_http_tsface_endpoint_create(ngx_conf_t *cf, ngx_array_t *endpoints,
    const ngx_http_tsface_url_t *url,
    const ngx_http_tsface_endpoint_conf_t *conf)
{
    ngx_uint_t                    i;
    ngx_http_tsface_endpoint_t   *endpoint, **elts;

    elts = endpoints->elts;

    for (i = 0; i < endpoints->nelts; i++) {
        if (ngx_http_tsface_endpoint_same(elts[i], url, conf)) {
            return elts[i];
        }
    }

    endpoint = ngx_pcalloc(cf->pool, sizeof(ngx_http_tsface_endpoint_t));
    if (endpoint == NULL) {
        return NULL;
    }

    endpoint->url = *url;
    endpoint->conf = *conf;

    endpoint->ssl_name = conf->tls.ssl_name.len ? conf->tls.ssl_name
                                                : url->host;
    endpoint->ssl_name_is_address =
                         ngx_http_tsface_tls_is_address(&endpoint->ssl_name);

    if (url->tls
        && ngx_http_tsface_endpoint_ssl(cf, endpoint, endpoints) != NGX_OK)
    {
        return NULL;
    }

    endpoint->upstream.host = endpoint->ssl_name;
    endpoint->upstream.port = url->port;
    endpoint->upstream.peer.init = ngx_http_tsface_peer_init;

    elts = ngx_array_push(endpoints);
    if (elts == NULL) {
        return NULL;
    }

    *elts = endpoint;

    return endpoint;
}


/* Of url, the path is no matter of the connection. */
static ngx_uint_t
ngx_http_tsface_endpoint_same(const ngx_http_tsface_endpoint_t *endpoint,
    const ngx_http_tsface_url_t *url,
    const ngx_http_tsface_endpoint_conf_t *conf)
{
    const ngx_http_tsface_endpoint_conf_t  *own;

    own = &endpoint->conf;

    return endpoint->url.tls == url->tls
           && ngx_http_tsface_setting_equal(&endpoint->url.authority,
                                            &url->authority)
           && ngx_http_tsface_setting_equal(&endpoint->url.peer, &url->peer)
           && ngx_http_tsface_tls_same(&own->tls, &conf->tls)
           && own->ssl_session_reuse == conf->ssl_session_reuse
           && own->connect_timeout == conf->connect_timeout
           && own->send_timeout == conf->send_timeout
           && own->read_timeout == conf->read_timeout
           && own->keepalive == conf->keepalive
           && own->keepalive_timeout == conf->keepalive_timeout
           && own->keepalive_requests == conf->keepalive_requests;
}


/*
 * The context belongs to one name, so the name is checked during the
 * handshake, for the forwarder and the client alike, addresses included.
 */
static ngx_int_t
ngx_http_tsface_endpoint_ssl(ngx_conf_t *cf,
    ngx_http_tsface_endpoint_t *endpoint, const ngx_array_t *endpoints)
{
    ngx_ssl_t                        *ssl;
    ngx_http_tsface_endpoint_conf_t  *conf;

    conf = &endpoint->conf;

    ssl = ngx_http_tsface_tls_create(cf, &conf->tls,
                      ngx_http_tsface_endpoint_trusted(endpoint, endpoints));
    if (ssl == NULL) {
        return NGX_ERROR;
    }

    endpoint->ssl = ssl;

    if (ngx_ssl_client_session_cache(cf, ssl, conf->ssl_session_reuse)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (conf->tls.verify
        && ngx_http_tsface_tls_expect(SSL_CTX_get0_param(ssl->ctx),
                                      &endpoint->ssl_name)
           != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid ssl_name \"%V\"",
                           &endpoint->ssl_name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* The CA certificates that another endpoint has read, or NULL. */
static X509_STORE *
ngx_http_tsface_endpoint_trusted(const ngx_http_tsface_endpoint_t *endpoint,
    const ngx_array_t *endpoints)
{
    ngx_uint_t                    i;
    ngx_http_tsface_endpoint_t  **elts;

    elts = endpoints->elts;

    for (i = 0; i < endpoints->nelts; i++) {

        if (elts[i]->ssl
            && elts[i]->conf.tls.verify
            && ngx_http_tsface_setting_equal(
                                     &elts[i]->conf.tls.trusted_certificate,
                                     &endpoint->conf.tls.trusted_certificate))
        {
            return SSL_CTX_get_cert_store(elts[i]->ssl->ctx);
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_tsface_endpoint_init(ngx_conf_t *cf,
    ngx_http_tsface_endpoint_t *endpoint)
{
    ngx_hash_init_t            hash;
    ngx_http_upstream_conf_t  *conf, prev;

    if (endpoint->resolve) {
        return NGX_OK;
    }

    endpoint->resolve = ngx_http_tsface_resolve_create(cf, &endpoint->url);
    if (endpoint->resolve == NULL) {
        return NGX_ERROR;
    }

    /* set by ngx_pcalloc(): what is not named here is off in every version */

    conf = &endpoint->upstream_conf;

    conf->upstream = &endpoint->upstream;
    conf->connect_timeout = endpoint->conf.connect_timeout;
    conf->send_timeout = endpoint->conf.send_timeout;
    conf->read_timeout = endpoint->conf.read_timeout;
    conf->buffer_size = NGX_HTTP_TSFACE_UPSTREAM_BUFFER;
    conf->ignore_client_abort = 1;
    ngx_str_set(&conf->module, "tsface");

    /*
     * Another address is tried only before anything was sent: core adds
     * NON_IDEMPOTENT to a POST's failure from then on, and we don't allow it.
     */

    conf->next_upstream = NGX_HTTP_UPSTREAM_FT_ERROR
                          |NGX_HTTP_UPSTREAM_FT_TIMEOUT;
    conf->next_upstream_timeout = NGX_HTTP_TSFACE_CONNECTS
                                  * endpoint->conf.connect_timeout;

    conf->ignore_headers = NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT
                           |NGX_HTTP_UPSTREAM_IGN_XA_EXPIRES
                           |NGX_HTTP_UPSTREAM_IGN_EXPIRES
                           |NGX_HTTP_UPSTREAM_IGN_CACHE_CONTROL
                           |NGX_HTTP_UPSTREAM_IGN_SET_COOKIE
                           |NGX_HTTP_UPSTREAM_IGN_XA_LIMIT_RATE
                           |NGX_HTTP_UPSTREAM_IGN_XA_BUFFERING
                           |NGX_HTTP_UPSTREAM_IGN_XA_CHARSET
                           |NGX_HTTP_UPSTREAM_IGN_VARY;

    conf->ssl = endpoint->ssl;
    conf->ssl_server_name = 1;
    conf->ssl_session_reuse = endpoint->conf.ssl_session_reuse;
    conf->ssl_verify = endpoint->conf.tls.verify
                       && !endpoint->ssl_name_is_address;

    ngx_memzero(&prev, sizeof(ngx_http_upstream_conf_t));
    prev.hide_headers = NGX_CONF_UNSET_PTR;
    prev.pass_headers = NGX_CONF_UNSET_PTR;
    conf->hide_headers = NGX_CONF_UNSET_PTR;
    conf->pass_headers = NGX_CONF_UNSET_PTR;

    hash.max_size = 512;
    hash.bucket_size = ngx_align(64, ngx_cacheline_size);
    hash.name = "tsface_hide_headers_hash";

    if (ngx_http_upstream_hide_headers_hash(cf, conf, &prev,
                              ngx_http_tsface_endpoint_hide_headers, &hash)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_endpoint_start(ngx_cycle_t *cycle,
    ngx_http_tsface_endpoint_t *endpoint)
{
    if (endpoint->idle) {
        return NGX_OK;
    }

    endpoint->idle = ngx_http_tsface_idle_create(cycle, endpoint);
    if (endpoint->idle == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_tsface_resolve_start(cycle, endpoint->resolve);
}


void
ngx_http_tsface_endpoint_stop(ngx_http_tsface_endpoint_t *endpoint)
{
    if (endpoint->idle == NULL) {
        return;
    }

    ngx_http_tsface_idle_close(endpoint->idle);
    ngx_http_tsface_resolve_stop(endpoint->resolve);

    if (endpoint->session) {
        ngx_ssl_free_session(endpoint->session);
        endpoint->session = NULL;
    }

    endpoint->idle = NULL;
}
