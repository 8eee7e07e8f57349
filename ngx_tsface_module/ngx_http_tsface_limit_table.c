
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


static uint32_t ngx_http_tsface_limit_table_hash(const u_char *d);
static void ngx_http_tsface_limit_table_rebuild(
    ngx_http_tsface_limit_table_t *table);
static void ngx_http_tsface_limit_table_insert_key(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static void ngx_http_tsface_limit_table_insert_tat(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static void ngx_http_tsface_limit_table_link(ngx_rbtree_node_t **p,
    ngx_rbtree_node_t *parent, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel);


void
ngx_http_tsface_limit_table_init(ngx_http_tsface_limit_table_t *table,
    size_t size)
{
    ngx_memzero(table, offsetof(ngx_http_tsface_limit_table_t, nodes));

    table->max = (size - offsetof(ngx_http_tsface_limit_table_t, nodes))
                 / sizeof(ngx_http_tsface_limit_node_t);

    ngx_http_tsface_limit_table_rebuild(table);
}


ngx_uint_t
ngx_http_tsface_limit_table_enter(ngx_http_tsface_limit_table_t *table)
{
    /*
     * Functions are where this process has them; the last to write here may
     * have had the module at another address.
     */

    table->keys.insert = ngx_http_tsface_limit_table_insert_key;
    table->tats.insert = ngx_http_tsface_limit_table_insert_tat;

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
    uint32_t                       hash;
    ngx_int_t                      rc;
    ngx_rbtree_node_t             *node, *sentinel;
    ngx_http_tsface_limit_node_t  *ln;

    hash = ngx_http_tsface_limit_table_hash(digest);

    node = table->keys.root;
    sentinel = table->keys.sentinel;

    while (node != sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_key);

        rc = ngx_memcmp(digest, ln->digest, NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN);

        if (rc == 0) {
            return ln;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


ngx_uint_t
ngx_http_tsface_limit_table_has_room(ngx_http_tsface_limit_table_t *table,
    uint64_t now)
{
    ngx_rbtree_node_t             *node;
    ngx_http_tsface_limit_node_t  *ln;

    if (table->top < table->max) {
        return 1;
    }

    node = ngx_rbtree_min(table->tats.root, table->tats.sentinel);
    ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_tat);

    return ln->tat <= now;
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
    ngx_rbtree_node_t  *node;

    table->busy = 1;
    ngx_memory_barrier();

    if (ln != NULL) {
        ngx_rbtree_delete(&table->tats, &ln->by_tat);

    } else {

        if (table->top < table->max) {
            ln = &table->nodes[table->top];

            /* if this is all that becomes of it, it limits nobody */

            ln->tat = 0;
            ngx_memory_barrier();

            table->top++;

        } else {
            node = ngx_rbtree_min(table->tats.root, table->tats.sentinel);
            ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_tat);

            ngx_rbtree_delete(&table->tats, &ln->by_tat);
            ngx_rbtree_delete(&table->keys, &ln->by_key);

            table->evicted++;
        }

        ngx_memcpy(ln->digest, digest, NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN);

        ln->by_key.key = ngx_http_tsface_limit_table_hash(digest);
        ngx_rbtree_insert(&table->keys, &ln->by_key);
    }

    ln->tat = tat;
    ngx_rbtree_insert(&table->tats, &ln->by_tat);

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


static uint32_t
ngx_http_tsface_limit_table_hash(const u_char *d)
{
    return (uint32_t) d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];
}


/*
 * Makes both trees from the nodes.  A node that was being handed over may have
 * a digest of no key: it is lost until its time has passed, which it has.
 */

static void
ngx_http_tsface_limit_table_rebuild(ngx_http_tsface_limit_table_t *table)
{
    ngx_uint_t                     i;
    ngx_http_tsface_limit_node_t  *ln;

    table->busy = 1;
    ngx_memory_barrier();

    ngx_rbtree_init(&table->keys, &table->keys_sentinel,
                    ngx_http_tsface_limit_table_insert_key);
    ngx_rbtree_init(&table->tats, &table->tats_sentinel,
                    ngx_http_tsface_limit_table_insert_tat);

    for (i = 0; i < table->top; i++) {
        ln = &table->nodes[i];

        ln->by_key.key = ngx_http_tsface_limit_table_hash(ln->digest);

        ngx_rbtree_insert(&table->keys, &ln->by_key);
        ngx_rbtree_insert(&table->tats, &ln->by_tat);
    }

    ngx_memory_barrier();
    table->busy = 0;
}


static void
ngx_http_tsface_limit_table_insert_key(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t             **p;
    ngx_http_tsface_limit_node_t   *ln, *lnt;

    ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_key);

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            lnt = ngx_rbtree_data(temp, ngx_http_tsface_limit_node_t, by_key);

            p = (ngx_memcmp(ln->digest, lnt->digest,
                            NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN)
                 < 0) ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    ngx_http_tsface_limit_table_link(p, temp, node, sentinel);
}


/* Not ngx_rbtree_insert_value(): a node's key may have 32 bits only. */

static void
ngx_http_tsface_limit_table_insert_tat(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t             **p;
    ngx_http_tsface_limit_node_t   *ln, *lnt;

    ln = ngx_rbtree_data(node, ngx_http_tsface_limit_node_t, by_tat);

    for ( ;; ) {
        lnt = ngx_rbtree_data(temp, ngx_http_tsface_limit_node_t, by_tat);

        p = (ln->tat < lnt->tat) ? &temp->left : &temp->right;

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    ngx_http_tsface_limit_table_link(p, temp, node, sentinel);
}


/* What each function that inserts ends with: node is at *p, below parent. */

static void
ngx_http_tsface_limit_table_link(ngx_rbtree_node_t **p,
    ngx_rbtree_node_t *parent, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    *p = node;
    node->parent = parent;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}
