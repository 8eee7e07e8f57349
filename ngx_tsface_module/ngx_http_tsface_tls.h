
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * TLS to a server that we connect to: what the configuration says of it, and
 * the context made of that.
 */


#ifndef _NGX_HTTP_TSFACE_TLS_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_tsface_certificate.h"
#include "ngx_http_tsface_setter.h"


typedef struct {
    ngx_flag_t                        verify;
    ngx_str_t                         trusted_certificate;
    ngx_str_t                         ssl_name;
    ngx_uint_t                        ssl_protocols;
    ngx_str_t                         ssl_ciphers;
    ngx_http_tsface_certificate_t    *certificate;        /* NULL: none */
} ngx_http_tsface_tls_conf_t;


/* Rows of a block's commands, into the member of its structure. */
#define ngx_http_tsface_tls_commands(type, member)                            \
                                                                              \
    { ngx_string("verify"),                                                   \
      NGX_CONF_FLAG,                                                          \
      ngx_conf_set_flag_slot,                                                 \
      0,                                                                      \
      offsetof(type, member.verify),                                          \
      NULL },                                                                 \
                                                                              \
    { ngx_string("trusted_certificate"),                                      \
      NGX_CONF_TAKE1,                                                         \
      ngx_http_tsface_set_path_slot,                                          \
      0,                                                                      \
      offsetof(type, member.trusted_certificate),                             \
      NULL },                                                                 \
                                                                              \
    { ngx_string("ssl_name"),                                                 \
      NGX_CONF_TAKE1,                                                         \
      ngx_http_tsface_set_word_slot,                                          \
      0,                                                                      \
      offsetof(type, member.ssl_name),                                        \
      &ngx_http_tsface_tls_name_max },                                        \
                                                                              \
    { ngx_string("ssl_protocols"),                                            \
      NGX_CONF_1MORE,                                                         \
      ngx_http_tsface_tls_protocols,                                          \
      0,                                                                      \
      offsetof(type, member.ssl_protocols),                                   \
      &ngx_http_tsface_tls_versions },                                        \
                                                                              \
    { ngx_string("ssl_ciphers"),                                              \
      NGX_CONF_TAKE1,                                                         \
      ngx_conf_set_str_slot,                                                  \
      0,                                                                      \
      offsetof(type, member.ssl_ciphers),                                     \
      &ngx_http_tsface_not_empty_post }

extern size_t              ngx_http_tsface_tls_name_max;
extern ngx_conf_bitmask_t  ngx_http_tsface_tls_versions[];

char *ngx_http_tsface_tls_protocols(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* Before a block is read: all unset (of zeroed memory). */
#define ngx_http_tsface_tls_unset(conf)   (conf)->verify = NGX_CONF_UNSET

/* Does the configuration say anything? */
ngx_uint_t ngx_http_tsface_tls_given(const ngx_http_tsface_tls_conf_t *conf);

/* After it: what it doesn't say. */
void ngx_http_tsface_tls_defaults(ngx_http_tsface_tls_conf_t *conf);

/*
 * Are they equal?  Each block has read its own certificate: no other one's
 * connections are made with it.
 */
ngx_uint_t ngx_http_tsface_tls_same(const ngx_http_tsface_tls_conf_t *one,
    const ngx_http_tsface_tls_conf_t *two);

/*
 * The context, freed with cf->pool; a peer's name is up to the caller.  store
 * has the CA certificates if they were read before (a set takes a megabyte),
 * or is NULL.  NULL after an emerg message.
 */
ngx_ssl_t *ngx_http_tsface_tls_create(ngx_conf_t *cf,
    const ngx_http_tsface_tls_conf_t *conf, X509_STORE *store);

/* Is it an IPv4 or IPv6 address, without brackets? */
ngx_uint_t ngx_http_tsface_tls_is_address(const ngx_str_t *name);

/*
 * The name, NUL-terminated, that the peer's certificate must be for, of a
 * context or of a connection.  NGX_ERROR: none that there can be.
 */
ngx_int_t ngx_http_tsface_tls_expect(X509_VERIFY_PARAM *param,
    const ngx_str_t *name);

/*
 * SNI, unless name, NUL-terminated, is an address (RFC 6066, 3).  NGX_ERROR:
 * no memory.
 */
ngx_int_t ngx_http_tsface_tls_ask(ngx_ssl_conn_t *ssl, const ngx_str_t *name);


#endif /* _NGX_HTTP_TSFACE_TLS_H_INCLUDED_ */
