
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_tsface_limit_adapter.h"


/* of an answer: more than any error's text, and than hiredis reads at once */
#define NGX_HTTP_TSFACE_ADAPTER_MAX_ANSWER   16384

/* those of the script's own answer */
#define NGX_HTTP_TSFACE_ADAPTER_MAX_ELEMENTS                                  \
    (NGX_HTTP_TSFACE_SCRIPT_MAX_KEYS + 1)


/* hiredis 1.0 counts elements in another type */
#if HIREDIS_MAJOR >= 1
typedef size_t  ngx_http_tsface_adapter_count_t;
#else
typedef int     ngx_http_tsface_adapter_count_t;
#endif


static ngx_int_t ngx_http_tsface_adapter_tls(
    ngx_http_tsface_adapter_t *adapter, redisAsyncContext *ac,
    const ngx_http_tsface_limit_store_t *store,
    const ngx_http_tsface_store_addr_t *addr, const char **words);
static ngx_int_t ngx_http_tsface_adapter_listen(
    ngx_http_tsface_adapter_t *adapter);
static void ngx_http_tsface_adapter_guard(ngx_http_tsface_adapter_t *adapter);
static void *ngx_http_tsface_adapter_string(const redisReadTask *task,
    char *s, size_t len);
static void *ngx_http_tsface_adapter_array(const redisReadTask *task,
    ngx_http_tsface_adapter_count_t elements);
static void *ngx_http_tsface_adapter_integer(const redisReadTask *task,
    long long value);
static void *ngx_http_tsface_adapter_nil(const redisReadTask *task);
#if HIREDIS_MAJOR >= 1
static void *ngx_http_tsface_adapter_double(const redisReadTask *task,
    double value, char *s, size_t len);
static void *ngx_http_tsface_adapter_bool(const redisReadTask *task,
    int value);
#endif
static ngx_uint_t ngx_http_tsface_adapter_refuses(const redisReadTask *task);
static void ngx_http_tsface_adapter_read(ngx_event_t *ev);
static void ngx_http_tsface_adapter_write(ngx_event_t *ev);
static void ngx_http_tsface_adapter_add_read(void *data);
static void ngx_http_tsface_adapter_del_read(void *data);
static void ngx_http_tsface_adapter_add_write(void *data);
static void ngx_http_tsface_adapter_del_write(void *data);
static void ngx_http_tsface_adapter_cleanup(void *data);
static void ngx_http_tsface_adapter_explain(
    ngx_http_tsface_adapter_t *adapter);


/*
 * With a name hiredis would look it up and wait for that; an address is one
 * for getaddrinfo(), too, and it asks nobody.
 */

ngx_int_t
ngx_http_tsface_adapter_connect(ngx_http_tsface_adapter_t *adapter,
    const ngx_http_tsface_limit_store_t *store,
    const ngx_http_tsface_store_addr_t *addr)
{
    const char         *words;
    redisAsyncContext  *ac;

    adapter->refused = 0;
    adapter->idle = 0;
    adapter->failure = NGX_HTTP_TSFACE_STORE_CONNECT;

    ac = addr->port ? redisAsyncConnect((char *) addr->address, addr->port)
                    : redisAsyncConnectUnix((char *) addr->address);

    if (ac == NULL || ac->err) {
        words = ac ? ac->errstr : "no memory";
        goto failed;
    }

    if (store->tls
        && ngx_http_tsface_adapter_tls(adapter, ac, store, addr, &words)
           != NGX_OK)
    {
        goto failed;
    }

    adapter->ac = ac;

    if (ngx_http_tsface_adapter_listen(adapter) != NGX_OK) {
        adapter->ac = NULL;
        adapter->tls = NULL;

        words = "no free connection of the worker's";
        goto failed;
    }

    ngx_http_tsface_adapter_guard(adapter);

    return NGX_OK;

failed:

    (void) ngx_cpystrn(adapter->words, (u_char *) words,
                       sizeof(adapter->words));

    if (ac) {
        redisAsyncFree(ac);
    }

    return NGX_ERROR;
}


/*
 * OpenSSL's errors are a thread's, not a connection's: hiredis takes those of
 * others for its own, and leaves its own to others.
 */

static ngx_int_t
ngx_http_tsface_adapter_tls(ngx_http_tsface_adapter_t *adapter,
    redisAsyncContext *ac, const ngx_http_tsface_limit_store_t *store,
    const ngx_http_tsface_store_addr_t *addr, const char **words)
{
    const ngx_str_t  *name;

    name = store->tls_conf.ssl_name.len ? &store->tls_conf.ssl_name
                                        : &addr->host;
    ERR_clear_error();

    adapter->tls = ngx_http_tsface_limit_tls_start(ac, store->tls, name,
                                                   store->tls_conf.verify,
                                                   words);
    ERR_clear_error();

    if (adapter->tls) {
        return NGX_OK;
    }

    if (*words == NULL) {
        *words = ac->c.errstr;
    }

    return NGX_ERROR;
}


