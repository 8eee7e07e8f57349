
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_block.h"


#define NGX_HTTP_TSFACE_BLOCK_NAME_MAX   64


typedef struct {
    ngx_command_t    *commands;
    void             *conf;
    const char       *block;
} ngx_http_tsface_block_ctx_t;


static ngx_int_t ngx_http_tsface_block_name(ngx_conf_t *cf, ngx_command_t *cmd,
    const ngx_str_t *name);
static char *ngx_http_tsface_block_handler(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static ngx_uint_t ngx_http_tsface_block_args(ngx_conf_t *cf, ngx_uint_t type);


/* As in ngx_conf_file.c, where it is private. */
static ngx_uint_t  ngx_http_tsface_block_argument_number[] = {
    NGX_CONF_NOARGS,
    NGX_CONF_TAKE1,
    NGX_CONF_TAKE2,
    NGX_CONF_TAKE3,
    NGX_CONF_TAKE4,
    NGX_CONF_TAKE5,
    NGX_CONF_TAKE6,
    NGX_CONF_TAKE7
};


void *
ngx_http_tsface_block_create(ngx_conf_t *cf, ngx_command_t *cmd,
    const ngx_array_t *blocks, size_t size)
{
    void       *block;
    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_http_tsface_block_name(cf, cmd, &value[1]) != NGX_OK) {
        return NULL;
    }

    if (ngx_http_tsface_block_find(blocks, &value[1]) != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate %V \"%V\": rename or remove one",
                           &cmd->name, &value[1]);
        return NULL;
    }

    block = ngx_pcalloc(cf->pool, size);
    if (block == NULL) {
        return NULL;
    }

    *(ngx_str_t *) block = value[1];

    return block;
}


char *
ngx_http_tsface_block_parse(ngx_conf_t *cf, ngx_command_t *commands,
    void *conf, const char *block)
{
    ngx_conf_t                   pcf;
    ngx_http_tsface_block_ctx_t  ctx;

    ctx.commands = commands;
    ctx.conf = conf;
    ctx.block = block;

    /*
     * The copy keeps conf_file, which is shared, so lines go on being counted;
     * it forgets the handler when the block ends, however it ends.
     */

    pcf = *cf;
    pcf.handler = ngx_http_tsface_block_handler;
    pcf.handler_conf = (void *) &ctx;

    return ngx_conf_parse(&pcf, NULL);
}


char *
ngx_http_tsface_block_add(ngx_array_t *blocks, void *block)
{
    void  **slot;

    slot = ngx_array_push(blocks);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = block;

    return NGX_CONF_OK;
}


void *
ngx_http_tsface_block_find(const ngx_array_t *blocks, const ngx_str_t *name)
{
    void        **block;
    ngx_str_t    *other;
    ngx_uint_t    i;

    block = blocks->elts;

    for (i = 0; i < blocks->nelts; i++) {
        other = block[i];

        if (other->len == name->len
            && ngx_memcmp(other->data, name->data, name->len) == 0)
        {
            return block[i];
        }
    }

    return NULL;
}


/* Names go into records, variables and logs, so few bytes are allowed. */

static ngx_int_t
ngx_http_tsface_block_name(ngx_conf_t *cf, ngx_command_t *cmd,
    const ngx_str_t *name)
{
    size_t  i;
    u_char  ch;

    if (name->len == 0 || name->len > NGX_HTTP_TSFACE_BLOCK_NAME_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the name of \"%V\" must have 1 to %d characters, "
                           "\"%V\" has %uz", &cmd->name,
                           NGX_HTTP_TSFACE_BLOCK_NAME_MAX, name, name->len);
        return NGX_ERROR;
    }

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
            || (ch >= '0' && ch <= '9')
            || ch == '_' || ch == '.' || ch == '-')
        {
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" of \"%V\": use letters, "
                           "digits, \"_\", \".\" and \"-\"",
                           name, &cmd->name);
        return NGX_ERROR;
    }

    if (name->len == 3 && ngx_strcmp(name->data, "off") == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" can't be named \"off\"", &cmd->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Called for each directive in the block that ends with ";": core itself
 * refuses one that opens a block of its own when there is a handler.
 */

static char *
ngx_http_tsface_block_handler(ngx_conf_t *cf, ngx_command_t *dummy, void *conf)
{
    ngx_http_tsface_block_ctx_t *ctx = conf;

    char           *rv;
    ngx_str_t      *name;
    ngx_command_t  *cmd;

    name = cf->args->elts;

    /* core leaves "include" to handlers; the copy of cf brings it back here */

    if (name->len == 7 && ngx_strcmp(name->data, "include") == 0) {

        if (cf->args->nelts != 2) {
            goto invalid;
        }

        return ngx_conf_include(cf, dummy, conf);
    }

    for (cmd = ctx->commands; cmd->name.len; cmd++) {

        if (name->len != cmd->name.len
            || ngx_strcmp(name->data, cmd->name.data) != 0)
        {
            continue;
        }

        if (!ngx_http_tsface_block_args(cf, cmd->type)) {
            goto invalid;
        }

        rv = cmd->set(cf, cmd, ctx->conf);

        if (rv == NGX_CONF_OK || rv == NGX_CONF_ERROR) {
            return rv;
        }

        /* setters may reuse cf->args, so the name is the command's */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" directive %s",
                           &cmd->name, rv);
        return NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown directive \"%V\" in \"%s\"",
                       name, ctx->block);

    return NGX_CONF_ERROR;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid number of arguments in \"%V\" directive",
                       name);

    return NGX_CONF_ERROR;
}


static ngx_uint_t
ngx_http_tsface_block_args(ngx_conf_t *cf, ngx_uint_t type)
{
    ngx_uint_t  n;

    n = cf->args->nelts;

    if (type & NGX_CONF_ANY) {
        return 1;
    }

    if (type & NGX_CONF_FLAG) {
        return n == 2;
    }

    if (type & NGX_CONF_1MORE) {
        return n >= 2;
    }

    if (type & NGX_CONF_2MORE) {
        return n >= 3;
    }

    if (n > NGX_CONF_MAX_ARGS) {
        return 0;
    }

    return (type & ngx_http_tsface_block_argument_number[n - 1]) ? 1 : 0;
}
