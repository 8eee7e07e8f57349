
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Records as events of other formats, one event a record.  docs/audit.md has
 * the mapping.
 */


#ifndef _TSFACE_AUDIT_EXPORT_H_INCLUDED_
#define _TSFACE_AUDIT_EXPORT_H_INCLUDED_


#include <stdio.h>

#include "audit_event.h"
#include "audit_json.h"


#define TSFACE_AUDIT_VENDOR   "ngx_tsface_module authors"
#define TSFACE_AUDIT_PRODUCT  "ngx_tsface_module"


/* Writes what is in front of the first event to out. */
typedef void (*tsface_audit_export_head_pt)(FILE *out);
typedef void (*tsface_audit_export_pt)(FILE *out,
    const tsface_audit_event_t *event);

typedef struct {
    const char                   *name;
    tsface_audit_export_head_pt   head;       /* or NULL */
    tsface_audit_export_pt        event;
} tsface_audit_format_t;


/* NULL: there is no such format. */
const tsface_audit_format_t *tsface_audit_format(const char *name);

void tsface_audit_ocsf(FILE *out, const tsface_audit_event_t *event);
void tsface_audit_ecs(FILE *out, const tsface_audit_event_t *event);
void tsface_audit_cef(FILE *out, const tsface_audit_event_t *event);
void tsface_audit_csv(FILE *out, const tsface_audit_event_t *event);
void tsface_audit_csv_head(FILE *out);

/* Members that this version does not know, into the object that path names. */
void tsface_audit_export_unknown(tsface_audit_json_t *json, const char *path,
    const tsface_audit_event_t *event);


#endif /* _TSFACE_AUDIT_EXPORT_H_INCLUDED_ */
