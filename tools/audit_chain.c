
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <inttypes.h>

#include "audit_chain.h"


static tsface_audit_fault_e tsface_audit_chain_judge(
    tsface_audit_chain_t *chain, const ngx_str_t *line, uint64_t seq);
static tsface_audit_fault_e tsface_audit_chain_checkpoint(
    tsface_audit_chain_t *chain, const ngx_str_t *line);
static ngx_uint_t tsface_audit_chain_marked(tsface_audit_chain_t *chain,
    uint64_t seq, const u_char *mac);


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
        tsface_audit_keyring_believe(&chain->ring, line);
        fault = TSFACE_AUDIT_WHOLE;

    } else {

        if (!chain->began) {
            chain->seq = 0;
            chain->wanted = 1;
            ngx_memset(chain->mac, '0', sizeof(chain->mac));
        }

        fault = tsface_audit_chain_judge(chain, line, seq);
    }

    if (fault == TSFACE_AUDIT_WHOLE) {
        fault = tsface_audit_chain_checkpoint(chain, line);
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

        /* what is not there may have brought in another key */

        chain->ring.current = NULL;

        return fault;
    }

    when = tsface_audit_line_time(line);

    if (chain->records++ == 0) {
        chain->first = seq;
        ngx_memcpy(chain->first_time, when, TSFACE_AUDIT_TIME_LEN);
    }

    ngx_memcpy(chain->last_time, when, TSFACE_AUDIT_TIME_LEN);

    return TSFACE_AUDIT_WHOLE;
}


static tsface_audit_fault_e
tsface_audit_chain_judge(tsface_audit_chain_t *chain, const ngx_str_t *line,
    uint64_t seq)
{
    ngx_str_t  reason;

    if (seq > chain->wanted) {
        tsface_audit_line_get(line, "reason", &reason);

        return tsface_audit_line_is(&reason, "truncated")
               ? TSFACE_AUDIT_LOST : TSFACE_AUDIT_MISSING;
    }

    if (seq < chain->wanted) {
        return TSFACE_AUDIT_BACK;
    }

    if (chain->ring.keys->n == 0) {
        return TSFACE_AUDIT_WHOLE;
    }

    switch (tsface_audit_keyring_next(&chain->ring, line, seq, chain->mac)) {

    case TSFACE_AUDIT_KEY_CHANGED:
        return TSFACE_AUDIT_CHANGED;

    case TSFACE_AUDIT_KEY_UNKNOWN:
        return TSFACE_AUDIT_NO_KEY;

    case TSFACE_AUDIT_KEY_UNPROVEN:
        return TSFACE_AUDIT_UNPROVEN;

    default: /* TSFACE_AUDIT_KEY_OK */
        return TSFACE_AUDIT_WHOLE;
    }
}


/* If it is one, it must be of the record before, and signed. */
static tsface_audit_fault_e
tsface_audit_chain_checkpoint(tsface_audit_chain_t *chain,
    const ngx_str_t *line)
{
    ngx_str_t                   text;
    tsface_audit_mark_t         mark;
    tsface_audit_checkpoint_e   rc;

    /*
     * A trail may get another name, and the first record may only be
     * believed: so it is of all the names that it ever had.
     */

    chain->trails |= tsface_audit_checkpoints_of(chain->checkpoints, line);

    rc = tsface_audit_checkpoint(chain->checkpoints, line, &text);

    if (rc == TSFACE_AUDIT_CHECKPOINT_FORM) {
        return TSFACE_AUDIT_WHOLE;
    }

    if (tsface_audit_mark_read(&mark, text.data, text.len) != NGX_OK) {
        return TSFACE_AUDIT_FORGED;
    }

    /* before the first record of these files there may be any */

    if (chain->began
        && (mark.seq != chain->seq
            || ngx_memcmp(mark.mac, chain->mac, sizeof(mark.mac)) != 0))
    {
        return TSFACE_AUDIT_MOVED;
    }

    if (chain->checkpoints->nkeys) {

        if (rc == TSFACE_AUDIT_CHECKPOINT_SIGNER) {
            return TSFACE_AUDIT_SIGNED;
        }

        if (rc != TSFACE_AUDIT_CHECKPOINT_OK) {
            return TSFACE_AUDIT_FORGED;
        }
    }

    chain->nsigned++;
    chain->last_signed = mark.seq;

    return TSFACE_AUDIT_WHOLE;
}


ngx_int_t
tsface_audit_mark_read(tsface_audit_mark_t *mark, const u_char *text,
    size_t len)
{
    u_char        ch;
    size_t        i;
    uint64_t      digit;
    const u_char *last;

    last = text + len;
    mark->seq = 0;
    mark->seen = 0;

    if (len == 0 || *text == '0') {
        return NGX_DECLINED;
    }

    for ( /* void */ ; text < last && *text >= '0' && *text <= '9'; text++) {
        digit = *text - '0';

        if (mark->seq > (UINT64_MAX - digit) / 10) {
            return NGX_DECLINED;
        }

        mark->seq = mark->seq * 10 + digit;
    }

    if (mark->seq == 0
        || (size_t) (last - text) != 1 + sizeof(mark->mac)
        || *text++ != ':')
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < sizeof(mark->mac); i++) {
        ch = text[i];

        if ((ch < '0' || ch > '9') && (ch < 'a' || ch > 'f')) {
            return NGX_DECLINED;
        }

        mark->mac[i] = ch;
    }

    return NGX_OK;
}


/* Whether it may be the record that marks, if any, say it is. */
static ngx_uint_t
tsface_audit_chain_marked(tsface_audit_chain_t *chain, uint64_t seq,
    const u_char *mac)
{
    ngx_uint_t            i;
    tsface_audit_mark_t  *mark;

    if (!tsface_audit_checkpoints_match(chain->checkpoints, &chain->cursor,
                                        chain->trails, seq, mac))
    {
        return 0;
    }

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

    case TSFACE_AUDIT_NO_KEY:
        fprintf(out, "is under the key with the id %.*s: give it with "
                "another --key", NGX_HTTP_TSFACE_RECORD_ID_LEN,
                chain->ring.id);
        break;

    case TSFACE_AUDIT_UNPROVEN:
        fprintf(out, "another key, with the id %.*s, and no proof that who "
                "brought it in had the one before (if you know that it is "
                "so: --accept-key %.*s)",
                NGX_HTTP_TSFACE_RECORD_ID_LEN, chain->ring.id,
                NGX_HTTP_TSFACE_RECORD_ID_LEN, chain->ring.id);
        break;

    case TSFACE_AUDIT_OTHER:
        fprintf(out, "not the record that was known by this seq");
        break;

    case TSFACE_AUDIT_SIGNED:
        fprintf(out, "a checkpoint that is not signed with a --public-key "
                "that was given");
        break;

    case TSFACE_AUDIT_FORGED:
        fprintf(out, "a checkpoint whose signature is wrong");
        break;

    case TSFACE_AUDIT_MOVED:
        fprintf(out, "a checkpoint of another place than it is in");
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
