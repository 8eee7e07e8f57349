
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_resolve.h"


#define NGX_HTTP_TSFACE_RESOLV_CONF       "/etc/resolv.conf"
#define NGX_HTTP_TSFACE_RESOLV_CONF_MAX   8192
#define NGX_HTTP_TSFACE_MAX_NAMESERVERS   3       /* resolv.conf(5) */
#define NGX_HTTP_TSFACE_MAX_ADDRS         32
#define NGX_HTTP_TSFACE_RESOLVE_TIMEOUT   5000
#define NGX_HTTP_TSFACE_RESOLVE_MIN       1000
#define NGX_HTTP_TSFACE_RESOLVE_MAX       300000


struct ngx_http_tsface_resolve_s {
    ngx_str_t                      host;
    in_port_t                      port;
    ngx_resolver_t                *resolver;   /* NULL: addresses are fixed */

    ngx_http_tsface_addrs_t       *addrs;
    ngx_uint_t                     next;
    ngx_uint_t                     failed;     /* the last look-up */

    ngx_log_t                     *log;
    ngx_event_t                    timer;
    ngx_resolver_ctx_t            *ctx;        /* a look-up under way */
    ngx_queue_t                    waiters;
};


static ngx_int_t ngx_http_tsface_resolve_literal(ngx_conf_t *cf,
    ngx_http_tsface_resolve_t *resolve);
static ngx_resolver_t *ngx_http_tsface_resolve_system(ngx_conf_t *cf);
static ngx_uint_t ngx_http_tsface_resolve_nameservers(ngx_conf_t *cf,
    ngx_str_t *names, u_char *buf, size_t size);
static void ngx_http_tsface_resolve_timer(ngx_event_t *ev);
static void ngx_http_tsface_resolve_begin(ngx_http_tsface_resolve_t *resolve);
static void ngx_http_tsface_resolve_handler(ngx_resolver_ctx_t *ctx);
static void ngx_http_tsface_resolve_answer(ngx_http_tsface_resolve_t *resolve,
    ngx_resolver_addr_t *addrs, ngx_uint_t naddrs);
static void ngx_http_tsface_resolve_failed(ngx_http_tsface_resolve_t *resolve,
    ngx_int_t state);
static void ngx_http_tsface_resolve_wake(ngx_http_tsface_resolve_t *resolve);
static ngx_http_tsface_addrs_t *ngx_http_tsface_resolve_alloc(ngx_uint_t n,
    ngx_log_t *log);
static void ngx_http_tsface_resolve_add(ngx_http_tsface_addrs_t *addrs,
    struct sockaddr *sockaddr, socklen_t socklen, in_port_t port);
static void ngx_http_tsface_resolve_cleanup(void *data);


ngx_http_tsface_resolve_t *
ngx_http_tsface_resolve_create(ngx_conf_t *cf,
    const ngx_http_tsface_url_t *url)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_tsface_resolve_t  *resolve;

    resolve = ngx_pcalloc(cf->pool, sizeof(ngx_http_tsface_resolve_t));
    if (resolve == NULL) {
        return NULL;
    }

    resolve->host = url->host;
    resolve->port = url->port;

    ngx_queue_init(&resolve->waiters);

    if (url->literal) {
        cln = ngx_pool_cleanup_add(cf->pool, 0);
        if (cln == NULL) {
            return NULL;
        }

        if (ngx_http_tsface_resolve_literal(cf, resolve) != NGX_OK) {
            return NULL;
        }

        cln->handler = ngx_http_tsface_resolve_cleanup;
        cln->data = resolve;

        return resolve;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* core gives http{} an empty resolver that only fails when it has none */

    if (clcf->resolver && clcf->resolver->connections.nelts) {
        resolve->resolver = clcf->resolver;

    } else {
        resolve->resolver = ngx_http_tsface_resolve_system(cf);
    }

    return resolve->resolver ? resolve : NULL;
}


