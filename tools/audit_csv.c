
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * RFC 4180, for spreadsheets, which take some text for a formula.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_export.h"
#include "audit_text.h"


#define TSFACE_AUDIT_CSV_COLUMNS                                              \
    (sizeof(tsface_audit_csv_columns) / sizeof(tsface_audit_csv_columns[0]))


typedef struct {
    const char             *name;
    tsface_audit_member_e   member;    /* MEMBERS: by offset, in the event */
    size_t                  offset;
} tsface_audit_csv_column_t;


static void tsface_audit_csv_cell(FILE *out, const ngx_str_t *text);


#define tsface_audit_column(name, member)                                     \
    { name, TSFACE_AUDIT_##member, 0 }
#define tsface_audit_column_of(name, field)                                   \
    { name, TSFACE_AUDIT_MEMBERS, offsetof(tsface_audit_event_t, field) }


static const tsface_audit_csv_column_t  tsface_audit_csv_columns[] = {
    tsface_audit_column("seq", SEQ),
    tsface_audit_column("time", TIME),
    tsface_audit_column("type", TYPE),
    tsface_audit_column("trail", TRAIL),
    tsface_audit_column("host", HOST),
    tsface_audit_column("pid", PID),
    tsface_audit_column("request_id", REQUEST_ID),
    tsface_audit_column("attempt", ATTEMPT),
    tsface_audit_column("caller", CALLER),
    tsface_audit_column("operation", OPERATION),
    tsface_audit_column("credentials", CREDENTIALS),
    tsface_audit_column("region", REGION),
    tsface_audit_column("endpoint", ENDPOINT),
    tsface_audit_column("client_addr", CLIENT_ADDR),
    tsface_audit_column("server", SERVER),
    tsface_audit_column("method", METHOD),
    tsface_audit_column("uri", URI),
    tsface_audit_column_of("user_hmac", user_hmac),
    tsface_audit_column_of("user_plain", user_plain),
    tsface_audit_column_of("members", members),
    tsface_audit_column_of("token_kind", token_kind),
    tsface_audit_column_of("token_generation", token_generation),
    tsface_audit_column_of("token_fingerprint", token_fingerprint),
    tsface_audit_column("result", RESULT),
    tsface_audit_column("reason", REASON),
    tsface_audit_column("status", STATUS),
    tsface_audit_column("upstream_status", UPSTREAM_STATUS),
    tsface_audit_column("upstream_addr", UPSTREAM_ADDR),
    tsface_audit_column("sent", SENT),
    tsface_audit_column("duration_ms", DURATION_MS),
    tsface_audit_column("count", COUNT),
    tsface_audit_column("first", FIRST),
    tsface_audit_column("last", LAST),
    tsface_audit_column("trace_id", TRACE_ID),
    tsface_audit_column("parent_id", PARENT_ID),
    tsface_audit_column("mac", MAC)
};


void
tsface_audit_csv_head(FILE *out)
{
    ngx_uint_t  i;

    for (i = 0; i < TSFACE_AUDIT_CSV_COLUMNS; i++) {
        fprintf(out, "%s%s", i ? "," : "", tsface_audit_csv_columns[i].name);
    }

    (void) fputs("\r\n", out);
}


void
tsface_audit_csv(FILE *out, const tsface_audit_event_t *event)
{
    ngx_uint_t                        i;
    const ngx_str_t                  *value;
    const tsface_audit_csv_column_t  *column;

    for (i = 0; i < TSFACE_AUDIT_CSV_COLUMNS; i++) {
        column = &tsface_audit_csv_columns[i];

        if (column->member != TSFACE_AUDIT_MEMBERS) {
            value = &event->record->members[column->member];

        } else {
            value = (const ngx_str_t *) (const void *)
                    ((const u_char *) event + column->offset);
        }

        if (i) {
            (void) putc(',', out);
        }

        tsface_audit_csv_cell(out, value);
    }

    (void) fputs("\r\n", out);
}


/*
 * An apostrophe makes a spreadsheet take the rest for text.  A cell that
 * begins with one gets another, so that taking one away undoes it.
 */
static void
tsface_audit_csv_cell(FILE *out, const ngx_str_t *text)
{
    const u_char  *p, *last;

    if (text->len == 0) {
        return;
    }

    (void) putc('"', out);

    p = text->data;
    last = p + text->len;

    if (*p != '\0' && strchr("=+-@'\t\r\n", *p)) {
        (void) putc('\'', out);
    }

    while (p < last) {

        if (*p == '"') {
            (void) fputs("\"\"", out);
            p++;

        } else {
            tsface_audit_text_put(out, &p, last);
        }
    }

    (void) putc('"', out);
}
