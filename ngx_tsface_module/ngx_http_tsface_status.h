
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * tsface_status: what the module is doing, for people and for monitoring.
 * Nothing in it is secret.
 */


#ifndef _NGX_HTTP_TSFACE_STATUS_H_INCLUDED_
#define _NGX_HTTP_TSFACE_STATUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_page.h"
#include "ngx_http_tsface_token.h"


/* loc conf's status. */
#define NGX_HTTP_TSFACE_STATUS_ACCEPT       0
#define NGX_HTTP_TSFACE_STATUS_JSON         1
#define NGX_HTTP_TSFACE_STATUS_PROMETHEUS   2


/* The content handler of tsface_status. */
ngx_int_t ngx_http_tsface_status_handler(ngx_http_request_t *r);

/* The formats.  tmcf->zone may be NULL. */
void ngx_http_tsface_status_json(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);
void ngx_http_tsface_status_prometheus(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);


/* Of these, what is about trails: a member, and whole metrics. */
void ngx_http_tsface_status_trails_json(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);
void ngx_http_tsface_status_trails_metrics(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);

/* The same about stores of limits. */
void ngx_http_tsface_status_stores_json(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);
void ngx_http_tsface_status_stores_metrics(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);

/* The same of what is sent to syslog; the member, for a trail that has it. */
void ngx_http_tsface_status_syslog_json(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_trail_t *trail);
void ngx_http_tsface_status_syslog_metrics(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);

/* A histogram as a JSON object. */
void ngx_http_tsface_json_meter(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_meter_stat_t *stat);

/* A metric that is a number in a struct, or a time. */
typedef struct {
    const char                     *name;
    const char                     *type;
    const char                     *help;
    size_t                          offset;
    ngx_uint_t                      kind;
} ngx_http_tsface_metric_t;


enum {
    NGX_HTTP_TSFACE_METRIC_NUMBER = 0,         /* ngx_uint_t */
    NGX_HTTP_TSFACE_METRIC_DURATION,           /* ngx_msec_t, as the others */
    NGX_HTTP_TSFACE_METRIC_UNTIL,              /* from now, not below 0 */
    NGX_HTTP_TSFACE_METRIC_SINCE,              /* while there is a token */
    NGX_HTTP_TSFACE_METRIC_TOKEN_UNTIL         /* the same */
};


/* The head of a metric, what it is with one label, and a histogram. */
void ngx_http_tsface_metric(ngx_http_tsface_page_t *page, const char *name,
    const char *type, const char *help);
void ngx_http_tsface_metric_value(ngx_http_tsface_page_t *page,
    const ngx_http_tsface_metric_t *metric, const char *label,
    const ngx_str_t *value, const void *stat);
void ngx_http_tsface_metrics_meter(ngx_http_tsface_page_t *page,
    const char *name, const char *label, const ngx_str_t *value,
    const ngx_http_tsface_meter_stat_t *stat);

/* The parts of them that are of limits. */
void ngx_http_tsface_status_json_limits(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);
void ngx_http_tsface_status_prometheus_limits(ngx_http_tsface_page_t *page,
    ngx_http_tsface_main_conf_t *tmcf);

/* The value of a label, escaped, in pool; empty without memory. */
ngx_str_t ngx_http_tsface_metrics_escape(ngx_pool_t *pool,
    const ngx_str_t *value);


/* Words that they have in common, NULL at the end. */
extern const char *const  ngx_http_tsface_status_classes[];
extern const char *const  ngx_http_tsface_status_states[];
extern const char *const  ngx_http_tsface_status_counters[];
extern const char *const  ngx_http_tsface_status_breakers[];

/* The state of credentials in one word, one of status_states. */
const char *ngx_http_tsface_status_state(
    const ngx_http_tsface_token_stat_t *stat);

/* The state of their breaker, one of status_breakers. */
const char *ngx_http_tsface_status_breaker(
    const ngx_http_tsface_credentials_t *credentials,
    const ngx_http_tsface_token_stat_t *stat);

/* The name of an operation, or of NO_OPERATION. */
const ngx_str_t *ngx_http_tsface_status_operation(ngx_uint_t operation);

/* How long until a time of the slot; 0: it is over. */
ngx_msec_t ngx_http_tsface_status_left(ngx_msec_t time);


#endif /* _NGX_HTTP_TSFACE_STATUS_H_INCLUDED_ */
