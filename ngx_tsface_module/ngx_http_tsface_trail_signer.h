
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The key that checkpoints are signed with, out of its PEM.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_SIGNER_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_SIGNER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include "ngx_http_tsface_secret.h"


/*
 * The Ed25519 key in source, which is wiped; freed with cf->pool.  directive
 * is for the messages.  NULL after an emerg message.
 */
EVP_PKEY *ngx_http_tsface_trail_signer(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *source, const char *directive);


#endif /* _NGX_HTTP_TSFACE_TRAIL_SIGNER_H_INCLUDED_ */
