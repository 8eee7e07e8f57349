
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Limits against a model that knows no timestamps: it keeps when every request
 * went on, and works out the rest from that.  Random traces: several zones at
 * a time, all or nothing, too few nodes, delays, dry runs, clients that leave,
 * changed rates, workers that die.
 *
 * TSFACE_SEED repeats a run.
 */

/* link: ngx_http_tsface_limit_agree.c ngx_http_tsface_limit_table.c
         ngx_http_tsface_gcra.c ngx_http_tsface_record_text.c */


/* as ngx_config.h has it, which comes too late here */
#define _GNU_SOURCE

#include "tap.h"

#include <time.h>
#include <unistd.h>

#include "ngx_http_tsface_limit_agree.h"


#define TRACES   600
#define STEPS    500
#define ZONES    3
#define KEYS     24
#define CALLERS  40
#define PENDING  16


/* Requests at a key, in the order in which they were let in. */
typedef struct {
    uint64_t                        at[STEPS];
    uint64_t                        interval[STEPS];
    ngx_uint_t                      n;
} model_key_t;


typedef struct {
    model_key_t                     keys[KEYS];
    ngx_uint_t                      decisions[
                                           NGX_HTTP_TSFACE_LIMIT_NDECISIONS];
    ngx_uint_t                      full;
    ngx_uint_t                      returned;
    ngx_uint_t                      refusals[CALLERS];
    ngx_uint_t                      blamed;
} model_zone_t;


/* What a limit should say. */
typedef struct {
    ngx_uint_t                      key;
    uint64_t                        tat;
    uint64_t                        wait;
    uint64_t                        retry;
    ngx_uint_t                      full;
} model_use_t;


typedef struct {
    ngx_http_tsface_limits_t        request;
    ngx_http_tsface_limit_use_t     uses[ZONES];
    ngx_uint_t                      keys[ZONES];
    uint64_t                        until;
} pending_t;


static ngx_http_tsface_limit_t        limits[ZONES];
static ngx_http_tsface_limit_zone_t   zones[ZONES];
static model_zone_t                   models[ZONES];
static pending_t                      pending[PENDING];
static ngx_uint_t                     npending, steps, seen[4], changed;
static ngx_uint_t                     fulls, evictions, returns, deaths, cuts;


/* The time from which a key is as if it had never been used. */

static uint64_t
model_tat(const model_key_t *key)
{
    uint64_t    tat;
    ngx_uint_t  i;

    tat = 0;

    for (i = 0; i < key->n; i++) {
        tat = ngx_max(tat, key->at[i]) + key->interval[i];
    }

    return tat;
}


static ngx_uint_t
model_used(const model_zone_t *model, uint64_t now)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < KEYS; i++) {
        n += (model_tat(&model->keys[i]) > now);
    }

    return n;
}


static void
model_look(model_use_t *use, ngx_uint_t z, uint64_t now)
{
    uint64_t                 from, queue;
    model_key_t             *key;
    ngx_http_tsface_gcra_t  *gcra;

    gcra = &zones[z].gcra;
    key = &models[z].keys[use->key];

    /* what no request of this rate has made of it counts no more */

    if (model_tat(key) > now + zones[z].most) {
        check(changed, "a key is further ahead than it can be");

        key->at[0] = now + zones[z].most;
        key->interval[0] = 0;
        key->n = 1;
        cuts++;
    }

    use->wait = 0;
    use->retry = 0;
    use->full = 0;
    use->tat = model_tat(key);

    if (use->tat <= now && model_used(&models[z], now) >= zones[z].table->max)
    {
        use->full = 1;
        return;
    }

    from = (use->tat > gcra->tolerance) ? use->tat - gcra->tolerance : 0;
    use->wait = (from > now) ? from - now : 0;

    queue = limits[z].delay * gcra->interval;

    if (queue > limits[z].delay_max * 1000) {
        queue = limits[z].delay_max * 1000;
    }

    if (use->wait > queue) {
        use->retry = use->wait - queue;
    }
}


/* How many more would go on at once. */

static ngx_uint_t
model_remaining(const model_key_t *key, const ngx_http_tsface_gcra_t *gcra,
    uint64_t now)
{
    uint64_t    tat;
    ngx_uint_t  n;

    tat = model_tat(key);

    for (n = 0; tat <= now + gcra->tolerance; n++) {
        tat = ngx_max(tat, now) + gcra->interval;
    }

    return n;
}


static void
model_put(model_key_t *key, uint64_t at, uint64_t interval)
{
    key->at[key->n] = at;
    key->interval[key->n] = interval;
    key->n++;
}


