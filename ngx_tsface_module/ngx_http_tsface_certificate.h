
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Private keys and client certificates, out of their PEM.
 */


#ifndef _NGX_HTTP_TSFACE_CERTIFICATE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_CERTIFICATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_tsface_secret.h"


/* What we show of ourselves in a handshake; freed with the configuration. */
typedef struct {
    X509                             *leaf;
    STACK_OF(X509)                   *chain;      /* without the leaf */
    EVP_PKEY                         *key;
} ngx_http_tsface_certificate_t;


/* Of encrypted keys; directive is NULL where they may not be encrypted. */
typedef struct {
    const ngx_str_t                  *value;      /* NULL: there is none */
    const char                       *directive;  /* that would give it */
    ngx_uint_t                        asked;      /* a key is encrypted */
} ngx_http_tsface_key_password_t;


/*
 * The key in source, whose PEM is wiped; directive is where it was given.
 * Freed with cf->pool.  NULL after an emerg message.
 */
EVP_PKEY *ngx_http_tsface_certificate_key(ngx_conf_t *cf,
    ngx_http_tsface_secret_t *source, const char *directive,
    ngx_http_tsface_key_password_t *password);

/*
 * The certificates in file ("client_certificate", its path NUL-terminated),
 * the leaf first, with the key in source ("client_certificate_key"), as
 * above.
 */
ngx_http_tsface_certificate_t *ngx_http_tsface_certificate_read(
    ngx_conf_t *cf, const ngx_str_t *file, ngx_http_tsface_secret_t *source,
    ngx_http_tsface_key_password_t *password);


#endif /* _NGX_HTTP_TSFACE_CERTIFICATE_H_INCLUDED_ */
