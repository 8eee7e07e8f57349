
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <inttypes.h>

#include "audit.h"


static ngx_uint_t tsface_audit_user(const tsface_audit_filter_t *filter,
    const tsface_audit_record_t *record);


void
tsface_audit_begin(const tsface_audit_t *audit, tsface_audit_chain_t *chain)
{
    ngx_memzero(chain, sizeof(tsface_audit_chain_t));

    chain->ring.keys = &audit->keys;
    chain->checkpoints = &audit->checkpoints;
    chain->nmarks = audit->nmarks;
    ngx_memcpy(chain->marks, audit->marks, sizeof(chain->marks));

    if (audit->after.seq) {
        chain->began = 1;
        chain->seq = audit->after.seq;
        ngx_memcpy(chain->mac, audit->after.mac, sizeof(chain->mac));

    } else if (audit->from_start) {
        chain->began = 1;
        ngx_memset(chain->mac, '0', sizeof(chain->mac));
    }
}


int
tsface_audit_walk(const tsface_audit_t *audit,
    tsface_audit_handler_pt handler, void *data)
{
    int                            rc, checked;
    uint64_t                       faults;
    ngx_str_t                      line;
    ngx_uint_t                     readable;
    tsface_audit_chain_t           chain;
    tsface_audit_fault_e           fault;
    tsface_audit_reader_e          what;
    tsface_audit_reader_t          reader;
    static tsface_audit_record_t   record;

    if (tsface_audit_reader_init(&reader, audit->files, audit->nfiles)
        != NGX_OK)
    {
        return tsface_audit_no_memory();
    }

    tsface_audit_progress_begin(&reader.progress, audit->progress,
                                audit->files, audit->nfiles);
    tsface_audit_begin(audit, &chain);

    rc = TSFACE_AUDIT_OK;
    faults = 0;

    for ( ;; ) {
        what = tsface_audit_reader_next(&reader, &line);

        if (what == TSFACE_AUDIT_FAILED) {
            rc = tsface_audit_unreadable(&reader);
            break;
        }

        if (what == TSFACE_AUDIT_END) {
            break;
        }

        fault = tsface_audit_take(&chain, what, &line, &record, &readable);

        if (fault != TSFACE_AUDIT_WHOLE && faults++ == 0) {
            tsface_audit_progress_erase(&reader.progress);
            fflush(stdout);
            tsface_audit_chain_report(stderr, &chain, &reader, fault);
        }

        if (readable) {
            rc = handler(data, &record, &line);

            if (rc != TSFACE_AUDIT_OK) {
                break;
            }
        }
    }

    tsface_audit_progress_erase(&reader.progress);
    fflush(stdout);

    if (rc == TSFACE_AUDIT_DONE) {
        fprintf(stderr, "--limit: what is behind was not read\n");
        rc = TSFACE_AUDIT_OK;
    }

    if (rc == TSFACE_AUDIT_OK || faults) {
        checked = tsface_audit_checked(audit, faults);
        rc = rc == TSFACE_AUDIT_OK ? checked : rc;
    }

    tsface_audit_reader_done(&reader);

    return rc;
}


tsface_audit_fault_e
tsface_audit_take(tsface_audit_chain_t *chain, tsface_audit_reader_e what,
    const ngx_str_t *line, tsface_audit_record_t *record,
    ngx_uint_t *readable)
{
    tsface_audit_fault_e  fault;

    fault = tsface_audit_chain_next(chain, what, line);

    *readable = chain->found
                && tsface_audit_record_read(record, line) == NGX_OK;

    if (fault == TSFACE_AUDIT_WHOLE && !*readable) {
        fault = TSFACE_AUDIT_FORM;
        chain->found = 0;
    }

    return fault;
}


int
tsface_audit_checked(const tsface_audit_t *audit, uint64_t faults)
{
    if (faults) {
        fprintf(stderr, "NOT WHOLE: the chain breaks in %" PRIu64 " places\n",
                faults);
        return TSFACE_AUDIT_BROKEN;
    }

    if (audit->keys.n == 0) {
        fprintf(stderr, "no --key: nothing was checked but the numbers\n");
    }

    return TSFACE_AUDIT_OK;
}


ngx_uint_t
tsface_audit_matches(const tsface_audit_filter_t *filter,
    const tsface_audit_record_t *record)
{
    size_t            len;
    ngx_uint_t        i;
    const ngx_str_t  *when;

    for (i = 0; i < TSFACE_AUDIT_MEMBERS; i++) {
        if (filter->members[i]
            && !tsface_audit_record_is(record, i, filter->members[i]))
        {
            return 0;
        }
    }

    /* of one form, times are in the order of their text */

    when = &record->members[TSFACE_AUDIT_TIME];

    if (filter->since) {
        len = ngx_strlen(filter->since);

        if (when->len < len || ngx_memcmp(when->data, filter->since, len) < 0)
        {
            return 0;
        }
    }

    if (filter->until) {
        len = ngx_strlen(filter->until);

        if (when->len < len || ngx_memcmp(when->data, filter->until, len) > 0)
        {
            return 0;
        }
    }

    return filter->user == NULL || tsface_audit_user(filter, record);
}


static ngx_uint_t
tsface_audit_user(const tsface_audit_filter_t *filter,
    const tsface_audit_record_t *record)
{
    ngx_uint_t        i;
    const ngx_str_t  *user;

    user = &record->user_hmac;

    if (user->data) {
        if (user->len != NGX_HTTP_TSFACE_RECORD_MAC_LEN) {
            return 0;
        }

        for (i = 0; i < filter->nuser_hmacs; i++) {
            if (ngx_memcmp(user->data, filter->user_hmac[i], user->len) == 0) {
                return 1;
            }
        }

        return 0;
    }

    user = &record->user_plain;

    return user->data != NULL
           && user->len == ngx_strlen(filter->user)
           && ngx_memcmp(user->data, filter->user, user->len) == 0;
}