void
ngx_http_tsface_adapter_close(ngx_http_tsface_adapter_t *adapter)
{
    if (adapter->ac == NULL) {
        return;
    }

    adapter->closing = 1;

    redisAsyncFree(adapter->ac);

    adapter->closing = 0;
}


/* The descriptor is hiredis's: nginx watches it, and never closes it. */

static ngx_int_t
ngx_http_tsface_adapter_listen(ngx_http_tsface_adapter_t *adapter)
{
    ngx_connection_t   *c;
    redisAsyncContext  *ac;

    ac = adapter->ac;

    c = ngx_get_connection(ac->c.fd, adapter->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = adapter;
    c->read->handler = ngx_http_tsface_adapter_read;
    c->read->log = adapter->log;
    c->write->handler = ngx_http_tsface_adapter_write;
    c->write->log = adapter->log;

    adapter->connection = c;

    ac->ev.data = adapter;
    ac->ev.addRead = ngx_http_tsface_adapter_add_read;
    ac->ev.delRead = ngx_http_tsface_adapter_del_read;
    ac->ev.addWrite = ngx_http_tsface_adapter_add_write;
    ac->ev.delWrite = ngx_http_tsface_adapter_del_write;
    ac->ev.cleanup = ngx_http_tsface_adapter_cleanup;

    return NGX_OK;
}


/*
 * hiredis takes what it is sent: an array of two billion elements, arrays in
 * arrays, and an answer that nobody asked for ends in an assertion.  What
 * makes its replies is public, and asked before they are made: one that gets
 * no reply ends the connection.
 */

static void
ngx_http_tsface_adapter_guard(ngx_http_tsface_adapter_t *adapter)
{
    redisReader  *reader;

    reader = adapter->ac->c.reader;

    adapter->hiredis = reader->fn;
    adapter->functions = *reader->fn;

    adapter->functions.createString = ngx_http_tsface_adapter_string;
    adapter->functions.createArray = ngx_http_tsface_adapter_array;
    adapter->functions.createInteger = ngx_http_tsface_adapter_integer;
    adapter->functions.createNil = ngx_http_tsface_adapter_nil;

#if HIREDIS_MAJOR >= 1
    adapter->functions.createDouble = ngx_http_tsface_adapter_double;
    adapter->functions.createBool = ngx_http_tsface_adapter_bool;
#endif

    reader->fn = &adapter->functions;
    reader->privdata = adapter;
}


static void *
ngx_http_tsface_adapter_string(const redisReadTask *task, char *s, size_t len)
{
    ngx_http_tsface_adapter_t  *adapter = task->privdata;

    if (ngx_http_tsface_adapter_refuses(task)
        || (task->type != REDIS_REPLY_STRING
            && task->type != REDIS_REPLY_STATUS
            && task->type != REDIS_REPLY_ERROR))
    {
        adapter->refused = 1;
        return NULL;
    }

    return adapter->hiredis->createString(task, s, len);
}


static void *
ngx_http_tsface_adapter_array(const redisReadTask *task,
    ngx_http_tsface_adapter_count_t elements)
{
    ngx_http_tsface_adapter_t  *adapter = task->privdata;

    if (ngx_http_tsface_adapter_refuses(task)
        || task->type != REDIS_REPLY_ARRAY
        || task->parent != NULL
        || elements > NGX_HTTP_TSFACE_ADAPTER_MAX_ELEMENTS)
    {
        adapter->refused = 1;
        return NULL;
    }

    return adapter->hiredis->createArray(task, elements);
}


static void *
ngx_http_tsface_adapter_integer(const redisReadTask *task, long long value)
{
    ngx_http_tsface_adapter_t  *adapter = task->privdata;

    if (ngx_http_tsface_adapter_refuses(task)) {
        adapter->refused = 1;
        return NULL;
    }

    return adapter->hiredis->createInteger(task, value);
}


static void *
ngx_http_tsface_adapter_nil(const redisReadTask *task)
{
    ngx_http_tsface_adapter_t  *adapter = task->privdata;

    if (ngx_http_tsface_adapter_refuses(task)) {
        adapter->refused = 1;
        return NULL;
    }

    return adapter->hiredis->createNil(task);
}


#if HIREDIS_MAJOR >= 1

/* Of RESP3, which nobody asked to speak. */

static void *
ngx_http_tsface_adapter_double(const redisReadTask *task, double value,
    char *s, size_t len)
{
    ngx_http_tsface_adapter_t  *adapter = task->privdata;

    adapter->refused = 1;

    return NULL;
}


static void *
ngx_http_tsface_adapter_bool(const redisReadTask *task, int value)
{
    ngx_http_tsface_adapter_t  *adapter = task->privdata;

    adapter->refused = 1;

    return NULL;
}

#endif


/* Nobody waits for an answer. */

static ngx_uint_t
ngx_http_tsface_adapter_refuses(const redisReadTask *task)
{
    ngx_http_tsface_adapter_t  *adapter = task->privdata;

    return task->parent == NULL && !ngx_http_tsface_adapter_owed(adapter);
}


static void
ngx_http_tsface_adapter_read(ngx_event_t *ev)
{
    redisReader                *reader;
    ngx_connection_t           *c;
    ngx_http_tsface_adapter_t  *adapter;

    c = ev->data;
    adapter = c->data;

    if (c->close) {

        /* the worker's shutdown timeout has come */

        (void) ngx_cpystrn(adapter->words, (u_char *) "the worker exits",
                           sizeof(adapter->words));
        adapter->failure = NGX_HTTP_TSFACE_STORE_CLOSED;

        ngx_http_tsface_adapter_close(adapter);
        adapter->check(adapter->data);

        return;
    }

    adapter->idle = !ngx_http_tsface_adapter_owed(adapter);

    ERR_clear_error();

    redisAsyncHandleRead(adapter->ac);

    ERR_clear_error();

    if (adapter->ac) {

        /* what is whole has been taken: this is of one that isn't */

        reader = adapter->ac->c.reader;

        if (reader->len - reader->pos > NGX_HTTP_TSFACE_ADAPTER_MAX_ANSWER) {
            adapter->refused = 1;
            ngx_http_tsface_adapter_explain(adapter);
            ngx_http_tsface_adapter_close(adapter);
        }
    }

    adapter->check(adapter->data);
}


static void
ngx_http_tsface_adapter_write(ngx_event_t *ev)
{
    ngx_connection_t           *c;
    ngx_http_tsface_adapter_t  *adapter;

    c = ev->data;
    adapter = c->data;

    ERR_clear_error();

    redisAsyncHandleWrite(adapter->ac);

    ERR_clear_error();

    adapter->check(adapter->data);
}


/*
 * Level-triggered whatever the method: hiredis reads once an event, and does
 * not tell whether there was more.
 */

static void
ngx_http_tsface_adapter_add_read(void *data)
{
    ngx_http_tsface_adapter_t *adapter = data;

    ngx_event_t  *rev;

    rev = adapter->connection->read;

    if (!rev->active) {
        (void) ngx_add_event(rev, NGX_READ_EVENT, NGX_LEVEL_EVENT);
    }
}


static void
ngx_http_tsface_adapter_del_read(void *data)
{
    ngx_http_tsface_adapter_t *adapter = data;

    ngx_event_t  *rev;

    rev = adapter->connection->read;

    if (rev->active) {
        (void) ngx_del_event(rev, NGX_READ_EVENT, 0);
    }
}


static void
ngx_http_tsface_adapter_add_write(void *data)
{
    ngx_http_tsface_adapter_t *adapter = data;

    ngx_event_t  *wev;

    wev = adapter->connection->write;

    if (!wev->active) {
        (void) ngx_add_event(wev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);
    }
}


static void
ngx_http_tsface_adapter_del_write(void *data)
{
    ngx_http_tsface_adapter_t *adapter = data;

    ngx_event_t  *wev;

    wev = adapter->connection->write;

    if (wev->active) {
        (void) ngx_del_event(wev, NGX_WRITE_EVENT, 0);
    }
}


/* hiredis frees ac after this, and closes the descriptor. */

static void
ngx_http_tsface_adapter_cleanup(void *data)
{
    ngx_http_tsface_adapter_t *adapter = data;

    ngx_connection_t  *c;

    if (!adapter->closing) {
        ngx_http_tsface_adapter_explain(adapter);
    }

    ngx_http_tsface_adapter_del_read(adapter);
    ngx_http_tsface_adapter_del_write(adapter);

    c = adapter->connection;

    adapter->connection = NULL;
    adapter->tls = NULL;
    adapter->ac = NULL;

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    c->read->closed = 1;
    c->write->closed = 1;

    ngx_free_connection(c);

    c->fd = (ngx_socket_t) -1;
}


/* Why the connection ends by itself. */

static void
ngx_http_tsface_adapter_explain(ngx_http_tsface_adapter_t *adapter)
{
    const char         *words;
    redisAsyncContext  *ac;

    ac = adapter->ac;

    if (adapter->refused) {
        adapter->failure = NGX_HTTP_TSFACE_STORE_MALFORMED;
        (void) ngx_cpystrn(adapter->words,
                           (u_char *) "no answer of the script's",
                           sizeof(adapter->words));
        return;
    }

    if (!(ac->c.flags & REDIS_CONNECTED)
        || (adapter->tls && !SSL_is_init_finished(adapter->tls)))
    {
        adapter->failure = NGX_HTTP_TSFACE_STORE_CONNECT;

    } else if (ac->err == REDIS_ERR_PROTOCOL) {
        adapter->failure = NGX_HTTP_TSFACE_STORE_MALFORMED;

    } else {
        adapter->failure = NGX_HTTP_TSFACE_STORE_CLOSED;
    }

    /* of TLS, hiredis says little more than that there was an error */

    words = adapter->tls ? ngx_http_tsface_limit_tls_error(adapter->tls)
                         : NULL;

    (void) ngx_cpystrn(adapter->words,
                       (u_char *) (words ? words : ac->c.errstr),
                       sizeof(adapter->words));
}
