
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <inttypes.h>

#include "audit_chain.h"


#define TSFACE_AUDIT_TIME       ",\"time\":\""
#define TSFACE_AUDIT_TRUNCATED  ",\"reason\":\"truncated\",\"mac\":"


static tsface_audit_fault_e tsface_audit_chain_judge(
    const tsface_audit_chain_t *chain, const ngx_str_t *line, uint64_t seq);
static ngx_uint_t tsface_audit_chain_marked(tsface_audit_chain_t *chain,
    uint64_t seq, const u_char *mac);
static const u_char *tsface_audit_chain_time(const ngx_str_t *line);


tsface_audit_fault_e
tsface_audit_chain_next(tsface_audit_chain_t *chain,
    tsface_audit_reader_e what, const ngx_str_t *line)
{
    u_char                mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    uint64_t              seq;
    const u_char         *when;
    tsface_audit_fault_e  fault;

    chain->found = 0;
    chain->wanted = chain->seq + 1;

    if (what == TSFACE_AUDIT_TORN) {
        return TSFACE_AUDIT_HALF;
    }

    if (what == TSFACE_AUDIT_LONG) {
        return TSFACE_AUDIT_HUGE;
    }

    if (ngx_http_tsface_record_parse_tail(line, &seq, mac) != NGX_OK
        || seq == 0)
    {
        return TSFACE_AUDIT_FORM;
    }

    chain->found = seq;

    if (!chain->began && seq != 1) {

        /*
         * What its MAC was made of is not here: it has to be believed.  The
         * next record then proves it to be the one before.
         */

        chain->middle = 1;
        chain->wanted = seq;
        fault = TSFACE_AUDIT_WHOLE;

    } else {

        if (!chain->began) {
            chain->seq = 0;
            chain->wanted = 1;
            ngx_memset(chain->mac, '0', sizeof(chain->mac));
        }

        fault = tsface_audit_chain_judge(chain, line, seq);
    }

    if (fault == TSFACE_AUDIT_WHOLE
        && !tsface_audit_chain_marked(chain, seq, mac))
    {
        fault = TSFACE_AUDIT_OTHER;
    }

    chain->began = 1;
    chain->seq = seq;
    ngx_memcpy(chain->mac, mac, sizeof(mac));

    if (fault != TSFACE_AUDIT_WHOLE) {
        return fault;
    }

    when = tsface_audit_chain_time(line);

    if (chain->records++ == 0) {
        chain->first = seq;
        ngx_memcpy(chain->first_time, when, TSFACE_AUDIT_TIME_LEN);
    }

    ngx_memcpy(chain->last_time, when, TSFACE_AUDIT_TIME_LEN);

    return TSFACE_AUDIT_WHOLE;
}


static tsface_audit_fault_e
tsface_audit_chain_judge(const tsface_audit_chain_t *chain,
    const ngx_str_t *line, uint64_t seq)
{
    if (seq > chain->wanted) {
        return memmem(line->data, line->len, TSFACE_AUDIT_TRUNCATED,
                      sizeof(TSFACE_AUDIT_TRUNCATED) - 1)
               ? TSFACE_AUDIT_LOST : TSFACE_AUDIT_MISSING;
    }

    if (seq < chain->wanted) {
        return TSFACE_AUDIT_BACK;
    }

    if (chain->key != NULL
        && ngx_http_tsface_record_verify(line, chain->key, chain->mac)
           != NGX_OK)
    {
        return TSFACE_AUDIT_CHANGED;
    }

    return TSFACE_AUDIT_WHOLE;
}


/* Whether it may be the record that marks, if any, say it is. */
static ngx_uint_t
tsface_audit_chain_marked(tsface_audit_chain_t *chain, uint64_t seq,
    const u_char *mac)
{
    ngx_uint_t            i;
    tsface_audit_mark_t  *mark;

    for (i = 0; i < chain->nmarks; i++) {
        mark = &chain->marks[i];

        if (mark->seq != seq) {
            continue;
        }

        if (ngx_memcmp(mark->mac, mac, sizeof(mark->mac)) != 0) {
            return 0;
        }

        mark->seen = 1;
    }

    return 1;
}


const tsface_audit_mark_t *
tsface_audit_chain_unseen(const tsface_audit_chain_t *chain)
{
    ngx_uint_t  i;

    for (i = 0; i < chain->nmarks; i++) {
        if (!chain->marks[i].seen) {
            return &chain->marks[i];
        }
    }

    return NULL;
}


void
tsface_audit_chain_report(FILE *out, const tsface_audit_chain_t *chain,
    const tsface_audit_reader_t *reader, tsface_audit_fault_e fault)
{
    uint64_t  found, wanted;

    found = chain->found;
    wanted = chain->wanted;

    fprintf(out, "%s:%" PRIu64 ": ", reader->name, reader->number);

    if (found) {
        fprintf(out, "seq %" PRIu64 ": ", found);

    } else if (chain->began) {
        fprintf(out, "after seq %" PRIu64 ": ", wanted - 1);
    }

    switch (fault) {

    case TSFACE_AUDIT_WHOLE:
        fprintf(out, "whole");
        break;

    case TSFACE_AUDIT_HALF:
        fprintf(out, "torn: the line has no end (or it is being written)");
        break;

    case TSFACE_AUDIT_HUGE:
        fprintf(out, "not a record: the line is longer than %d bytes",
                NGX_HTTP_TSFACE_RECORD_MAX);
        break;

    case TSFACE_AUDIT_FORM:
        fprintf(out, "not a record");
        break;

    case TSFACE_AUDIT_MISSING:
    case TSFACE_AUDIT_LOST:
        fprintf(out, "missing: seq %" PRIu64, wanted);

        if (found - wanted > 1) {
            fprintf(out, " to %" PRIu64, found - 1);
        }

        fprintf(out, fault == TSFACE_AUDIT_LOST
                     ? ", as nginx noticed (\"truncated\")"
                     : " is not in front of it");
        break;

    case TSFACE_AUDIT_BACK:
        fprintf(out, "out of order: seq %" PRIu64 " was to follow (a record "
                "that was moved or is there twice)", wanted);
        break;

    case TSFACE_AUDIT_CHANGED:
        fprintf(out, "changed: its MAC does not follow from the key and the "
                "record before");
        break;

    case TSFACE_AUDIT_OTHER:
        fprintf(out, "not the record that was known by this seq");
        break;
    }

    if (reader->number == 1
        && (fault == TSFACE_AUDIT_MISSING || fault == TSFACE_AUDIT_BACK))
    {
        fprintf(out, "; are the files in their order, oldest first?");

    } else if (fault == TSFACE_AUDIT_CHANGED && chain->records == 0) {
        fprintf(out, "; is it the right key?");
    }

    fputc('\n', out);
}


/* The form was checked: it is behind the number. */
static const u_char *
tsface_audit_chain_time(const ngx_str_t *line)
{
    const u_char  *p;

    p = line->data + sizeof(NGX_HTTP_TSFACE_RECORD_HEAD) - 1;

    while (*p >= '0' && *p <= '9') {
        p++;
    }

    return p + sizeof(TSFACE_AUDIT_TIME) - 1;
}
