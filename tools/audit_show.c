
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit.h"


#define TSFACE_AUDIT_COLUMNS  "%-7s  %-23s  %-8s  %-32s  %-14s  %-18s  "     \
                              "%-6s  %-16s  %s\n"
#define TSFACE_AUDIT_SHORT    16     /* digits of a user's HMAC */


static int tsface_audit_show_record(void *data,
    const tsface_audit_record_t *record, const ngx_str_t *line);
static uint32_t tsface_audit_character(const u_char **p, const u_char *last);
static ngx_uint_t tsface_audit_printable(uint32_t ch);


int
tsface_audit_show(const tsface_audit_t *audit)
{
    if (!audit->json) {
        tsface_audit_heading();
    }

    return tsface_audit_walk(audit, tsface_audit_show_record, (void *) audit);
}


static int
tsface_audit_show_record(void *data, const tsface_audit_record_t *record,
    const ngx_str_t *line)
{
    const tsface_audit_t  *audit = data;

    if (!tsface_audit_matches(&audit->filter, record)) {
        return TSFACE_AUDIT_OK;
    }

    if (!audit->json) {
        tsface_audit_row(record);
        return TSFACE_AUDIT_OK;
    }

    (void) fwrite(line->data, 1, line->len, stdout);
    (void) putchar('\n');

    return TSFACE_AUDIT_OK;
}


void
tsface_audit_heading(void)
{
    printf(TSFACE_AUDIT_COLUMNS, "seq", "time", "type", "request_id",
           "operation", "result", "status", "user", "caller");
}


void
tsface_audit_row(const tsface_audit_record_t *record)
{
    ngx_str_t         text;
    const ngx_str_t  *members, *result;

    members = record->members;

    tsface_audit_print(&members[TSFACE_AUDIT_SEQ], 7);

    /* to the millisecond */

    text = members[TSFACE_AUDIT_TIME];
    text.len = ngx_min(text.len, 23);

    tsface_audit_print(&text, 23);
    tsface_audit_print(&members[TSFACE_AUDIT_TYPE], 8);
    tsface_audit_print(&members[TSFACE_AUDIT_REQUEST_ID], 32);
    tsface_audit_print(&members[TSFACE_AUDIT_OPERATION], 14);

    /* the reason says more than "refused" or "unknown" do */

    result = members[TSFACE_AUDIT_REASON].data
             ? &members[TSFACE_AUDIT_REASON]
             : &members[TSFACE_AUDIT_RESULT];

    if (result->data == NULL) {
        /* "refusals" have neither, but how many there were */
        result = &members[TSFACE_AUDIT_COUNT];
    }

    tsface_audit_print(result, 18);

    tsface_audit_print(&members[TSFACE_AUDIT_STATUS], 6);

    if (record->user_hmac.data) {
        text = record->user_hmac;
        text.len = ngx_min(text.len, TSFACE_AUDIT_SHORT);

    } else {
        text = record->user_plain;
    }

    tsface_audit_print(&text, 16);
    tsface_audit_print(&members[TSFACE_AUDIT_CALLER], 0);

    (void) putchar('\n');
}


/*
 * A record may say what a caller wrote.  What moves the cursor, colours the
 * screen or turns the direction of writing becomes a "?".
 */
void
tsface_audit_print(const ngx_str_t *text, int width)
{
    int            n;
    const u_char  *p, *start, *last;

    n = 0;
    p = text->data;
    last = text->len ? p + text->len : p;

    while (p < last) {
        start = p;
        n++;

        if (tsface_audit_printable(tsface_audit_character(&p, last))) {
            (void) fwrite(start, 1, p - start, stdout);

        } else {
            (void) putchar('?');
        }
    }

    if (width) {
        printf("%*s  ", n < width ? width - n : 0, "");
    }
}


/* The next character; 0, and one byte, if it isn't UTF-8. */
static uint32_t
tsface_audit_character(const u_char **p, const u_char *last)
{
    size_t         n, i;
    uint32_t       ch;
    ngx_str_t      text;
    const u_char  *start;

    start = *p;
    ch = *start;

    if (ch < 0x80) {
        (*p)++;
        return ch;
    }

    n = ch >= 0xf0 ? 4 : ch >= 0xe0 ? 3 : 2;

    text.data = (u_char *) start;
    text.len = n;

    if ((size_t) (last - start) < n || !ngx_http_tsface_utf8_valid(&text, 0)) {
        (*p)++;
        return 0;
    }

    ch &= 0x7f >> n;

    for (i = 1; i < n; i++) {
        ch = (ch << 6) | (start[i] & 0x3f);
    }

    *p = start + n;

    return ch;
}


static ngx_uint_t
tsface_audit_printable(uint32_t ch)
{
    return ch >= 0x20
           && (ch < 0x7f || ch > 0x9f)
           && ch != 0x061c                          /* Arabic letter mark */
           && (ch < 0x200b || ch > 0x200f)          /* no width; marks */
           && (ch < 0x2028 || ch > 0x202e)          /* lines; embeddings */
           && (ch < 0x2060 || ch > 0x206f)          /* isolates */
           && ch != 0xfeff;
}
