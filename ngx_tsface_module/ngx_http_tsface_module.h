
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The module's configuration, as the other files see it.
 */


#ifndef _NGX_HTTP_TSFACE_MODULE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_compat.h"
#include "ngx_http_tsface_credentials.h"
#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_limit_store.h"
#include "ngx_http_tsface_trail.h"


#define NGX_HTTP_TSFACE_MODULE_VERSION   "0.1.0"
#define NGX_HTTP_TSFACE_USER_AGENT       "ngx_tsface/" \
                                         NGX_HTTP_TSFACE_MODULE_VERSION


/* http{} level. */
typedef struct {
    ngx_shm_zone_t               *zone;          /* tsface_zone */
    ngx_array_t                   credentials;   /* of pointers */
    ngx_array_t                   endpoints;     /* of pointers */
    ngx_array_t                   trails;        /* of pointers */
    ngx_array_t                   limit_zones;   /* of ngx_shm_zone_t * */
    ngx_array_t                   limit_stores;  /* of pointers */
    ngx_array_t                   locations;     /* of pointers, with pass */
} ngx_http_tsface_main_conf_t;


/* location level; never written after the configuration is read. */
typedef struct {
    /* tsface_pass: a name known at start, or a variable */
    ngx_http_complex_value_t        *pass;
    ngx_http_tsface_credentials_t   *credentials;  /* NULL: a variable */

    ngx_http_complex_value_t        *caller;       /* NULL: anonymous */
    ngx_uint_t                       anonymous;

    ngx_str_t                        audit;        /* name, "off", NULL */
    ngx_http_tsface_trail_t         *trail;        /* NULL: off */

    ngx_array_t                     *limits;       /* NULL: none */
    ngx_flag_t                       limit_headers;

    ngx_array_t                     *rejected;     /* statuses; NULL: 401 */
    ngx_flag_t                       replay;

    ngx_uint_t                       status;       /* tsface_status: format */

    u_char                          *file;         /* of tsface_pass */
    ngx_uint_t                       line;
} ngx_http_tsface_loc_conf_t;


extern ngx_module_t  ngx_http_tsface_module;


#endif /* _NGX_HTTP_TSFACE_MODULE_H_INCLUDED_ */
