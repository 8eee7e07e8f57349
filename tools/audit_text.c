
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_text.h"
#include "ngx_http_tsface_record_text.h"


ngx_uint_t
tsface_audit_text_printable(uint32_t ch)
{
    return ch >= 0x20
           && (ch < 0x7f || ch > 0x9f)
           && ch != 0x061c                          /* Arabic letter mark */
           && (ch < 0x200b || ch > 0x200f)          /* no width; marks */
           && (ch < 0x2028 || ch > 0x202e)          /* lines; embeddings */
           && (ch < 0x2060 || ch > 0x206f)          /* isolates */
           && ch != 0xfeff;
}


uint32_t
tsface_audit_text_next(const u_char **p, const u_char *last)
{
    size_t    n;
    uint32_t  ch;

    n = ngx_http_tsface_record_utf8(*p, last - *p, &ch);

    if (n == 0) {
        n = 1;
        ch = 0;
    }

    *p += n;

    return ch;
}


void
tsface_audit_text_put(FILE *out, const u_char **p, const u_char *last)
{
    const u_char  *start;

    start = *p;

    if (tsface_audit_text_printable(tsface_audit_text_next(p, last))) {
        (void) fwrite(start, 1, *p - start, out);

    } else {
        (void) putc('?', out);
    }
}
