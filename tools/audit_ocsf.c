
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Open Cybersecurity Schema Framework: API Activity for what is about a
 * request, the base event for the rest.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_export.h"


#define TSFACE_AUDIT_OCSF_VERSION   "1.3.0"

#define TSFACE_AUDIT_OCSF_API       6003
#define TSFACE_AUDIT_OCSF_DELETE    4
#define TSFACE_AUDIT_OCSF_OTHER     99


static void tsface_audit_ocsf_class(tsface_audit_json_t *json,
    const tsface_audit_event_t *event, ngx_uint_t api);
static void tsface_audit_ocsf_metadata(tsface_audit_json_t *json,
    const tsface_audit_event_t *event);
static void tsface_audit_ocsf_request(tsface_audit_json_t *json,
    const tsface_audit_event_t *event);
static void tsface_audit_ocsf_unmapped(tsface_audit_json_t *json,
    const tsface_audit_event_t *event, ngx_uint_t api);


static const char  *tsface_audit_ocsf_severities[] = {
    "Unknown", "Informational", "Low", "Medium", "High"
};

static const char  *tsface_audit_ocsf_statuses[] = {
    "Unknown", "Success", "Failure"
};


void
tsface_audit_ocsf(FILE *out, const tsface_audit_event_t *event)
{
    ngx_uint_t            api;
    tsface_audit_json_t   json;
    const ngx_str_t      *members;

    members = event->record->members;
    api = (event->kind == TSFACE_AUDIT_EVENT_INTENT
           || event->kind == TSFACE_AUDIT_EVENT_OUTCOME
           || event->kind == TSFACE_AUDIT_EVENT_REFUSAL);

    tsface_audit_json_begin(&json, out);

    tsface_audit_ocsf_class(&json, event, api);

    tsface_audit_json_number(&json, "time", event->msec);
    tsface_audit_json_number(&json, "severity_id", event->severity);
    tsface_audit_json_string(&json, "severity",
                             tsface_audit_ocsf_severities[event->severity]);
    tsface_audit_json_number(&json, "status_id", event->status);
    tsface_audit_json_string(&json, "status",
                             tsface_audit_ocsf_statuses[event->status]);
    tsface_audit_json_text(&json, "status_code",
                           &members[TSFACE_AUDIT_STATUS]);
    tsface_audit_json_text(&json, "status_detail",
                           members[TSFACE_AUDIT_REASON].data
                           ? &members[TSFACE_AUDIT_REASON]
                           : &members[TSFACE_AUDIT_RESULT]);
    tsface_audit_json_string(&json, "message", event->name);
    tsface_audit_json_digits(&json, "duration",
                             &members[TSFACE_AUDIT_DURATION_MS]);
    tsface_audit_json_digits(&json, "count", &members[TSFACE_AUDIT_COUNT]);

    if (event->first && event->last) {
        tsface_audit_json_number(&json, "start_time", event->first);
        tsface_audit_json_number(&json, "end_time", event->last);
    }

    tsface_audit_ocsf_metadata(&json, event);

    if (api) {
        tsface_audit_ocsf_request(&json, event);
    }

    tsface_audit_ocsf_unmapped(&json, event, api);

    tsface_audit_json_end(&json);
}


static void
tsface_audit_ocsf_class(tsface_audit_json_t *json,
    const tsface_audit_event_t *event, ngx_uint_t api)
{
    uint64_t  class, activity;

    class = api ? TSFACE_AUDIT_OCSF_API : 0;
    activity = api ? TSFACE_AUDIT_OCSF_DELETE : TSFACE_AUDIT_OCSF_OTHER;

    tsface_audit_json_number(json, "activity_id", activity);

    if (api) {
        tsface_audit_json_string(json, "activity_name", "Delete");

    } else {
        tsface_audit_json_text(json, "activity_name",
                               &event->record->members[TSFACE_AUDIT_TYPE]);
    }

    tsface_audit_json_number(json, "category_uid", class / 1000);
    tsface_audit_json_string(json, "category_name",
                             api ? "Application Activity" : "Uncategorized");
    tsface_audit_json_number(json, "class_uid", class);
    tsface_audit_json_string(json, "class_name",
                             api ? "API Activity" : "Base Event");
    tsface_audit_json_number(json, "type_uid", class * 100 + activity);
}


static void
tsface_audit_ocsf_metadata(tsface_audit_json_t *json,
    const tsface_audit_event_t *event)
{
    const ngx_str_t  *members;

    members = event->record->members;

    tsface_audit_json_string(json, "metadata.version",
                             TSFACE_AUDIT_OCSF_VERSION);
    tsface_audit_json_string(json, "metadata.product.vendor_name",
                             TSFACE_AUDIT_VENDOR);
    tsface_audit_json_string(json, "metadata.product.name",
                             TSFACE_AUDIT_PRODUCT);
    tsface_audit_json_string(json, "metadata.product.version",
                             TSFACE_AUDIT_VERSION);
    tsface_audit_json_text(json, "metadata.uid", &members[TSFACE_AUDIT_MAC]);
    tsface_audit_json_text(json, "metadata.correlation_uid",
                           &members[TSFACE_AUDIT_REQUEST_ID]);
    tsface_audit_json_digits(json, "metadata.sequence",
                             &members[TSFACE_AUDIT_SEQ]);
    tsface_audit_json_text(json, "metadata.event_code",
                           &members[TSFACE_AUDIT_TYPE]);
    tsface_audit_json_text(json, "metadata.log_name",
                           &members[TSFACE_AUDIT_TRAIL]);
    tsface_audit_json_string(json, "metadata.log_provider",
                             TSFACE_AUDIT_PRODUCT);
    tsface_audit_json_text(json, "metadata.original_time",
                           &members[TSFACE_AUDIT_TIME]);
}