static void
digest(u_char *d, ngx_uint_t key)
{
    memset(d, 0, NGX_HTTP_TSFACE_LIMIT_KEY_LEN);

    /* half of the keys differ only behind what says their chain */

    d[key < KEYS / 2 ? 0 : 9] = (u_char) (key * 7 + 1);
}


static void
caller(ngx_http_tsface_limit_caller_t *c, ngx_uint_t n)
{
    char       name[32];
    ngx_str_t  s;

    sprintf(name, "caller %lu", (unsigned long) n);

    s.data = (u_char *) name;
    s.len = strlen(name);

    ngx_http_tsface_limit_caller(c, &s);
}


static void
change_rate(ngx_uint_t z)
{
    static const ngx_uint_t  periods[] = { 1, 60, 3600 };

    zones[z].gcra.rate = 1 + below(50);
    zones[z].gcra.period = periods[below(3)];
    ngx_http_tsface_gcra_init(&zones[z].gcra, below(2) ? below(4) : 0);
}


/* As limit_conf.c does for a place that all three apply to. */

static void
set_most(void)
{
    uint64_t    queue, wait;
    ngx_uint_t  z;

    wait = 0;

    for (z = 0; z < ZONES; z++) {
        queue = ngx_http_tsface_limit_queue(&limits[z], &zones[z].gcra);
        wait = ngx_max(wait, queue);
    }

    for (z = 0; z < ZONES; z++) {
        zones[z].most = zones[z].gcra.tolerance + zones[z].gcra.interval
                        + wait;
    }
}


static void
start(void)
{
    size_t      size;
    ngx_uint_t  z, max;

    memset(models, 0, sizeof(models));
    npending = 0;
    changed = 0;

    for (z = 0; z < ZONES; z++) {
        max = below(3) ? KEYS + 1 : 2 + below(8);
        size = offsetof(ngx_http_tsface_limit_table_t, nodes)
               + max * NGX_HTTP_TSFACE_LIMIT_KEY_SIZE;

        zones[z].table = (ngx_http_tsface_limit_table_t *) block(size);
        ngx_http_tsface_limit_table_init(zones[z].table, size,
                                         below((uint64_t) 1 << 62));

        check(zones[z].table->max == max, "room for %lu", max);

        change_rate(z);

        memset(&limits[z], 0, sizeof(ngx_http_tsface_limit_t));

        limits[z].dry_run = (below(4) == 0);
        limits[z].delay = below(2) ? below(6) : 0;
        limits[z].delay_max = below(2) ? 1 + below(3000) : 60000;
    }

    set_most();
}


/*
 * A worker that dies between two changes leaves no chain and no heap that can
 * be used.
 */

static void
die(ngx_http_tsface_limit_table_t *table)
{
    ngx_uint_t  i;

    memset(table->heap, 0xfe, table->max * sizeof(uint32_t));
    memset(table->chains, 0xfe, table->max * sizeof(uint32_t));

    for (i = 0; i < table->max; i++) {
        table->nodes[i].next = 0xfefefefe;
        table->nodes[i].place = 0xfefefefe;
    }

    table->busy = 1;
    deaths++;
}


static void
leave(ngx_uint_t i, uint64_t now, const char *where)
{
    uint64_t      tats[ZONES];
    ngx_uint_t    z, j;
    model_key_t  *key;
    pending_t    *p;

    p = &pending[i];
    p->request.uses = p->uses;

    for (j = 0; j < p->request.nuses; j++) {
        tats[j] = p->uses[j].gcra.tat;
    }

    ngx_http_tsface_limit_disagree(&p->request, now);

    check(p->request.taken == 0, "%s", where);

    for (j = 0; j < p->request.nuses; j++) {
        z = p->uses[j].zone - zones;

        if (p->uses[j].full || p->uses[j].gcra.retry) {
            continue;
        }

        key = &models[z].keys[p->keys[j]];

        /* the last to come: as if it had not */

        if (key->n && model_tat(key) == tats[j]
            && key->at[key->n - 1] == p->until)
        {
            key->n--;
            models[z].returned++;
            returns++;

            check(p->uses[j].gcra.remaining
                  == model_remaining(key, &zones[z].gcra, now),
                  "%s: zone %lu remaining %lu", where, z,
                  p->uses[j].gcra.remaining);
        }
    }

    pending[i] = pending[--npending];
}


