
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Elastic Common Schema.  What it has no field for is in "tsface".
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_export.h"


#define TSFACE_AUDIT_ECS_VERSION   "8.11.0"
#define TSFACE_AUDIT_ECS_DURATION  1000000000    /* in ms: what is believed */


static void tsface_audit_ecs_event(tsface_audit_json_t *json,
    const tsface_audit_event_t *event);
static void tsface_audit_ecs_request(tsface_audit_json_t *json,
    const tsface_audit_event_t *event);
static void tsface_audit_ecs_own(tsface_audit_json_t *json,
    const tsface_audit_event_t *event);
static const char *tsface_audit_ecs_types(const tsface_audit_event_t *event);


static const char  *tsface_audit_ecs_outcomes[] = {
    "unknown", "success", "failure"
};


void
tsface_audit_ecs(FILE *out, const tsface_audit_event_t *event)
{
    tsface_audit_json_t   json;
    const ngx_str_t      *members;

    members = event->record->members;

    tsface_audit_json_begin(&json, out);

    if (event->msec) {
        tsface_audit_json_text(&json, "@timestamp",
                               &members[TSFACE_AUDIT_TIME]);

    } else {
        tsface_audit_json_string(&json, "@timestamp", "1970-01-01T00:00:00Z");
    }

    tsface_audit_json_string(&json, "ecs.version", TSFACE_AUDIT_ECS_VERSION);
    tsface_audit_json_string(&json, "message", event->name);

    tsface_audit_ecs_event(&json, event);
    tsface_audit_ecs_request(&json, event);

    tsface_audit_json_text(&json, "host.hostname",
                           &members[TSFACE_AUDIT_HOST]);
    tsface_audit_json_digits(&json, "process.pid",
                             &members[TSFACE_AUDIT_PID]);
    tsface_audit_json_text(&json, "trace.id",
                           &members[TSFACE_AUDIT_TRACE_ID]);

    tsface_audit_ecs_own(&json, event);

    tsface_audit_json_end(&json);
}


static void
tsface_audit_ecs_event(tsface_audit_json_t *json,
    const tsface_audit_event_t *event)
{
    char              text[sizeof("trail.") + TSFACE_AUDIT_JSON_LIMIT];
    uint64_t          msec;
    ngx_str_t         raw;
    const ngx_str_t  *members, *type;

    members = event->record->members;
    type = &members[TSFACE_AUDIT_TYPE];

    tsface_audit_json_string(json, "event.kind", "event");

    raw.data = (u_char *) (event->kind == TSFACE_AUDIT_EVENT_TRAIL
                           || event->kind == TSFACE_AUDIT_EVENT_OTHER
                           ? "[\"configuration\"]" : "[\"api\"]");
    raw.len = ngx_strlen(raw.data);
    tsface_audit_json_raw(json, "event.category", &raw);

    raw.data = (u_char *) tsface_audit_ecs_types(event);
    raw.len = ngx_strlen(raw.data);
    tsface_audit_json_raw(json, "event.type", &raw);

    if (members[TSFACE_AUDIT_OPERATION].len) {
        tsface_audit_json_text(json, "event.action",
                               &members[TSFACE_AUDIT_OPERATION]);

    } else {
        (void) snprintf(text, sizeof(text), "trail.%.*s",
                        (int) ngx_min(type->len, TSFACE_AUDIT_JSON_LIMIT),
                        type->len ? (char *) type->data : "");

        tsface_audit_json_string(json, "event.action",
                                 event->kind == TSFACE_AUDIT_EVENT_TRAIL
                                 || event->kind == TSFACE_AUDIT_EVENT_OTHER
                                 ? text : "unknown");
    }

    tsface_audit_json_string(json, "event.outcome",
                             tsface_audit_ecs_outcomes[event->status]);
    tsface_audit_json_text(json, "event.id", &members[TSFACE_AUDIT_MAC]);
    tsface_audit_json_digits(json, "event.sequence",
                             &members[TSFACE_AUDIT_SEQ]);
    tsface_audit_json_text(json, "event.code", type);
    tsface_audit_json_text(json, "event.reason",
                           &members[TSFACE_AUDIT_REASON]);
    tsface_audit_json_number(json, "event.severity", event->severity);
    tsface_audit_json_string(json, "event.provider", TSFACE_AUDIT_PRODUCT);
    tsface_audit_json_string(json, "event.dataset", "tsface.audit");

    if (event->first && event->last) {
        tsface_audit_json_text(json, "event.start",
                               &members[TSFACE_AUDIT_FIRST]);
        tsface_audit_json_text(json, "event.end", &members[TSFACE_AUDIT_LAST]);
    }

    /* in nanoseconds */

    if (tsface_audit_json_whole(&members[TSFACE_AUDIT_DURATION_MS], &msec)
        == NGX_OK
        && msec < TSFACE_AUDIT_ECS_DURATION)
    {
        tsface_audit_json_number(json, "event.duration", msec * 1000000);
    }
}


