
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_block.h"
#include "ngx_http_tsface_limit_store.h"
#include "ngx_http_tsface_limit_tls.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_setter.h"


#define NGX_HTTP_TSFACE_STORE_PORT        6379
#define NGX_HTTP_TSFACE_STORE_NODES_MAX   1000


static char *ngx_http_tsface_store_server(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_tsface_store_host(ngx_conf_t *cf,
    const ngx_str_t *text, ngx_str_t *host);
static ngx_int_t ngx_http_tsface_store_addr(ngx_conf_t *cf,
    ngx_http_tsface_limit_store_t *store, ngx_addr_t *addr,
    const ngx_str_t *host);
static char *ngx_http_tsface_store_prefix(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_tsface_store_check_nodes(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_tsface_store_check_database(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_tsface_store_complete(ngx_conf_t *cf,
    ngx_http_tsface_limit_store_t *store);
static ngx_int_t ngx_http_tsface_store_tls(ngx_conf_t *cf,
    ngx_http_tsface_limit_store_t *store);
static ngx_int_t ngx_http_tsface_store_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);


/* The tag of stores' zones, see limit_conf.c. */
static ngx_uint_t  ngx_http_tsface_store_tag;

static size_t  ngx_http_tsface_store_user_max = 256;

static size_t  ngx_http_tsface_store_key_min = NGX_HTTP_TSFACE_SECRET_WHOLE;

static ngx_conf_enum_t  ngx_http_tsface_store_policies[] = {
    { ngx_string("local"), NGX_HTTP_TSFACE_STORE_LOCAL },
    { ngx_string("refuse"), NGX_HTTP_TSFACE_STORE_REFUSE },
    { ngx_string("allow"), NGX_HTTP_TSFACE_STORE_ALLOW },
    { ngx_null_string, 0 }
};

static ngx_conf_post_t  ngx_http_tsface_store_nodes_post = {
    ngx_http_tsface_store_check_nodes
};

static ngx_conf_post_t  ngx_http_tsface_store_database_post = {
    ngx_http_tsface_store_check_database
};


static ngx_command_t  ngx_http_tsface_store_commands[] = {

    { ngx_string("server"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_store_server,
      0,
      0,
      NULL },

    { ngx_string("user"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_set_word_slot,
      0,
      offsetof(ngx_http_tsface_limit_store_t, user),
      &ngx_http_tsface_store_user_max },

    { ngx_string("password"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_limit_store_t, password),
      NULL },

    { ngx_string("database"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_http_tsface_limit_store_t, database),
      &ngx_http_tsface_store_database_post },

    { ngx_string("prefix"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_store_prefix,
      0,
      0,
      NULL },

    { ngx_string("ssl"),
      NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_http_tsface_limit_store_t, ssl),
      NULL },

    ngx_http_tsface_tls_commands(ngx_http_tsface_limit_store_t, tls_conf),

    { ngx_string("client_certificate"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_set_path_slot,
      0,
      offsetof(ngx_http_tsface_limit_store_t, client_certificate),
      NULL },

    { ngx_string("client_certificate_key"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_limit_store_t, client_certificate_key),
      &ngx_http_tsface_store_key_min },

    { ngx_string("connect_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_limit_store_t, connect_timeout),
      &ngx_http_tsface_timeout_post },

    { ngx_string("timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_limit_store_t, timeout),
      &ngx_http_tsface_timeout_post },

    { ngx_string("on_failure"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_tsface_limit_store_t, on_failure),
      &ngx_http_tsface_store_policies },

    { ngx_string("nodes"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_http_tsface_limit_store_t, nodes),
      &ngx_http_tsface_store_nodes_post },

      ngx_null_command
};


char *
ngx_http_tsface_limit_store_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_tsface_main_conf_t *tmcf = conf;

    char                           *rv;
    ngx_http_tsface_limit_store_t  *store;

    store = ngx_http_tsface_block_create(cf, cmd, &tmcf->limit_stores,
                                       sizeof(ngx_http_tsface_limit_store_t));
    if (store == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_array_init(&store->addrs, cf->pool, 2,
                       sizeof(ngx_http_tsface_store_addr_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    store->database = NGX_CONF_UNSET;
    store->ssl = NGX_CONF_UNSET;
    ngx_http_tsface_tls_unset(&store->tls_conf);
    store->connect_timeout = NGX_CONF_UNSET_MSEC;
    store->timeout = NGX_CONF_UNSET_MSEC;
    store->on_failure = NGX_CONF_UNSET_UINT;
    store->nodes = NGX_CONF_UNSET;

    rv = ngx_http_tsface_block_parse(cf, ngx_http_tsface_store_commands,
                                     store, "tsface_limit_store");
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rv = ngx_http_tsface_store_complete(cf, store);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_tsface_block_add(&tmcf->limit_stores, store);
}


/* Names are looked up now: nothing in a worker could do it without a wait. */

static char *
ngx_http_tsface_store_server(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_limit_store_t *store = conf;

    ngx_str_t   *value, host;
    ngx_url_t    u;
    ngx_uint_t   i;

    value = cf->args->elts;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = value[1];
    u.default_port = NGX_HTTP_TSFACE_STORE_PORT;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid address \"%V\" of \"%V\": %s", &u.url,
                           &cmd->name, u.err ? u.err : "out of memory");
        return NGX_CONF_ERROR;
    }

    if (u.family == AF_UNIX) {
        ngx_str_null(&host);

    } else if (ngx_http_tsface_store_host(cf, &u.host, &host) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < u.naddrs; i++) {
        if (ngx_http_tsface_store_addr(cf, store, &u.addrs[i], &host)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* Without the brackets of an address, and ending with a NUL. */

static ngx_int_t
ngx_http_tsface_store_host(ngx_conf_t *cf, const ngx_str_t *text,
    ngx_str_t *host)
{
    u_char  *p;

    *host = *text;

    if (host->len > 2 && host->data[0] == '[') {
        host->data++;
        host->len -= 2;
    }

    p = ngx_pnalloc(cf->pool, host->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(p, host->data, host->len + 1);

    host->data = p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_store_addr(ngx_conf_t *cf,
    ngx_http_tsface_limit_store_t *store, ngx_addr_t *addr,
    const ngx_str_t *host)
{
    size_t                         len;
    ngx_http_tsface_store_addr_t  *sa;

    sa = ngx_array_push(&store->addrs);
    if (sa == NULL) {
        return NGX_ERROR;
    }

    sa->text = addr->name;
    sa->host = *host;

    if (addr->sockaddr->sa_family == AF_UNIX) {
        sa->address = (u_char *)
                      ((struct sockaddr_un *) addr->sockaddr)->sun_path;
        sa->port = 0;

        return NGX_OK;
    }

    sa->address = ngx_pnalloc(cf->pool, NGX_SOCKADDR_STRLEN + 1);
    if (sa->address == NULL) {
        return NGX_ERROR;
    }

    len = ngx_sock_ntop(addr->sockaddr, addr->socklen, sa->address,
                        NGX_SOCKADDR_STRLEN, 0);
    sa->address[len] = '\0';

    /* nginx writes IPv6 addresses in brackets, for which nobody else asks */

    if (sa->address[0] == '[') {
        sa->address[len - 1] = '\0';
        sa->address++;
    }

    sa->port = ngx_inet_get_port(addr->sockaddr);

    return NGX_OK;
}


/* It stands in braces in each key, so that a cluster keeps them together. */

static char *
ngx_http_tsface_store_prefix(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_limit_store_t *store = conf;

    size_t      i;
    u_char      ch;
    ngx_str_t  *value;

    if (store->prefix.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].len > NGX_HTTP_TSFACE_STORE_PREFIX_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have 1 to %d characters, not %uz",
                           &cmd->name, NGX_HTTP_TSFACE_STORE_PREFIX_MAX,
                           value[1].len);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < value[1].len; i++) {
        ch = value[1].data[i];

        if (ch <= ' ' || ch >= 0x7f || ch == '{' || ch == '}') {
            return "must be visible ASCII without braces, "
                   "in which each key has it";
        }
    }

    store->prefix = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_tsface_store_check_nodes(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t *np = data;

    if (*np < 1 || *np > NGX_HTTP_TSFACE_STORE_NODES_MAX) {
        return "must be between 1 and 1000";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tsface_store_check_database(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t *np = data;

    if (*np > 65535) {
        return "must be between 0 and 65535";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tsface_store_complete(ngx_conf_t *cf,
    ngx_http_tsface_limit_store_t *store)
{
    u_char     *p;
    ngx_str_t   name;

    if (store->addrs.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tsface_limit_store \"%V\" has no \"server\"",
                           &store->name);
        return NGX_CONF_ERROR;
    }

    if (store->user.len && store->password == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tsface_limit_store \"%V\" has a \"user\" without "
                           "a \"password\"", &store->name);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_tsface_store_tls(cf, store) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_value(store->database, 0);
    ngx_conf_init_msec_value(store->connect_timeout, 1000);
    ngx_conf_init_msec_value(store->timeout, 50);
    ngx_conf_init_uint_value(store->on_failure, NGX_HTTP_TSFACE_STORE_LOCAL);

    /* a share of an unknown number would be a guess: it is not guessed */

    if (store->on_failure == NGX_HTTP_TSFACE_STORE_LOCAL
        && store->nodes == NGX_CONF_UNSET)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tsface_limit_store \"%V\" needs \"nodes\", how "
                           "many gateways use it, for \"on_failure local\"",
                           &store->name);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_value(store->nodes, 1);

    if (store->prefix.data == NULL) {
        ngx_str_set(&store->prefix, "tsface");
    }

    if (ngx_http_tsface_script_sha1(store->sha1) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "OpenSSL has no SHA-1, by which tsface_limit_store "
                           "\"%V\" knows its script", &store->name);
        return NGX_CONF_ERROR;
    }

    /* no name that a user gives has a colon */

    name.len = sizeof("tsface_limit_store:") - 1 + store->name.len;

    p = ngx_pnalloc(cf->pool, name.len + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    name.data = p;
    (void) ngx_sprintf(p, "tsface_limit_store:%V%Z", &store->name);

    store->shm_zone = ngx_shared_memory_add(cf, &name, 8 * ngx_pagesize,
                                            &ngx_http_tsface_store_tag);
    if (store->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    store->shm_zone->init = ngx_http_tsface_store_init_zone;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_tsface_store_tls(ngx_conf_t *cf, ngx_http_tsface_limit_store_t *store)
{
    ngx_uint_t                       i, certificate, key;
    ngx_http_tsface_tls_conf_t      *conf;
    ngx_http_tsface_store_addr_t    *addr;
    ngx_http_tsface_key_password_t   password;

    ngx_conf_init_value(store->ssl, 0);

    conf = &store->tls_conf;
    certificate = store->client_certificate.data != NULL;
    key = store->client_certificate_key != NULL;

    if (!store->ssl) {

        if (!certificate && !key && !ngx_http_tsface_tls_given(conf)) {
            return NGX_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tsface_limit_store \"%V\" says how to speak TLS, "
                           "but not \"ssl on\"", &store->name);
        return NGX_ERROR;
    }

    if (!NGX_HTTP_TSFACE_LIMIT_TLS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"ssl on\" of tsface_limit_store \"%V\": this "
                           "module was built without TLS to stores, which "
                           "needs hiredis 1.0 or later", &store->name);
        return NGX_ERROR;
    }

    if (certificate != key) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tsface_limit_store \"%V\" needs both "
                           "\"client_certificate\" and "
                           "\"client_certificate_key\", or none",
                           &store->name);
        return NGX_ERROR;
    }

    ngx_http_tsface_tls_defaults(conf);

    addr = store->addrs.elts;

    for (i = 0; i < store->addrs.nelts; i++) {
        if (addr[i].host.len == 0 && conf->ssl_name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "tsface_limit_store \"%V\" needs an "
                               "\"ssl_name\": \"%V\" is no name of a server",
                               &store->name, &addr[i].text);
            return NGX_ERROR;
        }
    }

    if (certificate) {
        ngx_memzero(&password, sizeof(ngx_http_tsface_key_password_t));

        conf->certificate = ngx_http_tsface_certificate_read(cf,
                                               &store->client_certificate,
                                               store->client_certificate_key,
                                               &password);
        if (conf->certificate == NULL) {
            return NGX_ERROR;
        }
    }

    store->tls = ngx_http_tsface_tls_create(cf, conf, NULL);

    return store->tls ? NGX_OK : NGX_ERROR;
}


/* Counts go on over a reload. */

static ngx_int_t
ngx_http_tsface_store_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (data) {
        shm_zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        shm_zone->data = shpool->data;
        return NGX_OK;
    }

    shm_zone->data = ngx_slab_calloc(shpool,
                                    sizeof(ngx_http_tsface_limit_store_sh_t));
    if (shm_zone->data == NULL) {
        return NGX_ERROR;
    }

    shpool->data = shm_zone->data;

    return NGX_OK;
}
