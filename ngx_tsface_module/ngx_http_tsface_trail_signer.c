
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_certificate.h"
#include "ngx_http_tsface_record_sign.h"
#include "ngx_http_tsface_trail_signer.h"


EVP_PKEY *
ngx_http_tsface_trail_signer(ngx_conf_t *cf, ngx_http_tsface_secret_t *source,
    const char *directive)
{
    u_char                           id[NGX_HTTP_TSFACE_RECORD_SIGNER_LEN];
    EVP_PKEY                        *key;
    ngx_http_tsface_key_password_t   none;

    ngx_memzero(&none, sizeof(ngx_http_tsface_key_password_t));

    key = ngx_http_tsface_certificate_key(cf, source, directive, &none);
    if (key == NULL) {
        return NULL;
    }

    if (ngx_http_tsface_record_signer(key, id) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"%s\" holds another key than one for "
                           "Ed25519: make one with \"openssl genpkey "
                           "-algorithm ed25519\"", &source->name, directive);
        return NULL;
    }

    return key;
}
