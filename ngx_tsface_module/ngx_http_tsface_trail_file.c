
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_trail_alive.h"
#include "ngx_http_tsface_trail_file.h"
#include "ngx_http_tsface_trail_io.h"
#include "ngx_http_tsface_trail_repair.h"


struct ngx_http_tsface_trail_file_s {
    ngx_http_tsface_trail_disk_t   disk;

    ngx_http_tsface_record_key_t  *key;
    ngx_str_t                      trail;
    ngx_str_t                      host;
    ngx_int_t                      pid;
    ngx_uint_t                     durable;

    uint64_t                       began;     /* seq before our first record */
    unsigned                       claimed:1;
};


static ngx_int_t ngx_http_tsface_trail_file_lock(
    ngx_http_tsface_trail_file_t *file, struct stat *sb,
    ngx_http_tsface_trail_chain_t *end, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result);
static void ngx_http_tsface_trail_file_unlock(
    ngx_http_tsface_trail_file_t *file);
static void ngx_http_tsface_trail_file_claim(
    ngx_http_tsface_trail_file_t *file, uint64_t seq);
static ngx_int_t ngx_http_tsface_trail_file_append(
    ngx_http_tsface_trail_file_t *file, const ngx_str_t *bodies, ngx_uint_t n,
    struct stat *sb, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_seal(
    ngx_http_tsface_trail_file_t *file, const ngx_str_t *body,
    ngx_http_tsface_trail_chain_t *end, size_t *len);
static ngx_int_t ngx_http_tsface_trail_file_sync(
    ngx_http_tsface_trail_file_t *file, uint64_t size,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_dup(ngx_str_t *dst,
    const ngx_str_t *src);


ngx_http_tsface_trail_file_t *
ngx_http_tsface_trail_file_new(const ngx_http_tsface_trail_file_conf_t *conf)
{
    ngx_http_tsface_trail_file_t  *file;

    file = calloc(1, sizeof(ngx_http_tsface_trail_file_t));
    if (file == NULL) {
        return NULL;
    }

    ngx_http_tsface_trail_node_init(&file->disk.log, conf->path, "",
                                    NGX_HTTP_TSFACE_TRAIL_FLAGS, conf->fd);

    ngx_http_tsface_trail_node_init(&file->disk.chain, conf->path, ".chain",
                                    NGX_HTTP_TSFACE_TRAIL_CHAIN_FLAGS,
                                    conf->chain_fd);
    file->disk.chain.nameless = 1;

    file->pid = conf->pid;
    file->durable = conf->durable;

    file->disk.torn = ngx_http_tsface_trail_io_name(conf->path, ".torn");
    file->key = ngx_http_tsface_record_key_new(conf->key);

    if (file->disk.log.name == NULL || file->disk.chain.name == NULL
        || file->disk.torn == NULL || file->key == NULL
        || ngx_http_tsface_trail_file_dup(&file->trail, conf->name) != NGX_OK
        || ngx_http_tsface_trail_file_dup(&file->host, conf->host) != NGX_OK)
    {
        ngx_http_tsface_trail_file_free(file);
        return NULL;
    }

    return file;
}


void
ngx_http_tsface_trail_file_free(ngx_http_tsface_trail_file_t *file)
{
    ngx_http_tsface_trail_node_free(&file->disk.log);
    ngx_http_tsface_trail_node_free(&file->disk.chain);

    ngx_http_tsface_record_key_free(file->key);

    free(file->trail.data);
    free(file->host.data);
    free(file->disk.torn);
    free(file->disk.buf.data);
    free(file);
}


ngx_int_t
ngx_http_tsface_trail_file_open(ngx_http_tsface_trail_file_t *file,
    ngx_http_tsface_trail_result_t *result)
{
    struct stat  sb;

    ngx_memzero(result, sizeof(ngx_http_tsface_trail_result_t));

    if (ngx_http_tsface_trail_node_follow(&file->disk.chain, &sb, result)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_tsface_trail_node_follow(&file->disk.log, &sb, result);
}


ngx_int_t
ngx_http_tsface_trail_file_write(ngx_http_tsface_trail_file_t *file,
    const ngx_str_t *bodies, ngx_uint_t n, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                      rc;
    struct stat                    sb;
    ngx_http_tsface_trail_chain_t  end;

    rc = ngx_http_tsface_trail_file_lock(file, &sb, &end, wait, result);

    if (rc == NGX_OK) {
        ngx_http_tsface_trail_file_claim(file, end.seq);

        rc = ngx_http_tsface_trail_file_append(file, bodies, n, &sb, &end,
                                               result);
    }

    ngx_http_tsface_trail_file_unlock(file);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    /* without the locks: others write while this one waits for the disk */

    return ngx_http_tsface_trail_file_sync(file, end.size, result);
}


ngx_int_t
ngx_http_tsface_trail_file_amend(ngx_http_tsface_trail_file_t *file,
    ngx_http_tsface_trail_amend_pt amend, void *data,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                      rc;
    ngx_str_t                     *bodies;
    ngx_uint_t                     n;
    struct stat                    sb;
    ngx_http_tsface_trail_chain_t  end;

    bodies = NULL;
    n = 0;

    rc = ngx_http_tsface_trail_file_lock(file, &sb, &end, 0, result);

    /* where records were lost there is nothing to say of those before */

    if (rc == NGX_OK && !(result->flags & NGX_HTTP_TSFACE_TRAIL_SHRUNK)) {
        rc = amend(data, file->disk.log.fd, file->disk.chain.fd, &end,
                   &bodies, &n);

        if (rc != NGX_OK) {
            (void) ngx_http_tsface_trail_failed(result, "read()", "", EIO);
        }
    }

    /*
     * A tail that was cut off just now is told of, whatever follows; the rest
     * is found, and told, once more by the next batch.
     */

    if (rc == NGX_OK
        && (n || (result->flags & NGX_HTTP_TSFACE_TRAIL_TORN)))
    {
        rc = ngx_http_tsface_trail_file_append(file, bodies, n, &sb, &end,
                                               result);
    } else {
        result->reason = NULL;
    }

    ngx_http_tsface_trail_file_unlock(file);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    if (result->flags & NGX_HTTP_TSFACE_TRAIL_SHRUNK) {
        return NGX_DECLINED;
    }

    return n ? ngx_http_tsface_trail_file_sync(file, end.size, result)
             : NGX_OK;
}


/*
 * Locks the trail and finds its end.  unlock() is to be called whether it
 * succeeds or not.
 */

static ngx_int_t
ngx_http_tsface_trail_file_lock(ngx_http_tsface_trail_file_t *file,
    struct stat *sb, ngx_http_tsface_trail_chain_t *end, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_memzero(result, sizeof(ngx_http_tsface_trail_result_t));

    /*
     * The chain's lock first, and then the file's own, always in this order.
     * The latter is free unless somebody deleted PATH.chain while a writer
     * was at work: that one is waited for.
     */

    if (ngx_http_tsface_trail_node_hold(&file->disk.chain, sb, wait, result)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_tsface_trail_node_hold(&file->disk.log, sb, wait, result)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_tsface_trail_repair(&file->disk, sb, end, result);
}


static void
ngx_http_tsface_trail_file_unlock(ngx_http_tsface_trail_file_t *file)
{
    ngx_http_tsface_trail_node_release(&file->disk.log);
    ngx_http_tsface_trail_node_release(&file->disk.chain);
}


/*
 * With each batch, since the descriptor may be another one now.  A failure
 * leaves a weaker sign of life, our pid.
 */

static void
ngx_http_tsface_trail_file_claim(ngx_http_tsface_trail_file_t *file,
    uint64_t seq)
{
    /* less: somebody began the trail anew under our hands */

    if (!file->claimed || seq < file->began) {
        file->began = seq;
        file->claimed = 1;
    }

    (void) ngx_http_tsface_trail_alive_claim(file->disk.chain.fd, file->pid,
                                             file->began);
}


/* Seals the batch, after an "open" record if there is reason, and writes. */

static ngx_int_t
ngx_http_tsface_trail_file_append(ngx_http_tsface_trail_file_t *file,
    const ngx_str_t *bodies, ngx_uint_t n, struct stat *sb,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_result_t *result)
{
    u_char                    buf[NGX_HTTP_TSFACE_RECORD_MAX];
    size_t                    len, size;
    ngx_err_t                 err;
    ngx_str_t                 body;
    ngx_uint_t                i;
    ngx_http_tsface_record_t  record;

    size = 2 * NGX_HTTP_TSFACE_RECORD_MAX;

    for (i = 0; i < n; i++) {
        size += bodies[i].len + NGX_HTTP_TSFACE_RECORD_ENVELOPE;
    }

    if (ngx_http_tsface_trail_io_room(&file->disk.buf, size) != NGX_OK) {
        return ngx_http_tsface_trail_failed(result, "malloc()", "",
                                            ENOMEM);
    }

    len = 0;

    if (result->reason) {
        ngx_http_tsface_record_init(&record, NGX_HTTP_TSFACE_RECORD_OPEN);

        record.trail = file->trail;
        record.host = file->host;
        record.pid = file->pid;
        record.reason.data = (u_char *) result->reason;
        record.reason.len = ngx_strlen(result->reason);

        body.data = buf;
        body.len = ngx_http_tsface_record_body(&record, buf, sizeof(buf)
                                         - NGX_HTTP_TSFACE_RECORD_ENVELOPE);

        if (body.len == 0
            || ngx_http_tsface_trail_file_seal(file, &body, end, &len)
               != NGX_OK)
        {
            return ngx_http_tsface_trail_failed(result, "HMAC()", "", 0);
        }
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_tsface_trail_file_seal(file, &bodies[i], end, &len)
            != NGX_OK)
        {
            return ngx_http_tsface_trail_failed(result, "HMAC()", "", 0);
        }
    }

    if (ngx_http_tsface_trail_io_write(file->disk.log.fd,
                                       file->disk.buf.data, len, -1)
        != NGX_OK)
    {
        err = errno;

        /*
         * No half batch: it would be refused, and be there.  If this fails
         * as well the next writer finds whole records beyond the chain, and
         * a torn one: both are mended.
         */

        (void) !ftruncate(file->disk.log.fd, end->size);

        return ngx_http_tsface_trail_failed(result, "write()", "", err);
    }

    /*
     * A file's name is on disk when its directory is.  Before the lock goes:
     * the writers after this one see no new file and rely on it.
     */

    if (file->durable && sb->st_size == 0
        && ngx_http_tsface_trail_io_sync_dir(file->disk.log.name) != NGX_OK)
    {
        err = errno;

        (void) !ftruncate(file->disk.log.fd, end->size);

        return ngx_http_tsface_trail_failed(result, "fsync(DIR)", "",
                                            err);
    }

    end->size += len;
    result->bytes = len;

    ngx_http_tsface_trail_chain_write(file->disk.chain.fd, end);

    result->seq = end->seq;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_trail_file_seal(ngx_http_tsface_trail_file_t *file,
    const ngx_str_t *body, ngx_http_tsface_trail_chain_t *end, size_t *len)
{
    size_t           n;
    uint64_t         usec;
    struct timespec  ts;

    if (clock_gettime(CLOCK_REALTIME, &ts) == -1) {
        return NGX_ERROR;
    }

    usec = (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;

    n = ngx_http_tsface_record_seal(body, end->seq + 1, usec, file->key,
                                    end->mac, file->disk.buf.data + *len,
                                    file->disk.buf.size - *len);
    if (n == 0) {
        return NGX_ERROR;
    }

    end->seq++;
    *len += n;

    return NGX_OK;
}


/*
 * Nobody is told that a record is on disk before it is, nor if the file that
 * it is in was meanwhile deleted or emptied.
 */

static ngx_int_t
ngx_http_tsface_trail_file_sync(ngx_http_tsface_trail_file_t *file,
    uint64_t size, ngx_http_tsface_trail_result_t *result)
{
    ngx_err_t     err;
    struct stat   sb;

    if (file->durable) {

        while (fdatasync(file->disk.log.fd) == -1) {

            err = errno;

            if (err == EINTR) {
                continue;
            }

            /*
             * The pages are lost, and the kernel reports it once for each
             * description: this one would succeed the next time.  Another
             * one starts with a clean sheet, which is worth no more, but
             * what it syncs is written after it was opened.
             */

            ngx_http_tsface_trail_node_close(&file->disk.log);

            return ngx_http_tsface_trail_failed(result, "fdatasync()", "",
                                                err);
        }
    }

    if (fstat(file->disk.log.fd, &sb) == -1) {
        return ngx_http_tsface_trail_failed(result, "fstat()", "", errno);
    }

    if (sb.st_nlink == 0 || (uint64_t) sb.st_size < size) {
        result->flags |= NGX_HTTP_TSFACE_TRAIL_SHRUNK;
        return ngx_http_tsface_trail_failed(result, "fstat()", "", ENOENT);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_trail_file_dup(ngx_str_t *dst, const ngx_str_t *src)
{
    dst->data = malloc(src->len + 1);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, src->data, src->len);
    dst->len = src->len;

    return NGX_OK;
}
