
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_export.h"


static const tsface_audit_format_t  tsface_audit_formats[] = {
    { "ocsf", NULL, tsface_audit_ocsf },
    { "ecs", NULL, tsface_audit_ecs },
    { "cef", NULL, tsface_audit_cef },
    { "csv", tsface_audit_csv_head, tsface_audit_csv },
    { NULL, NULL, NULL }
};


const tsface_audit_format_t *
tsface_audit_format(const char *name)
{
    const tsface_audit_format_t  *format;

    for (format = tsface_audit_formats; format->name; format++) {
        if (strcmp(format->name, name) == 0) {
            return format;
        }
    }

    return NULL;
}


void
tsface_audit_export_unknown(tsface_audit_json_t *json, const char *path,
    const tsface_audit_event_t *event)
{
    ngx_str_t                             raw;
    ngx_uint_t                            n;
    const ngx_http_tsface_json_member_t  *member;

    n = 0;

    for ( ;; ) {
        member = tsface_audit_record_unknown(event->record, &n);

        if (member == NULL) {
            return;
        }

        if (tsface_audit_record_raw(&event->record->line, &member->name, &raw)
            == NGX_OK)
        {
            tsface_audit_json_member(json, path, &member->name, &raw);
        }
    }
}
