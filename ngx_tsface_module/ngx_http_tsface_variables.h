
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The $tsface_* variables.
 */


#ifndef _NGX_HTTP_TSFACE_VARIABLES_H_INCLUDED_
#define _NGX_HTTP_TSFACE_VARIABLES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* preconfiguration */
ngx_int_t ngx_http_tsface_add_variables(ngx_conf_t *cf);


#endif /* _NGX_HTTP_TSFACE_VARIABLES_H_INCLUDED_ */
