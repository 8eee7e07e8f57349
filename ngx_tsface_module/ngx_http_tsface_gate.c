
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_gate.h"


/* The pause after a 429 that doesn't tell how long, doubled up to the bound. */
#define NGX_HTTP_TSFACE_GATE_PAUSE        1000000
#define NGX_HTTP_TSFACE_GATE_MAX_DOUBLES  12

/* When to ask again, where it depends on when another request ends. */
#define NGX_HTTP_TSFACE_GATE_RETRY        1000000

/* How long one that is in waits for its turn to be sent. */
#define NGX_HTTP_TSFACE_GATE_QUEUE        10000000


static ngx_uint_t ngx_http_tsface_gate_settle(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now);
static ngx_http_tsface_gate_holder_t *ngx_http_tsface_gate_holder(
    ngx_http_tsface_gate_t *gate, int32_t pid, ngx_uint_t *in_flight);
static ngx_uint_t ngx_http_tsface_gate_concurrency(
    const ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now);
static ngx_uint_t ngx_http_tsface_gate_throttle(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t retry_after,
    uint64_t now, uint32_t random);
static void ngx_http_tsface_gate_open(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now, uint32_t random);
static uint64_t ngx_http_tsface_gate_pace(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now);
static void ngx_http_tsface_gate_slow_start(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t since);
static uint64_t ngx_http_tsface_gate_clock(const ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now);
static uint64_t ngx_http_tsface_gate_unclock(
    const ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t wait, uint64_t now);
static uint64_t ngx_http_tsface_gate_lag(uint64_t slow_start,
    uint64_t elapsed);
static uint64_t ngx_http_tsface_gate_root(uint64_t n);


/* Another process may have read the clock before and come here after. */
static ngx_inline uint64_t
ngx_http_tsface_gate_since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}


ngx_http_tsface_gate_verdict_e
ngx_http_tsface_gate_enter(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, int32_t pid, uint64_t now,
    ngx_http_tsface_gate_ticket_t *ticket, uint64_t *retry,
    ngx_uint_t *events)
{
    uint64_t                        clock;
    ngx_uint_t                      probing, in_flight;
    ngx_http_tsface_gcra_result_t   gcra;
    ngx_http_tsface_gate_holder_t  *holder;

    *events = ngx_http_tsface_gate_settle(gate, conf, now);

    if (gate->throttled_until) {
        *retry = gate->throttled_until - now;
        return NGX_HTTP_TSFACE_GATE_THROTTLED;
    }

    probing = 0;

    if (conf->failures && gate->breaker != NGX_HTTP_TSFACE_BREAKER_CLOSED) {

        if (gate->breaker == NGX_HTTP_TSFACE_BREAKER_OPEN
            && gate->open_until > now)
        {
            *retry = gate->open_until - now;
            return NGX_HTTP_TSFACE_GATE_UNAVAILABLE;
        }

        if (gate->breaker == NGX_HTTP_TSFACE_BREAKER_HALF_OPEN
            && gate->probe && gate->probe_until > now)
        {
            *retry = NGX_HTTP_TSFACE_GATE_RETRY;
            return NGX_HTTP_TSFACE_GATE_UNAVAILABLE;
        }

        probing = 1;
    }

    holder = ngx_http_tsface_gate_holder(gate, pid, &in_flight);

    if (conf->concurrency
        && (holder == NULL
            || in_flight >= ngx_http_tsface_gate_concurrency(gate, conf, now)))
    {
        *retry = NGX_HTTP_TSFACE_GATE_RETRY;
        return NGX_HTTP_TSFACE_GATE_BUSY;
    }

    if (conf->rate.rate) {
        clock = ngx_http_tsface_gate_pace(gate, conf, now);

        ngx_http_tsface_gcra_decide(&conf->rate, 0, gate->tat, clock,
                                    &gcra);

        if (gcra.retry) {
            *retry = ngx_http_tsface_gate_unclock(gate, conf, gcra.retry, now);
            return NGX_HTTP_TSFACE_GATE_BUSY;
        }

        gate->tat = gcra.tat;
    }

    if (probing) {

        /* what was sent before belongs to another time */

        if (gate->breaker == NGX_HTTP_TSFACE_BREAKER_OPEN) {
            gate->breaker = NGX_HTTP_TSFACE_BREAKER_HALF_OPEN;
            gate->epoch++;
        }

        gate->probes++;

        if (gate->probes == 0) {
            gate->probes = 1;
        }

        gate->probe = gate->probes;
        gate->probe_pid = pid;
        gate->probe_until = now + conf->probe;

        *events |= NGX_HTTP_TSFACE_GATE_EV_PROBING;
    }

    ticket->epoch = gate->epoch;
    ticket->probe = probing ? gate->probe : 0;
    ticket->counted = (holder != NULL);
    ticket->send_at = 0;

    if (holder) {

        if (holder->pid != pid) {
            holder->n = 0;
            holder->pid = pid;
        }

        holder->n++;
    }

    return NGX_HTTP_TSFACE_GATE_OK;
}


