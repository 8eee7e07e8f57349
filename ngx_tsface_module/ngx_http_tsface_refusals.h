
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * "refusals" of tsface_audit_trail: how many refusals a worker writes one by
 * one, and the record that stands for the rest.
 */


#ifndef _NGX_HTTP_TSFACE_REFUSALS_H_INCLUDED_
#define _NGX_HTTP_TSFACE_REFUSALS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_problem.h"
#include "ngx_http_tsface_trail.h"


/* The setter of "refusals". */
char *ngx_http_tsface_refusals_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* What a trail without "refusals" has; for the end of the block. */
void ngx_http_tsface_refusals_default(ngx_http_tsface_trail_t *trail);

/*
 * For the life cycle of a trail in a process: start() once the trail takes
 * records, stop() while it still does.  What was counted is written by then.
 */
ngx_int_t ngx_http_tsface_refusals_start(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail);
void ngx_http_tsface_refusals_stop(ngx_http_tsface_trail_t *trail);

/*
 * NGX_OK: the refusal is one too many and was counted, no record of its own
 * may be written.  NGX_DECLINED: it has to be written.  caller is empty if
 * nobody was identified.
 */
ngx_int_t ngx_http_tsface_refusals_count(ngx_http_tsface_trail_t *trail,
    ngx_http_tsface_problem_e reason, const ngx_str_t *client_addr,
    const ngx_str_t *caller);


#endif /* _NGX_HTTP_TSFACE_REFUSALS_H_INCLUDED_ */
