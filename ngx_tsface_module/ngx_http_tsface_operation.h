
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Which operation a request asks for, and whether it is well formed.
 * Pure: takes bytes, returns an operation or the reason of a refusal.
 */


#ifndef _NGX_HTTP_TSFACE_OPERATION_H_INCLUDED_
#define _NGX_HTTP_TSFACE_OPERATION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_json.h"
#include "ngx_http_tsface_problem.h"


#define NGX_HTTP_TSFACE_MAX_BODY      65536
#define NGX_HTTP_TSFACE_MAX_USER_ID   512
#define NGX_HTTP_TSFACE_NOPERATIONS   2


typedef enum {
    NGX_HTTP_TSFACE_TOKEN_CREDENTIALS = 0,   /* ours is injected */
    NGX_HTTP_TSFACE_TOKEN_CALLER             /* the caller's own goes on */
} ngx_http_tsface_token_kind_e;


/* One row of the table of operations (Transmit Face API, facts 1.1, 1.2). */
typedef struct {
    ngx_str_t                       name;    /* "face.revoke" */
    ngx_str_t                       path;    /* below the endpoint's base */
    ngx_str_t                       method;  /* "POST" */
    ngx_http_tsface_token_kind_e    token;
    ngx_uint_t                      body;    /* 1: JSON with user_id */
} ngx_http_tsface_operation_t;


/* The table, in the order that counters are kept in. */
extern const ngx_http_tsface_operation_t
    ngx_http_tsface_operations[NGX_HTTP_TSFACE_NOPERATIONS];

/*
 * Matches the request target exactly as it arrived (r->unparsed_uri).
 * Returns PROBLEM_NONE with *op set; with PROBLEM_METHOD *op is set too, for
 * its Allow header.  PROBLEM_QUERY: a '?'.  PROBLEM_BAD_PATH: an encoded
 * character, a doubled slash, a dot segment, ';', '\', '#', a control or
 * non-ASCII byte, or no leading slash.  PROBLEM_UNKNOWN_PATH otherwise.
 */
ngx_http_tsface_problem_e ngx_http_tsface_operation_match(
    const ngx_str_t *target, const ngx_str_t *method,
    const ngx_http_tsface_operation_t **op);

/*
 * Whether a Content-Type value means JSON: application/json, in any case,
 * with or without parameters; of those, charset must be utf-8 (quoted or
 * not).  An empty value is not JSON.
 */
ngx_uint_t ngx_http_tsface_operation_is_json(const ngx_str_t *content_type);

/*
 * Checks the body of an operation that has one (DESIGN 2).  On PROBLEM_NONE
 * json holds the members and *user_id the decoded id, both in arena (see
 * json.h).
 */
ngx_http_tsface_problem_e ngx_http_tsface_operation_check_body(
    const ngx_str_t *body, ngx_http_tsface_json_t *json, ngx_str_t *user_id,
    u_char *arena, size_t size);

/*
 * The bearer token of an Authorization value (RFC 6750 2.1: scheme in any
 * case, one or more spaces, b64token).  Returns NGX_OK with *token pointing
 * into value, or NGX_DECLINED.
 */
ngx_int_t ngx_http_tsface_operation_bearer(const ngx_str_t *value,
    ngx_str_t *token);


#endif /* _NGX_HTTP_TSFACE_OPERATION_H_INCLUDED_ */