ngx_http_tsface_gate_verdict_e
ngx_http_tsface_gate_send(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_gate_ticket_t *ticket, uint64_t now, uint64_t *wait,
    uint64_t *retry, ngx_uint_t *events)
{
    uint64_t                       clock;
    ngx_http_tsface_gcra_result_t  gcra;

    *wait = 0;
    *events = ngx_http_tsface_gate_settle(gate, conf, now);

    if (gate->throttled_until) {
        *retry = gate->throttled_until - now;
        return NGX_HTTP_TSFACE_GATE_THROTTLED;
    }

    /* one that was let in before an outage is no probe */

    if (conf->failures && gate->breaker != NGX_HTTP_TSFACE_BREAKER_CLOSED
        && (ticket->probe == 0 || ticket->probe != gate->probe))
    {
        *retry = ngx_http_tsface_gate_since(gate->open_until, now);

        if (*retry == 0) {
            *retry = NGX_HTTP_TSFACE_GATE_RETRY;
        }

        return NGX_HTTP_TSFACE_GATE_UNAVAILABLE;
    }

    if (conf->rate.rate == 0) {
        return NGX_HTTP_TSFACE_GATE_OK;
    }

    if (ticket->send_at == 0) {
        clock = ngx_http_tsface_gate_pace(gate, conf, now);

        ngx_http_tsface_gcra_decide(&conf->rate, NGX_HTTP_TSFACE_GATE_QUEUE,
                                    gate->sent, clock, &gcra);

        if (gcra.retry) {
            *retry = ngx_http_tsface_gate_unclock(gate, conf, gcra.retry, now);
            return NGX_HTTP_TSFACE_GATE_BUSY;
        }

        gate->sent = gcra.tat;
        ticket->send_at = now;

        if (gcra.wait) {
            ticket->send_at += ngx_http_tsface_gate_unclock(gate, conf,
                                                            gcra.wait, now);

            /* or as many would be let in as go, and all wait for ever */

            gate->tat = ngx_max(gate->tat, gate->sent);
        }
    }

    *wait = ngx_http_tsface_gate_since(ticket->send_at, now);

    return NGX_HTTP_TSFACE_GATE_OK;
}


/* What time has ended by now. */
static ngx_uint_t
ngx_http_tsface_gate_settle(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now)
{
    uint64_t    until;
    ngx_uint_t  events;

    /* a reload may have brought a lower bound */

    gate->throttled_until = ngx_min(gate->throttled_until,
                                    now + conf->retry_after_max);
    gate->open_until = ngx_min(gate->open_until, now + conf->open_max);

    events = 0;
    until = gate->throttled_until;

    if (until && until <= now) {
        gate->throttled_until = 0;
        ngx_http_tsface_gate_slow_start(gate, conf, until);
        events = NGX_HTTP_TSFACE_GATE_EV_UNTHROTTLED;
    }

    /* from here on the clock runs as the real one does, behind it */

    if (gate->slow_since
        && ngx_http_tsface_gate_since(now, gate->slow_since)
           >= conf->slow_start)
    {
        gate->lag += ngx_http_tsface_gate_lag(conf->slow_start,
                                              conf->slow_start);
        gate->slow_since = 0;
    }

    return events;
}


