
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The directives of tsface_credentials that are about its gate (gate.h), and
 * what they come to.
 */


#ifndef _NGX_HTTP_TSFACE_CREDENTIALS_GATE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_CREDENTIALS_GATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_credentials.h"


/* rate RATE [burst=N] */
char *ngx_http_tsface_credentials_rate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* breaker off | failures=N [open=TIME] [open_max=TIME] */
char *ngx_http_tsface_credentials_breaker(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* NAME off | TIME, into a uint64_t at cmd->offset, in microseconds. */
char *ngx_http_tsface_credentials_pause(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Before and after the block is read. */
void ngx_http_tsface_credentials_gate_create(
    ngx_http_tsface_credentials_t *credentials);
ngx_int_t ngx_http_tsface_credentials_gate_init(ngx_conf_t *cf,
    ngx_http_tsface_credentials_t *credentials);

/*
 * After gate_key is known: NGX_ERROR if one of those in the array has the
 * same gate with other directives.
 */
ngx_int_t ngx_http_tsface_credentials_gate_check(ngx_conf_t *cf,
    const ngx_array_t *array,
    const ngx_http_tsface_credentials_t *credentials);


#endif /* _NGX_HTTP_TSFACE_CREDENTIALS_GATE_H_INCLUDED_ */
