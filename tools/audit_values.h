
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The values of options.
 */


#ifndef _TSFACE_AUDIT_VALUES_H_INCLUDED_
#define _TSFACE_AUDIT_VALUES_H_INCLUDED_


#include "audit.h"


/*
 * Each returns TSFACE_AUDIT_OK, or says on stderr what is wrong and returns
 * the exit code.
 */

/* SEQ:MAC */
int tsface_audit_mark(tsface_audit_mark_t *mark, const char *text);

/* Adds the mark that the file PATH.chain holds. */
int tsface_audit_chain_end(tsface_audit_t *audit, const char *name);

/* The beginning of a record's time: at least the year. */
int tsface_audit_time(const char **when, const char *text);

/* In decimal, max at most. */
int tsface_audit_number(uint64_t *n, const char *text, uint64_t max);

/* Never OK. */
int tsface_audit_bad(const char *what, const char *value);


#endif /* _TSFACE_AUDIT_VALUES_H_INCLUDED_ */
