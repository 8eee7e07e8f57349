
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <arpa/inet.h>

#include "audit_event.h"


/* A row is for all records of its type whose value, if it has one, is this. */
typedef struct {
    const char                   *type;
    tsface_audit_member_e         member;
    const char                   *value;
    tsface_audit_event_kind_e     kind;
    tsface_audit_severity_e       severity;
    tsface_audit_status_e         status;
    const char                   *name;
} tsface_audit_event_row_t;


static ngx_uint_t tsface_audit_event_is_ip(const ngx_str_t *text);
static uint64_t tsface_audit_event_time(const ngx_str_t *text);
static void tsface_audit_event_address(const ngx_str_t *text, ngx_str_t *host,
    ngx_str_t *port);
static void tsface_audit_event_uri(tsface_audit_event_t *event,
    const ngx_str_t *uri);
static void tsface_audit_event_token(tsface_audit_event_t *event);


#define tsface_audit_event_row(type, member, value, kind, severity, status,   \
                               name)                                          \
    { type, TSFACE_AUDIT_##member, value, TSFACE_AUDIT_EVENT_##kind,          \
      TSFACE_AUDIT_SEVERITY_##severity, TSFACE_AUDIT_STATUS_##status, name }

/* docs/audit.md has the same table.  The last row of a type takes the rest. */
static const tsface_audit_event_row_t  tsface_audit_event_rows[] = {
    tsface_audit_event_row("intent", TYPE, NULL, INTENT, INFO, UNKNOWN,
                           "Revoke about to be sent"),

    tsface_audit_event_row("outcome", RESULT, "success", OUTCOME, INFO, SUCCESS,
                           "Revoke succeeded"),
    tsface_audit_event_row("outcome", RESULT, "denied", OUTCOME, LOW, FAILURE,
                           "Revoke denied"),
    tsface_audit_event_row("outcome", RESULT, "error", OUTCOME, MEDIUM, FAILURE,
                           "Revoke failed"),
    tsface_audit_event_row("outcome", TYPE, NULL, OUTCOME, MEDIUM, UNKNOWN,
                           "Revoke without an answer to be trusted"),

    tsface_audit_event_row("refusal", TYPE, NULL, REFUSAL, LOW, FAILURE,
                           "Revoke refused"),
    tsface_audit_event_row("refusals", TYPE, NULL, REFUSAL, LOW, FAILURE,
                           "Revokes refused"),

    tsface_audit_event_row("open", REASON, "truncated", TRAIL, HIGH, FAILURE,
                           "Records of the trail are lost"),
    tsface_audit_event_row("open", REASON, "torn_tail", TRAIL, MEDIUM, SUCCESS,
                           "Half a record was cut off"),
    tsface_audit_event_row("open", TYPE, NULL, TRAIL, INFO, SUCCESS,
                           "Trail opened"),
    tsface_audit_event_row("close", TYPE, NULL, TRAIL, INFO, SUCCESS,
                           "Trail closed"),
    tsface_audit_event_row("rotate", TYPE, NULL, TRAIL, INFO, SUCCESS,
                           "Trail rotated"),
    tsface_audit_event_row("key", TYPE, NULL, TRAIL, LOW, SUCCESS,
                           "Key of the trail changed"),
    tsface_audit_event_row("checkpoint", TYPE, NULL, TRAIL, INFO, SUCCESS,
                           "Checkpoint of the trail"),

    tsface_audit_event_row(NULL, TYPE, NULL, OTHER, UNKNOWN, UNKNOWN,
                           "Record of another type")
};


void
tsface_audit_event_read(tsface_audit_event_t *event,
    const tsface_audit_record_t *record)
{
    const ngx_str_t                 *members;
    static const ngx_str_t           name = ngx_string("members");
    const tsface_audit_event_row_t  *row;

    ngx_memzero(event, offsetof(tsface_audit_event_t, json));

    event->record = record;
    members = record->members;

    for (row = tsface_audit_event_rows; row->type; row++) {
        if (tsface_audit_record_is(record, TSFACE_AUDIT_TYPE, row->type)
            && (row->value == NULL
                || tsface_audit_record_is(record, row->member, row->value)))
        {
            break;
        }
    }

    event->kind = row->kind;
    event->severity = row->severity;
    event->status = row->status;
    event->name = row->name;

    if (record->user_hmac.data) {
        event->user_hmac = record->user_hmac;

    } else {
        event->user_plain = record->user_plain;
    }

    event->msec = tsface_audit_event_time(&members[TSFACE_AUDIT_TIME]);
    event->first = tsface_audit_event_time(&members[TSFACE_AUDIT_FIRST]);
    event->last = tsface_audit_event_time(&members[TSFACE_AUDIT_LAST]);

    if (tsface_audit_event_is_ip(&members[TSFACE_AUDIT_CLIENT_ADDR])) {
        event->client_ip = members[TSFACE_AUDIT_CLIENT_ADDR];
    }

    tsface_audit_event_address(&members[TSFACE_AUDIT_ENDPOINT], &event->host,
                               &event->port);

    tsface_audit_event_address(&members[TSFACE_AUDIT_UPSTREAM_ADDR],
                               &event->upstream_ip, NULL);

    if (!tsface_audit_event_is_ip(&event->upstream_ip)) {
        ngx_str_null(&event->upstream_ip);
    }

    tsface_audit_event_uri(event, &members[TSFACE_AUDIT_URI]);
    tsface_audit_event_token(event);

    if (tsface_audit_record_raw(&record->line, &name, &event->members)
        != NGX_OK)
    {
        ngx_str_null(&event->members);
    }
}


/* Of IPv4 or IPv6, without a port. */
static ngx_uint_t
tsface_audit_event_is_ip(const ngx_str_t *text)
{
    char             copy[INET6_ADDRSTRLEN];
    struct in6_addr  addr;

    if (text->len == 0 || text->len >= sizeof(copy)
        || memchr(text->data, '\0', text->len))
    {
        return 0;
    }

    ngx_memcpy(copy, text->data, text->len);
    copy[text->len] = '\0';

    return inet_pton(AF_INET, copy, &addr) == 1
           || inet_pton(AF_INET6, copy, &addr) == 1;
}


static uint64_t
tsface_audit_event_time(const ngx_str_t *text)
{
    int              n;
    time_t           sec;
    unsigned int     year, month, day, hour, min, s, msec, usec;
    char             copy[sizeof("2026-11-24T20:19:05.421818Z")];
    struct tm        tm;

    if (text->len != sizeof(copy) - 1) {
        return 0;
    }

    ngx_memcpy(copy, text->data, text->len);
    copy[text->len] = '\0';

    if (strspn(copy, "0123456789-:.TZ") != text->len) {
        return 0;
    }

    n = 0;

    if (sscanf(copy, "%4u-%2u-%2uT%2u:%2u:%2u.%3u%3uZ%n", &year, &month, &day,
               &hour, &min, &s, &msec, &usec, &n) != 8
        || n != (int) text->len
        || month < 1 || month > 12 || day < 1 || day > 31
        || hour > 23 || min > 59 || s > 60)
    {
        return 0;
    }

    ngx_memzero(&tm, sizeof(tm));

    tm.tm_year = (int) year - 1900;
    tm.tm_mon = (int) month - 1;
    tm.tm_mday = (int) day;
    tm.tm_hour = (int) hour;
    tm.tm_min = (int) min;
    tm.tm_sec = (int) s;

    sec = timegm(&tm);

    return sec < 0 ? 0 : (uint64_t) sec * 1000 + msec;
}


/* "host:port", "[host]:port"; port may be NULL. */
static void
tsface_audit_event_address(const ngx_str_t *text, ngx_str_t *host,
    ngx_str_t *port)
{
    size_t   i;
    u_char  *colon;

    *host = *text;

    colon = text->len ? memrchr(text->data, ':', text->len) : NULL;
    if (colon == NULL) {
        return;
    }

    i = colon + 1 - text->data;

    if (text->len - i < 1 || text->len - i > 5) {
        return;
    }

    for ( /* void */ ; i < text->len; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            return;
        }
    }

    if (port) {
        port->data = colon + 1;
        port->len = text->data + text->len - port->data;
    }

    host->len = colon - text->data;

    if (host->len > 2
        && host->data[0] == '['
        && host->data[host->len - 1] == ']')
    {
        host->data++;
        host->len -= 2;
    }
}


