
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The text of a record: strings that can't leave their quotes, numbers, time.
 * Each function that writes does so at p, and returns where it ended.
 */


#ifndef _NGX_HTTP_TSFACE_RECORD_TEXT_H_INCLUDED_
#define _NGX_HTTP_TSFACE_RECORD_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* what stands for the rest of something cut: U+2026, three bytes */
#define NGX_HTTP_TSFACE_RECORD_CUT          "\xe2\x80\xa6"

#define NGX_HTTP_TSFACE_RECORD_TYPE         "\"type\":\""

#define ngx_http_tsface_record_len(literal)  (sizeof(literal) - 1)

#define ngx_http_tsface_record_put(p, literal)                                \
    ngx_cpymem(p, literal, sizeof(literal) - 1)


/*
 * A JSON string of at most limit bytes between its quotes, whatever bytes
 * value has; a longer one is cut and ends in U+2026.
 */
u_char *ngx_http_tsface_record_quoted(u_char *p, const ngx_str_t *value,
    size_t limit);

/* At most 20 digits. */
u_char *ngx_http_tsface_record_decimal(u_char *p, uint64_t n);

/* Two digits for each of the len bytes. */
u_char *ngx_http_tsface_record_hex(u_char *p, const u_char *bytes, size_t len);

/*
 * usec since the epoch as 27 characters in UTC, "2026-11-24T20:19:05.421818Z";
 * NULL beyond the year 9999.
 */
u_char *ngx_http_tsface_record_time(u_char *p, uint64_t usec);

/*
 * The length of the character at p, of which len bytes (not 0) can be read,
 * and what it is; 0 if there is none in valid UTF-8.
 */
size_t ngx_http_tsface_record_utf8(const u_char *p, size_t len,
    uint32_t *code);


#endif /* _NGX_HTTP_TSFACE_RECORD_TEXT_H_INCLUDED_ */
