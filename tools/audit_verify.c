
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <inttypes.h>

#include "audit.h"


static int tsface_audit_verify_fault(tsface_audit_chain_t *chain,
    tsface_audit_reader_t *reader, tsface_audit_fault_e fault);
static int tsface_audit_verify_signed(const tsface_audit_t *audit,
    const tsface_audit_chain_t *chain);
static int tsface_audit_verify_end(const tsface_audit_t *audit,
    const tsface_audit_chain_t *chain);


int
tsface_audit_verify(const tsface_audit_t *audit)
{
    int                    rc;
    ngx_str_t              line;
    tsface_audit_chain_t   chain;
    tsface_audit_fault_e   fault;
    tsface_audit_reader_e  what;
    tsface_audit_reader_t  reader;

    if (tsface_audit_reader_init(&reader, audit->files, audit->nfiles)
        != NGX_OK)
    {
        return tsface_audit_no_memory();
    }

    tsface_audit_progress_begin(&reader.progress, audit->progress,
                                audit->files, audit->nfiles);
    tsface_audit_begin(audit, &chain);

    for ( ;; ) {
        what = tsface_audit_reader_next(&reader, &line);

        if (what == TSFACE_AUDIT_FAILED) {
            rc = tsface_audit_unreadable(&reader);
            break;
        }

        if (what == TSFACE_AUDIT_END) {
            rc = tsface_audit_verify_end(audit, &chain);
            break;
        }

        fault = tsface_audit_chain_next(&chain, what, &line);

        if (fault != TSFACE_AUDIT_WHOLE) {
            rc = tsface_audit_verify_fault(&chain, &reader, fault);
            break;
        }
    }

    tsface_audit_reader_done(&reader);

    return rc;
}


static int
tsface_audit_verify_fault(tsface_audit_chain_t *chain,
    tsface_audit_reader_t *reader, tsface_audit_fault_e fault)
{
    u_char     mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    uint64_t   seq;
    ngx_str_t  line;

    tsface_audit_progress_erase(&reader->progress);
    tsface_audit_chain_report(stdout, chain, reader, fault);

    /* the record that is not there may be the next one */

    if (fault == TSFACE_AUDIT_MISSING
        && tsface_audit_reader_next(reader, &line) == TSFACE_AUDIT_LINE
        && ngx_http_tsface_record_parse_tail(&line, &seq, mac) == NGX_OK
        && seq == chain->wanted)
    {
        printf("%s:%" PRIu64 ": seq %" PRIu64 " is here: the two are swapped\n",
               reader->name, reader->number, seq);
    }

    printf("NOT WHOLE: %" PRIu64 " records are, up to this one\n",
           chain->records);

    return TSFACE_AUDIT_BROKEN;
}


static int
tsface_audit_verify_end(const tsface_audit_t *audit,
    const tsface_audit_chain_t *chain)
{
    const tsface_audit_mark_t  *mark;

    if (chain->records == 0) {
        printf("NOT WHOLE: there is no record\n");
        return TSFACE_AUDIT_BROKEN;
    }

    mark = tsface_audit_chain_unseen(chain);

    if (mark != NULL) {
        printf("NOT WHOLE: goes from seq %" PRIu64 " to %" PRIu64 ", but seq %"
               PRIu64 " was to be there\n", chain->first, chain->seq,
               mark->seq);
        return TSFACE_AUDIT_BROKEN;
    }

    if (tsface_audit_verify_signed(audit, chain) != TSFACE_AUDIT_OK) {
        return TSFACE_AUDIT_BROKEN;
    }

    if (chain->middle) {
        printf("begins in the middle: seq %" PRIu64 " itself, and what was "
               "before it, can't be checked\n", chain->first);
    }

    if (chain->ring.changes) {
        printf("keys:  changed %" PRIu64 " times\n", chain->ring.changes);
    }

    if (chain->ring.stale) {
        printf("keys:  %" PRIu64 " records by workers with the key before, "
               "the last is seq %" PRIu64 "\n", chain->ring.stale,
               chain->ring.stale_seq);
    }

    printf("whole: %" PRIu64 " records in %zu %s\n", chain->records,
           audit->nfiles, audit->nfiles == 1 ? "file" : "files");
    printf("first: seq %" PRIu64 "  %.*s\n", chain->first,
           TSFACE_AUDIT_TIME_LEN, chain->first_time);
    printf("last:  seq %" PRIu64 "  %.*s\n", chain->seq,
           TSFACE_AUDIT_TIME_LEN, chain->last_time);
    printf("mark:  %" PRIu64 ":%.*s\n", chain->seq,
           NGX_HTTP_TSFACE_RECORD_MAC_LEN, chain->mac);

    return TSFACE_AUDIT_OK;
}


static int
tsface_audit_verify_signed(const tsface_audit_t *audit,
    const tsface_audit_chain_t *chain)
{
    const tsface_audit_known_t  *known;

    if (audit->known && chain->trails == 0) {
        printf("NOT WHOLE: \"%s\" has no checkpoint of this trail\n",
               audit->known);
        return TSFACE_AUDIT_BROKEN;
    }

    known = tsface_audit_checkpoints_last(&audit->checkpoints, chain->cursor,
                                          chain->trails);

    if (known != NULL) {
        printf("NOT WHOLE: cut: a checkpoint of seq %" PRIu64 " is known, "
               "which is the one after it, and the trail ends at %" PRIu64 "\n",
               known->seq, chain->seq);
        return TSFACE_AUDIT_BROKEN;
    }

    if (audit->checkpoints.nkeys && chain->nsigned == 0) {
        printf("NOT WHOLE: goes from seq %" PRIu64 " to %" PRIu64 " without "
               "a checkpoint\n", chain->first, chain->seq);
        return TSFACE_AUDIT_BROKEN;
    }

    if (chain->nsigned) {
        printf("%s %" PRIu64 " checkpoints, up to seq %" PRIu64 "%s\n",
               audit->checkpoints.nkeys ? "signed:" : "there are",
               chain->nsigned, chain->last_signed,
               audit->checkpoints.nkeys ? ""
                                        : ": not checked, no --public-key");
    }

    return TSFACE_AUDIT_OK;
}
