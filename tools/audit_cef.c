
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Common Event Format, version 0: a header between "|", and keys and values.
 * Each has characters of its own to be escaped.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_export.h"
#include "audit_text.h"

#include <inttypes.h>


static void tsface_audit_cef_id(FILE *out, const tsface_audit_event_t *event);
static void tsface_audit_cef_header(FILE *out, const ngx_str_t *text);
static void tsface_audit_cef_put(FILE *out, const char *key,
    const ngx_str_t *text);
static void tsface_audit_cef_labelled(FILE *out, const char *key,
    const char *label, const ngx_str_t *text);
static void tsface_audit_cef_escaped(FILE *out, const ngx_str_t *text,
    int separator);


/* CEF counts from 0 to 10. */
static const char  *tsface_audit_cef_severities[] = {
    "0", "1", "3", "5", "8"
};


void
tsface_audit_cef(FILE *out, const tsface_audit_event_t *event)
{
    ngx_uint_t        i;
    const ngx_str_t  *members = event->record->members;

    const struct {
        const char       *key;
        const ngx_str_t  *value;
        const char       *label;
    } pairs[] = {
        { "externalId", &members[TSFACE_AUDIT_SEQ], NULL },
        { "cat", &members[TSFACE_AUDIT_TYPE], NULL },
        { "act", &members[TSFACE_AUDIT_OPERATION], NULL },
        { "outcome", &members[TSFACE_AUDIT_RESULT], NULL },
        { "reason", &members[TSFACE_AUDIT_REASON], NULL },
        { "dvchost", &members[TSFACE_AUDIT_HOST], NULL },
        { "dvcpid", &members[TSFACE_AUDIT_PID], NULL },
        { "suser", &members[TSFACE_AUDIT_CALLER], NULL },
        { "src", &event->client_ip, NULL },
        { "shost", event->client_ip.data
                   ? NULL : &members[TSFACE_AUDIT_CLIENT_ADDR], NULL },
        { "duid", event->user_hmac.data ? &event->user_hmac
                                        : &event->user_plain, NULL },
        { "dhost", &event->host, NULL },
        { "dpt", &event->port, NULL },
        { "dst", &event->upstream_ip, NULL },
        { "requestMethod", &members[TSFACE_AUDIT_METHOD], NULL },
        { "request", &members[TSFACE_AUDIT_URI], NULL },
        { "cnt", &members[TSFACE_AUDIT_COUNT], NULL },
        { "cn1", &members[TSFACE_AUDIT_STATUS], "status" },
        { "cn2", &members[TSFACE_AUDIT_ATTEMPT], "attempt" },
        { "cn3", &members[TSFACE_AUDIT_DURATION_MS], "duration_ms" },
        { "cs1", &members[TSFACE_AUDIT_REQUEST_ID], "request_id" },
        { "cs2", &members[TSFACE_AUDIT_TRAIL], "trail" },
        { "cs3", &members[TSFACE_AUDIT_CREDENTIALS], "credentials" },
        { "cs4", &members[TSFACE_AUDIT_REGION], "region" },
        { "cs5", &members[TSFACE_AUDIT_SERVER], "server" },
        { "cs6", &members[TSFACE_AUDIT_MAC], "mac" },
        { "flexString1", &members[TSFACE_AUDIT_TRACE_ID], "trace_id" },
        { "flexString2", &event->token_fingerprint, "token_fingerprint" }
    };

    fprintf(out, "CEF:0|%s|%s|%s|", TSFACE_AUDIT_VENDOR, TSFACE_AUDIT_PRODUCT,
            TSFACE_AUDIT_VERSION);

    tsface_audit_cef_id(out, event);

    fprintf(out, "|%s|%s|rt=%" PRIu64, event->name,
            tsface_audit_cef_severities[event->severity], event->msec);

    if (event->first && event->last) {
        fprintf(out, " start=%" PRIu64 " end=%" PRIu64, event->first,
                event->last);
    }

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {

        if (pairs[i].value == NULL || pairs[i].value->len == 0) {
            continue;
        }

        if (pairs[i].label) {
            tsface_audit_cef_labelled(out, pairs[i].key, pairs[i].label,
                                      pairs[i].value);

        } else {
            tsface_audit_cef_put(out, pairs[i].key, pairs[i].value);
        }
    }

    (void) putc('\n', out);
}


/* "outcome.success", "open.truncated", "intent" */
static void
tsface_audit_cef_id(FILE *out, const tsface_audit_event_t *event)
{
    const ngx_str_t  *members, *more;

    members = event->record->members;
    more = event->kind == TSFACE_AUDIT_EVENT_TRAIL
           ? &members[TSFACE_AUDIT_REASON] : &members[TSFACE_AUDIT_RESULT];

    tsface_audit_cef_header(out, &members[TSFACE_AUDIT_TYPE]);

    if (more->len) {
        (void) putc('.', out);
        tsface_audit_cef_header(out, more);
    }
}


static void
tsface_audit_cef_header(FILE *out, const ngx_str_t *text)
{
    tsface_audit_cef_escaped(out, text, '|');
}


static void
tsface_audit_cef_put(FILE *out, const char *key, const ngx_str_t *text)
{
    fprintf(out, " %s=", key);
    tsface_audit_cef_escaped(out, text, '=');
}


static void
tsface_audit_cef_labelled(FILE *out, const char *key, const char *label,
    const ngx_str_t *text)
{
    fprintf(out, " %sLabel=%s", key, label);
    tsface_audit_cef_put(out, key, text);
}


/* A line has to stay one: a header has no escape for the end of a line. */
static void
tsface_audit_cef_escaped(FILE *out, const ngx_str_t *text, int separator)
{
    u_char         ch;
    const u_char  *p, *last;

    p = text->data;
    last = text->len ? p + text->len : p;

    while (p < last) {
        ch = *p;

        if (ch == '\\' || ch == separator) {
            (void) putc('\\', out);
            (void) putc(ch, out);
            p++;

        } else if (separator == '=' && (ch == LF || ch == CR)) {
            (void) fputs(ch == LF ? "\\n" : "\\r", out);
            p++;

        } else {
            tsface_audit_text_put(out, &p, last);
        }
    }
}
