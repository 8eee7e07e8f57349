
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The keys that an auditor has, and which of them a chain is under now.
 */


#ifndef _TSFACE_AUDIT_KEYS_H_INCLUDED_
#define _TSFACE_AUDIT_KEYS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"


#define TSFACE_AUDIT_MAX_KEYS  16


typedef enum {
    TSFACE_AUDIT_KEY_OK = 0,
    TSFACE_AUDIT_KEY_CHANGED,      /* the MAC does not follow */
    TSFACE_AUDIT_KEY_UNKNOWN,      /* the record names a key that is not here */
    TSFACE_AUDIT_KEY_UNPROVEN      /* its key came without a proof */
} tsface_audit_key_e;


/* What the command line gave. */
typedef struct {
    ngx_http_tsface_record_key_t  *keys[TSFACE_AUDIT_MAX_KEYS];
    ngx_uint_t                     n;

    /* ids of keys that may come without a proof */
    u_char      accepted[TSFACE_AUDIT_MAX_KEYS][NGX_HTTP_TSFACE_RECORD_ID_LEN];
    ngx_uint_t                     naccepted;
} tsface_audit_keys_t;


/*
 * Where a chain is: begins as zeros but for keys.  A proven change goes from
 * latest to another key, which is latest then.  Workers that a reload has yet
 * to end still have the key before, and go back to it without a proof: to
 * that one only, and it can bring in no third.  With a proof it is the latest.
 */
typedef struct {
    const tsface_audit_keys_t     *keys;
    ngx_http_tsface_record_key_t  *current;    /* NULL: not known yet */
    ngx_http_tsface_record_key_t  *latest;
    ngx_http_tsface_record_key_t  *before;     /* that latest took over from */
    uint64_t                       changes;
    uint64_t                       stale;      /* records under before */
    uint64_t                       stale_seq;  /* of the last of them */
    u_char                         id[NGX_HTTP_TSFACE_RECORD_ID_LEN];
                                               /* of a fault's key */
} tsface_audit_keyring_t;


/* Whether line, with that seq, follows from mac.  There is a key. */
tsface_audit_key_e tsface_audit_keyring_next(tsface_audit_keyring_t *ring,
    const ngx_str_t *line, uint64_t seq, const u_char *mac);

/* The same for a line that has to be believed: which key may it be under? */
void tsface_audit_keyring_believe(tsface_audit_keyring_t *ring,
    const ngx_str_t *line);


#endif /* _TSFACE_AUDIT_KEYS_H_INCLUDED_ */
