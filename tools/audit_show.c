
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit.h"
#include "audit_text.h"


#define TSFACE_AUDIT_COLUMNS  "%-7s  %-23s  %-8s  %-32s  %-14s  %-18s  "     \
                              "%-6s  %-16s  %s\n"
#define TSFACE_AUDIT_SHORT    16     /* digits of a user's HMAC */


typedef struct {
    const tsface_audit_t  *audit;
    uint64_t               n;        /* that were shown */
} tsface_audit_show_t;


static void tsface_audit_heading(void);
static void tsface_audit_row(const tsface_audit_record_t *record);
static int tsface_audit_show_record(void *data,
    const tsface_audit_record_t *record, const ngx_str_t *line);


int
tsface_audit_show(const tsface_audit_t *audit)
{
    tsface_audit_show_t  show;

    show.audit = audit;
    show.n = 0;

    tsface_audit_emit_head(audit);

    return tsface_audit_walk(audit, tsface_audit_show_record, &show);
}


static int
tsface_audit_show_record(void *data, const tsface_audit_record_t *record,
    const ngx_str_t *line)
{
    tsface_audit_show_t  *show = data;

    if (!tsface_audit_matches(&show->audit->filter, record)) {
        return TSFACE_AUDIT_OK;
    }

    tsface_audit_emit(show->audit, record, line);

    return ++show->n == show->audit->limit ? TSFACE_AUDIT_DONE
                                           : TSFACE_AUDIT_OK;
}


void
tsface_audit_emit_head(const tsface_audit_t *audit)
{
    if (audit->format) {

        if (audit->format->head) {
            audit->format->head(stdout);
        }

    } else if (!audit->json) {
        tsface_audit_heading();
    }
}


void
tsface_audit_emit(const tsface_audit_t *audit,
    const tsface_audit_record_t *record, const ngx_str_t *line)
{
    static tsface_audit_event_t  event;

    if (audit->format) {
        tsface_audit_event_read(&event, record);
        audit->format->event(stdout, &event);

    } else if (audit->json) {
        (void) fwrite(line->data, 1, line->len, stdout);
        (void) putchar('\n');

    } else {
        tsface_audit_row(record);
    }
}


static void
tsface_audit_heading(void)
{
    printf(TSFACE_AUDIT_COLUMNS, "seq", "time", "type", "request_id",
           "operation", "result", "status", "user", "caller");
}


static void
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
    const u_char  *p, *last;

    n = 0;
    p = text->data;
    last = text->len ? p + text->len : p;

    while (p < last) {
        tsface_audit_text_put(stdout, &p, last);
        n++;
    }

    if (width) {
        printf("%*s  ", n < width ? width - n : 0, "");
    }
}
