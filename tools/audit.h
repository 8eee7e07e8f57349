
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * tsface-audit: what its commands share.
 */


#ifndef _TSFACE_AUDIT_H_INCLUDED_
#define _TSFACE_AUDIT_H_INCLUDED_


#include "audit_chain.h"
#include "audit_export.h"
#include "audit_progress.h"
#include "audit_reader.h"
#include "audit_record.h"


/* exit codes */
#define TSFACE_AUDIT_OK      0
#define TSFACE_AUDIT_BROKEN  1
#define TSFACE_AUDIT_USAGE   2     /* or a file that can't be read */

/* from a handler only: it has seen enough */
#define TSFACE_AUDIT_DONE    3


/* What a record is to be like; NULL: anything. */
typedef struct {
    const char                     *members[TSFACE_AUDIT_MEMBERS];
    const char                     *since;     /* beginnings of a time */
    const char                     *until;
    const char                     *user;

    /* of the user's id, under each of the keys */
    u_char                          user_hmac[TSFACE_AUDIT_MAX_KEYS]
                                             [NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    ngx_uint_t                      nuser_hmacs;
} tsface_audit_filter_t;


/* The command line. */
typedef struct {
    tsface_audit_keys_t             keys;
    tsface_audit_checkpoints_t      checkpoints;
    char                           *known;     /* file of them, or NULL */
    char                          **files;
    size_t                          nfiles;
    tsface_audit_filter_t           filter;
    tsface_audit_mark_t             after;     /* seq 0: none */
    tsface_audit_mark_t             marks[TSFACE_AUDIT_MAX_MARKS];
    ngx_uint_t                      nmarks;
    const tsface_audit_format_t    *format;    /* NULL: the table, or json */
    uint64_t                        limit;     /* of records; 0: none */
    uint64_t                        lines;     /* before those that follow */
    tsface_audit_progress_e         progress;
    unsigned                        from_start:1;
    unsigned                        json:1;
} tsface_audit_t;


/* Returns TSFACE_AUDIT_OK, DONE or an exit code to stop with. */
typedef int (*tsface_audit_handler_pt)(void *data,
    const tsface_audit_record_t *record, const ngx_str_t *line);

/* Each returns an exit code. */
int tsface_audit_verify(const tsface_audit_t *audit);
int tsface_audit_show(const tsface_audit_t *audit);
int tsface_audit_follow(const tsface_audit_t *audit);
int tsface_audit_orphans(const tsface_audit_t *audit);
int tsface_audit_stats(const tsface_audit_t *audit);

/*
 * What is wrong with the next line, of the chain or as a record.  readable:
 * record is what it says, whatever is wrong with its place.
 */
tsface_audit_fault_e tsface_audit_take(tsface_audit_chain_t *chain,
    tsface_audit_reader_e what, const ngx_str_t *line,
    tsface_audit_record_t *record, ngx_uint_t *readable);

/*
 * Hands each record that is one to handler, and checks the chain while it
 * passes, if there is a key: the first fault, and the number of them, are
 * told on stderr.  A fault does not stop it, since somebody has to look.
 */
int tsface_audit_walk(const tsface_audit_t *audit,
    tsface_audit_handler_pt handler, void *data);

/* Says on stderr how that ended, and returns the exit code. */
int tsface_audit_checked(const tsface_audit_t *audit, uint64_t faults);

/* What a chain begins with by the command line. */
void tsface_audit_begin(const tsface_audit_t *audit,
    tsface_audit_chain_t *chain);

ngx_uint_t tsface_audit_matches(const tsface_audit_filter_t *filter,
    const tsface_audit_record_t *record);

/*
 * One record in the format that was asked for, to the standard output, and
 * what is in front of the first one.
 */
void tsface_audit_emit_head(const tsface_audit_t *audit);
void tsface_audit_emit(const tsface_audit_t *audit,
    const tsface_audit_record_t *record, const ngx_str_t *line);

/* Of untrusted text, what a terminal can take. */
void tsface_audit_print(const ngx_str_t *text, int width);

/* Says on stderr that there is none, and returns the exit code. */
int tsface_audit_no_memory(void);
int tsface_audit_unreadable(const tsface_audit_reader_t *reader);


#endif /* _TSFACE_AUDIT_H_INCLUDED_ */
