
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A map from bytes to a number and more bytes.  Balanced (it is tsearch(3)),
 * so that no choice of keys makes it slow.
 */


#ifndef _TSFACE_AUDIT_TREE_H_INCLUDED_
#define _TSFACE_AUDIT_TREE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_str_t   key;
    ngx_str_t   value;
    uint64_t    number;
} tsface_audit_node_t;


typedef struct {
    void       *root;
    size_t      n;
} tsface_audit_tree_t;


/* The node with that key, or NULL. */
tsface_audit_node_t *tsface_audit_tree_find(const tsface_audit_tree_t *tree,
    const ngx_str_t *key);

/* The same, made with number 0 if there is none; NULL: no memory. */
tsface_audit_node_t *tsface_audit_tree_get(tsface_audit_tree_t *tree,
    const ngx_str_t *key);

/* NGX_ERROR: no memory, and the old value stays. */
ngx_int_t tsface_audit_tree_set(tsface_audit_node_t *node,
    const ngx_str_t *value);

void tsface_audit_tree_remove(tsface_audit_tree_t *tree,
    const ngx_str_t *key);

/*
 * All nodes, sorted by compare, as qsort() does; NULL: no memory, or there is
 * none.  The caller frees the array; the tree keeps the nodes.
 */
tsface_audit_node_t **tsface_audit_tree_sorted(
    const tsface_audit_tree_t *tree,
    int (*compare)(const void *one, const void *two));

void tsface_audit_tree_free(tsface_audit_tree_t *tree);


#endif /* _TSFACE_AUDIT_TREE_H_INCLUDED_ */
