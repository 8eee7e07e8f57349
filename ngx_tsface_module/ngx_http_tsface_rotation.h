
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The secrets of one credentials as one worker knows them: the current and
 * the next one, read again from their files when the workers may read these.
 */


#ifndef _NGX_HTTP_TSFACE_ROTATION_H_INCLUDED_
#define _NGX_HTTP_TSFACE_ROTATION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_credentials.h"


/* Enough of a SHA-256 to tell secrets apart, too little to be one. */
#define NGX_HTTP_TSFACE_SECRET_DIGEST_LEN   8

/* What an exchange waits for its secret, in ms. */
#define NGX_HTTP_TSFACE_ROTATION_WAIT       1000


typedef struct ngx_http_tsface_rotation_job_s  ngx_http_tsface_rotation_job_t;

/* How its owner hears that a reading has ended; secrets may have changed. */
typedef void (*ngx_http_tsface_rotation_pt)(void *data);


/*
 * The owner zeroes it and sets the first three.  secret[] are in memory that
 * is wiped; the second may be empty.
 */
typedef struct {
    const ngx_http_tsface_credentials_t  *credentials;
    ngx_http_tsface_rotation_pt           handler;
    void                                 *data;

    ngx_str_t                             secret[2];
    u_char                                digest[2]
                                         [NGX_HTTP_TSFACE_SECRET_DIGEST_LEN];
    u_char                                both
                                         [NGX_HTTP_TSFACE_SECRET_DIGEST_LEN];

    ngx_http_tsface_rotation_job_t       *job;       /* in a thread */
    ngx_event_t                           timer;
    unsigned                              waited:1;  /* for the job */
    unsigned                              failing:1;
    unsigned                              news:1;    /* all read, or changed */
} ngx_http_tsface_rotation_t;


/* Takes the secrets of the configuration.  NGX_ERROR: no memory. */
ngx_int_t ngx_http_tsface_rotation_start(ngx_http_tsface_rotation_t *rotation,
    ngx_log_t *log);

/* Wipes the secrets; the handler is called no more. */
void ngx_http_tsface_rotation_stop(ngx_http_tsface_rotation_t *rotation);

/*
 * Reads the files again, in a thread.  NGX_AGAIN: the handler will be called,
 * within ROTATION_WAIT, as a disk that hangs holds nobody up.  NGX_OK: there is
 * nothing to read, or the last reading still hangs.
 */
ngx_int_t ngx_http_tsface_rotation_read(ngx_http_tsface_rotation_t *rotation);

/* Whether the workers may read any of the files. */
ngx_uint_t ngx_http_tsface_rotation_rereads(
    const ngx_http_tsface_credentials_t *credentials);


#endif /* _NGX_HTTP_TSFACE_ROTATION_H_INCLUDED_ */