/* What API Activity requires is there whatever the record lacks. */
static void
tsface_audit_ocsf_request(tsface_audit_json_t *json,
    const tsface_audit_event_t *event)
{
    const ngx_str_t  *members, *id;

    members = event->record->members;

    if (members[TSFACE_AUDIT_CALLER].len) {
        tsface_audit_json_text(json, "actor.user.name",
                               &members[TSFACE_AUDIT_CALLER]);

    } else {
        tsface_audit_json_string(json, "actor.user.name", "unknown");
    }

    tsface_audit_json_number(json, "actor.user.type_id", 0);

    if (members[TSFACE_AUDIT_OPERATION].len) {
        tsface_audit_json_text(json, "api.operation",
                               &members[TSFACE_AUDIT_OPERATION]);

    } else {
        tsface_audit_json_string(json, "api.operation", "unknown");
    }

    tsface_audit_json_text(json, "api.request.uid",
                           &members[TSFACE_AUDIT_REQUEST_ID]);
    tsface_audit_json_digits(json, "api.response.code",
                             &members[TSFACE_AUDIT_UPSTREAM_STATUS]);
    tsface_audit_json_text(json, "api.service.name", &event->host);

    if (event->client_ip.data) {
        tsface_audit_json_text(json, "src_endpoint.ip", &event->client_ip);

    } else if (members[TSFACE_AUDIT_CLIENT_ADDR].len) {
        tsface_audit_json_text(json, "src_endpoint.name",
                               &members[TSFACE_AUDIT_CLIENT_ADDR]);

    } else {
        tsface_audit_json_string(json, "src_endpoint.name", "unknown");
    }

    tsface_audit_json_text(json, "dst_endpoint.hostname", &event->host);
    tsface_audit_json_digits(json, "dst_endpoint.port", &event->port);
    tsface_audit_json_text(json, "dst_endpoint.ip", &event->upstream_ip);

    tsface_audit_json_text(json, "http_request.uid",
                           &members[TSFACE_AUDIT_REQUEST_ID]);
    tsface_audit_json_text(json, "http_request.http_method",
                           &members[TSFACE_AUDIT_METHOD]);
    tsface_audit_json_text(json, "http_request.url.hostname",
                           &members[TSFACE_AUDIT_SERVER]);
    tsface_audit_json_text(json, "http_request.url.path", &event->path);
    tsface_audit_json_text(json, "http_request.url.query_string",
                           &event->query);

    tsface_audit_json_digits(json, "http_response.code",
                             &members[TSFACE_AUDIT_STATUS]);

    id = event->user_hmac.data ? &event->user_hmac : &event->user_plain;

    if (id->data) {
        tsface_audit_json_text(json, "resources[].uid", id);
        tsface_audit_json_string(json, "resources[].type",
                                 event->user_hmac.data
                                 ? "user (HMAC of its id)" : "user");
    }
}


/* By the names that they have in the record. */
static void
tsface_audit_ocsf_unmapped(tsface_audit_json_t *json,
    const tsface_audit_event_t *event, ngx_uint_t api)
{
    const ngx_str_t  *members;

    members = event->record->members;

    tsface_audit_json_text(json, "unmapped.host",
                           &members[TSFACE_AUDIT_HOST]);
    tsface_audit_json_digits(json, "unmapped.pid",
                             &members[TSFACE_AUDIT_PID]);
    tsface_audit_json_digits(json, "unmapped.attempt",
                             &members[TSFACE_AUDIT_ATTEMPT]);
    tsface_audit_json_text(json, "unmapped.credentials",
                           &members[TSFACE_AUDIT_CREDENTIALS]);
    tsface_audit_json_text(json, "unmapped.region",
                           &members[TSFACE_AUDIT_REGION]);
    tsface_audit_json_text(json, "unmapped.result",
                           &members[TSFACE_AUDIT_RESULT]);
    tsface_audit_json_flag(json, "unmapped.sent",
                           &members[TSFACE_AUDIT_SENT]);
    tsface_audit_json_text(json, "unmapped.trace_id",
                           &members[TSFACE_AUDIT_TRACE_ID]);
    tsface_audit_json_text(json, "unmapped.parent_id",
                           &members[TSFACE_AUDIT_PARENT_ID]);
    tsface_audit_json_raw(json, "unmapped.members", &event->members);
    tsface_audit_json_text(json, "unmapped.token.kind", &event->token_kind);
    tsface_audit_json_digits(json, "unmapped.token.generation",
                             &event->token_generation);
    tsface_audit_json_text(json, "unmapped.token.fingerprint",
                           &event->token_fingerprint);

    if (!api) {
        tsface_audit_json_text(json, "unmapped.caller",
                               &members[TSFACE_AUDIT_CALLER]);
        tsface_audit_json_text(json, "unmapped.operation",
                               &members[TSFACE_AUDIT_OPERATION]);
        tsface_audit_json_text(json, "unmapped.client_addr",
                               &members[TSFACE_AUDIT_CLIENT_ADDR]);
    }

    tsface_audit_export_unknown(json, "unmapped", event);
}
