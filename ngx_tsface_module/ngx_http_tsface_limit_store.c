
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "ngx_http_tsface_clock.h"
#include "ngx_http_tsface_limit_link.h"
#include "ngx_http_tsface_limit_store.h"


/*
 * It has two owners: hiredis, until it has called back, and whoever asked,
 * until it is detached; the last frees it.  A request may be gone when its
 * answer comes, so nothing of a request is in it.
 */
struct ngx_http_tsface_limit_call_s {
    ngx_http_tsface_limit_store_t    *store;

    ngx_http_tsface_limit_call_pt     handler;
    void                             *data;

    /* the timer, then the post that tells of the answer */
    ngx_event_t                       event;
    uint64_t                          start;       /* us */
    ngx_int_t                         rc;

    ngx_uint_t                        n;
    ngx_http_tsface_script_limit_t    limits[
                                          NGX_HTTP_TSFACE_SCRIPT_MAX_KEYS];

    ngx_uint_t                        argc;
    const char                       *argv[NGX_HTTP_TSFACE_SCRIPT_MAX_ARGS];
    size_t                            argvlen[
                                          NGX_HTTP_TSFACE_SCRIPT_MAX_ARGS];

    unsigned                          sent:1;      /* hiredis's */
    unsigned                          held:1;      /* the asker's */
    unsigned                          whole:1;     /* with the script */

    u_char                            text[1];     /* keys and numbers */
};


static ngx_http_tsface_limit_call_t *ngx_http_tsface_limit_call(
    ngx_http_tsface_limit_store_t *store,
    const ngx_http_tsface_limit_ask_t *asks, ngx_uint_t n);
static void ngx_http_tsface_limit_call_done(redisAsyncContext *ac, void *r,
    void *data);
static ngx_int_t ngx_http_tsface_limit_call_again(
    ngx_http_tsface_limit_call_t *call, const redisReply *reply);
static void ngx_http_tsface_limit_call_late(
    ngx_http_tsface_limit_call_t *call);
static void ngx_http_tsface_limit_call_count(
    ngx_http_tsface_limit_call_t *call);
static void ngx_http_tsface_limit_call_event(ngx_event_t *ev);


ngx_int_t
ngx_http_tsface_limit_store_start(ngx_http_tsface_limit_store_t *store)
{
    store->link = ngx_http_tsface_limit_link_create(store);

    return store->link ? NGX_OK : NGX_ERROR;
}


void
ngx_http_tsface_limit_store_stop(ngx_http_tsface_limit_store_t *store)
{
    if (store->link) {
        ngx_http_tsface_limit_link_destroy(store->link);
        store->link = NULL;
    }
}


ngx_http_tsface_limit_call_t *
ngx_http_tsface_limit_store_ask(ngx_http_tsface_limit_store_t *store,
    const ngx_http_tsface_limit_ask_t *asks, ngx_uint_t n,
    ngx_http_tsface_limit_call_pt handler, void *data)
{
    ngx_http_tsface_limit_call_t  *call;

    /* a configuration that came without a new process */

    if (store->link == NULL
        && ngx_http_tsface_limit_store_start(store) != NGX_OK)
    {
        return NULL;
    }

    call = ngx_http_tsface_limit_call(store, asks, n);
    if (call == NULL) {
        return NULL;
    }

    if (ngx_http_tsface_limit_link_send(store->link,
                                        ngx_http_tsface_limit_call_done, call,
                                        call->argc, call->argv, call->argvlen)
        != NGX_OK)
    {
        ngx_free(call);
        return NULL;
    }

    call->handler = handler;
    call->data = data;

    call->sent = 1;
    call->held = 1;

    ngx_add_timer(&call->event, store->timeout);

    return call;
}


static ngx_http_tsface_limit_call_t *
ngx_http_tsface_limit_call(ngx_http_tsface_limit_store_t *store,
    const ngx_http_tsface_limit_ask_t *asks, ngx_uint_t n)
{
    size_t                           len;
    u_char                          *p, *last;
    ngx_uint_t                       i;
    ngx_http_tsface_limit_call_t    *call;
    ngx_http_tsface_script_limit_t  *limit;

    len = ngx_http_tsface_script_text_len(n);

    for (i = 0; i < n; i++) {
        len += sizeof("{}::") - 1 + store->prefix.len + asks[i].zone->len
               + 2 * NGX_HTTP_TSFACE_STORE_DIGEST_LEN;
    }

    call = ngx_alloc(sizeof(ngx_http_tsface_limit_call_t) + len,
                     ngx_cycle->log);
    if (call == NULL) {
        return NULL;
    }

    ngx_memzero(call, sizeof(ngx_http_tsface_limit_call_t));

    call->store = store;
    call->rc = NGX_ERROR;
    call->n = n;
    call->start = ngx_http_tsface_clock();

    call->event.handler = ngx_http_tsface_limit_call_event;
    call->event.data = call;
    call->event.log = ngx_cycle->log;

    p = call->text;

    for (i = 0; i < n; i++) {
        limit = &call->limits[i];

        *limit = asks[i].limit;

        last = ngx_sprintf(p, "{%V}:%V:", &store->prefix, asks[i].zone);
        last = ngx_hex_dump(last, (u_char *) asks[i].digest,
                            NGX_HTTP_TSFACE_STORE_DIGEST_LEN);

        limit->key.data = p;
        limit->key.len = last - p;

        p = last;
    }

    call->argv[0] = "EVALSHA";
    call->argvlen[0] = 7;

    call->argv[1] = (const char *) store->sha1;
    call->argvlen[1] = sizeof(store->sha1);

    call->argc = ngx_http_tsface_script_args(call->limits, n, p, call->argv,
                                             call->argvlen);

    return call;
}