/*
 * The process's, or a free one, or NULL; and the sum of all, which is nowhere
 * else: a process that is killed between two stores would leave it wrong.
 */
static ngx_http_tsface_gate_holder_t *
ngx_http_tsface_gate_holder(ngx_http_tsface_gate_t *gate, int32_t pid,
    ngx_uint_t *in_flight)
{
    ngx_uint_t                      i, sum;
    ngx_http_tsface_gate_holder_t  *holder, *own, *unused;

    sum = 0;
    own = NULL;
    unused = NULL;

    for (i = 0; i < NGX_HTTP_TSFACE_GATE_HOLDERS; i++) {
        holder = &gate->holders[i];

        if (holder->pid == 0) {
            unused = holder;
            continue;
        }

        if (holder->pid == pid) {
            own = holder;
        }

        sum += holder->n;
    }

    *in_flight = sum;

    return own ? own : unused;
}


static ngx_uint_t
ngx_http_tsface_gate_concurrency(const ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now)
{
    uint64_t  n, elapsed;

    if (gate->slow_since == 0) {
        return conf->concurrency;
    }

    /* settle() has seen to it that this is less than all of it */

    elapsed = ngx_http_tsface_gate_since(now, gate->slow_since);
    n = conf->concurrency * elapsed / conf->slow_start;

    return n ? (ngx_uint_t) n : 1;
}


void
ngx_http_tsface_gate_again(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf,
    ngx_http_tsface_gate_ticket_t *ticket, uint64_t now)
{
    uint64_t  clock;

    ticket->send_at = 0;

    if (conf->rate.rate == 0) {
        return;
    }

    clock = ngx_http_tsface_gate_pace(gate, conf, now);

    gate->tat = ngx_max(gate->tat, clock) + conf->rate.interval;
}


/*
 * The rate's clock.  After a reload with another rate nobody is to wait by
 * the old one.
 */
static uint64_t
ngx_http_tsface_gate_pace(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now)
{
    uint64_t  clock, last;

    clock = ngx_http_tsface_gate_clock(gate, conf, now);

    if (gate->interval != conf->rate.interval) {
        gate->interval = conf->rate.interval;

        last = clock + conf->rate.tolerance + conf->rate.interval;
        gate->tat = ngx_min(gate->tat, last);
        gate->sent = ngx_min(gate->sent, last);
    }

    return clock;
}


