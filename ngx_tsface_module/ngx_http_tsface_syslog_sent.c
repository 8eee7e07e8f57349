
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog_sent.h"
#include "ngx_http_tsface_syslog_source.h"
#include "ngx_http_tsface_trail_chain.h"


static ngx_int_t ngx_http_tsface_syslog_sent_lock(
    ngx_http_tsface_syslog_sent_t *sent,
    ngx_http_tsface_trail_result_t *result);


void
ngx_http_tsface_syslog_sent_init(ngx_http_tsface_syslog_sent_t *sent,
    const ngx_str_t *path, int inherited)
{
    ngx_http_tsface_trail_node_init(&sent->node, path, ".sent",
                                    NGX_HTTP_TSFACE_TRAIL_CHAIN_FLAGS,
                                    inherited);
    sent->node.nameless = 1;
    sent->held = 0;
}


ngx_int_t
ngx_http_tsface_syslog_sent_claim(ngx_http_tsface_syslog_sent_t *sent,
    ngx_http_tsface_syslog_position_t *position, ngx_uint_t *flags,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t  rc;

    rc = ngx_http_tsface_syslog_sent_lock(sent, result);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_tsface_syslog_position_read(sent->node.fd, position);

    if (rc == NGX_ERROR) {
        return ngx_http_tsface_trail_failed(result, "pread()", ".sent",
                                            errno);
    }

    if (rc != NGX_OK) {
        *flags |= NGX_HTTP_TSFACE_SYSLOG_NEW;
    }

    if (rc == NGX_DECLINED) {
        *flags |= NGX_HTTP_TSFACE_SYSLOG_LOST;
    }

    sent->held = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_tsface_syslog_sent_renew(ngx_http_tsface_syslog_sent_t *sent,
    const ngx_http_tsface_syslog_position_t *position,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                           rc;
    struct stat                         sb, nb;
    ngx_http_tsface_syslog_position_t   other;

    if (fstat(sent->node.fd, &sb) == -1) {
        return ngx_http_tsface_trail_failed(result, "fstat()", ".sent",
                                            errno);
    }

    rc = ngx_http_tsface_syslog_sent_lock(sent, result);

    if (rc != NGX_OK) {
        return rc;
    }

    if (fstat(sent->node.fd, &nb) == 0
        && nb.st_ino == sb.st_ino && nb.st_dev == sb.st_dev)
    {
        return NGX_OK;
    }

    if (ngx_http_tsface_syslog_position_read(sent->node.fd, &other)
        == NGX_OK)
    {
        return NGX_BUSY;
    }

    if (ngx_http_tsface_syslog_position_write(sent->node.fd, position)
        != NGX_OK)
    {
        return ngx_http_tsface_trail_failed(result, "pwrite()", ".sent",
                                            errno);
    }

    return NGX_OK;
}


/* NGX_BUSY: another process has it. */

static ngx_int_t
ngx_http_tsface_syslog_sent_lock(ngx_http_tsface_syslog_sent_t *sent,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_err_t    err;
    struct stat  sb;

    if (ngx_http_tsface_trail_node_hold(&sent->node, &sb, 1, result)
        == NGX_OK)
    {
        return NGX_OK;
    }

    err = result->err;

    /* of fcntl(), not of open() */

    return sent->node.fd != -1 && (err == EAGAIN || err == EACCES)
           ? NGX_BUSY : NGX_ERROR;
}


void
ngx_http_tsface_syslog_sent_release(ngx_http_tsface_syslog_sent_t *sent)
{
    /* closing a description ends its locks */

    ngx_http_tsface_trail_node_close(&sent->node);

    sent->held = 0;
}
