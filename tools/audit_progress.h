
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * How far the reading has come, on one line of the standard error that is
 * written over and in the end erased.
 */


#ifndef _TSFACE_AUDIT_PROGRESS_H_INCLUDED_
#define _TSFACE_AUDIT_PROGRESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    TSFACE_AUDIT_PROGRESS_OFF = 0,
    TSFACE_AUDIT_PROGRESS_LATE,     /* if it takes longer than half a second */
    TSFACE_AUDIT_PROGRESS_FORCED
} tsface_audit_progress_e;


/* Private.  All zero: off. */
typedef struct {
    tsface_audit_progress_e   mode;
    uint64_t                  done;      /* bytes */
    uint64_t                  total;     /* 0: not known */
    uint64_t                  started;   /* milliseconds of a clock */
    uint64_t                  drawn;
    unsigned                  shown:1;
} tsface_audit_progress_t;


/* Looks up the sizes of the files that will be read. */
void tsface_audit_progress_begin(tsface_audit_progress_t *progress,
    tsface_audit_progress_e mode, char *const *names, size_t nnames);

void tsface_audit_progress_add(tsface_audit_progress_t *progress, size_t n);

/* Before anything else is written to a terminal, and at the end. */
void tsface_audit_progress_erase(tsface_audit_progress_t *progress);


#endif /* _TSFACE_AUDIT_PROGRESS_H_INCLUDED_ */