static void
ask(uint64_t now, const char *where)
{
    uint64_t                      at, retry;
    ngx_int_t                     rc, expected;
    ngx_uint_t                    z, j, n, who, blamed;
    model_key_t                  *key;
    model_use_t                   model[ZONES];
    ngx_http_tsface_limits_t      request;
    ngx_http_tsface_limit_use_t   uses[ZONES], *use;

    memset(&request, 0, sizeof(request));
    memset(uses, 0, sizeof(uses));

    who = below(2) ? below(3) : below(CALLERS);
    caller(&request.caller, who);

    n = 0;

    for (z = 0; z < ZONES; z++) {

        if (below(3) == 0) {
            continue;
        }

        uses[n].limit = &limits[z];
        uses[n].zone = &zones[z];
        uses[n].rate = &zones[z].gcra;
        uses[n].most = zones[z].most;

        model[n].key = below(2) ? below(3) : below(KEYS);
        digest(uses[n].digest, model[n].key);

        n++;
    }

    request.uses = uses;
    request.nuses = n;

    expected = NGX_OK;
    at = now;

    for (j = 0; j < n; j++) {
        z = uses[j].zone - zones;
        model_look(&model[j], z, now);

        if (limits[z].dry_run) {
            continue;
        }

        if (model[j].full) {
            expected = (expected == NGX_OK) ? NGX_ERROR : expected;

        } else if (model[j].retry) {
            expected = NGX_BUSY;

        } else if (now + model[j].wait > at) {
            at = now + model[j].wait;
        }
    }

    rc = ngx_http_tsface_limit_agree(&request, now);

    check(rc == expected, "%s: %ld, expected %ld", where, (long) rc,
          (long) expected);
    check(request.taken == (rc == NGX_OK), "%s: taken", where);
    check(request.until == (rc == NGX_OK && at > now ? at : 0), "%s: until %lu",
          where, (unsigned long) request.until);

    for (j = 0; j < n; j++) {
        use = &uses[j];
        z = use->zone - zones;
        key = &models[z].keys[model[j].key];
        blamed = 0;

        check(use->full == model[j].full, "%s: zone %lu full", where, z);

        if (model[j].full) {
            blamed = 1;
            models[z].full++;
            fulls++;

        } else {
            retry = model[j].retry;
            check(use->gcra.retry == retry, "%s: zone %lu retry %lu, not %lu",
                  where, z, (unsigned long) use->gcra.retry,
                  (unsigned long) retry);

            blamed = (retry != 0);

            if (retry == 0 && expected == NGX_OK) {
                model_put(key, at, zones[z].gcra.interval);

                check(use->gcra.wait == ngx_max(at - now, model[j].wait),
                      "%s: wait", where);
            }

            check(ngx_max(use->gcra.tat, now) == ngx_max(model_tat(key), now),
                  "%s: zone %lu tat", where, z);
            check(use->gcra.remaining
                  == model_remaining(key, &zones[z].gcra, now),
                  "%s: zone %lu remaining %lu", where, z, use->gcra.remaining);
            check(use->gcra.reset == (model_tat(key) > now
                                      ? model_tat(key) - now : 0),
                  "%s: zone %lu reset", where, z);
        }

        if (blamed) {
            models[z].decisions[limits[z].dry_run
                                ? NGX_HTTP_TSFACE_LIMIT_DRY_RUN
                                : NGX_HTTP_TSFACE_LIMIT_REFUSED]++;
            models[z].refusals[who]++;
            models[z].blamed++;

        } else if (expected == NGX_OK) {
            models[z].decisions[model[j].wait == 0
                                ? NGX_HTTP_TSFACE_LIMIT_ALLOWED
                                : limits[z].dry_run
                                ? NGX_HTTP_TSFACE_LIMIT_DRY_RUN
                                : NGX_HTTP_TSFACE_LIMIT_DELAYED]++;
        }
    }

    if (request.until && npending < PENDING) {
        pending[npending].request = request;
        pending[npending].until = request.until;
        memcpy(pending[npending].uses, uses, sizeof(uses));

        for (j = 0; j < n; j++) {
            pending[npending].keys[j] = model[j].key;
        }

        npending++;
    }
}


static int
by_time(const void *a, const void *b)
{
    uint64_t  x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}


/* However they were let in: in no time more than its share and the burst. */