static void
tsface_audit_event_uri(tsface_audit_event_t *event, const ngx_str_t *uri)
{
    u_char  *mark;

    event->path = *uri;

    mark = uri->len ? memchr(uri->data, '?', uri->len) : NULL;

    if (mark) {
        event->path.len = mark - uri->data;
        event->query.data = mark + 1;
        event->query.len = uri->data + uri->len - event->query.data;
    }
}


static void
tsface_audit_event_token(tsface_audit_event_t *event)
{
    ngx_str_t                       text;
    ngx_uint_t                      i;
    ngx_http_tsface_json_member_t  *member;
    static const ngx_str_t          name = ngx_string("token");

    struct {
        const char  *name;
        ngx_str_t   *value;
    } wanted[] = {
        { "kind", &event->token_kind },
        { "generation", &event->token_generation },
        { "fingerprint", &event->token_fingerprint }
    };

    if (tsface_audit_record_raw(&event->record->line, &name, &text) != NGX_OK
        || ngx_http_tsface_json_read(&event->json, &text, event->arena,
                                     sizeof(event->arena))
           != NGX_HTTP_TSFACE_JSON_OK)
    {
        return;
    }

    for (i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        member = ngx_http_tsface_json_find(&event->json, wanted[i].name);

        if (member) {
            *wanted[i].value = member->value;
        }
    }
}
