
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Signed checkpoints: those in a trail, and those that were kept in a second
 * place, which a trail has to have.
 */


#ifndef _TSFACE_AUDIT_CHECKPOINT_H_INCLUDED_
#define _TSFACE_AUDIT_CHECKPOINT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_record_sign.h"


#define TSFACE_AUDIT_MAX_SIGNERS  16
#define TSFACE_AUDIT_MAX_TRAILS   64     /* that share a second place */
#define TSFACE_AUDIT_TRAIL_LEN    64


typedef enum {
    TSFACE_AUDIT_CHECKPOINT_OK = 0,
    TSFACE_AUDIT_CHECKPOINT_FORM,      /* not a checkpoint */
    TSFACE_AUDIT_CHECKPOINT_SIGNER,    /* of a key that is not here */
    TSFACE_AUDIT_CHECKPOINT_FORGED     /* its signature is wrong */
} tsface_audit_checkpoint_e;


/* A record that a checkpoint of the second place is of. */
typedef struct {
    uint64_t                        seq;
    u_char                          mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    ngx_uint_t                      trail;     /* number of its name */
} tsface_audit_known_t;


/* What the command line gave, and what is known by it.  Begins as zeros. */
typedef struct {
    EVP_PKEY                       *keys[TSFACE_AUDIT_MAX_SIGNERS];
    u_char                          ids[TSFACE_AUDIT_MAX_SIGNERS]
                                       [NGX_HTTP_TSFACE_RECORD_SIGNER_LEN];
    ngx_uint_t                      nkeys;

    tsface_audit_known_t           *known;     /* sorted by seq */
    size_t                          nknown;
    size_t                          size;

    u_char                          names[TSFACE_AUDIT_MAX_TRAILS]
                                         [TSFACE_AUDIT_TRAIL_LEN];
    size_t                          lens[TSFACE_AUDIT_MAX_TRAILS];
    ngx_uint_t                      nnames;
} tsface_audit_checkpoints_t;


/*
 * Takes a public key in PEM from the file.  NGX_DECLINED: it has none for
 * Ed25519, or too many were given; NGX_ERROR: errno.
 */
ngx_int_t tsface_audit_checkpoints_key(tsface_audit_checkpoints_t *cp,
    const char *name);

void tsface_audit_checkpoints_free(tsface_audit_checkpoints_t *cp);

/*
 * Whether line, which is a record, is a checkpoint signed with one of the
 * keys.  mark is set to the SEQ:MAC that it is of, if it has the form.
 */
tsface_audit_checkpoint_e tsface_audit_checkpoint(
    const tsface_audit_checkpoints_t *cp, const ngx_str_t *line,
    ngx_str_t *mark);

/*
 * Reads what is in a second place, after all keys.  Lines that are no
 * checkpoints are passed over, and told on stderr.  Returns an exit code;
 * what is forged is told on stdout.
 */
int tsface_audit_checkpoints_read(tsface_audit_checkpoints_t *cp, char *name);

/*
 * The trail that a record is of, as a bit; 0: no checkpoint of a trail of that
 * name is known.
 */
uint64_t tsface_audit_checkpoints_of(const tsface_audit_checkpoints_t *cp,
    const ngx_str_t *line);

/*
 * Whether a record of one of these trails, bits all, may be what is known by
 * its seq.  Call it for all records in their order, with a cursor that begins
 * as 0.
 */
ngx_uint_t tsface_audit_checkpoints_match(
    const tsface_audit_checkpoints_t *cp, size_t *cursor, uint64_t trails,
    uint64_t seq, const u_char *mac);

/*
 * After the last record, which a checkpoint must not be of, as it is a record
 * itself: the last that is; NULL: none.
 */
const tsface_audit_known_t *tsface_audit_checkpoints_last(
    const tsface_audit_checkpoints_t *cp, size_t cursor, uint64_t trails);


#endif /* _TSFACE_AUDIT_CHECKPOINT_H_INCLUDED_ */