static void
never_more(ngx_uint_t z, const char *where)
{
    ngx_uint_t               k, i, j;
    model_key_t             *key;
    ngx_http_tsface_gcra_t  *gcra;

    gcra = &zones[z].gcra;

    for (k = 0; k < KEYS; k++) {
        key = &models[z].keys[k];

        qsort(key->at, key->n, sizeof(uint64_t), by_time);

        for (i = 0; i < key->n; i++) {
            for (j = i; j < key->n; j++) {
                check(j - i + 1 <= gcra->burst + 1
                                   + (key->at[j] - key->at[i])
                                     / gcra->interval,
                      "%s: %lu requests of key %lu in zone %lu", where,
                      j - i + 1, k, z);
            }
        }
    }
}


static void
finish(ngx_uint_t z, const char *where)
{
    ngx_uint_t                        i, c, n;
    ngx_http_tsface_limit_top_t      *top;
    ngx_http_tsface_limit_table_t    *table;
    ngx_http_tsface_limit_caller_t    text;

    table = zones[z].table;

    for (i = 0; i < NGX_HTTP_TSFACE_LIMIT_NDECISIONS; i++) {
        check(table->decisions[i] == models[z].decisions[i],
              "%s: zone %lu, decision %lu: %lu, not %lu", where, z, i,
              table->decisions[i], models[z].decisions[i]);

        seen[i] += table->decisions[i];
    }

    check(table->full == models[z].full, "%s: no room", where);
    check(table->returned == models[z].returned, "%s: returned %lu, not %lu",
          where, table->returned, models[z].returned);
    check(table->top <= table->max, "%s: nodes", where);

    evictions += table->evicted;

    /* counts are never too low, and too high by error at most */

    for (c = 0; c < CALLERS; c++) {
        caller(&text, c);
        n = 0;

        for (i = 0; i < NGX_HTTP_TSFACE_LIMIT_NTOP; i++) {
            top = &table->refusals[i];

            if (top->count == 0 || top->caller.len != text.len
                || memcmp(top->caller.text, text.text, text.len) != 0)
            {
                continue;
            }

            n++;
            check(top->count >= models[z].refusals[c]
                  && top->count - top->error <= models[z].refusals[c],
                  "%s: %lu refusals, +-%lu, of %lu", where, top->count,
                  top->error, models[z].refusals[c]);
        }

        check(n <= 1, "%s: caller %lu is there %lu times", where, c, n);
        check(n == 1 || models[z].refusals[c] * NGX_HTTP_TSFACE_LIMIT_NTOP
                        <= models[z].blamed,
              "%s: caller %lu is missing, %lu of %lu", where, c,
              models[z].refusals[c], models[z].blamed);
    }
}


static void
traces(void)
{
    char        where[64];
    uint64_t    now, tat;
    ngx_uint_t  i, trace, step, z, rates;

    for (trace = 0; trace < TRACES; trace++) {

        start();
        now = 1 + below((uint64_t) 1 << 50);
        rates = (trace % 4 == 0);

        for (step = 0; step < STEPS; step++, steps++) {

            sprintf(where, "trace %lu, step %lu", (unsigned long) trace,
                    (unsigned long) step);

            switch (below(6)) {
            case 0:
            case 1:
                break;
            case 2:
                now += below(1000);
                break;
            case 3:
                /* when a key limits nobody any more, not a moment later */
                tat = model_tat(&models[below(ZONES)].keys[below(KEYS)]);
                now = ngx_max(now, tat);
                break;
            case 4:
                now += below(2 * zones[below(ZONES)].gcra.interval);
                break;
            default:
                now += below(100) ? 1 : 7200000000ULL;
            }

            if (below(200) == 0) {
                die(zones[below(ZONES)].table);
            }

            if (rates && below(100) == 0) {
                change_rate(below(ZONES));
                set_most();
                changed = 1;
            }

            for (i = npending; i > 0; i--) {

                if (pending[i - 1].until <= now) {
                    pending[i - 1] = pending[--npending];

                } else if (below(20) == 0 && !changed) {
                    leave(i - 1, now, where);
                }
            }

            ask(now, where);
        }

        for (z = 0; z < ZONES; z++) {
            finish(z, where);

            if (!changed && !limits[z].dry_run) {
                never_more(z, where);
            }
        }

        tap_free();
    }

    check(steps >= 100000, "steps %lu", steps);

    /* what is never tried is not tested */

    check(seen[NGX_HTTP_TSFACE_LIMIT_ALLOWED] > 10000
          && seen[NGX_HTTP_TSFACE_LIMIT_DELAYED] > 5000
          && seen[NGX_HTTP_TSFACE_LIMIT_REFUSED] > 10000
          && seen[NGX_HTTP_TSFACE_LIMIT_DRY_RUN] > 5000,
          "decisions %lu %lu %lu %lu", seen[0], seen[1], seen[2], seen[3]);
    check(fulls > 1000 && evictions > 500 && returns > 300 && deaths > 500
          && cuts > 100,
          "no room %lu, evictions %lu, returns %lu, deaths %lu, cuts %lu",
          fulls, evictions, returns, deaths, cuts);

    printf("# %lu steps, decisions %lu %lu %lu %lu, no room %lu, "
           "evictions %lu, returns %lu, deaths %lu, cuts %lu\n", steps,
           seen[0], seen[1], seen[2], seen[3], fulls, evictions, returns,
           deaths, cuts);

    done("random traces against a model of lists");
}


