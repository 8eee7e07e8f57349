
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_tsface_limit_adapter.h"
#include "ngx_http_tsface_limit_link.h"


/* ms: the wait after a failure doubles from the first to the last */
#define NGX_HTTP_TSFACE_LINK_WAIT_MIN   100
#define NGX_HTTP_TSFACE_LINK_WAIT_MAX   5000

/* ms of service after which failures are forgotten */
#define NGX_HTTP_TSFACE_LINK_GOOD       1000

/* from node to node of a cluster, until one of them decides a request */
#define NGX_HTTP_TSFACE_LINK_MOVES      5

/* anything but a failure */
#define NGX_HTTP_TSFACE_LINK_FINE       NGX_HTTP_TSFACE_STORE_NFAILURES


struct ngx_http_tsface_limit_link_s {
    ngx_http_tsface_limit_store_t    *store;
    ngx_log_t                        *log;

    ngx_http_tsface_adapter_t         adapter;
    ngx_http_tsface_store_state_e     state;

    /* until it has proved well, until it is tried again */
    ngx_event_t                       timer;

    ngx_uint_t                        server;     /* of the store's */
    ngx_uint_t                        fails;
    ngx_msec_t                        failed;     /* the first of them */
    ngx_msec_t                        well;       /* since then */
    ngx_msec_t                        again;      /* asked, if slow */

    /* where a cluster sent us, while moved */
    ngx_http_tsface_store_addr_t      target;
    ngx_uint_t                        moves;
    u_char                            address[NGX_INET6_ADDRSTRLEN];
    u_char                            name[NGX_SOCKADDR_STRLEN];

    /* why it has to end, and in words, when a callback has found out */
    ngx_http_tsface_store_failure_e   fault;
    u_char                            words[64];

    unsigned                          moved:1;
    unsigned                          move:1;     /* the fault is no failure */
    unsigned                          told:1;     /* the log knows */
};


static void ngx_http_tsface_link_connect(ngx_http_tsface_limit_link_t *link);
static void ngx_http_tsface_link_greet(ngx_http_tsface_limit_link_t *link);
static void ngx_http_tsface_link_probe(ngx_http_tsface_limit_link_t *link);
static void ngx_http_tsface_link_greeted(redisAsyncContext *ac, void *r,
    void *data);
static void ngx_http_tsface_link_proved(redisAsyncContext *ac, void *r,
    void *data);
static void ngx_http_tsface_link_up(ngx_http_tsface_limit_link_t *link);
static void ngx_http_tsface_link_check(void *data);
static void ngx_http_tsface_link_timer(ngx_event_t *ev);
static void ngx_http_tsface_link_fail(ngx_http_tsface_limit_link_t *link,
    ngx_http_tsface_store_failure_e failure, const char *words);
static ngx_uint_t ngx_http_tsface_link_idle(ngx_http_tsface_limit_link_t *link,
    ngx_http_tsface_store_failure_e failure);
static void ngx_http_tsface_link_tell(ngx_http_tsface_limit_link_t *link,
    ngx_http_tsface_store_failure_e failure, const char *words);
static ngx_msec_t ngx_http_tsface_link_wait(ngx_http_tsface_limit_link_t *link);
static void ngx_http_tsface_link_state(ngx_http_tsface_limit_link_t *link,
    ngx_http_tsface_store_state_e state);
static ngx_http_tsface_store_addr_t *ngx_http_tsface_link_addr(
    ngx_http_tsface_limit_link_t *link);


ngx_http_tsface_limit_link_t *
ngx_http_tsface_limit_link_create(ngx_http_tsface_limit_store_t *store)
{
    ngx_http_tsface_limit_link_t  *link;

    link = ngx_calloc(sizeof(ngx_http_tsface_limit_link_t), ngx_cycle->log);
    if (link == NULL) {
        return NULL;
    }

    link->store = store;
    link->log = ngx_cycle->log;
    link->fault = NGX_HTTP_TSFACE_LINK_FINE;

    link->adapter.log = link->log;
    link->adapter.check = ngx_http_tsface_link_check;
    link->adapter.data = link;

    link->timer.handler = ngx_http_tsface_link_timer;
    link->timer.data = link;
    link->timer.log = link->log;
    link->timer.cancelable = 1;

    ngx_http_tsface_link_state(link, NGX_HTTP_TSFACE_STORE_CONNECTING);
    ngx_http_tsface_link_connect(link);

    return link;
}


