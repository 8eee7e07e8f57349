
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_limit_table.h"
#include "ngx_http_tsface_record_text.h"


/* microseconds between two messages for want of memory */
#define NGX_HTTP_TSFACE_LIMIT_REPORT   60000000

/* "#" and eight digits */
#define NGX_HTTP_TSFACE_LIMIT_HASH_LEN  9


static uint32_t *ngx_http_tsface_limit_table_chain(
    const ngx_http_tsface_limit_table_t *table, const u_char *digest);
static void ngx_http_tsface_limit_table_link(
    ngx_http_tsface_limit_table_t *table, uint32_t n);
static void ngx_http_tsface_limit_table_unlink(
    ngx_http_tsface_limit_table_t *table, uint32_t n);
static void ngx_http_tsface_limit_table_rise(
    ngx_http_tsface_limit_table_t *table, uint32_t n);
static void ngx_http_tsface_limit_table_sink(
    ngx_http_tsface_limit_table_t *table, uint32_t n);
static void ngx_http_tsface_limit_table_rebuild(
    ngx_http_tsface_limit_table_t *table);


void
ngx_http_tsface_limit_table_init(ngx_http_tsface_limit_table_t *table,
    size_t size, uint64_t seed)
{
    ngx_memzero(table, offsetof(ngx_http_tsface_limit_table_t, nodes));

    size -= offsetof(ngx_http_tsface_limit_table_t, nodes);

    table->max = ngx_min(size / NGX_HTTP_TSFACE_LIMIT_KEY_SIZE,
                         NGX_HTTP_TSFACE_LIMIT_NONE);

    table->seed = seed | 1;
    table->heap = (uint32_t *) &table->nodes[table->max];
    table->chains = table->heap + table->max;

    ngx_http_tsface_limit_table_rebuild(table);
}


ngx_uint_t
ngx_http_tsface_limit_table_enter(ngx_http_tsface_limit_table_t *table)
{
    if (!table->busy) {
        return 0;
    }

    ngx_http_tsface_limit_table_rebuild(table);

    return 1;
}


ngx_http_tsface_limit_node_t *
ngx_http_tsface_limit_table_lookup(ngx_http_tsface_limit_table_t *table,
    const u_char *digest)
{
    uint32_t                       n;
    ngx_http_tsface_limit_node_t  *ln;

    n = *ngx_http_tsface_limit_table_chain(table, digest);

    while (n != NGX_HTTP_TSFACE_LIMIT_NONE) {
        ln = &table->nodes[n];

        if (ngx_memcmp(digest, ln->digest, NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN)
            == 0)
        {
            return ln;
        }

        n = ln->next;
    }

    return NULL;
}


ngx_uint_t
ngx_http_tsface_limit_table_has_room(ngx_http_tsface_limit_table_t *table,
    uint64_t now)
{
    if (table->top < table->max) {
        return 1;
    }

    return table->nodes[table->heap[0]].tat <= now;
}


ngx_uint_t
ngx_http_tsface_limit_table_full(ngx_http_tsface_limit_table_t *table,
    uint64_t now)
{
    ngx_uint_t  refused;

    table->full++;
    table->refused++;

    if (table->reported != 0
        && (int64_t) (now - table->reported) < NGX_HTTP_TSFACE_LIMIT_REPORT)
    {
        return 0;
    }

    refused = table->refused;

    table->refused = 0;
    table->reported = now;

    return refused;
}


void
ngx_http_tsface_limit_table_store(ngx_http_tsface_limit_table_t *table,
    ngx_http_tsface_limit_node_t *ln, const u_char *digest, uint64_t tat)
{
    uint32_t  n;

    table->busy = 1;
    ngx_memory_barrier();

    if (ln != NULL) {
        n = ln - table->nodes;

    } else {

        if (table->top < table->max) {
            n = table->top;
            ln = &table->nodes[n];

            /* if this is all that becomes of it, it limits nobody */

            ln->tat = 0;
            ngx_memory_barrier();

            ln->place = n;
            table->heap[n] = n;

            table->top++;

        } else {
            n = table->heap[0];
            ln = &table->nodes[n];

            ngx_http_tsface_limit_table_unlink(table, n);

            table->evicted++;
        }

        ngx_memcpy(ln->digest, digest, NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN);

        ngx_http_tsface_limit_table_link(table, n);
    }

    ln->tat = tat;

    ngx_http_tsface_limit_table_rise(table, n);
    ngx_http_tsface_limit_table_sink(table, n);

    ngx_memory_barrier();
    table->busy = 0;
}


void
ngx_http_tsface_limit_caller(ngx_http_tsface_limit_caller_t *caller,
    const ngx_str_t *name)
{
    u_char         *p;
    size_t          i;
    uint32_t        hash;
    static u_char   xdigits[] = "0123456789abcdef";

    p = ngx_http_tsface_record_quoted(caller->text, name,
                                      NGX_HTTP_TSFACE_LIMIT_TEXT_LEN
                                      - NGX_HTTP_TSFACE_LIMIT_HASH_LEN);

    if (p - caller->text > 4
        && ngx_memcmp(p - 4, NGX_HTTP_TSFACE_RECORD_CUT "\"", 4) == 0)
    {
        /* FNV-1a; who finds a collision shares a count with somebody */

        hash = 2166136261u;

        for (i = 0; i < name->len; i++) {
            hash = (hash ^ name->data[i]) * 16777619u;
        }

        p[-1] = '#';

        for (i = 0; i < 8; i++, hash <<= 4) {
            *p++ = xdigits[hash >> 28];
        }

        *p++ = '"';
    }

    caller->len = (u_char) (p - caller->text);
}