/*
 * Keys whose digests begin with the same 32 bits, or differ in few bits only:
 * somebody has searched for them, so that all requests would walk one chain.
 */

static void
chosen(void)
{
    u_char                          d[NGX_HTTP_TSFACE_LIMIT_KEY_LEN];
    size_t                          size;
    uint32_t                        n;
    ngx_uint_t                      i, j, s, set, len, longest;
    ngx_http_tsface_limit_table_t  *table;

    enum { MAX = 4096 };

    static const uint64_t  seeds[] = {
        0x9e3779b97f4a7c15ULL, 0xd1342543de82ef95ULL, 0x2545f4914f6cdd1dULL
    };

    size = offsetof(ngx_http_tsface_limit_table_t, nodes)
           + MAX * NGX_HTTP_TSFACE_LIMIT_KEY_SIZE;

    for (s = 0; s < 3 * 6; s++) {
        set = s / 3;

        table = (ngx_http_tsface_limit_table_t *) block(size);
        ngx_http_tsface_limit_table_init(table, size, seeds[s % 3]);

        memset(d, 0, sizeof(d));

        for (i = 0; i < MAX; i++) {
            d[set] = (u_char) i;
            d[set + 1] = (u_char) (i >> 8);

            check(ngx_http_tsface_limit_table_lookup(table, d) == NULL,
                  "set %lu, key %lu is not there", set, i);

            ngx_http_tsface_limit_table_store(table, NULL, d, i + 1);
        }

        longest = 0;
        len = 0;

        for (j = 0; j < MAX; j++) {
            for (i = 0, n = table->chains[j];
                 n != NGX_HTTP_TSFACE_LIMIT_NONE;
                 n = table->nodes[n].next)
            {
                i++;
            }

            len += i;
            longest = ngx_max(longest, i);
        }

        check(len == MAX, "set %lu: %lu of %d in chains", set, len, MAX);
        check(longest <= 32, "set %lu, seed %lu: a chain of %lu", set, s % 3,
              longest);

        tap_free();
    }

    done("keys that somebody has chosen are apart");
}


static void
names(void)
{
    char                             name[300];
    size_t                           i;
    ngx_str_t                        s;
    ngx_http_tsface_limit_caller_t   a, b;

    s = lit("CN=\"x\"\n\xff");
    ngx_http_tsface_limit_caller(&a, &s);
    check(a.len == 22
          && memcmp(a.text, "\"CN=\\\"x\\\"\\u000a\\ufffd\"", 22) == 0,
          "escaped: %.*s", a.len, a.text);

    memset(name, 'n', sizeof(name));

    for (i = 0; i <= sizeof(name); i++) {
        s = bytes(name, i);
        ngx_http_tsface_limit_caller(&a, &s);
        check(a.len <= sizeof(a.text) && a.text[0] == '"'
              && a.text[a.len - 1] == '"', "%zu bytes", i);
    }

    ngx_http_tsface_limit_caller(&a, &s);

    name[sizeof(name) - 1] = 'm';
    s = bytes(name, sizeof(name));
    ngx_http_tsface_limit_caller(&b, &s);

    check(a.len == b.len && memcmp(a.text, b.text, a.len) != 0,
          "alike but for their end: %.*s", a.len, a.text);

    ngx_http_tsface_limit_caller(&a, &s);
    check(memcmp(&a, &b, sizeof(a)) == 0, "the same");

    done("names of callers");
}


int
main(void)
{
    char  *seed;

    seed = getenv("TSFACE_SEED");

    tap_seed = seed ? strtoull(seed, NULL, 10)
                    : ((uint64_t) time(NULL) << 20) + (uint64_t) getpid();
    tap_seed |= (tap_seed == 0);

    printf("# TSFACE_SEED=%llu\n", (unsigned long long) tap_seed);

    names();
    chosen();
    traces();

    return tap_end();
}
