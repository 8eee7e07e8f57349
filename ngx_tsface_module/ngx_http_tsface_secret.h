
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Secrets and where they come from: file:PATH, env:NAME, credential:NAME
 * (a file below systemd's $CREDENTIALS_DIRECTORY).  Read when the
 * configuration is, by the master; never logged; wiped when the
 * configuration goes.
 */


#ifndef _NGX_HTTP_TSFACE_SECRET_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SECRET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_secret_text.h"


typedef enum {
    NGX_HTTP_TSFACE_SECRET_FILE = 0,
    NGX_HTTP_TSFACE_SECRET_ENV,
    NGX_HTTP_TSFACE_SECRET_CREDENTIAL
} ngx_http_tsface_secret_source_e;


/*
 * The first line of a source, without its line end, and the second: the next
 * secret, while one is being rotated.  The bytes belong to cf->pool, whose
 * clean-up wipes them with OPENSSL_cleanse.
 */
typedef struct {
    ngx_http_tsface_secret_source_e   source;
    ngx_str_t                         name;    /* path or variable */
    ngx_str_t                         value;
    ngx_str_t                         next;    /* empty: none */
    unsigned                          group_readable:1;
} ngx_http_tsface_secret_t;


/*
 * Reads the secret that spec names.  directive and min (bytes, at least 1, or
 * SECRET_WHOLE for a text of many lines, as private keys are) serve the
 * checks and their messages, which never quote the value, nor spec itself
 * when it has no known prefix (it may be a secret pasted inline).  Returns
 * NULL after an emerg message.
 */
ngx_http_tsface_secret_t *ngx_http_tsface_secret_read(ngx_conf_t *cf,
    const ngx_str_t *spec, const char *directive, size_t min);

/* Wipes the value before its pool does: it is empty then. */
void ngx_http_tsface_secret_wipe(ngx_http_tsface_secret_t *secret);

/*
 * The setter for a command of that kind: "directive SPEC" into an
 * ngx_http_tsface_secret_t * at cmd->offset; cmd->post, if not NULL, points
 * to a size_t with the least length.
 */
char *ngx_http_tsface_secret_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_TSFACE_SECRET_H_INCLUDED_ */
