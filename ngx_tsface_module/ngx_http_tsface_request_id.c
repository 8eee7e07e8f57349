
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/rand.h>

#include "ngx_http_tsface_request_id.h"


#define NGX_HTTP_TSFACE_REQUEST_ID_BYTES   16
#define NGX_HTTP_TSFACE_REQUEST_ID_AHEAD   256


static ngx_int_t ngx_http_tsface_request_id_make(ngx_http_request_t *r,
    ngx_http_variable_value_t *vv);


/* Of $request_id; the same in every cycle's request. */
static ngx_int_t  ngx_http_tsface_request_id_index;

/*
 * Random bytes that no request has had yet, at the end.  A process's own: the
 * master, of which workers are copies, serves no request and takes none.
 */
static u_char  ngx_http_tsface_request_id_random[
    NGX_HTTP_TSFACE_REQUEST_ID_AHEAD * NGX_HTTP_TSFACE_REQUEST_ID_BYTES];
static size_t  ngx_http_tsface_request_id_left;


ngx_int_t
ngx_http_tsface_request_id_init(ngx_conf_t *cf)
{
    ngx_str_t  name;

    ngx_str_set(&name, "request_id");

    ngx_http_tsface_request_id_index = ngx_http_get_variable_index(cf, &name);

    return ngx_http_tsface_request_id_index == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_http_tsface_request_id(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_http_variable_value_t  *vv;

    vv = &r->variables[ngx_http_tsface_request_id_index];

    /* a log, a map or another module may have asked for it before */

    if (!vv->valid && ngx_http_tsface_request_id_make(r, vv) != NGX_OK) {
        vv = ngx_http_get_indexed_variable(r,
                                           ngx_http_tsface_request_id_index);

        if (vv == NULL || vv->not_found) {
            return NGX_ERROR;
        }
    }

    id->data = vv->data;
    id->len = vv->len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_request_id_make(ngx_http_request_t *r,
    ngx_http_variable_value_t *vv)
{
    u_char  *p, *bytes;

    p = ngx_pnalloc(r->pool, 2 * NGX_HTTP_TSFACE_REQUEST_ID_BYTES);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_tsface_request_id_left == 0) {

        if (RAND_bytes(ngx_http_tsface_request_id_random,
                       sizeof(ngx_http_tsface_request_id_random))
            != 1)
        {
            return NGX_ERROR;
        }

        ngx_http_tsface_request_id_left =
                                     sizeof(ngx_http_tsface_request_id_random);
    }

    bytes = ngx_http_tsface_request_id_random
            + sizeof(ngx_http_tsface_request_id_random)
            - ngx_http_tsface_request_id_left;

    ngx_http_tsface_request_id_left -= NGX_HTTP_TSFACE_REQUEST_ID_BYTES;

    ngx_hex_dump(p, bytes, NGX_HTTP_TSFACE_REQUEST_ID_BYTES);

    vv->data = p;
    vv->len = 2 * NGX_HTTP_TSFACE_REQUEST_ID_BYTES;
    vv->valid = 1;
    vv->no_cacheable = 0;
    vv->not_found = 0;

    return NGX_OK;
}
