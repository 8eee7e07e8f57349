
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Members of a line in the form that the gateway writes, without reading all
 * of its JSON: enough, and fast enough, to follow a chain.
 */


#ifndef _TSFACE_AUDIT_LINE_H_INCLUDED_
#define _TSFACE_AUDIT_LINE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"


#define TSFACE_AUDIT_TIME_LEN   27


/*
 * line must have been taken by ngx_http_tsface_record_parse_tail(): both are
 * in the places that it looked at.
 */
const u_char *tsface_audit_line_time(const ngx_str_t *line);
void tsface_audit_line_type(const ngx_str_t *line, ngx_str_t *type);

#define tsface_audit_line_is(type, literal)                                   \
    ((type)->len == sizeof(literal) - 1                                       \
     && ngx_memcmp((type)->data, literal, sizeof(literal) - 1) == 0)

/*
 * The text of a member that has one, as it is written, and NULL if there is
 * none.  name is a literal.
 */
#define tsface_audit_line_get(line, name, value)                              \
    tsface_audit_line_member(line, ",\"" name "\":\"", value)

/* name with its punctuation: `,"reason":"`. */
void tsface_audit_line_member(const ngx_str_t *line, const char *name,
    ngx_str_t *value);


#endif /* _TSFACE_AUDIT_LINE_H_INCLUDED_ */