ngx_uint_t
ngx_http_tsface_gate_leave(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf,
    const ngx_http_tsface_gate_ticket_t *ticket, int32_t pid,
    ngx_http_tsface_gate_result_e result, uint64_t retry_after, uint64_t now,
    uint32_t random)
{
    ngx_uint_t                      events, probing, in_flight;
    ngx_http_tsface_gate_holder_t  *holder;

    holder = ngx_http_tsface_gate_holder(gate, pid, &in_flight);

    if (ticket->counted && holder && holder->pid == pid) {

        if (holder->n > 1) {
            holder->n--;

        } else {
            holder->pid = 0;
            holder->n = 0;
        }
    }

    events = ngx_http_tsface_gate_settle(gate, conf, now);

    if (result == NGX_HTTP_TSFACE_GATE_TOO_MANY || retry_after) {
        events |= ngx_http_tsface_gate_throttle(gate, conf, retry_after, now,
                                                random);

    } else if (result == NGX_HTTP_TSFACE_GATE_ANSWERED
               && gate->throttled_until == 0)
    {
        gate->throttles = 0;
    }

    /*
     * A probe that took too long is one no more, and what was sent before
     * the breaker opened, or closed, says nothing about the time since.
     */

    probing = (ticket->probe && ticket->probe == gate->probe);

    if (probing) {
        gate->probe = 0;

    } else if (ticket->epoch != gate->epoch
               || gate->breaker != NGX_HTTP_TSFACE_BREAKER_CLOSED)
    {
        return events;
    }

    switch (result) {

    case NGX_HTTP_TSFACE_GATE_ANSWERED:
        gate->failures = 0;

        if (probing) {
            gate->breaker = NGX_HTTP_TSFACE_BREAKER_CLOSED;
            gate->epoch++;
            gate->closed_at = now;
            ngx_http_tsface_gate_slow_start(gate, conf, now);
            events |= NGX_HTTP_TSFACE_GATE_EV_CLOSED;
        }

        break;

    case NGX_HTTP_TSFACE_GATE_FAILED:
        gate->failures++;

        if (probing) {
            ngx_http_tsface_gate_open(gate, conf, now, random);
            events |= NGX_HTTP_TSFACE_GATE_EV_REOPENED;

        } else if (conf->failures && gate->failures >= conf->failures) {

            /* the next outage begins anew, unless it is the last one's end */

            if (ngx_http_tsface_gate_since(now, gate->closed_at)
                >= gate->opened_for)
            {
                gate->opens = 0;
            }

            ngx_http_tsface_gate_open(gate, conf, now, random);
            events |= NGX_HTTP_TSFACE_GATE_EV_OPENED;
        }

        break;

    default: /* NOTHING, TOO_MANY: no news of whether it fails */
        break;
    }

    return events;
}


/* Those in flight may all come back with 429: that is one reason to wait. */
static ngx_uint_t
ngx_http_tsface_gate_throttle(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t retry_after,
    uint64_t now, uint32_t random)
{
    uint64_t    pause;
    ngx_uint_t  news;

    if (conf->retry_after_max == 0) {
        return 0;
    }

    news = (gate->throttled_until == 0);
    pause = retry_after;

    if (pause == 0) {

        if (!news) {
            return 0;
        }

        pause = (uint64_t) NGX_HTTP_TSFACE_GATE_PAUSE << gate->throttles;
        pause = ngx_min(pause, conf->retry_after_max);
        pause -= random % (pause / 4 + 1);

        if (gate->throttles < NGX_HTTP_TSFACE_GATE_MAX_DOUBLES) {
            gate->throttles++;
        }
    }

    pause = ngx_min(pause, conf->retry_after_max);

    if (now + pause > gate->throttled_until) {
        gate->throttled_until = now + pause;
    }

    return news ? NGX_HTTP_TSFACE_GATE_EV_THROTTLED : 0;
}


/* Twice as long as the last time, up to the bound, less up to a quarter. */
static void
ngx_http_tsface_gate_open(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now, uint32_t random)
{
    uint64_t  time;

    time = ngx_min(conf->open << gate->opens, conf->open_max);

    if (gate->opens < NGX_HTTP_TSFACE_GATE_MAX_DOUBLES) {
        gate->opens++;
    }

    gate->breaker = NGX_HTTP_TSFACE_BREAKER_OPEN;
    gate->epoch++;
    gate->probe = 0;
    gate->opened_for = time;
    gate->open_until = now + time - random % (time / 4 + 1);
}


/*
 * The rate goes up in a line, from 0 to what is configured, by a clock that
 * runs as much slower: in the time t of T it has come to t * t / 2T.  What a
 * burst has saved up is lost, or all would come at once.
 */
static void
ngx_http_tsface_gate_slow_start(ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t since)
{
    uint64_t  clock;

    if (conf->slow_start == 0) {
        return;
    }

    clock = ngx_http_tsface_gate_clock(gate, conf, since);

    gate->lag = since - clock;
    gate->slow_since = since;

    if (conf->rate.rate) {
        gate->tat = ngx_max(gate->tat, clock + conf->rate.tolerance);
        gate->sent = ngx_max(gate->sent, clock + conf->rate.tolerance);
    }
}


