
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * One attempt at the endpoint: a clone subrequest with an upstream of its own
 * whose answer is captured, not sent.
 */


#ifndef _NGX_HTTP_TSFACE_FORWARD_H_INCLUDED_
#define _NGX_HTTP_TSFACE_FORWARD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_endpoint.h"
#include "ngx_http_tsface_response.h"
#include "ngx_http_tsface_trace.h"


#define NGX_HTTP_TSFACE_MAX_RESPONSE   1048576


typedef struct ngx_http_tsface_attempt_s  ngx_http_tsface_attempt_t;

/*
 * Called once when an attempt has ended, before the main request is resumed
 * (or terminated: the client may be gone).  It must not finalize anything.
 */
typedef void (*ngx_http_tsface_attempt_pt)(ngx_http_request_t *main,
    ngx_http_tsface_attempt_t *attempt);


struct ngx_http_tsface_attempt_s {
    /* what to do; everything lives in the main request's pool */
    ngx_http_tsface_endpoint_t    *endpoint;
    ngx_str_t                      method;
    ngx_str_t                      base;         /* URI is base + path */
    ngx_str_t                      path;
    ngx_str_t                      bearer;       /* copied by start() */
    ngx_str_t                      body;         /* JSON, or empty */
    ngx_str_t                      request_id;
    const ngx_http_tsface_trace_t *trace;
    ngx_http_tsface_attempt_pt     handler;

    /* what became of it */
    ngx_uint_t                     status;       /* 0: no answer to trust */
    ngx_uint_t                     gateway;      /* 502 or 504 then */
    ngx_array_t                    headers;      /* response_header_t */
    ngx_chain_t                   *out;          /* the body captured */
    off_t                          size;
    ngx_str_t                      addr;
    ngx_msec_t                     took;
    unsigned                       sent:1;       /* any byte of the request */

    /* its own */
    ngx_http_request_t            *request;      /* the clone */
    ngx_http_request_t            *main;
    ngx_buf_t                     *buf;          /* holds the bearer */
    ngx_chain_t                  **last;
    ngx_msec_t                     start;
    ngx_http_tsface_body_t         framing;
    unsigned                       header_done:1;
    unsigned                       whole:1;
    unsigned                       finished:1;
    unsigned                       invalid:1;
    ngx_http_tsface_response_t     response;     /* last: see clear() */
};


/* What has to be zeroed of a new attempt: all but the room for headers. */
#define ngx_http_tsface_attempt_clear(attempt)                                \
    ngx_memzero(attempt, offsetof(ngx_http_tsface_attempt_t, response)        \
                         + offsetof(ngx_http_tsface_response_t, headers))


/*
 * Begins the attempt.  The bearer may change after it returns.  NGX_ERROR:
 * nothing was begun.
 */
ngx_int_t ngx_http_tsface_forward_start(ngx_http_request_t *r,
    ngx_http_tsface_attempt_t *attempt);

/* The content handler for a clone: its ctx is the attempt. */
ngx_int_t ngx_http_tsface_forward_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_TSFACE_FORWARD_H_INCLUDED_ */