void
ngx_http_tsface_limit_table_blame(ngx_http_tsface_limit_table_t *table,
    const ngx_http_tsface_limit_caller_t *caller)
{
    ngx_uint_t                    i, count;
    ngx_http_tsface_limit_top_t  *top, *least;

    least = &table->refusals[0];

    for (i = 0; i < NGX_HTTP_TSFACE_LIMIT_NTOP; i++) {
        top = &table->refusals[i];

        if (top->count
            && top->caller.len == caller->len
            && ngx_memcmp(top->caller.text, caller->text, caller->len) == 0)
        {
            top->count++;
            return;
        }

        if (top->count < least->count) {
            least = top;
        }
    }

    /* if the worker dies here the place is free, and not half of two names */

    count = least->count;

    least->count = 0;
    ngx_memory_barrier();

    least->error = count;
    least->caller = *caller;

    ngx_memory_barrier();
    least->count = count + 1;
}


/*
 * The head of a digest's chain.  Whoever chooses keys can search for some
 * whose digests begin alike, but not for some that meet here: for any two the
 * odds are 2 in max over all seeds, and the seed is secret (multiply-shift,
 * Dietzfelbinger et al., 1997).
 */

static uint32_t *
ngx_http_tsface_limit_table_chain(const ngx_http_tsface_limit_table_t *table,
    const u_char *digest)
{
    uint64_t  hash;

    ngx_memcpy(&hash, digest, sizeof(uint64_t));

    hash = hash * table->seed >> 32;

    return &table->chains[hash * table->max >> 32];
}


static void
ngx_http_tsface_limit_table_link(ngx_http_tsface_limit_table_t *table,
    uint32_t n)
{
    uint32_t                      *chain;
    ngx_http_tsface_limit_node_t  *ln;

    ln = &table->nodes[n];
    chain = ngx_http_tsface_limit_table_chain(table, ln->digest);

    ln->next = *chain;
    *chain = n;
}


static void
ngx_http_tsface_limit_table_unlink(ngx_http_tsface_limit_table_t *table,
    uint32_t n)
{
    uint32_t                      *p;
    ngx_http_tsface_limit_node_t  *ln;

    ln = &table->nodes[n];
    p = ngx_http_tsface_limit_table_chain(table, ln->digest);

    while (*p != n) {
        p = &table->nodes[*p].next;
    }

    *p = ln->next;
}


/* Towards the root of the heap, as far as it is less than who is there. */

static void
ngx_http_tsface_limit_table_rise(ngx_http_tsface_limit_table_t *table,
    uint32_t n)
{
    uint32_t                       place, parent;
    ngx_http_tsface_limit_node_t  *ln, *up;

    ln = &table->nodes[n];
    place = ln->place;

    while (place > 0) {
        parent = (place - 1) / 2;
        up = &table->nodes[table->heap[parent]];

        if (up->tat <= ln->tat) {
            break;
        }

        table->heap[place] = table->heap[parent];
        up->place = place;

        place = parent;
    }

    table->heap[place] = n;
    ln->place = place;
}


/* And away from it, as far as one of the two below is less. */

static void
ngx_http_tsface_limit_table_sink(ngx_http_tsface_limit_table_t *table,
    uint32_t n)
{
    ngx_uint_t                     place, child;
    ngx_http_tsface_limit_node_t  *ln, *down, *other;

    ln = &table->nodes[n];
    place = ln->place;

    for ( ;; ) {
        child = 2 * place + 1;

        if (child >= table->top) {
            break;
        }

        down = &table->nodes[table->heap[child]];

        if (child + 1 < table->top) {
            other = &table->nodes[table->heap[child + 1]];

            if (other->tat < down->tat) {
                down = other;
                child++;
            }
        }

        if (down->tat >= ln->tat) {
            break;
        }

        table->heap[place] = table->heap[child];
        down->place = place;

        place = child;
    }

    table->heap[place] = n;
    ln->place = place;
}


/*
 * Makes chains and heap from the nodes.  A node that was being handed over may
 * have a digest of no key: it is lost until its time has passed, which it has.
 */

static void
ngx_http_tsface_limit_table_rebuild(ngx_http_tsface_limit_table_t *table)
{
    ngx_uint_t  i;

    table->busy = 1;
    ngx_memory_barrier();

    for (i = 0; i < table->max; i++) {
        table->chains[i] = NGX_HTTP_TSFACE_LIMIT_NONE;
    }

    for (i = 0; i < table->top; i++) {
        ngx_http_tsface_limit_table_link(table, i);

        table->nodes[i].place = i;
        table->heap[i] = i;
    }

    for (i = table->top / 2; i > 0; i--) {
        ngx_http_tsface_limit_table_sink(table, table->heap[i - 1]);
    }

    ngx_memory_barrier();
    table->busy = 0;
}
