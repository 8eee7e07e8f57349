
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Named blocks with command tables of their own: "tsface_credentials NAME {".
 */


#ifndef _NGX_HTTP_TSFACE_BLOCK_H_INCLUDED_
#define _NGX_HTTP_TSFACE_BLOCK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Parses the block that cf stands at with commands (a table ended by
 * ngx_null_command), whose setters get conf as their last argument and use
 * cmd->offset into it, as nginx's own slots do.  Takes care of "include",
 * argument counts, unknown words ("unknown directive "x" in
 * "tsface_credentials"") and nested blocks.  block is the directive's name,
 * for messages.
 */
char *ngx_http_tsface_block_parse(ngx_conf_t *cf, ngx_command_t *commands,
    void *conf, const char *block);


#endif /* _NGX_HTTP_TSFACE_BLOCK_H_INCLUDED_ */
