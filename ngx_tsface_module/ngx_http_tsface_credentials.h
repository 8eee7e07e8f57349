
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * tsface_credentials blocks: a Transmit client, its secret, its region.
 * Region, credentials and token are one unit (DESIGN 3).
 */


#ifndef _NGX_HTTP_TSFACE_CREDENTIALS_H_INCLUDED_
#define _NGX_HTTP_TSFACE_CREDENTIALS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_thread_pool.h>

#include "ngx_http_tsface_assertion.h"
#include "ngx_http_tsface_endpoint.h"
#include "ngx_http_tsface_gate.h"
#include "ngx_http_tsface_secret.h"


#define NGX_HTTP_TSFACE_FINGERPRINT_LEN   32


typedef enum {
    NGX_HTTP_TSFACE_CLIENT_SECRET_POST = 0,
    NGX_HTTP_TSFACE_CLIENT_SECRET_BASIC,
    NGX_HTTP_TSFACE_PRIVATE_KEY_JWT,
    NGX_HTTP_TSFACE_TLS_CLIENT_AUTH,
    NGX_HTTP_TSFACE_SELF_SIGNED_TLS_CLIENT_AUTH
} ngx_http_tsface_auth_method_e;


/* How id and secret are written before they go into Basic. */
typedef enum {
    NGX_HTTP_TSFACE_BASIC_FORM = 0,    /* RFC 6749 2.3.1 */
    NGX_HTTP_TSFACE_BASIC_RAW
} ngx_http_tsface_basic_encoding_e;


typedef struct ngx_http_tsface_credentials_s  ngx_http_tsface_credentials_t;
typedef struct ngx_http_tsface_token_s        ngx_http_tsface_token_t;


struct ngx_http_tsface_credentials_s {
    ngx_str_t                        name;           /* first: block.h */
    ngx_str_t                        region;         /* "custom" if none */
    ngx_str_t                        client_id;
    ngx_http_tsface_secret_t        *client_secret;
    ngx_http_tsface_secret_t        *client_secret_next;  /* or NULL */
    ngx_thread_pool_t               *thread_pool;    /* to read them again */
    ngx_uint_t                       auth_method;
    ngx_uint_t                       basic_encoding;
    ngx_http_tsface_secret_t        *client_key;     /* wiped: see assertion */
    ngx_http_tsface_secret_t        *client_key_password;
    ngx_str_t                        client_certificate;
    ngx_http_tsface_secret_t        *client_certificate_key;
    ngx_http_tsface_assertion_t      assertion;      /* no key: not used */
    ngx_str_t                        resource;
    ngx_array_t                     *parameters;     /* of ngx_keyval_t */

    ngx_str_t                        endpoint_url;
    ngx_str_t                        token_endpoint_url;
    ngx_http_tsface_endpoint_conf_t  endpoint_conf;
    ngx_http_tsface_endpoint_t      *endpoint;
    ngx_http_tsface_endpoint_t      *token_endpoint; /* may be the same */
    ngx_str_t                        base;           /* "/cis" */
    ngx_str_t                        token_uri;      /* "/oidc/token" */

    ngx_msec_t                       exchange_timeout;
    ngx_msec_t                       token_wait;
    ngx_msec_t                       min_interval;
    ngx_flag_t                       required;       /* for tsface_ready */
    ngx_http_tsface_gate_conf_t      gate;

    /*
     * SHA-256 over everything that decides which token comes back: a token in
     * the zone is this configuration's if its fingerprint is.
     */
    u_char                           fingerprint[
                                        NGX_HTTP_TSFACE_FINGERPRINT_LEN];

    /* and one of the endpoint and the client only: which gate is its own */
    u_char                           gate_key[
                                        NGX_HTTP_TSFACE_FINGERPRINT_LEN];

    ngx_uint_t                       index;          /* in main conf */
    ngx_http_tsface_credentials_t   *first;          /* with its fingerprint */

    /* the worker's own, made by ngx_http_tsface_token_start() */
    ngx_http_tsface_token_t         *token;
};


/*
 * The setter of "tsface_credentials NAME { ... }" (http{} only): appends to
 * main conf's credentials, an array of pointers.
 */
char *ngx_http_tsface_credentials_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* By name in main conf's array, or NULL. */
ngx_http_tsface_credentials_t *ngx_http_tsface_credentials_find(
    const ngx_array_t *credentials, const ngx_str_t *name);

/*
 * Sets fingerprint, from the other members that decide about the token, and
 * gate_key.
 */
ngx_int_t ngx_http_tsface_credentials_fingerprint(
    ngx_http_tsface_credentials_t *credentials);


#endif /* _NGX_HTTP_TSFACE_CREDENTIALS_H_INCLUDED_ */
