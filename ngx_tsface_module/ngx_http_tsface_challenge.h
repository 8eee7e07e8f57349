
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What a WWW-Authenticate header says of a token (RFC 6750 3).  Pure.
 */


#ifndef _NGX_HTTP_TSFACE_CHALLENGE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_CHALLENGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_HTTP_TSFACE_CHALLENGE_NONE = 0,   /* no error, or another one */
    NGX_HTTP_TSFACE_CHALLENGE_TOKEN,      /* "invalid_token" */
    NGX_HTTP_TSFACE_CHALLENGE_SCOPE       /* "insufficient_scope" */
} ngx_http_tsface_challenge_e;


/*
 * The first "error" parameter of the field's challenges, whatever their
 * scheme.  What stands in another parameter's quoted string is none.
 */
ngx_http_tsface_challenge_e ngx_http_tsface_challenge_error(
    const ngx_str_t *value);


#endif /* _NGX_HTTP_TSFACE_CHALLENGE_H_INCLUDED_ */
