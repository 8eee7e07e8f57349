
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "ngx_http_tsface_rotation.h"


/*
 * In memory of its own: a thread that hangs may outlive everything else.
 * The worker touches it only before it is posted and after it has come back.
 */
struct ngx_http_tsface_rotation_job_s {
    ngx_thread_task_t                task;
    ngx_http_tsface_rotation_t      *rotation;   /* NULL: nobody asks */
    ngx_http_tsface_secret_t        *source[2];
    ngx_http_tsface_secret_text_t    text[2];
};


static void ngx_http_tsface_rotation_thread(void *data, ngx_log_t *log);
static void ngx_http_tsface_rotation_done(ngx_event_t *ev);
static void ngx_http_tsface_rotation_timer(ngx_event_t *ev);
static void ngx_http_tsface_rotation_take(
    ngx_http_tsface_rotation_t *rotation,
    ngx_http_tsface_rotation_job_t *job);
static ngx_int_t ngx_http_tsface_rotation_set(
    ngx_http_tsface_rotation_t *rotation, const ngx_str_t *current,
    const ngx_str_t *next);
static ngx_int_t ngx_http_tsface_rotation_copy(ngx_str_t *dst,
    const ngx_str_t *src);
static void ngx_http_tsface_rotation_wipe(ngx_str_t *secret);
static ngx_int_t ngx_http_tsface_rotation_digest(
    ngx_http_tsface_rotation_t *rotation);


ngx_int_t
ngx_http_tsface_rotation_start(ngx_http_tsface_rotation_t *rotation,
    ngx_log_t *log)
{
    ngx_http_tsface_secret_t  *current, *next;

    rotation->timer.handler = ngx_http_tsface_rotation_timer;
    rotation->timer.data = rotation;
    rotation->timer.log = log;

    current = rotation->credentials->client_secret;
    next = rotation->credentials->client_secret_next;

    if (current == NULL) {
        return NGX_OK;
    }

    if (ngx_http_tsface_rotation_set(rotation, &current->value,
                                     next ? &next->value : &current->next)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the master keeps the configuration's, for the next worker it makes */

    if (ngx_process == NGX_PROCESS_WORKER) {
        ngx_http_tsface_secret_wipe(current);

        if (next) {
            ngx_http_tsface_secret_wipe(next);
        }
    }

    return NGX_OK;
}


void
ngx_http_tsface_rotation_stop(ngx_http_tsface_rotation_t *rotation)
{
    if (rotation->job) {
        rotation->job->rotation = NULL;
        rotation->job = NULL;
    }

    if (rotation->timer.timer_set) {
        ngx_del_timer(&rotation->timer);
    }

    ngx_http_tsface_rotation_wipe(&rotation->secret[0]);
    ngx_http_tsface_rotation_wipe(&rotation->secret[1]);
}


ngx_uint_t
ngx_http_tsface_rotation_rereads(
    const ngx_http_tsface_credentials_t *credentials)
{
    return (credentials->client_secret
            && credentials->client_secret->group_readable)
           || (credentials->client_secret_next
               && credentials->client_secret_next->group_readable);
}


ngx_int_t
ngx_http_tsface_rotation_read(ngx_http_tsface_rotation_t *rotation)
{
    ngx_http_tsface_rotation_job_t       *job;
    const ngx_http_tsface_credentials_t  *credentials;

    credentials = rotation->credentials;

    if (rotation->job) {
        return rotation->waited ? NGX_AGAIN : NGX_OK;
    }

    if (!ngx_http_tsface_rotation_rereads(credentials)) {
        return NGX_OK;
    }

    job = ngx_calloc(sizeof(ngx_http_tsface_rotation_job_t),
                     rotation->timer.log);
    if (job == NULL) {
        return NGX_OK;
    }

    job->rotation = rotation;

    if (credentials->client_secret->group_readable) {
        job->source[0] = credentials->client_secret;
    }

    if (credentials->client_secret_next
        && credentials->client_secret_next->group_readable)
    {
        job->source[1] = credentials->client_secret_next;
    }

    job->task.ctx = job;
    job->task.handler = ngx_http_tsface_rotation_thread;
    job->task.event.handler = ngx_http_tsface_rotation_done;
    job->task.event.data = job;
    job->task.event.log = rotation->timer.log;

    if (ngx_thread_task_post(credentials->thread_pool, &job->task) != NGX_OK) {
        ngx_free(job);
        return NGX_OK;
    }

    rotation->job = job;
    rotation->waited = 1;

    ngx_add_timer(&rotation->timer, NGX_HTTP_TSFACE_ROTATION_WAIT);

    return NGX_AGAIN;
}


static void
ngx_http_tsface_rotation_thread(void *data, ngx_log_t *log)
{
    ngx_http_tsface_rotation_job_t *job = data;

    ngx_uint_t  i;

    (void) log;

    for (i = 0; i < 2; i++) {
        if (job->source[i]) {
            (void) ngx_http_tsface_secret_text_file(&job->text[i],
                                                    job->source[i]->name.data,
                                                    1);
        }
    }
}


static void
ngx_http_tsface_rotation_done(ngx_event_t *ev)
{
    ngx_http_tsface_rotation_job_t *job = ev->data;

    ngx_uint_t                   waited;
    ngx_http_tsface_rotation_t  *rotation;

    rotation = job->rotation;
    waited = 0;

    if (rotation) {
        rotation->job = NULL;

        ngx_http_tsface_rotation_take(rotation, job);

        waited = rotation->waited;
        rotation->waited = 0;

        if (rotation->timer.timer_set) {
            ngx_del_timer(&rotation->timer);
        }
    }

    OPENSSL_cleanse(job->text, sizeof(job->text));
    ngx_free(job);

    if (waited) {
        rotation->handler(rotation->data);
    }
}


/* The disk is slow: what was known before will do. */
static void
ngx_http_tsface_rotation_timer(ngx_event_t *ev)
{
    ngx_http_tsface_rotation_t *rotation = ev->data;

    rotation->waited = 0;
    rotation->news = 0;

    if (!rotation->failing) {
        rotation->failing = 1;

        ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                      "tsface can't read the secret of credentials \"%V\" "
                      "again: the disk is slow, using the one read before",
                      &rotation->credentials->name);
    }

    rotation->handler(rotation->data);
}


