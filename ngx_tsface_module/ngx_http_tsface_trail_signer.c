
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "ngx_http_tsface_record_sign.h"
#include "ngx_http_tsface_trail_signer.h"


static int ngx_http_tsface_trail_signer_password(char *buf, int size,
    int writing, void *data);
static void ngx_http_tsface_trail_signer_cleanup(void *data);


EVP_PKEY *
ngx_http_tsface_trail_signer(ngx_conf_t *cf, ngx_http_tsface_secret_t *source,
    const char *directive)
{
    BIO                 *bio;
    u_char               id[NGX_HTTP_TSFACE_RECORD_SIGNER_LEN];
    EVP_PKEY            *key;
    ngx_uint_t           asked;
    const char          *error;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    bio = BIO_new_mem_buf(source->value.data, (int) source->value.len);
    if (bio == NULL) {
        ERR_clear_error();
        return NULL;
    }

    asked = 0;

    key = PEM_read_bio_PrivateKey(bio, NULL,
                                  ngx_http_tsface_trail_signer_password,
                                  &asked);
    BIO_free(bio);

    /* errors stay out of the log: who knows what they may quote */

    ERR_clear_error();

    ngx_http_tsface_secret_wipe(source);

    if (key == NULL) {
        error = asked ? "is encrypted: it has to be in plain, for root only"
                      : "holds no private key in PEM format";
        goto failed;
    }

    cln->handler = ngx_http_tsface_trail_signer_cleanup;
    cln->data = key;

    if (ngx_http_tsface_record_signer(key, id) != NGX_OK) {
        error = "holds another key than one for Ed25519: make one with "
                "\"openssl genpkey -algorithm ed25519\"";
        goto failed;
    }

    return key;

failed:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" of \"%s\" %s",
                       &source->name, directive, error);

    return NULL;
}


/* Without it, OpenSSL would ask for the password on the terminal. */

static int
ngx_http_tsface_trail_signer_password(char *buf, int size, int writing,
    void *data)
{
    ngx_uint_t *asked = data;

    *asked = 1;

    return -1;
}


static void
ngx_http_tsface_trail_signer_cleanup(void *data)
{
    EVP_PKEY_free(data);
}
