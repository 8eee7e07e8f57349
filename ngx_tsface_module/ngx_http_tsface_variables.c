
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_transaction.h"
#include "ngx_http_tsface_variables.h"


typedef enum {
    NGX_HTTP_TSFACE_VAR_CALLER = 0,
    NGX_HTTP_TSFACE_VAR_OPERATION,
    NGX_HTTP_TSFACE_VAR_CREDENTIALS,
    NGX_HTTP_TSFACE_VAR_REQUEST_ID,
    NGX_HTTP_TSFACE_VAR_RESULT,
    NGX_HTTP_TSFACE_VAR_ATTEMPTS,
    NGX_HTTP_TSFACE_VAR_TOKEN_AGE,
    NGX_HTTP_TSFACE_VAR_TOKEN_GENERATION,
    NGX_HTTP_TSFACE_VAR_REASON,
    NGX_HTTP_TSFACE_VAR_REGION,
    NGX_HTTP_TSFACE_VAR_TRACE_ID,
    NGX_HTTP_TSFACE_VAR_LIMIT_STATUS,
    NGX_HTTP_TSFACE_VAR_LIMIT_DELAY
} ngx_http_tsface_variable_e;


static ngx_int_t ngx_http_tsface_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_tsface_variable_user(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_tsface_variable_number(ngx_http_request_t *r,
    ngx_str_t *value, ngx_uint_t n);


static ngx_http_variable_t  ngx_http_tsface_vars[] = {

    { ngx_string("tsface_caller"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_CALLER, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_operation"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_OPERATION, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_credentials"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_CREDENTIALS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_request_id"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_REQUEST_ID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_result"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_RESULT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_attempts"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_ATTEMPTS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_token_age"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_TOKEN_AGE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_token_generation"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_TOKEN_GENERATION, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_reason"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_REASON, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_region"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_REGION, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_trace_id"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_TRACE_ID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_limit_status"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_LIMIT_STATUS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_limit_delay"), NULL, ngx_http_tsface_variable,
      NGX_HTTP_TSFACE_VAR_LIMIT_DELAY, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tsface_user"), NULL, ngx_http_tsface_variable_user,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


/* Indexed by ngx_http_tsface_limit_decision_e. */
static const ngx_str_t  ngx_http_tsface_limit_words[] = {
    ngx_string("allowed"),
    ngx_string("delayed"),
    ngx_string("refused"),
    ngx_string("dry_run")
};


ngx_int_t
ngx_http_tsface_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_tsface_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/* What is not known (yet) is not found: "-" in an access log. */
static ngx_int_t
ngx_http_tsface_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t               value;
    ngx_http_tsface_ctx_t  *ctx;

    v->not_found = 1;

    ctx = ngx_http_tsface_transaction(r);

    if (ctx == NULL) {
        return NGX_OK;
    }

    ngx_str_null(&value);

    switch (data) {

    case NGX_HTTP_TSFACE_VAR_CALLER:
        value = ctx->caller;
        break;

    case NGX_HTTP_TSFACE_VAR_OPERATION:
        if (ctx->operation) {
            value = ctx->operation->name;
        }
        break;

    case NGX_HTTP_TSFACE_VAR_CREDENTIALS:
        if (ctx->credentials) {
            value = ctx->credentials->name;
        }
        break;

    case NGX_HTTP_TSFACE_VAR_REQUEST_ID:
        value = ctx->request_id;
        break;

    case NGX_HTTP_TSFACE_VAR_RESULT:
        if (ctx->result) {
            value.data = (u_char *) ctx->result;
            value.len = ngx_strlen(ctx->result);
        }
        break;

    case NGX_HTTP_TSFACE_VAR_ATTEMPTS:
        if (ngx_http_tsface_variable_number(r, &value, ctx->attempts)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
        break;

    case NGX_HTTP_TSFACE_VAR_TOKEN_GENERATION:
        if (ctx->generation
            && ngx_http_tsface_variable_number(r, &value, ctx->generation)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
        break;

    case NGX_HTTP_TSFACE_VAR_REASON:
        if (ctx->problem != NGX_HTTP_TSFACE_PROBLEM_NONE) {
            value = ngx_http_tsface_problems[ctx->problem].reason;
        }
        break;

    case NGX_HTTP_TSFACE_VAR_REGION:
        if (ctx->credentials) {
            value = ctx->credentials->region;
        }
        break;

    case NGX_HTTP_TSFACE_VAR_TRACE_ID:
        value = ctx->trace.id;
        break;

    case NGX_HTTP_TSFACE_VAR_LIMIT_STATUS:
        if (ctx->limits.nuses) {
            value = ngx_http_tsface_limit_words[ctx->limits.decision];
        }
        break;

    case NGX_HTTP_TSFACE_VAR_LIMIT_DELAY:
        if (ctx->limits.until
            && ngx_http_tsface_variable_number(r, &value,
                                               (ctx->limits.wait + 999) / 1000)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
        break;

    default: /* NGX_HTTP_TSFACE_VAR_TOKEN_AGE */
        if (ctx->generation
            && ngx_http_tsface_variable_number(r, &value,
                                               ctx->token_age / 1000)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
        break;
    }

    if (value.len == 0) {
        return NGX_OK;
    }

    v->data = value.data;
    v->len = value.len;
    v->valid = 1;
    v->not_found = 0;
    v->no_cacheable = 0;

    return NGX_OK;
}


/*
 * For whom, as material of a key.  It has a value only while the keys of
 * limits are evaluated, and nobody takes one from a cache that is marked as
 * not to be kept, so it can't get into a log or a header.
 */
static ngx_int_t
ngx_http_tsface_variable_user(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t              *value;
    ngx_http_tsface_ctx_t  *ctx;

    v->not_found = 1;

    ctx = ngx_http_tsface_transaction(r);

    if (ctx == NULL || !ctx->keying) {
        return NGX_OK;
    }

    /* face.revoke_me says no id: its bearer token stands for the user */

    value = (ctx->operation->token == NGX_HTTP_TSFACE_TOKEN_CREDENTIALS)
            ? &ctx->user_id : &ctx->bearer;

    v->data = value->data;
    v->len = value->len;
    v->valid = 1;
    v->not_found = 0;
    v->no_cacheable = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_variable_number(ngx_http_request_t *r, ngx_str_t *value,
    ngx_uint_t n)
{
    value->data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = ngx_sprintf(value->data, "%ui", n) - value->data;

    return NGX_OK;
}
