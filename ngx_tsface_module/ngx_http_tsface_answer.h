
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What the caller gets: the endpoint's answer as it was, or a problem of the
 * gateway's own (problem.h).
 */


#ifndef _NGX_HTTP_TSFACE_ANSWER_H_INCLUDED_
#define _NGX_HTTP_TSFACE_ANSWER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_forward.h"
#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_problem.h"


/* What some problems say besides; zeroes say nothing. */
typedef struct {
    ngx_str_t                               allow;        /* 405 */
    ngx_msec_t                              retry_after;  /* rounded up */
    const ngx_http_tsface_limits_t         *limits;       /* NULL: untold */
} ngx_http_tsface_answer_extra_t;


/*
 * Both send the whole answer and return what ngx_http_finalize_request()
 * takes.
 */
ngx_int_t ngx_http_tsface_answer_problem(ngx_http_request_t *r,
    ngx_http_tsface_problem_e problem, const ngx_str_t *request_id,
    const ngx_http_tsface_answer_extra_t *extra);
ngx_int_t ngx_http_tsface_answer_relay(ngx_http_request_t *r,
    const ngx_http_tsface_attempt_t *attempt, const ngx_str_t *request_id,
    const ngx_http_tsface_limits_t *limits);


#endif /* _NGX_HTTP_TSFACE_ANSWER_H_INCLUDED_ */
