
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Lines out of files, one file after the other, in constant memory: nothing
 * that is in a file makes it take more.
 */


#ifndef _TSFACE_AUDIT_READER_H_INCLUDED_
#define _TSFACE_AUDIT_READER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_progress.h"


typedef enum {
    TSFACE_AUDIT_LINE = 0,
    TSFACE_AUDIT_TORN,        /* a last line without LF */
    TSFACE_AUDIT_LONG,        /* of more bytes than a record has; passed over */
    TSFACE_AUDIT_WAIT,        /* for more of the last file: see "wait" */
    TSFACE_AUDIT_END,         /* of the last file */
    TSFACE_AUDIT_FAILED       /* name, and err, an errno */
} tsface_audit_reader_e;


/* Private but for name, number, err, ready, wait and progress. */
typedef struct {
    char                  **names;
    size_t                  nnames;
    size_t                  next;
    const char             *name;      /* of the file that is read */
    uint64_t                number;    /* of the line, from 1 */
    int                     err;
    int                     fd;
    int                     ready;     /* -1, or opened for the next name */
    uint64_t                offset;    /* in the file, of what is at last */
    tsface_audit_progress_t progress;

    /*
     * The last file may grow: its end is a WAIT instead of an END, and half a
     * line is not told of, but read again from its beginning the next time.
     */
    unsigned                wait:1;

    unsigned                eof:1;
    unsigned                skip:1;    /* what is left of a long line */
    u_char                 *buf;
    u_char                 *pos;
    u_char                 *last;
} tsface_audit_reader_t;


/*
 * names stay while it reads; "-" is the standard input.  NGX_ERROR: no
 * memory.
 */
ngx_int_t tsface_audit_reader_init(tsface_audit_reader_t *reader,
    char **names, size_t nnames);

/* line, without its LF, is good until the next call. */
tsface_audit_reader_e tsface_audit_reader_next(tsface_audit_reader_t *reader,
    ngx_str_t *line);

/* The file that is read, or could not be opened, once more from its start. */
void tsface_audit_reader_again(tsface_audit_reader_t *reader);

void tsface_audit_reader_done(tsface_audit_reader_t *reader);


#endif /* _TSFACE_AUDIT_READER_H_INCLUDED_ */
