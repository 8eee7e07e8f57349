
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The files of a trail that are still there, the one that is written and those
 * that were renamed, and where in them a record is.  Blocks; system calls and
 * plain memory only.
 *
 * Files are told apart by their first record, not by their names: whatever
 * begins with PATH's name and holds a record at its beginning is a file of the
 * trail.  One that was compressed holds none.
 */


#ifndef _NGX_HTTP_TSFACE_SYSLOG_FILES_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SYSLOG_FILES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_mac.h"
#include "ngx_http_tsface_syslog_position.h"


typedef struct {
    char            *name;
    uint64_t         seq;       /* of its first record */
    uint64_t         size;
    ngx_uint_t       current;   /* its name is PATH */
    u_char           mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char           time[32];  /* its text, NUL-terminated */
} ngx_http_tsface_syslog_file_t;


/* Ordered by the time of the first record.  Starts as zeros. */
typedef struct {
    ngx_http_tsface_syslog_file_t   *elts;
    size_t                           n;
    size_t                           room;
} ngx_http_tsface_syslog_files_t;


/* Opens a file to read it, never through a link; -1: see errno. */
int ngx_http_tsface_syslog_files_open(const char *name);

/*
 * Reads the first record of an open file into file, but for name and size.
 * NGX_DECLINED: it doesn't begin with one.
 */
ngx_int_t ngx_http_tsface_syslog_files_first(int fd,
    ngx_http_tsface_syslog_file_t *file);

/*
 * Lists the files of the trail that path is the name of.  NGX_ERROR: see
 * errno.  Either way files is to be freed, or listed again.
 */
ngx_int_t ngx_http_tsface_syslog_files_list(const char *path,
    ngx_http_tsface_syslog_files_t *files);

void ngx_http_tsface_syslog_files_free(ngx_http_tsface_syslog_files_t *files);

/*
 * Opens the file in which the record after position is, or will be, and sets
 * position's file and offset to it.  Its seq stays, whatever the seq of that
 * record is; but if the trail was begun again, with another chain, it is 0.
 * Returns the descriptor; -1 if there is no such file, or it can't be opened.
 */
int ngx_http_tsface_syslog_files_find(
    const ngx_http_tsface_syslog_files_t *files,
    ngx_http_tsface_syslog_position_t *position);

/*
 * The same, when position is at the end of a file that nobody writes to any
 * more: the file after it.  That is one with a later time, or PATH itself, so
 * that it ends whatever the files hold.
 */
int ngx_http_tsface_syslog_files_next(
    const ngx_http_tsface_syslog_files_t *files,
    ngx_http_tsface_syslog_position_t *position);

/* The bytes in the files behind the one that position is in. */
uint64_t ngx_http_tsface_syslog_files_behind(
    const ngx_http_tsface_syslog_files_t *files,
    const ngx_http_tsface_syslog_position_t *position);


#endif /* _NGX_HTTP_TSFACE_SYSLOG_FILES_H_INCLUDED_ */