static uint64_t
ngx_http_tsface_gate_clock(const ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now)
{
    uint64_t  lag;

    lag = gate->lag;

    if (gate->slow_since) {
        lag += ngx_http_tsface_gate_lag(conf->slow_start,
                        ngx_http_tsface_gate_since(now, gate->slow_since));
    }

    return now - lag;
}


/* How long until that clock has moved on by so much. */
static uint64_t
ngx_http_tsface_gate_unclock(const ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t wait, uint64_t now)
{
    uint64_t  slow, elapsed, shown, end;

    if (gate->slow_since == 0) {
        return wait;
    }

    slow = conf->slow_start;
    elapsed = ngx_http_tsface_gate_since(now, gate->slow_since);

    /* what it will have to show, and shows when the slow start ends */

    shown = elapsed - ngx_http_tsface_gate_lag(slow, elapsed) + wait;
    end = slow - ngx_http_tsface_gate_lag(slow, slow);

    if (shown >= end) {
        return slow - elapsed + (shown - end);
    }

    return ngx_http_tsface_gate_root(2 * slow * shown) - elapsed;
}


/* How far the clock is behind after that time of a slow start. */
static uint64_t
ngx_http_tsface_gate_lag(uint64_t slow_start, uint64_t elapsed)
{
    if (elapsed >= slow_start) {
        return slow_start - slow_start / 2;
    }

    return elapsed - elapsed * elapsed / (2 * slow_start);
}


/* Rounded up. */
static uint64_t
ngx_http_tsface_gate_root(uint64_t n)
{
    uint64_t  root, bit;

    root = 0;

    for (bit = (uint64_t) 1 << 62; bit; bit >>= 2) {

        if (n >= root + bit) {
            n -= root + bit;
            root = (root >> 1) + bit;

        } else {
            root >>= 1;
        }
    }

    return n ? root + 1 : root;
}


ngx_uint_t
ngx_http_tsface_gate_reap(ngx_http_tsface_gate_t *gate, int32_t pid)
{
    ngx_uint_t                      i, n;
    ngx_http_tsface_gate_holder_t  *holder;

    n = 0;

    for (i = 0; i < NGX_HTTP_TSFACE_GATE_HOLDERS; i++) {
        holder = &gate->holders[i];

        if (holder->pid == pid) {
            n += holder->n;
            holder->pid = 0;
            holder->n = 0;
        }
    }

    if (gate->probe && gate->probe_pid == pid) {
        gate->probe = 0;
    }

    return n;
}


void
ngx_http_tsface_gate_stat(const ngx_http_tsface_gate_t *gate,
    const ngx_http_tsface_gate_conf_t *conf, uint64_t now,
    ngx_http_tsface_gate_stat_t *stat)
{
    ngx_uint_t  i;

    ngx_memzero(stat, sizeof(ngx_http_tsface_gate_stat_t));

    stat->failures = gate->failures;

    for (i = 0; i < NGX_HTTP_TSFACE_GATE_HOLDERS; i++) {
        if (gate->holders[i].pid) {
            stat->in_flight += gate->holders[i].n;
        }
    }

    if (conf->retry_after_max) {
        stat->throttled = ngx_http_tsface_gate_since(gate->throttled_until,
                                                     now);
    }

    if (conf->failures == 0) {
        return;
    }

    stat->breaker = gate->breaker;

    if (gate->breaker == NGX_HTTP_TSFACE_BREAKER_OPEN) {
        stat->open = ngx_http_tsface_gate_since(gate->open_until, now);

        if (stat->open == 0) {
            stat->breaker = NGX_HTTP_TSFACE_BREAKER_HALF_OPEN;
        }
    }
}
