
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What a record means to those who read events of many systems: the part of
 * the mapping that all formats share.
 */


#ifndef _TSFACE_AUDIT_EVENT_H_INCLUDED_
#define _TSFACE_AUDIT_EVENT_H_INCLUDED_


#include "audit_record.h"


typedef enum {
    TSFACE_AUDIT_EVENT_INTENT = 0,
    TSFACE_AUDIT_EVENT_OUTCOME,
    TSFACE_AUDIT_EVENT_REFUSAL,    /* one, or many in one record */
    TSFACE_AUDIT_EVENT_TRAIL,      /* about the trail itself */
    TSFACE_AUDIT_EVENT_OTHER       /* of a later version */
} tsface_audit_event_kind_e;


/* The values are those of OCSF. */
typedef enum {
    TSFACE_AUDIT_SEVERITY_UNKNOWN = 0,
    TSFACE_AUDIT_SEVERITY_INFO,
    TSFACE_AUDIT_SEVERITY_LOW,
    TSFACE_AUDIT_SEVERITY_MEDIUM,
    TSFACE_AUDIT_SEVERITY_HIGH
} tsface_audit_severity_e;


typedef enum {
    TSFACE_AUDIT_STATUS_UNKNOWN = 0,
    TSFACE_AUDIT_STATUS_SUCCESS,
    TSFACE_AUDIT_STATUS_FAILURE
} tsface_audit_status_e;


/* Strings with data NULL: there is none.  Large, as a record is. */
typedef struct {
    const tsface_audit_record_t   *record;
    tsface_audit_event_kind_e      kind;
    tsface_audit_severity_e        severity;
    tsface_audit_status_e          status;
    const char                    *name;        /* a few words for people */
    uint64_t                       msec;        /* 0: no time */
    uint64_t                       first;       /* of many; the same */
    uint64_t                       last;

    ngx_str_t                      user_hmac;   /* of the two one at most */
    ngx_str_t                      user_plain;
    ngx_str_t                      client_ip;   /* if client_addr is one */
    ngx_str_t                      host;        /* of the endpoint */
    ngx_str_t                      port;
    ngx_str_t                      upstream_ip;
    ngx_str_t                      path;        /* of the uri */
    ngx_str_t                      query;       /* without its "?" */
    ngx_str_t                      members;     /* a JSON array */
    ngx_str_t                      token_kind;
    ngx_str_t                      token_generation;
    ngx_str_t                      token_fingerprint;

    ngx_http_tsface_json_t         json;
    u_char                         arena[NGX_HTTP_TSFACE_JSON_ARENA_SIZE(
                                             NGX_HTTP_TSFACE_RECORD_MAX)];
} tsface_audit_event_t;


/*
 * Each of its strings is checked to be what its name says, so that a format
 * may write it in a place of that type.  record stays as long as event does.
 */
void tsface_audit_event_read(tsface_audit_event_t *event,
    const tsface_audit_record_t *record);


#endif /* _TSFACE_AUDIT_EVENT_H_INCLUDED_ */
