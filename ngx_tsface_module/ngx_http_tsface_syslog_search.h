
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Records in a file of a trail, which is open.  Blocks; system calls and plain
 * memory only.
 */


#ifndef _NGX_HTTP_TSFACE_SYSLOG_SEARCH_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SYSLOG_SEARCH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog_message.h"


/*
 * The line that p begins.  NGX_DECLINED: it is no record, and line->data is
 * NULL if it has no end.
 */
ngx_int_t ngx_http_tsface_syslog_search_line(u_char *p, u_char *last,
    ngx_str_t *line, ngx_http_tsface_syslog_record_t *record);

/* NGX_OK: the line in front of offset is the record of that seq and mac. */
ngx_int_t ngx_http_tsface_syslog_search_check(int fd, uint64_t offset,
    uint64_t seq, const u_char *mac);

/*
 * Looks for a record by its seq.  NGX_OK: mac is its mac, *offset is behind
 * it.  NGX_AGAIN: it is not there, *offset is where records after it begin.
 * NGX_DECLINED: nor are they, *offset is the end of the last line.
 */
ngx_int_t ngx_http_tsface_syslog_search(int fd, uint64_t seq, u_char *mac,
    uint64_t *offset);


#endif /* _NGX_HTTP_TSFACE_SYSLOG_SEARCH_H_INCLUDED_ */
