
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/crypto.h>

#include "ngx_http_tsface_block.h"
#include "ngx_http_tsface_module.h"
#include "ngx_http_tsface_refusals.h"
#include "ngx_http_tsface_setter.h"
#include "ngx_http_tsface_syslog.h"
#include "ngx_http_tsface_trail.h"
#include "ngx_http_tsface_trail_path.h"
#include "ngx_http_tsface_trail_signer.h"


#define NGX_HTTP_TSFACE_TRAIL_ROTATE_MIN   (64 * 1024)


static char *ngx_http_tsface_trail_rotate_size(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_tsface_trail_checkpoints(ngx_conf_t *cf,
    ngx_http_tsface_trail_t *trail);
static ngx_int_t ngx_http_tsface_trail_required(ngx_conf_t *cf,
    ngx_http_tsface_trail_t *trail);
static void ngx_http_tsface_trail_lines(ngx_conf_t *cf,
    const ngx_http_tsface_secret_t *secret, const char *directive);


/* Bytes; the file's every 32 bytes of key are 256 bits, as SHA-256 has. */
static size_t  ngx_http_tsface_trail_key_min = 32;

/* A private key is all of its file. */
static size_t  ngx_http_tsface_trail_pem = NGX_HTTP_TSFACE_SECRET_WHOLE;


static ngx_conf_num_bounds_t  ngx_http_tsface_trail_records = {
    ngx_conf_check_num_bounds, 10, 1000000
};


static ngx_conf_enum_t  ngx_http_tsface_trail_durability[] = {
    { ngx_string("fdatasync"), NGX_HTTP_TSFACE_DURABILITY_FDATASYNC },
    { ngx_string("write"), NGX_HTTP_TSFACE_DURABILITY_WRITE },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_tsface_trail_on_failure[] = {
    { ngx_string("refuse"), NGX_HTTP_TSFACE_ON_FAILURE_REFUSE },
    { ngx_string("forward"), NGX_HTTP_TSFACE_ON_FAILURE_FORWARD },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_tsface_trail_user_id[] = {
    { ngx_string("hmac"), NGX_HTTP_TSFACE_USER_ID_HMAC },
    { ngx_string("plain"), NGX_HTTP_TSFACE_USER_ID_PLAIN },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_tsface_trail_commands[] = {

    { ngx_string("file"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, path),
      NULL },

    { ngx_string("key"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, key),
      &ngx_http_tsface_trail_key_min },

    { ngx_string("key_previous"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, key_previous),
      &ngx_http_tsface_trail_key_min },

    { ngx_string("checkpoint_key"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_secret_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, checkpoint_key),
      &ngx_http_tsface_trail_pem },

    { ngx_string("checkpoint_records"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, checkpoint_records),
      &ngx_http_tsface_trail_records },

    { ngx_string("checkpoint_interval"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, checkpoint_interval),
      &ngx_http_tsface_timeout_post },

    { ngx_string("checkpoint_file"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, checkpoint_file),
      NULL },

    { ngx_string("rotate_size"),
      NGX_CONF_TAKE1,
      ngx_http_tsface_trail_rotate_size,
      0,
      offsetof(ngx_http_tsface_trail_t, rotate_size),
      NULL },

    { ngx_string("durability"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, durability),
      &ngx_http_tsface_trail_durability },

    { ngx_string("timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, timeout),
      &ngx_http_tsface_timeout_post },

    { ngx_string("on_failure"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, on_failure),
      &ngx_http_tsface_trail_on_failure },

    { ngx_string("user_id"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, user_id),
      &ngx_http_tsface_trail_user_id },

    { ngx_string("refusals"),
      NGX_CONF_TAKE12,
      ngx_http_tsface_refusals_slot,
      0,
      0,
      NULL },

    { ngx_string("syslog"),
      NGX_CONF_1MORE,
      ngx_http_tsface_syslog_slot,
      0,
      offsetof(ngx_http_tsface_trail_t, syslog),
      NULL },

      ngx_null_command
};


char *
ngx_http_tsface_trail_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tsface_main_conf_t *tmcf = conf;

    char                      *rv;
    ngx_http_tsface_trail_t   *trail;

    trail = ngx_http_tsface_block_create(cf, cmd, &tmcf->trails,
                                         sizeof(ngx_http_tsface_trail_t));
    if (trail == NULL) {
        return NGX_CONF_ERROR;
    }

    /*
     * set by ngx_http_tsface_block_create():
     *
     *     trail->name;
     *     trail->path = { 0, NULL };
     *     trail->key = NULL;
     *     trail->key_previous = NULL;
     *     trail->checkpoint_key = NULL;
     *     trail->signer = NULL;
     *     trail->checkpoint_file = { 0, NULL };
     *     trail->syslog = NULL;
     *     trail->writer = NULL;
     *     trail->flood = NULL;
     */

    trail->checkpoint_records = NGX_CONF_UNSET;
    trail->checkpoint_interval = NGX_CONF_UNSET_MSEC;
    trail->rotate_size = NGX_CONF_UNSET;
    trail->durability = NGX_CONF_UNSET_UINT;
    trail->on_failure = NGX_CONF_UNSET_UINT;
    trail->user_id = NGX_CONF_UNSET_UINT;
    trail->timeout = NGX_CONF_UNSET_MSEC;
    trail->refusals.rate = NGX_CONF_UNSET_UINT;

    rv = ngx_http_tsface_block_parse(cf, ngx_http_tsface_trail_commands,
                                     trail, "tsface_audit_trail");
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_http_tsface_trail_required(cf, trail) != NGX_OK
        || ngx_http_tsface_trail_checkpoints(cf, trail) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_value(trail->checkpoint_records, 1000);
    ngx_conf_init_msec_value(trail->checkpoint_interval, 60000);
    ngx_conf_init_value(trail->rotate_size, 0);
    ngx_conf_init_uint_value(trail->durability,
                             NGX_HTTP_TSFACE_DURABILITY_FDATASYNC);
    ngx_conf_init_uint_value(trail->on_failure,
                             NGX_HTTP_TSFACE_ON_FAILURE_REFUSE);
    ngx_conf_init_uint_value(trail->user_id, NGX_HTTP_TSFACE_USER_ID_HMAC);
    ngx_conf_init_msec_value(trail->timeout, 2000);
    ngx_http_tsface_refusals_default(trail);

    trail->thread_pool = ngx_thread_pool_add(cf, NULL);
    if (trail->thread_pool == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_tsface_trail_path(cf, &tmcf->trails, trail) != NGX_OK
        || ngx_http_tsface_syslog_zone(cf, trail) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_tsface_block_add(&tmcf->trails, trail);
}


ngx_http_tsface_trail_t *
ngx_http_tsface_trail_find(const ngx_array_t *trails, const ngx_str_t *name)
{
    return ngx_http_tsface_block_find(trails, name);
}


/* "off", or a size; a file holds a batch at the least. */

static char *
ngx_http_tsface_trail_rotate_size(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_tsface_trail_t *trail = conf;

    ngx_str_t  *value;

    if (trail->rotate_size != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        trail->rotate_size = 0;
        return NGX_CONF_OK;
    }

    trail->rotate_size = ngx_parse_offset(&value[1]);

    if (trail->rotate_size == NGX_ERROR
        || trail->rotate_size < NGX_HTTP_TSFACE_TRAIL_ROTATE_MIN)
    {
        trail->rotate_size = 0;

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\" in \"rotate_size\": "
                           "it must be \"off\" or at least 64k", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_tsface_trail_checkpoints(ngx_conf_t *cf,
    ngx_http_tsface_trail_t *trail)
{
    const char  *alone;

    if (trail->checkpoint_key) {
        trail->signer = ngx_http_tsface_trail_signer(cf,
                                                     trail->checkpoint_key,
                                                     "checkpoint_key");

        return trail->signer ? NGX_OK : NGX_ERROR;
    }

    if (trail->checkpoint_file.len) {
        alone = "checkpoint_file";

    } else if (trail->checkpoint_records != NGX_CONF_UNSET) {
        alone = "checkpoint_records";

    } else if (trail->checkpoint_interval != NGX_CONF_UNSET_MSEC) {
        alone = "checkpoint_interval";

    } else {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%s\" without \"checkpoint_key\" in "
                       "tsface_audit_trail \"%V\"", alone, &trail->name);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_tsface_trail_required(ngx_conf_t *cf, ngx_http_tsface_trail_t *trail)
{
    const char  *missing;

    if (trail->path.len == 0) {
        missing = "file";

    } else if (trail->key == NULL) {
        missing = "key";

    } else {

        ngx_http_tsface_trail_lines(cf, trail->key, "key");

        if (trail->key_previous == NULL) {
            return NGX_OK;
        }

        ngx_http_tsface_trail_lines(cf, trail->key_previous, "key_previous");

        if (trail->key_previous->value.len != trail->key->value.len
            || CRYPTO_memcmp(trail->key_previous->value.data,
                             trail->key->value.data, trail->key->value.len)
               != 0)
        {
            return NGX_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"key_previous\" is the same as \"key\" in "
                           "tsface_audit_trail \"%V\"", &trail->name);

        return NGX_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "no \"%s\" in tsface_audit_trail \"%V\"",
                       missing, &trail->name);

    return NGX_ERROR;
}


static void
ngx_http_tsface_trail_lines(ngx_conf_t *cf,
    const ngx_http_tsface_secret_t *secret, const char *directive)
{
    if (secret->next.len) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the second line of \"%V\" of \"%s\" "
                           "is not used", &secret->name, directive);
    }
}
