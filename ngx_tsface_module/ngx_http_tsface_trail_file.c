
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_trail_alive.h"
#include "ngx_http_tsface_trail_batch.h"
#include "ngx_http_tsface_trail_file.h"
#include "ngx_http_tsface_trail_io.h"
#include "ngx_http_tsface_trail_repair.h"
#include "ngx_http_tsface_trail_rotate.h"


struct ngx_http_tsface_trail_file_s {
    ngx_http_tsface_trail_disk_t   disk;

    ngx_http_tsface_trail_batch_t  batch;
    ngx_uint_t                     durable;

    uint64_t                       rotate;       /* 0: no size */
    uint64_t                       rotate_at;    /* if it failed: not before */

    uint64_t                       began;     /* seq before our first record */
    ngx_uint_t                     claim;     /* the description that has it */
    unsigned                       claimed:1;
};


static ngx_int_t ngx_http_tsface_trail_file_work(
    ngx_http_tsface_trail_file_t *file,
    const ngx_http_tsface_trail_work_t *work, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_lock(
    ngx_http_tsface_trail_file_t *file, struct stat *sb,
    ngx_http_tsface_trail_chain_t *end, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result);
static void ngx_http_tsface_trail_file_unlock(
    ngx_http_tsface_trail_file_t *file);
static void ngx_http_tsface_trail_file_claim(
    ngx_http_tsface_trail_file_t *file, uint64_t seq);
static ngx_int_t ngx_http_tsface_trail_file_append(
    ngx_http_tsface_trail_file_t *file,
    const ngx_http_tsface_trail_work_t *work, struct stat *sb,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_done(
    ngx_http_tsface_trail_file_t *file, uint64_t size,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_rotate(
    ngx_http_tsface_trail_file_t *file, ngx_http_tsface_trail_chain_t *end,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_sync(
    ngx_http_tsface_trail_file_t *file, uint64_t size,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_trail_file_dup(ngx_str_t *dst,
    const ngx_str_t *src);


ngx_http_tsface_trail_file_t *
ngx_http_tsface_trail_file_new(const ngx_http_tsface_trail_file_conf_t *conf)
{
    ngx_http_tsface_trail_file_t  *file;
    ngx_http_tsface_trail_seal_t  *seal;

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

    file->durable = conf->durable;
    file->rotate = conf->rotate;
    file->disk.torn = ngx_http_tsface_trail_io_name(conf->path, ".torn");

    file->batch.buf = &file->disk.buf;
    file->batch.records = conf->records ? conf->records : NGX_MAX_INT32_VALUE;
    file->batch.interval = conf->interval;

    seal = &file->batch.seal;

    seal->pid = conf->pid;
    seal->key = ngx_http_tsface_record_key_new(conf->key);

    if (conf->previous) {
        seal->previous = ngx_http_tsface_record_key_new(conf->previous);
    }

    if (conf->signer
        && ngx_http_tsface_record_signer(conf->signer, seal->signer_id)
           == NGX_OK
        && EVP_PKEY_up_ref(conf->signer))
    {
        seal->signer = conf->signer;
    }

    if (file->disk.log.name == NULL || file->disk.chain.name == NULL
        || file->disk.torn == NULL || seal->key == NULL
        || (conf->previous && seal->previous == NULL)
        || (conf->signer && seal->signer == NULL)
        || ngx_http_tsface_trail_file_dup(&seal->trail, conf->name) != NGX_OK
        || ngx_http_tsface_trail_file_dup(&seal->host, conf->host) != NGX_OK)
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

    ngx_http_tsface_record_key_free(file->batch.seal.key);
    ngx_http_tsface_record_key_free(file->batch.seal.previous);
    EVP_PKEY_free(file->batch.seal.signer);

    free(file->batch.seal.trail.data);
    free(file->batch.seal.host.data);
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
    ngx_http_tsface_trail_work_t  work;

    ngx_memzero(&work, sizeof(ngx_http_tsface_trail_work_t));

    work.bodies = bodies;
    work.n = n;

    return ngx_http_tsface_trail_file_work(file, &work, wait, result);
}


ngx_int_t
ngx_http_tsface_trail_file_note(ngx_http_tsface_trail_file_t *file,
    ngx_http_tsface_record_type_e type, const char *reason, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_http_tsface_trail_work_t  work;

    ngx_memzero(&work, sizeof(ngx_http_tsface_trail_work_t));

    work.type = type;
    work.reason = reason;
    work.last = 1;

    return ngx_http_tsface_trail_file_work(file, &work, wait, result);
}


static ngx_int_t
ngx_http_tsface_trail_file_work(ngx_http_tsface_trail_file_t *file,
    const ngx_http_tsface_trail_work_t *work, ngx_msec_t wait,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                      rc;
    struct stat                    sb;
    ngx_http_tsface_trail_chain_t  end;

    rc = ngx_http_tsface_trail_file_lock(file, &sb, &end, wait, result);

    if (rc == NGX_OK) {

        /* what the master notes is no work that it could leave undone */

        if (work->reason == NULL) {
            ngx_http_tsface_trail_file_claim(file, end.seq);
        }

        rc = ngx_http_tsface_trail_file_append(file, work, &sb, &end, result);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_tsface_trail_file_rotate(file, &end, result);
    }

    ngx_http_tsface_trail_file_unlock(file);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_tsface_trail_file_done(file, end.size, result);
}


ngx_int_t
ngx_http_tsface_trail_file_amend(ngx_http_tsface_trail_file_t *file,
    ngx_http_tsface_trail_amend_pt amend, void *data,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                      rc;
    ngx_str_t                     *bodies;
    struct stat                    sb;
    ngx_http_tsface_trail_work_t   work;
    ngx_http_tsface_trail_chain_t  end;

    ngx_memzero(&work, sizeof(ngx_http_tsface_trail_work_t));

    bodies = NULL;

    rc = ngx_http_tsface_trail_file_lock(file, &sb, &end, 0, result);

    /* where records were lost there is nothing to say of those before */

    if (rc == NGX_OK && !(result->flags & NGX_HTTP_TSFACE_TRAIL_SHRUNK)) {
        rc = amend(data, file->disk.log.fd, file->disk.chain.fd, &end,
                   &bodies, &work.n);

        if (rc != NGX_OK) {
            (void) ngx_http_tsface_trail_failed(result, "read()", "", EIO);
        }
    }

    /*
     * A tail that was cut off just now is told of, whatever follows; the rest
     * is found, and told, once more by the next batch.
     */

    if (rc == NGX_OK
        && (work.n || (result->flags & NGX_HTTP_TSFACE_TRAIL_TORN)))
    {
        work.bodies = bodies;

        rc = ngx_http_tsface_trail_file_append(file, &work, &sb, &end, result);
    } else {
        result->reason = NULL;
    }

    ngx_http_tsface_trail_file_unlock(file);

    if (rc == NGX_OK && result->bytes) {
        rc = ngx_http_tsface_trail_file_done(file, end.size, result);
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return (result->flags & NGX_HTTP_TSFACE_TRAIL_SHRUNK) ? NGX_DECLINED
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
 * Once for each description of PATH.chain, which holds it until it is closed.
 * A failure leaves a weaker sign of life, our pid, until the next batch.
 */

static void
ngx_http_tsface_trail_file_claim(ngx_http_tsface_trail_file_t *file,
    uint64_t seq)
{
    /* less: somebody began the trail anew under our hands */

    if (!file->claimed || seq < file->began) {
        file->began = seq;
        file->claimed = 1;
        file->claim = 0;
    }

    if (file->claim != file->disk.chain.opened
        && ngx_http_tsface_trail_alive_claim(file->disk.chain.fd,
                                             file->batch.seal.pid,
                                             file->began)
           == NGX_OK)
    {
        file->claim = file->disk.chain.opened;
    }
}


/* Seals the batch, with what has to be around it, and writes it. */

static ngx_int_t
ngx_http_tsface_trail_file_append(ngx_http_tsface_trail_file_t *file,
    const ngx_http_tsface_trail_work_t *work, struct stat *sb,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_result_t *result)
{
    size_t      len;
    ngx_err_t   err;

    if (ngx_http_tsface_trail_batch_start(&file->batch, work) != NGX_OK) {
        return ngx_http_tsface_trail_failed(result, "malloc()", "", ENOMEM);
    }

    if (ngx_http_tsface_trail_batch_seal(&file->batch, work, result->reason,
                                         end)
        != NGX_OK)
    {
        return ngx_http_tsface_trail_failed(result, "HMAC()", "", 0);
    }

    len = file->batch.len;

    result->seq = end->seq;
    result->due = ngx_http_tsface_trail_batch_due(&file->batch, end);

    if (len == 0) {
        return NGX_OK;
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

    return NGX_OK;
}


/* Without the locks: others write while this one waits for the disk. */

static ngx_int_t
ngx_http_tsface_trail_file_done(ngx_http_tsface_trail_file_t *file,
    uint64_t size, ngx_http_tsface_trail_result_t *result)
{
    if (ngx_http_tsface_trail_file_sync(file, size, result) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(result->own, file->batch.own, sizeof(result->own));

    return NGX_OK;
}


/*
 * If the file has its size it gets another name, and a last record that says
 * so.  Renamed first, as there must be no such record in a file that keeps
 * its name.  Nobody else can write meanwhile, and the next who does finds no
 * file, makes one, and goes on in it.  NGX_ERROR if the disk failed; where
 * the name can't be given the file goes on, and it is tried again when it has
 * grown by as much once more.
 */

static ngx_int_t
ngx_http_tsface_trail_file_rotate(ngx_http_tsface_trail_file_t *file,
    ngx_http_tsface_trail_chain_t *end, ngx_http_tsface_trail_result_t *result)
{
    ngx_uint_t                      own[NGX_HTTP_TSFACE_RECORD_NTYPES];
    ngx_http_tsface_trail_batch_t  *batch;
    ngx_http_tsface_trail_chain_t   next;

    if (result->flags & NGX_HTTP_TSFACE_TRAIL_OPENED) {
        file->rotate_at = 0;
    }

    if (file->rotate == 0
        || end->size < file->rotate
        || end->size < file->rotate_at
        || (result->flags & NGX_HTTP_TSFACE_TRAIL_STRAY))
    {
        return NGX_OK;
    }

    batch = &file->batch;

    ngx_memcpy(own, batch->own, sizeof(own));
    next = *end;

    if (ngx_http_tsface_trail_batch_rotate(batch, &next) != NGX_OK) {
        return ngx_http_tsface_trail_failed(result, "HMAC()", "", 0);
    }

    if (ngx_http_tsface_trail_rotate(file->disk.log.name, next.seq)
        != NGX_OK)
    {
        result->rotate_err = errno;
        goto failed;
    }

    if (ngx_http_tsface_trail_io_write(file->disk.log.fd,
                                       batch->buf->data, batch->len, -1)
        != NGX_OK)
    {
        result->rotate_err = errno;

        (void) !ftruncate(file->disk.log.fd, end->size);

        goto failed;
    }

    next.size += batch->len;
    result->bytes += batch->len;
    *end = next;

    result->flags |= NGX_HTTP_TSFACE_TRAIL_ROTATED;
    result->seq = end->seq;
    result->due = ngx_http_tsface_trail_batch_due(batch, end);

    ngx_http_tsface_trail_chain_write(file->disk.chain.fd, end);

    /* before anybody's records are on disk in the file after it */

    if (file->durable) {
        (void) ngx_http_tsface_trail_io_sync_dir(file->disk.log.name);

        return ngx_http_tsface_trail_file_sync(file, end->size, result);
    }

    return NGX_OK;

failed:

    file->rotate_at = end->size + file->rotate;

    ngx_memcpy(batch->own, own, sizeof(own));

    result->flags |= NGX_HTTP_TSFACE_TRAIL_LARGE;

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

    if (file->durable
        && ngx_http_tsface_trail_io_sync(file->disk.log.fd) != NGX_OK)
    {
        err = errno;

        /*
         * The pages are lost, and the kernel reports it once for each
         * description: this one would succeed the next time.  Another one
         * starts with a clean sheet, which is worth no more, but what it syncs
         * is written after it was opened.
         */

        ngx_http_tsface_trail_node_close(&file->disk.log);

        return ngx_http_tsface_trail_failed(result, "fdatasync()", "", err);
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
