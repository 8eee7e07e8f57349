
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <inttypes.h>

#include "audit.h"
#include "audit_tree.h"


/*
 * Of different values of one member, and of their bytes: others are counted as
 * one, so that no trail takes more than some 30 MB.  The gateway writes no
 * value that is as long.
 */
#define TSFACE_AUDIT_MAX_VALUES  10000
#define TSFACE_AUDIT_MAX_VALUE   512
#define TSFACE_AUDIT_OTHERS      "(others)"
#define TSFACE_AUDIT_COUNTS      4

/* as a result: refusals that "refusals" records stand for */
#define TSFACE_AUDIT_COUNTED     "refused (counted)"


typedef struct {
    const char             *name;
    tsface_audit_member_e   member;
    unsigned                once:1;    /* in records with a result */
    tsface_audit_tree_t     values;
} tsface_audit_count_t;


typedef struct {
    const tsface_audit_t   *audit;
    uint64_t                records;
    u_char                  first[TSFACE_AUDIT_TIME_LEN];
    u_char                  last[TSFACE_AUDIT_TIME_LEN];
    tsface_audit_count_t    counts[TSFACE_AUDIT_COUNTS];
} tsface_audit_stats_t;


static int tsface_audit_stats_record(void *data,
    const tsface_audit_record_t *record, const ngx_str_t *line);
static int tsface_audit_stats_print(tsface_audit_stats_t *stats);
static int tsface_audit_stats_compare(const void *one, const void *two);


int
tsface_audit_stats(const tsface_audit_t *audit)
{
    int                          rc;
    ngx_uint_t                   i;
    static tsface_audit_stats_t  stats = {
        .counts = {
            { "type", TSFACE_AUDIT_TYPE, 0, { NULL, 0 } },
            { "result", TSFACE_AUDIT_RESULT, 1, { NULL, 0 } },
            { "operation", TSFACE_AUDIT_OPERATION, 1, { NULL, 0 } },
            { "caller", TSFACE_AUDIT_CALLER, 1, { NULL, 0 } }
        }
    };

    stats.audit = audit;

    rc = tsface_audit_walk(audit, tsface_audit_stats_record, &stats);

    if (rc != TSFACE_AUDIT_USAGE
        && tsface_audit_stats_print(&stats) != TSFACE_AUDIT_OK)
    {
        rc = TSFACE_AUDIT_USAGE;
    }

    for (i = 0; i < TSFACE_AUDIT_COUNTS; i++) {
        tsface_audit_tree_free(&stats.counts[i].values);
    }

    return rc;
}


static int
tsface_audit_stats_record(void *data, const tsface_audit_record_t *record,
    const ngx_str_t *line)
{
    uint64_t               n;
    ngx_str_t              value;
    ngx_uint_t             i, result;
    const ngx_str_t       *when;
    tsface_audit_node_t   *node;
    tsface_audit_count_t  *count;
    tsface_audit_stats_t  *stats = data;

    if (!tsface_audit_matches(&stats->audit->filter, record)) {
        return TSFACE_AUDIT_OK;
    }

    when = &record->members[TSFACE_AUDIT_TIME];

    if (when->len == TSFACE_AUDIT_TIME_LEN) {

        if (stats->records == 0) {
            ngx_memcpy(stats->first, when->data, TSFACE_AUDIT_TIME_LEN);
        }

        ngx_memcpy(stats->last, when->data, TSFACE_AUDIT_TIME_LEN);
    }

    stats->records++;

    /* an attempt has two records, and only the second has a result */

    result = (record->members[TSFACE_AUDIT_RESULT].data != NULL);

    for (i = 0; i < TSFACE_AUDIT_COUNTS; i++) {
        count = &stats->counts[i];
        value = record->members[count->member];

        if (value.data == NULL || (count->once && !result)) {
            continue;
        }

        if (value.len > TSFACE_AUDIT_MAX_VALUE
            || (count->values.n >= TSFACE_AUDIT_MAX_VALUES
                && tsface_audit_tree_find(&count->values, &value) == NULL))
        {
            ngx_str_set(&value, TSFACE_AUDIT_OTHERS);
        }

        node = tsface_audit_tree_get(&count->values, &value);
        if (node == NULL) {
            return tsface_audit_no_memory();
        }

        node->number++;
    }

    if (tsface_audit_record_is(record, TSFACE_AUDIT_TYPE, "refusals")) {

        ngx_str_set(&value, TSFACE_AUDIT_COUNTED);

        node = tsface_audit_tree_get(&stats->counts[1].values, &value);
        if (node == NULL) {
            return tsface_audit_no_memory();
        }

        if (tsface_audit_json_whole(&record->members[TSFACE_AUDIT_COUNT], &n)
            == NGX_OK)
        {
            node->number += n;
        }
    }

    return TSFACE_AUDIT_OK;
}


static int
tsface_audit_stats_print(tsface_audit_stats_t *stats)
{
    size_t                  j;
    ngx_uint_t              i;
    tsface_audit_node_t   **nodes;
    tsface_audit_count_t   *count;

    printf("records    %" PRIu64 "\n", stats->records);

    if (stats->records) {
        printf("first      %.*s\n", TSFACE_AUDIT_TIME_LEN, stats->first);
        printf("last       %.*s\n", TSFACE_AUDIT_TIME_LEN, stats->last);
    }

    for (i = 0; i < TSFACE_AUDIT_COUNTS; i++) {
        count = &stats->counts[i];

        if (count->values.n == 0) {
            continue;
        }

        nodes = tsface_audit_tree_sorted(&count->values,
                                         tsface_audit_stats_compare);
        if (nodes == NULL) {
            return tsface_audit_no_memory();
        }

        for (j = 0; j < count->values.n; j++) {
            printf("%-9s  %10" PRIu64 "  ", count->name, nodes[j]->number);
            tsface_audit_print(&nodes[j]->key, 0);
            (void) putchar('\n');
        }

        free(nodes);
    }

    return TSFACE_AUDIT_OK;
}


/* The most first. */
static int
tsface_audit_stats_compare(const void *one, const void *two)
{
    const tsface_audit_node_t  *a = *(tsface_audit_node_t *const *) one;
    const tsface_audit_node_t  *b = *(tsface_audit_node_t *const *) two;

    return (a->number < b->number) - (a->number > b->number);
}