static ngx_int_t
ngx_http_tsface_resolve_literal(ngx_conf_t *cf,
    ngx_http_tsface_resolve_t *resolve)
{
    ngx_str_t   text;
    ngx_addr_t  addr;

    text = resolve->host;

    /* RFC 6761 6.3: this name is never asked of a name server */

    if (text.len == 9
        && ngx_strncasecmp(text.data, (u_char *) "localhost", 9) == 0)
    {
        ngx_str_set(&text, "127.0.0.1");
    }

    if (ngx_parse_addr(cf->pool, &addr, text.data, text.len) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid address \"%V\"",
                           &resolve->host);
        return NGX_ERROR;
    }

    resolve->addrs = ngx_http_tsface_resolve_alloc(1, cf->log);
    if (resolve->addrs == NULL) {
        return NGX_ERROR;
    }

    ngx_http_tsface_resolve_add(resolve->addrs, addr.sockaddr, addr.socklen,
                                resolve->port);

    return NGX_OK;
}


/* A resolver over the name servers that the system is set up with. */
static ngx_resolver_t *
ngx_http_tsface_resolve_system(ngx_conf_t *cf)
{
    u_char      buf[NGX_HTTP_TSFACE_RESOLV_CONF_MAX];
    ngx_str_t   names[NGX_HTTP_TSFACE_MAX_NAMESERVERS];
    ngx_uint_t  n;

    n = ngx_http_tsface_resolve_nameservers(cf, names, buf, sizeof(buf));

    if (n == 0) {
        /* what resolv.conf(5) says of an absent or empty file */

        ngx_str_set(&names[0], "127.0.0.1");
        n = 1;
    }

    return ngx_resolver_create(cf, names, n);
}


static ngx_uint_t
ngx_http_tsface_resolve_nameservers(ngx_conf_t *cf, ngx_str_t *names,
    u_char *buf, size_t size)
{
    u_char      *p, *last, *end;
    ssize_t      n;
    ngx_fd_t     fd;
    ngx_str_t    name;
    ngx_uint_t   i;

    fd = ngx_open_file(NGX_HTTP_TSFACE_RESOLV_CONF, NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return 0;
    }

    n = ngx_read_fd(fd, buf, size);

    (void) ngx_close_file(fd);

    if (n <= 0) {
        return 0;
    }

    i = 0;
    p = buf;
    last = buf + n;

    while (p < last && i < NGX_HTTP_TSFACE_MAX_NAMESERVERS) {
        end = ngx_strlchr(p, last, LF);
        if (end == NULL) {
            end = last;
        }

        if (end - p > 10 && ngx_strncmp(p, "nameserver", 10) == 0
            && (p[10] == ' ' || p[10] == '\t'))
        {
            for (p += 10; p < end && (*p == ' ' || *p == '\t'); p++) {
                /* void */
            }

            name.data = p;

            while (p < end && *p != ' ' && *p != '\t' && *p != CR
                   && *p != '%')
            {
                p++;
            }

            name.len = p - name.data;

            /* an address with a scope can't be given to nginx's resolver */

            if (name.len && !(p < end && *p == '%')) {
                names[i].len = name.len;
                names[i].data = ngx_pnalloc(cf->pool, name.len + 2);
                if (names[i].data == NULL) {
                    return 0;
                }

                if (ngx_strlchr(name.data, p, ':')) {
                    names[i].len = ngx_sprintf(names[i].data, "[%V]", &name)
                                   - names[i].data;
                } else {
                    ngx_memcpy(names[i].data, name.data, name.len);
                }

                i++;
            }
        }

        p = end + 1;
    }

    return i;
}


ngx_int_t
ngx_http_tsface_resolve_start(ngx_cycle_t *cycle,
    ngx_http_tsface_resolve_t *resolve)
{
    if (resolve->resolver == NULL) {
        return NGX_OK;
    }

    resolve->log = cycle->log;

    resolve->timer.handler = ngx_http_tsface_resolve_timer;
    resolve->timer.log = cycle->log;
    resolve->timer.data = resolve;
    resolve->timer.cancelable = 1;

    /* the event loop has to run before a resolver can send anything */

    ngx_add_timer(&resolve->timer, 1);

    return NGX_OK;
}


void
ngx_http_tsface_resolve_stop(ngx_http_tsface_resolve_t *resolve)
{
    if (resolve->resolver == NULL) {
        return;
    }

    if (resolve->timer.timer_set) {
        ngx_del_timer(&resolve->timer);
    }

    if (resolve->ctx) {
        ngx_resolve_name_done(resolve->ctx);
        resolve->ctx = NULL;
    }

    ngx_http_tsface_resolve_cleanup(resolve);
}