/* From within hiredis. */

static void
ngx_http_tsface_limit_call_done(redisAsyncContext *ac, void *r, void *data)
{
    redisReply                    *reply = r;
    ngx_http_tsface_limit_call_t  *call = data;

    if (reply && ngx_http_tsface_limit_call_again(call, reply) == NGX_OK) {
        return;
    }

    call->sent = 0;

    if (reply) {
        call->rc = ngx_http_tsface_script_answer(reply, call->limits,
                                                 call->n);

        if (call->rc == NGX_ERROR) {
            ngx_http_tsface_limit_link_refused(call->store->link, reply);
        }
    }

    if (!call->event.timer_set) {
        ngx_http_tsface_limit_call_late(call);
        return;
    }

    ngx_del_timer(&call->event);
    ngx_post_event(&call->event, &ngx_posted_events);

    if (call->rc != NGX_ERROR) {
        ngx_http_tsface_limit_call_count(call);
        ngx_http_tsface_limit_link_succeeded(call->store->link);
    }
}


/* NGX_OK: the store had forgotten the script, and is told it. */

static ngx_int_t
ngx_http_tsface_limit_call_again(ngx_http_tsface_limit_call_t *call,
    const redisReply *reply)
{
    ngx_str_t  code;

    if (reply->type != REDIS_REPLY_ERROR || call->whole) {
        return NGX_DECLINED;
    }

    code = ngx_http_tsface_script_error(reply);

    if (code.len != 8 || ngx_strncmp(code.data, "NOSCRIPT", 8) != 0) {
        return NGX_DECLINED;
    }

    call->whole = 1;

    call->argv[0] = "EVAL";
    call->argvlen[0] = 4;

    call->argv[1] = (const char *) ngx_http_tsface_script.data;
    call->argvlen[1] = ngx_http_tsface_script.len;

    return ngx_http_tsface_limit_link_resend(call->store->link,
                                             ngx_http_tsface_limit_call_done,
                                             call, call->argc, call->argv,
                                             call->argvlen);
}


/* It has been told that there is no answer, or nobody asks any more. */

static void
ngx_http_tsface_limit_call_late(ngx_http_tsface_limit_call_t *call)
{
    ngx_http_tsface_limit_store_sh_t  *sh;

    if (call->rc != NGX_ERROR) {
        sh = ngx_http_tsface_limit_store_sh(call->store);
        (void) ngx_atomic_fetch_add(&sh->late, 1);
    }

    if (!call->held) {
        ngx_free(call);
    }
}


static void
ngx_http_tsface_limit_call_count(ngx_http_tsface_limit_call_t *call)
{
    ngx_http_tsface_limit_store_sh_t  *sh;

    sh = ngx_http_tsface_limit_store_sh(call->store);

    (void) ngx_atomic_fetch_add(&sh->decisions[call->rc == NGX_BUSY], 1);

    ngx_http_tsface_meter_add(&sh->latency,
                              ngx_http_tsface_clock() - call->start);
}


/* The answer has come, or the time. */

static void
ngx_http_tsface_limit_call_event(ngx_event_t *ev)
{
    ngx_http_tsface_limit_call_t  *call = ev->data;

    if (ev->timedout) {
        ev->timedout = 0;
        ngx_http_tsface_limit_link_timed_out(call->store->link);
    }

    call->handler(call->data, call->rc);
}


uint64_t
ngx_http_tsface_limit_store_ahead(const ngx_http_tsface_limit_call_t *call,
    ngx_uint_t i)
{
    return call->limits[i].ahead;
}


void
ngx_http_tsface_limit_store_detach(ngx_http_tsface_limit_call_t *call)
{
    call->held = 0;

    if (call->event.timer_set) {
        ngx_del_timer(&call->event);
    }

    if (call->event.posted) {
        ngx_delete_posted_event(&call->event);
    }

    if (!call->sent) {
        ngx_free(call);
    }
}


void
ngx_http_tsface_limit_store_undecided(ngx_http_tsface_limit_store_t *store)
{
    ngx_http_tsface_limit_store_sh_t  *sh;

    sh = ngx_http_tsface_limit_store_sh(store);

    (void) ngx_atomic_fetch_add(&sh->undecided[store->on_failure], 1);
}
