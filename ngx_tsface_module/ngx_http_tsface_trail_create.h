
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Makes a trail's files, and checks that they can be made: what the master
 * does, as root, before there are workers.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_CREATE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_CREATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_trail_result.h"


/* Which of a trail's files. */
#define NGX_HTTP_TSFACE_TRAIL_RECORDS  0   /* PATH */
#define NGX_HTTP_TSFACE_TRAIL_CHAIN    1   /* PATH.chain */
#define NGX_HTTP_TSFACE_TRAIL_SENT     2   /* PATH.sent: with "syslog" only */
#define NGX_HTTP_TSFACE_TRAIL_NFILES   3


/*
 * Opens one of the files and creates it with mode 0640 if need be;
 * gives it to uid unless that is -1.  Returns the descriptor, close-on-exec,
 * or -1 with the result filled in.  Nothing is written.
 */
int ngx_http_tsface_trail_create(const ngx_str_t *path, ngx_uint_t which,
    ngx_uid_t uid, ngx_http_tsface_trail_result_t *result);

/*
 * The same check for "nginx -t", which must leave nothing behind: a file made
 * and removed again could be one that a running worker has just written to.
 * NGX_OK if the name is one, or could be made by this process.
 */
ngx_int_t ngx_http_tsface_trail_create_check(const ngx_str_t *path,
    ngx_uint_t which, ngx_http_tsface_trail_result_t *result);


#endif /* _NGX_HTTP_TSFACE_TRAIL_CREATE_H_INCLUDED_ */