ngx_http_tsface_addrs_t *
ngx_http_tsface_resolve_get(ngx_http_tsface_resolve_t *resolve)
{
    if (resolve->addrs) {
        resolve->addrs->refs++;
    }

    return resolve->addrs;
}


void
ngx_http_tsface_resolve_release(ngx_http_tsface_addrs_t *addrs)
{
    if (--addrs->refs == 0) {
        ngx_free(addrs);
    }
}


ngx_uint_t
ngx_http_tsface_resolve_next(ngx_http_tsface_resolve_t *resolve)
{
    return resolve->next++;
}


ngx_uint_t
ngx_http_tsface_resolve_has(ngx_http_tsface_resolve_t *resolve,
    struct sockaddr *sockaddr, socklen_t socklen)
{
    ngx_uint_t  i;

    if (resolve->addrs == NULL) {
        return 0;
    }

    for (i = 0; i < resolve->addrs->naddrs; i++) {
        if (ngx_cmp_sockaddr(&resolve->addrs->addrs[i].sockaddr.sockaddr,
                             resolve->addrs->addrs[i].socklen,
                             sockaddr, socklen, 1)
            == NGX_OK)
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_tsface_resolve_wait(ngx_http_tsface_resolve_t *resolve,
    ngx_http_tsface_resolve_waiter_t *waiter)
{
    ngx_queue_insert_tail(&resolve->waiters, &waiter->queue);

    if (resolve->failed && resolve->ctx == NULL
        && ngx_queue_head(&resolve->waiters) == &waiter->queue)
    {
        /* not from here: an answer in the cache would call the waiter now */

        if (resolve->timer.timer_set) {
            ngx_del_timer(&resolve->timer);
        }

        ngx_add_timer(&resolve->timer, 1);
    }
}


static void
ngx_http_tsface_resolve_timer(ngx_event_t *ev)
{
    ngx_http_tsface_resolve_begin(ev->data);
}


static void
ngx_http_tsface_resolve_begin(ngx_http_tsface_resolve_t *resolve)
{
    ngx_resolver_ctx_t  *ctx;

    if (resolve->timer.timer_set) {
        ngx_del_timer(&resolve->timer);
    }

    if (resolve->ctx) {
        return;
    }

    ctx = ngx_resolve_start(resolve->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ngx_http_tsface_resolve_failed(resolve, NGX_RESOLVE_SERVFAIL);
        return;
    }

    ctx->name = resolve->host;
    ctx->handler = ngx_http_tsface_resolve_handler;
    ctx->data = resolve;
    ctx->timeout = NGX_HTTP_TSFACE_RESOLVE_TIMEOUT;
    ctx->cancelable = 1;

    resolve->ctx = ctx;

    /* may call the handler, and has freed ctx if it fails */

    if (ngx_resolve_name(ctx) != NGX_OK) {
        resolve->ctx = NULL;
        ngx_http_tsface_resolve_failed(resolve, NGX_RESOLVE_SERVFAIL);
    }
}


static void
ngx_http_tsface_resolve_handler(ngx_resolver_ctx_t *ctx)
{
    ngx_http_tsface_resolve_t  *resolve = ctx->data;

    time_t      left;
    ngx_int_t   state;
    ngx_msec_t  delay;

    state = ctx->state;
    left = ctx->valid - ngx_time();

    if (state == NGX_OK && ctx->naddrs) {
        ngx_http_tsface_resolve_answer(resolve, ctx->addrs, ctx->naddrs);
    }

    resolve->ctx = NULL;
    ngx_resolve_name_done(ctx);

    if (state) {
        ngx_http_tsface_resolve_failed(resolve, state);
        return;
    }

    if (resolve->failed) {
        resolve->failed = 0;
        ngx_log_error(NGX_LOG_NOTICE, resolve->log, 0,
                      "tsface endpoint \"%V\" is resolved again",
                      &resolve->host);
    }

    delay = (left > 0) ? (ngx_msec_t) (left + 1) * 1000 : 0;
    delay = ngx_max(delay, NGX_HTTP_TSFACE_RESOLVE_MIN);
    delay = ngx_min(delay, NGX_HTTP_TSFACE_RESOLVE_MAX);

    ngx_add_timer(&resolve->timer, delay);

    ngx_http_tsface_resolve_wake(resolve);
}


static void
ngx_http_tsface_resolve_answer(ngx_http_tsface_resolve_t *resolve,
    ngx_resolver_addr_t *answer, ngx_uint_t naddrs)
{
    ngx_uint_t                i;
    ngx_http_tsface_addrs_t  *addrs;

    naddrs = ngx_min(naddrs, NGX_HTTP_TSFACE_MAX_ADDRS);

    addrs = ngx_http_tsface_resolve_alloc(naddrs, resolve->log);
    if (addrs == NULL) {
        return;
    }

    for (i = 0; i < naddrs; i++) {
        ngx_http_tsface_resolve_add(addrs, answer[i].sockaddr,
                                    answer[i].socklen, resolve->port);
    }

    if (resolve->addrs) {
        ngx_http_tsface_resolve_release(resolve->addrs);
    }

    resolve->addrs = addrs;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, resolve->log, 0,
                   "tsface resolved \"%V\": %ui addresses",
                   &resolve->host, addrs->naddrs);
}


/*
 * The last good answer stays in use: an endpoint does not go away because a
 * name server does.  Only "no such name" takes it back.
 */
static void
ngx_http_tsface_resolve_failed(ngx_http_tsface_resolve_t *resolve,
    ngx_int_t state)
{
    if (!resolve->failed) {
        resolve->failed = 1;
        ngx_log_error(NGX_LOG_ERR, resolve->log, 0,
                      "tsface endpoint \"%V\" could not be resolved (%i: %s)",
                      &resolve->host, state, ngx_resolver_strerror(state));
    }

    if (state == NGX_RESOLVE_NXDOMAIN && resolve->addrs) {
        ngx_http_tsface_resolve_release(resolve->addrs);
        resolve->addrs = NULL;
    }

    ngx_add_timer(&resolve->timer, NGX_HTTP_TSFACE_RESOLVE_MIN);
}


static void
ngx_http_tsface_resolve_wake(ngx_http_tsface_resolve_t *resolve)
{
    ngx_queue_t                       *q, waiters;
    ngx_http_tsface_resolve_waiter_t  *waiter;

    if (ngx_queue_empty(&resolve->waiters)) {
        return;
    }

    /* a handler may queue itself again, or unlink others */

    ngx_queue_init(&waiters);
    ngx_queue_add(&waiters, &resolve->waiters);
    ngx_queue_init(&resolve->waiters);

    while (!ngx_queue_empty(&waiters)) {
        q = ngx_queue_head(&waiters);
        ngx_queue_remove(q);

        waiter = ngx_queue_data(q, ngx_http_tsface_resolve_waiter_t, queue);
        waiter->handler(waiter->data);
    }
}


static ngx_http_tsface_addrs_t *
ngx_http_tsface_resolve_alloc(ngx_uint_t n, ngx_log_t *log)
{
    ngx_http_tsface_addrs_t  *addrs;

    addrs = ngx_alloc(sizeof(ngx_http_tsface_addrs_t)
                      + (n - 1) * sizeof(ngx_http_tsface_addr_t), log);
    if (addrs == NULL) {
        return NULL;
    }

    addrs->refs = 1;
    addrs->naddrs = 0;

    return addrs;
}


static void
ngx_http_tsface_resolve_add(ngx_http_tsface_addrs_t *addrs,
    struct sockaddr *sockaddr, socklen_t socklen, in_port_t port)
{
    ngx_http_tsface_addr_t  *addr;

    addr = &addrs->addrs[addrs->naddrs++];

    ngx_memcpy(&addr->sockaddr, sockaddr, socklen);
    addr->socklen = socklen;

    ngx_inet_set_port(&addr->sockaddr.sockaddr, port);

    addr->name.data = addr->text;
    addr->name.len = ngx_sock_ntop(&addr->sockaddr.sockaddr, socklen,
                                   addr->text, NGX_SOCKADDR_STRLEN, 1);
}


static void
ngx_http_tsface_resolve_cleanup(void *data)
{
    ngx_http_tsface_resolve_t  *resolve = data;

    if (resolve->addrs) {
        ngx_http_tsface_resolve_release(resolve->addrs);
        resolve->addrs = NULL;
    }
}
