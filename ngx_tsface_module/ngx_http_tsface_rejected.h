
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Whether an answer of the endpoint means that it rejected our token:
 * "tsface_token_rejected STATUS ...", and RFC 6750.
 */


#ifndef _NGX_HTTP_TSFACE_REJECTED_H_INCLUDED_
#define _NGX_HTTP_TSFACE_REJECTED_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_forward.h"


/* The setter: an array of ngx_uint_t at cmd->offset. */
char *ngx_http_tsface_rejected_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * statuses is such an array, or NULL for the default.  Of an attempt that has
 * a whole answer.
 */
ngx_uint_t ngx_http_tsface_rejected(const ngx_array_t *statuses,
    const ngx_http_tsface_attempt_t *attempt);


#endif /* _NGX_HTTP_TSFACE_REJECTED_H_INCLUDED_ */
