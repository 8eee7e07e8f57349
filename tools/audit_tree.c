
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <search.h>

#include "audit_tree.h"


static int tsface_audit_tree_compare(const void *one, const void *two);
static void tsface_audit_tree_free_node(void *data);
static void tsface_audit_tree_collect(const void *data, VISIT which, int depth);


/* twalk() has no argument to hand on. */
static tsface_audit_node_t  **tsface_audit_tree_next;


tsface_audit_node_t *
tsface_audit_tree_find(const tsface_audit_tree_t *tree, const ngx_str_t *key)
{
    tsface_audit_node_t  **found, look;

    look.key = *key;

    found = tfind(&look, &tree->root, tsface_audit_tree_compare);

    return found ? *found : NULL;
}


tsface_audit_node_t *
tsface_audit_tree_get(tsface_audit_tree_t *tree, const ngx_str_t *key)
{
    tsface_audit_node_t  *node;

    node = tsface_audit_tree_find(tree, key);
    if (node) {
        return node;
    }

    node = calloc(1, sizeof(tsface_audit_node_t) + key->len);
    if (node == NULL) {
        return NULL;
    }

    node->key.data = (u_char *) (node + 1);
    node->key.len = key->len;

    if (key->len) {
        ngx_memcpy(node->key.data, key->data, key->len);
    }

    if (tsearch(node, &tree->root, tsface_audit_tree_compare) == NULL) {
        free(node);
        return NULL;
    }

    tree->n++;

    return node;
}


ngx_int_t
tsface_audit_tree_set(tsface_audit_node_t *node, const ngx_str_t *value)
{
    u_char  *p;

    p = malloc(value->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    free(node->value.data);

    ngx_memcpy(p, value->data, value->len);

    node->value.data = p;
    node->value.len = value->len;

    return NGX_OK;
}


void
tsface_audit_tree_remove(tsface_audit_tree_t *tree, const ngx_str_t *key)
{
    tsface_audit_node_t  *node;

    node = tsface_audit_tree_find(tree, key);
    if (node == NULL) {
        return;
    }

    (void) tdelete(node, &tree->root, tsface_audit_tree_compare);
    tree->n--;

    tsface_audit_tree_free_node(node);
}


tsface_audit_node_t **
tsface_audit_tree_sorted(const tsface_audit_tree_t *tree,
    int (*compare)(const void *one, const void *two))
{
    tsface_audit_node_t  **nodes;

    if (tree->n == 0) {
        return NULL;
    }

    nodes = calloc(tree->n, sizeof(tsface_audit_node_t *));
    if (nodes == NULL) {
        return NULL;
    }

    tsface_audit_tree_next = nodes;
    twalk(tree->root, tsface_audit_tree_collect);

    qsort(nodes, tree->n, sizeof(tsface_audit_node_t *), compare);

    return nodes;
}


void
tsface_audit_tree_free(tsface_audit_tree_t *tree)
{
    tdestroy(tree->root, tsface_audit_tree_free_node);

    tree->root = NULL;
    tree->n = 0;
}


static int
tsface_audit_tree_compare(const void *one, const void *two)
{
    int                         rc;
    const tsface_audit_node_t  *a = one, *b = two;

    rc = memcmp(a->key.data, b->key.data, ngx_min(a->key.len, b->key.len));

    if (rc) {
        return rc;
    }

    return (a->key.len > b->key.len) - (a->key.len < b->key.len);
}


static void
tsface_audit_tree_free_node(void *data)
{
    tsface_audit_node_t  *node = data;

    free(node->value.data);
    free(node);
}


static void
tsface_audit_tree_collect(const void *data, VISIT which, int depth)
{
    if (which == postorder || which == leaf) {
        *tsface_audit_tree_next++ = *(tsface_audit_node_t *const *) data;
    }
}
