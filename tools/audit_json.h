
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Writes one JSON object from pairs of a path and a value.
 */


#ifndef _TSFACE_AUDIT_JSON_H_INCLUDED_
#define _TSFACE_AUDIT_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <stdio.h>


#define TSFACE_AUDIT_JSON_DEPTH  8

/* of a string as written: the longest one of a record has 1024 */
#define TSFACE_AUDIT_JSON_LIMIT  2048


/* Private. */
typedef struct {
    FILE        *out;
    ngx_str_t    open[TSFACE_AUDIT_JSON_DEPTH];   /* objects, outermost first */
    ngx_uint_t   depth;
    unsigned     first:1;                         /* of the innermost object */
} tsface_audit_json_t;


/*
 * A path names objects, with dots between: "http.request.method".  What is in
 * one object has to come in one go, as no object is opened twice.  A name that
 * ends in "[]" is an array with one object.  Paths stay while it writes.
 */
void tsface_audit_json_begin(tsface_audit_json_t *json, FILE *out);
void tsface_audit_json_end(tsface_audit_json_t *json);

/* Any bytes, of at most JSON_LIMIT as written; nothing if data is NULL. */
void tsface_audit_json_text(tsface_audit_json_t *json, const char *path,
    const ngx_str_t *value);
void tsface_audit_json_string(tsface_audit_json_t *json, const char *path,
    const char *value);
void tsface_audit_json_number(tsface_audit_json_t *json, const char *path,
    uint64_t value);

/* NGX_DECLINED: text is not a whole number below 10^15. */
ngx_int_t tsface_audit_json_whole(const ngx_str_t *text, uint64_t *n);

/* Text of such a number; nothing if it is another text. */
void tsface_audit_json_digits(tsface_audit_json_t *json, const char *path,
    const ngx_str_t *value);

/* "true" or "false"; nothing if it is another text. */
void tsface_audit_json_flag(tsface_audit_json_t *json, const char *path,
    const ngx_str_t *value);

/* What is JSON already; nothing if data is NULL. */
void tsface_audit_json_raw(tsface_audit_json_t *json, const char *path,
    const ngx_str_t *value);

/* The same, of a member with any name in the object that path names. */
void tsface_audit_json_member(tsface_audit_json_t *json, const char *path,
    const ngx_str_t *name, const ngx_str_t *raw);


#endif /* _TSFACE_AUDIT_JSON_H_INCLUDED_ */