static const char *
tsface_audit_ecs_types(const tsface_audit_event_t *event)
{
    switch (event->kind) {

    case TSFACE_AUDIT_EVENT_INTENT:
        return "[\"start\",\"deletion\"]";

    case TSFACE_AUDIT_EVENT_REFUSAL:
        return "[\"denied\"]";

    case TSFACE_AUDIT_EVENT_OUTCOME:

        if (event->status == TSFACE_AUDIT_STATUS_SUCCESS) {
            return "[\"end\",\"deletion\"]";
        }

        return event->severity == TSFACE_AUDIT_SEVERITY_LOW
               ? "[\"end\",\"denied\"]" : "[\"end\",\"error\"]";

    case TSFACE_AUDIT_EVENT_TRAIL:

        return event->severity == TSFACE_AUDIT_SEVERITY_LOW
               ? "[\"change\"]" : "[\"info\"]";

    case TSFACE_AUDIT_EVENT_OTHER:
        break;
    }

    return "[\"info\"]";
}


static void
tsface_audit_ecs_request(tsface_audit_json_t *json,
    const tsface_audit_event_t *event)
{
    const ngx_str_t  *members;

    members = event->record->members;

    tsface_audit_json_text(json, "user.name", &members[TSFACE_AUDIT_CALLER]);
    tsface_audit_json_text(json, "user.target.id",
                           &event->user_plain);
    tsface_audit_json_text(json, "user.target.hash",
                           &event->user_hmac);

    tsface_audit_json_text(json, "source.address",
                           &members[TSFACE_AUDIT_CLIENT_ADDR]);
    tsface_audit_json_text(json, "source.ip", &event->client_ip);

    tsface_audit_json_text(json, "destination.address", &event->host);
    tsface_audit_json_text(json, "destination.ip", &event->upstream_ip);
    tsface_audit_json_digits(json, "destination.port", &event->port);

    tsface_audit_json_text(json, "http.request.id",
                           &members[TSFACE_AUDIT_REQUEST_ID]);
    tsface_audit_json_text(json, "http.request.method",
                           &members[TSFACE_AUDIT_METHOD]);
    tsface_audit_json_digits(json, "http.response.status_code",
                             &members[TSFACE_AUDIT_STATUS]);

    tsface_audit_json_text(json, "url.original", &members[TSFACE_AUDIT_URI]);
    tsface_audit_json_text(json, "url.domain", &members[TSFACE_AUDIT_SERVER]);
    tsface_audit_json_text(json, "url.path", &event->path);
    tsface_audit_json_text(json, "url.query", &event->query);
}


/* By the names that they have in the record. */
static void
tsface_audit_ecs_own(tsface_audit_json_t *json,
    const tsface_audit_event_t *event)
{
    const ngx_str_t  *members;

    members = event->record->members;

    tsface_audit_json_text(json, "tsface.trail",
                           &members[TSFACE_AUDIT_TRAIL]);
    tsface_audit_json_digits(json, "tsface.attempt",
                             &members[TSFACE_AUDIT_ATTEMPT]);
    tsface_audit_json_text(json, "tsface.credentials",
                           &members[TSFACE_AUDIT_CREDENTIALS]);
    tsface_audit_json_text(json, "tsface.region",
                           &members[TSFACE_AUDIT_REGION]);
    tsface_audit_json_text(json, "tsface.result",
                           &members[TSFACE_AUDIT_RESULT]);
    tsface_audit_json_digits(json, "tsface.upstream_status",
                             &members[TSFACE_AUDIT_UPSTREAM_STATUS]);
    tsface_audit_json_flag(json, "tsface.sent", &members[TSFACE_AUDIT_SENT]);
    tsface_audit_json_digits(json, "tsface.count",
                             &members[TSFACE_AUDIT_COUNT]);
    tsface_audit_json_text(json, "tsface.parent_id",
                           &members[TSFACE_AUDIT_PARENT_ID]);
    tsface_audit_json_raw(json, "tsface.members", &event->members);
    tsface_audit_json_text(json, "tsface.token.kind", &event->token_kind);
    tsface_audit_json_digits(json, "tsface.token.generation",
                             &event->token_generation);
    tsface_audit_json_text(json, "tsface.token.fingerprint",
                           &event->token_fingerprint);

    tsface_audit_export_unknown(json, "tsface", event);
}