void
ngx_http_tsface_limit_link_destroy(ngx_http_tsface_limit_link_t *link)
{
    ngx_http_tsface_adapter_close(&link->adapter);

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    ngx_http_tsface_link_state(link, NGX_HTTP_TSFACE_STORE_NONE);

    ngx_free(link);
}


ngx_int_t
ngx_http_tsface_limit_link_send(ngx_http_tsface_limit_link_t *link,
    redisCallbackFn *callback, void *data, ngx_uint_t argc, const char **argv,
    const size_t *argvlen)
{
    if (link->state != NGX_HTTP_TSFACE_STORE_UP
        && link->state != NGX_HTTP_TSFACE_STORE_CONNECTING)
    {
        return NGX_DECLINED;
    }

    return ngx_http_tsface_limit_link_resend(link, callback, data, argc, argv,
                                             argvlen);
}


ngx_int_t
ngx_http_tsface_limit_link_resend(ngx_http_tsface_limit_link_t *link,
    redisCallbackFn *callback, void *data, ngx_uint_t argc, const char **argv,
    const size_t *argvlen)
{
    if (link->adapter.ac == NULL
        || link->fault != NGX_HTTP_TSFACE_LINK_FINE
        || redisAsyncCommandArgv(link->adapter.ac, callback, data, (int) argc,
                                 argv, argvlen)
           != REDIS_OK)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


void
ngx_http_tsface_limit_link_succeeded(ngx_http_tsface_limit_link_t *link)
{
    /* not before: a node may keep the probe, and send all else away */

    link->moves = 0;

    if (link->fails
        && link->state == NGX_HTTP_TSFACE_STORE_UP
        && ngx_current_msec - link->well >= NGX_HTTP_TSFACE_LINK_GOOD)
    {
        link->fails = 0;
    }
}


/*
 * The connection stays, for what is owed may come yet: it is only not asked
 * for a while.
 */

void
ngx_http_tsface_limit_link_timed_out(ngx_http_tsface_limit_link_t *link)
{
    ngx_http_tsface_store_state_e  state;

    state = link->state;

    if (state != NGX_HTTP_TSFACE_STORE_UP
        && state != NGX_HTTP_TSFACE_STORE_CONNECTING)
    {
        return;
    }

    ngx_http_tsface_link_tell(link, NGX_HTTP_TSFACE_STORE_TIMEOUT,
                              "no answer in time");

    ngx_http_tsface_link_state(link, NGX_HTTP_TSFACE_STORE_SLOW);

    link->again = ngx_current_msec + ngx_http_tsface_link_wait(link);

    /* one that connects has its timer already */

    if (state == NGX_HTTP_TSFACE_STORE_UP) {
        ngx_add_timer(&link->timer, link->store->connect_timeout);
    }
}


/* No error's text is logged: servers quote what they don't know, passwords. */

void
ngx_http_tsface_limit_link_refused(ngx_http_tsface_limit_link_t *link,
    const redisReply *reply)
{
    ngx_str_t         code;
    static ngx_str_t  unknown = ngx_string("of no known kind");

    if (link->fault != NGX_HTTP_TSFACE_LINK_FINE) {
        return;
    }

    if (reply->type != REDIS_REPLY_ERROR) {
        link->fault = NGX_HTTP_TSFACE_STORE_MALFORMED;
        ngx_sprintf(link->words, "no answer of the script's%Z");
        return;
    }

    code = ngx_http_tsface_script_error(reply);

    link->fault = NGX_HTTP_TSFACE_STORE_ERROR;
    ngx_sprintf(link->words, "error %V%Z", code.len ? &code : &unknown);

    if (link->moves < NGX_HTTP_TSFACE_LINK_MOVES
        && ngx_http_tsface_script_moved(reply, link->address,
                                        &link->target.port)
           == NGX_OK)
    {
        link->move = 1;
    }
}


static void
ngx_http_tsface_link_connect(ngx_http_tsface_limit_link_t *link)
{
    ngx_http_tsface_store_addr_t  *addr;

    addr = ngx_http_tsface_link_addr(link);

    ngx_log_debug2(NGX_LOG_DEBUG_CORE, link->log, 0,
                   "tsface limit store \"%V\": connect to %V",
                   &link->store->name, &addr->text);

    if (ngx_http_tsface_adapter_connect(&link->adapter, link->store, addr)
        != NGX_OK)
    {
        ngx_http_tsface_link_fail(link, NGX_HTTP_TSFACE_STORE_CONNECT,
                                  (char *) link->adapter.words);
        return;
    }

    (void) ngx_atomic_fetch_add(
                  &ngx_http_tsface_limit_store_sh(link->store)->connects, 1);

    ngx_add_timer(&link->timer, link->store->connect_timeout);

    ngx_http_tsface_link_greet(link);
    ngx_http_tsface_link_probe(link);
}


/* All of it goes at once; what comes first that isn't well ends it. */

static void
ngx_http_tsface_link_greet(ngx_http_tsface_limit_link_t *link)
{
    size_t                          argvlen[3];
    u_char                          number[NGX_INT_T_LEN];
    ngx_uint_t                      argc;
    const char                     *argv[3];
    ngx_http_tsface_limit_store_t  *store;

    store = link->store;

    if (store->password) {
        argc = 0;

        argv[argc] = "AUTH";
        argvlen[argc++] = 4;

        if (store->user.len) {
            argv[argc] = (char *) store->user.data;
            argvlen[argc++] = store->user.len;
        }

        argv[argc] = (char *) store->password->value.data;
        argvlen[argc++] = store->password->value.len;

        (void) ngx_http_tsface_limit_link_resend(link,
                                                 ngx_http_tsface_link_greeted,
                                                 link, argc, argv, argvlen);
    }

    if (store->database) {
        argv[0] = "SELECT";
        argvlen[0] = 6;

        argv[1] = (char *) number;
        argvlen[1] = ngx_sprintf(number, "%i", store->database) - number;

        (void) ngx_http_tsface_limit_link_resend(link,
                                                 ngx_http_tsface_link_greeted,
                                                 link, 2, argv, argvlen);
    }
}


/* As a whole: the store knows the script by its SHA-1 from then on. */

static void
ngx_http_tsface_link_probe(ngx_http_tsface_limit_link_t *link)
{
    size_t                           argvlen[NGX_HTTP_TSFACE_SCRIPT_MAX_ARGS];
    u_char                          *p;
    u_char                           key[NGX_HTTP_TSFACE_STORE_PREFIX_MAX
                                         + sizeof("{}:probe")];
    u_char                           text[ngx_http_tsface_script_text_len(1)];
    ngx_uint_t                       argc;
    const char                      *argv[NGX_HTTP_TSFACE_SCRIPT_MAX_ARGS];
    ngx_http_tsface_script_limit_t   limit;

    p = ngx_sprintf(key, "{%V}:probe", &link->store->prefix);

    limit.key.data = key;
    limit.key.len = p - key;
    limit.interval = 1;
    limit.tolerance = NGX_HTTP_TSFACE_SCRIPT_MAX_TIME;
    limit.queue = 0;
    limit.most = NGX_HTTP_TSFACE_SCRIPT_MAX_TIME;
    limit.dry_run = 0;
    limit.ahead = 0;

    argv[0] = "EVAL";
    argvlen[0] = 4;

    argv[1] = (const char *) ngx_http_tsface_script.data;
    argvlen[1] = ngx_http_tsface_script.len;

    argc = ngx_http_tsface_script_args(&limit, 1, text, argv, argvlen);

    (void) ngx_http_tsface_limit_link_resend(link, ngx_http_tsface_link_proved,
                                             link, argc, argv, argvlen);
}


static void
ngx_http_tsface_link_greeted(redisAsyncContext *ac, void *r, void *data)
{
    redisReply                    *reply = r;
    ngx_http_tsface_limit_link_t  *link = data;

    if (reply == NULL) {
        return;
    }

    if (reply->type != REDIS_REPLY_STATUS
        || reply->len != 2
        || ngx_strncmp(reply->str, "OK", 2) != 0)
    {
        ngx_http_tsface_limit_link_refused(link, reply);
    }
}


static void
ngx_http_tsface_link_proved(redisAsyncContext *ac, void *r, void *data)
{
    redisReply                    *reply = r;
    ngx_http_tsface_limit_link_t  *link = data;

    ngx_http_tsface_script_limit_t  limit;

    if (reply == NULL) {
        return;
    }

    limit.interval = 1;
    limit.tolerance = NGX_HTTP_TSFACE_SCRIPT_MAX_TIME;
    limit.queue = 0;
    limit.most = NGX_HTTP_TSFACE_SCRIPT_MAX_TIME;
    limit.dry_run = 0;
    limit.ahead = 0;

    if (ngx_http_tsface_script_answer(reply, &limit, 1) != NGX_OK) {
        ngx_http_tsface_limit_link_refused(link, reply);
        return;
    }

    if (link->fault == NGX_HTTP_TSFACE_LINK_FINE) {
        ngx_http_tsface_link_up(link);
    }
}


static void
ngx_http_tsface_link_up(ngx_http_tsface_limit_link_t *link)
{
    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    ngx_http_tsface_link_state(link, NGX_HTTP_TSFACE_STORE_UP);

    link->well = ngx_current_msec;

    if (!link->told) {
        return;
    }

    link->told = 0;

    ngx_log_error(NGX_LOG_NOTICE, link->log, 0,
                  "tsface_limit_store \"%V\" at %V answers again after %M ms",
                  &link->store->name, &ngx_http_tsface_link_addr(link)->text,
                  ngx_current_msec - link->failed);
}


/* After everything that hiredis did with the connection. */

static void
ngx_http_tsface_link_check(void *data)
{
    ngx_http_tsface_limit_link_t *link = data;

    ngx_msec_int_t  wait;

    if (link->fault != NGX_HTTP_TSFACE_LINK_FINE) {
        ngx_http_tsface_link_fail(link, link->fault, (char *) link->words);
        return;
    }

    if (link->adapter.ac == NULL) {
        ngx_http_tsface_link_fail(link, link->adapter.failure,
                                  (char *) link->adapter.words);
        return;
    }

    if (link->state == NGX_HTTP_TSFACE_STORE_SLOW
        && !ngx_http_tsface_adapter_owed(&link->adapter))
    {
        /* it has paid its debts: to be asked again, in a while */

        wait = (ngx_msec_int_t) (link->again - ngx_current_msec);

        ngx_del_timer(&link->timer);
        ngx_add_timer(&link->timer, (ngx_msec_t) ngx_max(wait, 1));
    }
}


static void
ngx_http_tsface_link_timer(ngx_event_t *ev)
{
    ngx_http_tsface_limit_link_t  *link = ev->data;

    if (link->adapter.ac == NULL) {
        ngx_http_tsface_link_connect(link);
        return;
    }

    if (link->state == NGX_HTTP_TSFACE_STORE_SLOW
        && !ngx_http_tsface_adapter_owed(&link->adapter))
    {
        ngx_add_timer(&link->timer, link->store->connect_timeout);
        ngx_http_tsface_link_probe(link);

        return;
    }

    ngx_http_tsface_link_fail(link, NGX_HTTP_TSFACE_STORE_TIMEOUT,
                              "no answer in time");
}


/* Ends the connection and makes the next one, now or later. */

static void
ngx_http_tsface_link_fail(ngx_http_tsface_limit_link_t *link,
    ngx_http_tsface_store_failure_e failure, const char *words)
{
    ngx_http_tsface_adapter_close(&link->adapter);

    link->fault = NGX_HTTP_TSFACE_LINK_FINE;

    if (link->move) {
        link->move = 0;
        link->moved = 1;
        link->moves++;

        link->target.address = link->address;
        link->target.host.data = link->address;
        link->target.host.len = ngx_strlen(link->address);
        link->target.text.data = link->name;
        link->target.text.len = ngx_snprintf(link->name, sizeof(link->name),
                                             "%s:%d", link->address,
                                             (int) link->target.port)
                                - link->name;

        if (link->state != NGX_HTTP_TSFACE_STORE_DOWN) {
            ngx_http_tsface_link_state(link,
                                       NGX_HTTP_TSFACE_STORE_CONNECTING);
        }

        ngx_http_tsface_link_connect(link);
        return;
    }

    if (ngx_http_tsface_link_idle(link, failure)) {
        ngx_log_debug1(NGX_LOG_DEBUG_CORE, link->log, 0,
                       "tsface limit store \"%V\": closed while idle",
                       &link->store->name);

        link->fails = 0;

        ngx_http_tsface_link_state(link, NGX_HTTP_TSFACE_STORE_CONNECTING);
        ngx_http_tsface_link_connect(link);
        return;
    }

    if (link->state != NGX_HTTP_TSFACE_STORE_SLOW) {
        ngx_http_tsface_link_tell(link, failure, words);
    }

    ngx_http_tsface_link_state(link, NGX_HTTP_TSFACE_STORE_DOWN);

    link->moved = 0;
    link->moves = 0;
    link->server = (link->server + 1) % link->store->addrs.nelts;

    ngx_add_timer(&link->timer, ngx_http_tsface_link_wait(link));
}


/*
 * Servers close what is idle: no failure, if it was well for a while, and
 * nobody waits.
 */

static ngx_uint_t
ngx_http_tsface_link_idle(ngx_http_tsface_limit_link_t *link,
    ngx_http_tsface_store_failure_e failure)
{
    return failure == NGX_HTTP_TSFACE_STORE_CLOSED
           && link->state == NGX_HTTP_TSFACE_STORE_UP
           && link->adapter.idle
           && ngx_current_msec - link->well >= NGX_HTTP_TSFACE_LINK_GOOD;
}


/* Counts a failure; logs the first of a row. */

static void
ngx_http_tsface_link_tell(ngx_http_tsface_limit_link_t *link,
    ngx_http_tsface_store_failure_e failure, const char *words)
{
    static const char *const  policies[] = {
        "by this node's share", "with a refusal", "without a limit"
    };

    (void) ngx_atomic_fetch_add(
            &ngx_http_tsface_limit_store_sh(link->store)->failures[failure],
            1);

    ngx_log_debug3(NGX_LOG_DEBUG_CORE, link->log, 0,
                   "tsface limit store \"%V\" at %V: %s", &link->store->name,
                   &ngx_http_tsface_link_addr(link)->text, words);

    if (link->told) {
        return;
    }

    link->told = 1;
    link->failed = ngx_current_msec;

    ngx_log_error(NGX_LOG_ERR, link->log, 0,
                  "tsface_limit_store \"%V\" at %V failed: %s; requests are "
                  "decided %s until it answers again",
                  &link->store->name, &ngx_http_tsface_link_addr(link)->text,
                  words, policies[link->store->on_failure]);
}


/* Half of it by chance, so that a fleet doesn't come all at once. */

static ngx_msec_t
ngx_http_tsface_link_wait(ngx_http_tsface_limit_link_t *link)
{
    ngx_msec_t  wait;

    wait = (ngx_msec_t) NGX_HTTP_TSFACE_LINK_WAIT_MIN
           << ngx_min(link->fails, 10);

    wait = ngx_min(wait, NGX_HTTP_TSFACE_LINK_WAIT_MAX);

    link->fails++;

    return wait / 2 + ngx_random() % (wait / 2 + 1);
}


static void
ngx_http_tsface_link_state(ngx_http_tsface_limit_link_t *link,
    ngx_http_tsface_store_state_e state)
{
    link->state = state;

    ngx_http_tsface_limit_store_sh(link->store)->states[ngx_process_slot] =
                                                              (u_char) state;
}


static ngx_http_tsface_store_addr_t *
ngx_http_tsface_link_addr(ngx_http_tsface_limit_link_t *link)
{
    ngx_http_tsface_store_addr_t  *addrs;

    if (link->moved) {
        return &link->target;
    }

    addrs = link->store->addrs.elts;

    return &addrs[link->server];
}
