
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit.h"
#include "audit_tree.h"


/* An attempt's name: both have limits of their own in a record. */
#define TSFACE_AUDIT_ATTEMPT_LEN  (NGX_HTTP_TSFACE_RECORD_MAX + 32)


typedef struct {
    const tsface_audit_t  *audit;
    tsface_audit_tree_t    open;     /* intents that nothing closed yet */
} tsface_audit_orphans_t;


static int tsface_audit_orphans_record(void *data,
    const tsface_audit_record_t *record, const ngx_str_t *line);
static int tsface_audit_orphans_print(tsface_audit_orphans_t *orphans);
static int tsface_audit_orphans_compare(const void *one, const void *two);


int
tsface_audit_orphans(const tsface_audit_t *audit)
{
    int                     rc;
    tsface_audit_orphans_t  orphans;

    ngx_memzero(&orphans, sizeof(tsface_audit_orphans_t));

    orphans.audit = audit;

    rc = tsface_audit_walk(audit, tsface_audit_orphans_record, &orphans);

    if (rc != TSFACE_AUDIT_USAGE
        && tsface_audit_orphans_print(&orphans) != TSFACE_AUDIT_OK)
    {
        rc = TSFACE_AUDIT_USAGE;
    }

    tsface_audit_tree_free(&orphans.open);

    return rc;
}


static int
tsface_audit_orphans_record(void *data, const tsface_audit_record_t *record,
    const ngx_str_t *line)
{
    int                      n;
    char                     text[TSFACE_AUDIT_ATTEMPT_LEN];
    ngx_str_t                key;
    ngx_uint_t               intent;
    const ngx_str_t         *id, *attempt;
    tsface_audit_node_t     *node;
    tsface_audit_orphans_t  *orphans = data;

    intent = tsface_audit_record_is(record, TSFACE_AUDIT_TYPE, "intent");

    if (!intent
        && !tsface_audit_record_is(record, TSFACE_AUDIT_TYPE, "outcome")
        && !tsface_audit_record_is(record, TSFACE_AUDIT_TYPE, "refusal"))
    {
        return TSFACE_AUDIT_OK;
    }

    id = &record->members[TSFACE_AUDIT_REQUEST_ID];
    attempt = &record->members[TSFACE_AUDIT_ATTEMPT];

    n = snprintf(text, sizeof(text), "%.*s/%.*s",
                 (int) id->len, id->len ? (char *) id->data : "",
                 (int) attempt->len, attempt->len ? (char *) attempt->data
                                                  : "");

    if (n < 0 || (size_t) n >= sizeof(text)) {
        return TSFACE_AUDIT_OK;
    }

    key.data = (u_char *) text;
    key.len = n;

    if (!intent) {
        tsface_audit_tree_remove(&orphans->open, &key);
        return TSFACE_AUDIT_OK;
    }

    if (!tsface_audit_matches(&orphans->audit->filter, record)) {
        return TSFACE_AUDIT_OK;
    }

    node = tsface_audit_tree_get(&orphans->open, &key);

    if (node == NULL || tsface_audit_tree_set(node, line) != NGX_OK) {
        return tsface_audit_no_memory();
    }

    node->number = strtoull((char *) line->data
                            + sizeof(NGX_HTTP_TSFACE_RECORD_HEAD) - 1,
                            NULL, 10);

    return TSFACE_AUDIT_OK;
}


static int
tsface_audit_orphans_print(tsface_audit_orphans_t *orphans)
{
    size_t                         i, n;
    ngx_str_t                     *line;
    tsface_audit_node_t          **nodes;
    static tsface_audit_record_t   record;

    n = orphans->open.n;

    nodes = tsface_audit_tree_sorted(&orphans->open,
                                     tsface_audit_orphans_compare);
    if (nodes == NULL && n) {
        return tsface_audit_no_memory();
    }

    if (n) {
        tsface_audit_emit_head(orphans->audit);
    }

    for (i = 0; i < n; i++) {
        line = &nodes[i]->value;

        if (tsface_audit_record_read(&record, line) == NGX_OK) {
            tsface_audit_emit(orphans->audit, &record, line);
        }
    }

    if (!orphans->audit->json) {
        printf("%zu orphan %s\n", n, n == 1 ? "intent" : "intents");
    }

    free(nodes);

    return TSFACE_AUDIT_OK;
}


static int
tsface_audit_orphans_compare(const void *one, const void *two)
{
    const tsface_audit_node_t  *a = *(tsface_audit_node_t *const *) one;
    const tsface_audit_node_t  *b = *(tsface_audit_node_t *const *) two;

    return (a->number > b->number) - (a->number < b->number);
}