static void
ngx_http_tsface_rotation_take(ngx_http_tsface_rotation_t *rotation,
    ngx_http_tsface_rotation_job_t *job)
{
    ngx_str_t                       current, next;
    ngx_uint_t                      i, failed;
    ngx_http_tsface_secret_text_t  *text;

    current = rotation->secret[0];
    next = rotation->secret[1];
    failed = 0;

    for (i = 0; i < 2; i++) {

        if (job->source[i] == NULL) {
            continue;
        }

        text = &job->text[i];

        if (text->fault != NGX_HTTP_TSFACE_SECRET_OK) {

            if (!rotation->failing) {
                rotation->failing = 1;

                ngx_log_error(NGX_LOG_WARN, rotation->timer.log, text->err,
                              "tsface can't read the secret of credentials "
                              "\"%V\" again from \"%V\": %s, using the one "
                              "read before",
                              &rotation->credentials->name,
                              &job->source[i]->name,
                              ngx_http_tsface_secret_text_fault(text->fault));
            }

            /* the other file may have been changed nevertheless */

            failed = 1;
            continue;
        }

        if (i == 1) {
            next = text->line[0];

        } else {
            current = text->line[0];

            if (rotation->credentials->client_secret_next == NULL) {
                next = text->line[1];
            }
        }
    }

    rotation->failing = failed;
    rotation->news = !failed;

    if (current.len == rotation->secret[0].len
        && next.len == rotation->secret[1].len
        && CRYPTO_memcmp(current.data, rotation->secret[0].data, current.len)
           == 0
        && (next.len == 0
            || CRYPTO_memcmp(next.data, rotation->secret[1].data, next.len)
               == 0))
    {
        return;
    }

    if (ngx_http_tsface_rotation_set(rotation, &current, &next) == NGX_OK) {
        rotation->news = 1;

        ngx_log_error(NGX_LOG_INFO, rotation->timer.log, 0,
                      "tsface read a changed secret of credentials \"%V\"",
                      &rotation->credentials->name);
    }
}


/* Both or none: what was there is wiped when the copies are made. */
static ngx_int_t
ngx_http_tsface_rotation_set(ngx_http_tsface_rotation_t *rotation,
    const ngx_str_t *current, const ngx_str_t *next)
{
    ngx_str_t  copy[2];

    if (ngx_http_tsface_rotation_copy(&copy[0], current) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_tsface_rotation_copy(&copy[1], next) != NGX_OK) {
        ngx_http_tsface_rotation_wipe(&copy[0]);
        return NGX_ERROR;
    }

    ngx_http_tsface_rotation_wipe(&rotation->secret[0]);
    ngx_http_tsface_rotation_wipe(&rotation->secret[1]);

    rotation->secret[0] = copy[0];
    rotation->secret[1] = copy[1];

    return ngx_http_tsface_rotation_digest(rotation);
}


static ngx_int_t
ngx_http_tsface_rotation_copy(ngx_str_t *dst, const ngx_str_t *src)
{
    ngx_str_null(dst);

    if (src->len == 0) {
        return NGX_OK;
    }

    dst->data = ngx_alloc(src->len, ngx_cycle->log);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, src->data, src->len);
    dst->len = src->len;

    return NGX_OK;
}


static void
ngx_http_tsface_rotation_wipe(ngx_str_t *secret)
{
    if (secret->data) {
        OPENSSL_cleanse(secret->data, secret->len);
        ngx_free(secret->data);
    }

    ngx_str_null(secret);
}


/* Workers with different copies know each other's secrets by these. */
static ngx_int_t
ngx_http_tsface_rotation_digest(ngx_http_tsface_rotation_t *rotation)
{
    size_t      len;
    u_char      md[3][EVP_MAX_MD_SIZE];
    ngx_int_t   rc;
    ngx_uint_t  i;

    rc = NGX_OK;
    len = NGX_HTTP_TSFACE_SECRET_DIGEST_LEN;

    ngx_memzero(md, sizeof(md));

    for (i = 0; i < 2; i++) {
        if (rotation->secret[i].len
            && !EVP_Digest(rotation->secret[i].data, rotation->secret[i].len,
                           md[i], NULL, EVP_sha256(), NULL))
        {
            rc = NGX_ERROR;
        }

        ngx_memcpy(rotation->digest[i], md[i], len);
    }

    if (!EVP_Digest(md, 2 * EVP_MAX_MD_SIZE, md[2], NULL, EVP_sha256(), NULL))
    {
        rc = NGX_ERROR;
    }

    ngx_memcpy(rotation->both, md[2], len);

    OPENSSL_cleanse(md, sizeof(md));

    return rc;
}
