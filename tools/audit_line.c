
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_line.h"


#define TSFACE_AUDIT_LINE_TIME  ",\"time\":\""
#define TSFACE_AUDIT_LINE_TYPE  "\",\"type\":\""


static void tsface_audit_line_text(const u_char *p, const u_char *last,
    ngx_str_t *value);


const u_char *
tsface_audit_line_time(const ngx_str_t *line)
{
    const u_char  *p;

    p = line->data + sizeof(NGX_HTTP_TSFACE_RECORD_HEAD) - 1;

    while (*p >= '0' && *p <= '9') {
        p++;
    }

    return p + sizeof(TSFACE_AUDIT_LINE_TIME) - 1;
}


void
tsface_audit_line_type(const ngx_str_t *line, ngx_str_t *type)
{
    const u_char  *p;

    p = tsface_audit_line_time(line) + TSFACE_AUDIT_TIME_LEN
        + sizeof(TSFACE_AUDIT_LINE_TYPE) - 1;

    tsface_audit_line_text(p, line->data + line->len, type);
}


/*
 * What is looked for begins with a comma and a quote, which are not together
 * within a string: there a quote has a backslash before it.
 */
void
tsface_audit_line_member(const ngx_str_t *line, const char *name,
    ngx_str_t *value)
{
    size_t         len;
    const u_char  *p;

    len = ngx_strlen(name);
    p = memmem(line->data, line->len, name, len);

    if (p == NULL) {
        ngx_str_null(value);
        return;
    }

    tsface_audit_line_text(p + len, line->data + line->len, value);
}


static void
tsface_audit_line_text(const u_char *p, const u_char *last, ngx_str_t *value)
{
    value->data = (u_char *) p;

    while (p < last && *p != '"') {
        p += (*p == '\\') ? 2 : 1;
    }

    value->len = (p < last ? p : last) - value->data;
}
