
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
 * Begins the block that cf stands at, "tsface_something NAME {": checks NAME,
 * which none of blocks may have already, and makes what the block fills: size
 * zeroed bytes of cf->pool, the first member of which is an ngx_str_t that is
 * set to NAME.  blocks is an array of pointers to such.  Returns NULL after
 * an emerg message.
 */
void *ngx_http_tsface_block_create(ngx_conf_t *cf, ngx_command_t *cmd,
    const ngx_array_t *blocks, size_t size);

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

/* Appends a block that is complete to blocks: NGX_CONF_OK or NGX_CONF_ERROR. */
char *ngx_http_tsface_block_add(ngx_array_t *blocks, void *block);

/* The block of that name, or NULL. */
void *ngx_http_tsface_block_find(const ngx_array_t *blocks,
    const ngx_str_t *name);


#endif /* _NGX_HTTP_TSFACE_BLOCK_H_INCLUDED_ */
