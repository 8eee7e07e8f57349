
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Follows the chain of a trail from record to record, and says where and how
 * it breaks.
 */


#ifndef _TSFACE_AUDIT_CHAIN_H_INCLUDED_
#define _TSFACE_AUDIT_CHAIN_H_INCLUDED_


#include "audit_checkpoint.h"
#include "audit_keys.h"
#include "audit_line.h"
#include "audit_reader.h"
#include "ngx_http_tsface_record.h"


#define TSFACE_AUDIT_MAX_MARKS  2


typedef enum {
    TSFACE_AUDIT_WHOLE = 0,
    TSFACE_AUDIT_HALF,         /* no LF: torn, or being written */
    TSFACE_AUDIT_HUGE,
    TSFACE_AUDIT_FORM,         /* not a record */
    TSFACE_AUDIT_MISSING,      /* seq leaves some out */
    TSFACE_AUDIT_LOST,         /* the same, but nginx had noticed */
    TSFACE_AUDIT_BACK,         /* seq does not go on */
    TSFACE_AUDIT_CHANGED,      /* the MAC does not follow */
    TSFACE_AUDIT_NO_KEY,       /* it is under a key that is not here */
    TSFACE_AUDIT_UNPROVEN,     /* a key that nobody with the old brought in */
    TSFACE_AUDIT_OTHER,        /* not the record that a mark tells of */
    TSFACE_AUDIT_SIGNED,       /* a checkpoint by a key that is not here */
    TSFACE_AUDIT_FORGED,       /* a checkpoint whose signature is wrong */
    TSFACE_AUDIT_MOVED         /* a checkpoint of another place */
} tsface_audit_fault_e;


/* A place in a chain that is known from elsewhere. */
typedef struct {
    uint64_t                        seq;
    u_char                          mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    unsigned                        seen:1;
} tsface_audit_mark_t;


/*
 * ring.keys, began, seq, mac, marks and checkpoints are set by whom it belongs
 * to.
 */
typedef struct {
    tsface_audit_keyring_t          ring;      /* no keys: form and seq only */
    uint64_t                        seq;       /* of the record before */
    u_char                          mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    unsigned                        began:1;   /* seq and mac are known */
    unsigned                        middle:1;  /* begins with a later record */

    tsface_audit_mark_t             marks[TSFACE_AUDIT_MAX_MARKS];
    ngx_uint_t                      nmarks;

    /* without keys, those of the trail are counted only */
    const tsface_audit_checkpoints_t  *checkpoints;
    size_t                          cursor;    /* in those that are known */
    uint64_t                        nsigned;
    uint64_t                        last_signed;   /* what the last is of */
    uint64_t                        trails;    /* bits: those it is of */

    uint64_t                        records;   /* those that are whole */
    uint64_t                        first;
    u_char                          first_time[TSFACE_AUDIT_TIME_LEN];
    u_char                          last_time[TSFACE_AUDIT_TIME_LEN];

    /* of a fault: the seq that the record has, 0 if none, and was to have */
    uint64_t                        found;
    uint64_t                        wanted;
} tsface_audit_chain_t;


/*
 * Takes the next line, which the reader gave as "what".  After a fault the
 * chain goes on from that line, if it is a record: who wants the first fault
 * only stops there.
 */
tsface_audit_fault_e tsface_audit_chain_next(tsface_audit_chain_t *chain,
    tsface_audit_reader_e what, const ngx_str_t *line);

/* SEQ:MAC; NGX_DECLINED: text has not that form. */
ngx_int_t tsface_audit_mark_read(tsface_audit_mark_t *mark,
    const u_char *text, size_t len);

/* The first mark that no record was, or NULL. */
const tsface_audit_mark_t *tsface_audit_chain_unseen(
    const tsface_audit_chain_t *chain);

/* One line that says which record is wrong, and how. */
void tsface_audit_chain_report(FILE *out, const tsface_audit_chain_t *chain,
    const tsface_audit_reader_t *reader, tsface_audit_fault_e fault);


#endif /* _TSFACE_AUDIT_CHAIN_H_INCLUDED_ */
