
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_syslog_files.h"
#include "ngx_http_tsface_syslog_position.h"
#include "ngx_http_tsface_syslog_sent.h"
#include "ngx_http_tsface_syslog_source.h"
#include "ngx_http_tsface_trail_chain.h"
#include "ngx_http_tsface_trail_io.h"
#include "ngx_http_tsface_trail_node.h"


/* room for the messages of one batch: what fits into it is sent */
#define NGX_HTTP_TSFACE_SYSLOG_OUT      (3 * NGX_HTTP_TSFACE_SYSLOG_BATCH)

/* files that one step goes through, if there is nothing in them */
#define NGX_HTTP_TSFACE_SYSLOG_FILES    16

/* for the trail's lock, which writers hold for one write() */
#define NGX_HTTP_TSFACE_SYSLOG_WAIT     2000


/* How the trail stood while no writer was at work. */
typedef struct {
    uint64_t                            size;      /* of the open file */
    uint64_t                            seq;       /* the last; 0: unknown */
    ngx_uint_t                          done;      /* PATH is another file */
} ngx_http_tsface_syslog_end_t;


struct ngx_http_tsface_syslog_source_s {
    ngx_http_tsface_syslog_sent_t       sent;
    ngx_http_tsface_trail_node_t        chain;
    char                               *path;
    ngx_uint_t                          durable;
    ngx_http_tsface_syslog_head_t       head;
    u_char                              names[NGX_HTTP_TSFACE_SYSLOG_HOST_MAX
                                           + NGX_HTTP_TSFACE_SYSLOG_APP_MAX
                                           + NGX_HTTP_TSFACE_SYSLOG_SD_ID_MAX];

    ngx_uint_t                          skipping;  /* behind no record */
    int                                 fd;        /* of position.file */
    ngx_http_tsface_syslog_position_t   position;
    ngx_http_tsface_syslog_position_t   next;      /* behind the batch */
    ngx_http_tsface_syslog_files_t      files;

    ngx_http_tsface_trail_buf_t         in;
    ngx_http_tsface_trail_buf_t         out;
};


static void ngx_http_tsface_syslog_source_release(
    ngx_http_tsface_syslog_source_t *source, ngx_uint_t sending);
static ngx_int_t ngx_http_tsface_syslog_source_commit(
    ngx_http_tsface_syslog_source_t *source,
    ngx_http_tsface_syslog_job_t *job);
static ngx_int_t ngx_http_tsface_syslog_source_read(
    ngx_http_tsface_syslog_source_t *source,
    ngx_http_tsface_syslog_job_t *job);
static ngx_int_t ngx_http_tsface_syslog_source_locate(
    ngx_http_tsface_syslog_source_t *source, ngx_uint_t next,
    ngx_http_tsface_syslog_job_t *job);
static void ngx_http_tsface_syslog_source_close(
    ngx_http_tsface_syslog_source_t *source);
static ngx_int_t ngx_http_tsface_syslog_source_look(
    ngx_http_tsface_syslog_source_t *source, ngx_http_tsface_syslog_end_t *end,
    ngx_http_tsface_trail_result_t *result);
static ngx_int_t ngx_http_tsface_syslog_source_fill(
    ngx_http_tsface_syslog_source_t *source, uint64_t size,
    ngx_uint_t checked, ngx_http_tsface_syslog_job_t *job);
static ngx_int_t ngx_http_tsface_syslog_source_add(
    ngx_http_tsface_syslog_source_t *source, const ngx_str_t *line,
    ngx_uint_t checked, ngx_http_tsface_syslog_job_t *job);
static void ngx_http_tsface_syslog_source_measure(
    ngx_http_tsface_syslog_source_t *source,
    ngx_http_tsface_syslog_job_t *job);


ngx_http_tsface_syslog_source_t *
ngx_http_tsface_syslog_source_new(
    const ngx_http_tsface_syslog_source_conf_t *conf)
{
    u_char                           *p;
    ngx_http_tsface_syslog_source_t  *source;

    source = calloc(1, sizeof(ngx_http_tsface_syslog_source_t));
    if (source == NULL) {
        return NULL;
    }

    source->fd = -1;
    source->durable = conf->durable;

    p = source->names;

    source->head.pri = conf->head.pri;

    source->head.host = ngx_http_tsface_syslog_message_name(&conf->head.host,
                                         p, NGX_HTTP_TSFACE_SYSLOG_HOST_MAX);
    p += NGX_HTTP_TSFACE_SYSLOG_HOST_MAX;

    source->head.app_name = ngx_http_tsface_syslog_message_name(
                                         &conf->head.app_name, p,
                                         NGX_HTTP_TSFACE_SYSLOG_APP_MAX);
    p += NGX_HTTP_TSFACE_SYSLOG_APP_MAX;

    source->head.sd_id = ngx_http_tsface_syslog_message_name(
                                         &conf->head.sd_id, p,
                                         NGX_HTTP_TSFACE_SYSLOG_SD_ID_MAX);

    ngx_http_tsface_syslog_sent_init(&source->sent, conf->path, conf->sent_fd);

    ngx_http_tsface_trail_node_init(&source->chain, conf->path, ".chain",
                                    NGX_HTTP_TSFACE_TRAIL_CHAIN_FLAGS,
                                    conf->chain_fd);
    source->chain.nameless = 1;

    source->path = ngx_http_tsface_trail_io_name(conf->path, "");

    if (source->sent.node.name == NULL || source->chain.name == NULL
        || source->path == NULL)
    {
        ngx_http_tsface_syslog_source_free(source);
        return NULL;
    }

    return source;
}


void
ngx_http_tsface_syslog_source_free(ngx_http_tsface_syslog_source_t *source)
{
    ngx_http_tsface_syslog_source_release(source, 0);

    ngx_http_tsface_trail_node_free(&source->sent.node);
    ngx_http_tsface_trail_node_free(&source->chain);

    free(source->path);
    free(source);
}


void
ngx_http_tsface_syslog_source_step(ngx_http_tsface_syslog_source_t *source,
    ngx_http_tsface_syslog_job_t *job)
{
    ngx_memzero(&job->result, sizeof(ngx_http_tsface_trail_result_t));

    job->flags = 0;
    job->gap = 0;
    job->skipped = 0;

    if (job->release) {
        ngx_http_tsface_syslog_source_release(source, job->sending);
        job->rc = NGX_OK;
        return;
    }

    if (source->sent.held) {
        job->rc = ngx_http_tsface_syslog_sent_renew(&source->sent,
                                                    &source->position,
                                                    &job->result);

    } else {
        job->rc = ngx_http_tsface_syslog_sent_claim(&source->sent,
                                                    &source->position,
                                                    &job->flags, &job->result);
        source->next = source->position;
    }

    if (job->rc != NGX_OK) {
        ngx_http_tsface_syslog_source_release(source, job->sending);
        return;
    }

    if (job->commit) {
        job->rc = ngx_http_tsface_syslog_source_commit(source, job);
    }

    if (job->read && job->rc == NGX_OK) {
        job->n = 0;
        job->len = 0;

        job->rc = ngx_http_tsface_syslog_source_read(source, job);
    }

    ngx_http_tsface_syslog_source_measure(source, job);
}


/* sending: the event loop is reading the batch, while PATH.sent is lost. */

static void
ngx_http_tsface_syslog_source_release(ngx_http_tsface_syslog_source_t *source,
    ngx_uint_t sending)
{
    ngx_http_tsface_syslog_source_close(source);
    ngx_http_tsface_syslog_files_free(&source->files);

    ngx_http_tsface_syslog_sent_release(&source->sent);
    ngx_http_tsface_trail_node_close(&source->chain);

    if (sending) {
        return;
    }

    free(source->in.data);
    free(source->out.data);

    ngx_memzero(&source->in, sizeof(ngx_http_tsface_trail_buf_t));
    ngx_memzero(&source->out, sizeof(ngx_http_tsface_trail_buf_t));
}


/*
 * Not synced: what a power failure takes back is sent a second time, which
 * the receiver can tell by seq, and nobody has to wait for a disk.
 */

static ngx_int_t
ngx_http_tsface_syslog_source_commit(ngx_http_tsface_syslog_source_t *source,
    ngx_http_tsface_syslog_job_t *job)
{
    source->position = source->next;

    if (ngx_http_tsface_syslog_position_write(source->sent.node.fd,
                                              &source->position)
        != NGX_OK)
    {
        return ngx_http_tsface_trail_failed(&job->result, "pwrite()", ".sent",
                                            errno);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_syslog_source_read(ngx_http_tsface_syslog_source_t *source,
    ngx_http_tsface_syslog_job_t *job)
{
    ngx_int_t                      rc;
    ngx_uint_t                     tries, checked;
    ngx_http_tsface_syslog_end_t   end;

    if (ngx_http_tsface_trail_io_room(&source->in,
                                      NGX_HTTP_TSFACE_SYSLOG_BATCH)
        != NGX_OK
        || ngx_http_tsface_trail_io_room(&source->out,
                                         NGX_HTTP_TSFACE_SYSLOG_OUT)
           != NGX_OK)
    {
        return ngx_http_tsface_trail_failed(&job->result, "malloc()", "",
                                            ENOMEM);
    }

    job->data = source->out.data;
    source->next = source->position;
    checked = 0;

    for (tries = 0; tries < NGX_HTTP_TSFACE_SYSLOG_FILES; tries++) {

        if (source->fd == -1) {
            rc = ngx_http_tsface_syslog_source_locate(source, 0, job);

            if (rc != NGX_OK) {
                return rc == NGX_DECLINED ? NGX_OK : rc;
            }

            checked = 1;
        }

        if (ngx_http_tsface_syslog_source_look(source, &end, &job->result)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = ngx_http_tsface_syslog_source_fill(source, end.size, checked,
                                                job);
        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_DECLINED) {

            /* is the file still what it was when it was opened? */

            ngx_http_tsface_syslog_source_close(source);
            continue;
        }

        if (job->n) {
            break;
        }

        if (source->position.offset != source->next.offset) {

            /* what was skipped is behind us in any case */

            source->position = source->next;
            continue;
        }

        if (!end.done) {
            return NGX_OK;
        }

        /* to its end, and its writers have gone on to the next one */

        rc = ngx_http_tsface_syslog_source_locate(source, 1, job);

        if (rc != NGX_OK) {
            return rc == NGX_DECLINED ? NGX_OK : rc;
        }

        checked = 1;
    }

    /* what the trail could still lose must not be elsewhere */

    if (job->n && source->durable
        && ngx_http_tsface_trail_io_sync(source->fd) != NGX_OK)
    {
        job->n = 0;
        (void) ngx_http_tsface_trail_failed(&job->result, "fdatasync()", "",
                                            errno);
        ngx_http_tsface_syslog_source_close(source);

        return NGX_ERROR;
    }

    return NGX_OK;
}


/* NGX_DECLINED: there is no file to go on with, as yet. */

static ngx_int_t
ngx_http_tsface_syslog_source_locate(ngx_http_tsface_syslog_source_t *source,
    ngx_uint_t next, ngx_http_tsface_syslog_job_t *job)
{
    int                                 fd;
    ngx_http_tsface_syslog_position_t   position;

    if (ngx_http_tsface_syslog_files_list(source->path, &source->files)
        != NGX_OK)
    {
        return ngx_http_tsface_trail_failed(&job->result, "opendir(DIR)", "",
                                            errno);
    }

    position = source->position;

    fd = next ? ngx_http_tsface_syslog_files_next(&source->files, &position)
              : ngx_http_tsface_syslog_files_find(&source->files, &position);

    if (fd == -1) {
        return NGX_DECLINED;
    }

    if (position.seq == 0 && source->position.seq) {
        job->flags |= NGX_HTTP_TSFACE_SYSLOG_RESTART;
    }

    ngx_http_tsface_syslog_source_close(source);

    source->fd = fd;
    source->skipping = 0;
    source->position = position;
    source->next = position;

    return NGX_OK;
}


static void
ngx_http_tsface_syslog_source_close(ngx_http_tsface_syslog_source_t *source)
{
    if (source->fd != -1) {
        (void) close(source->fd);
        source->fd = -1;
    }
}


/*
 * Under the trail's lock: what a writer has begun to write may have to be cut
 * off again, and is nobody's business until then.
 */

static ngx_int_t
ngx_http_tsface_syslog_source_look(ngx_http_tsface_syslog_source_t *source,
    ngx_http_tsface_syslog_end_t *end, ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                       rc;
    struct stat                     sb, nb;
    ngx_http_tsface_trail_chain_t   chain;

    ngx_memzero(end, sizeof(ngx_http_tsface_syslog_end_t));

    rc = ngx_http_tsface_trail_node_hold(&source->chain, &sb,
                                         NGX_HTTP_TSFACE_SYSLOG_WAIT, result);

    if (rc == NGX_OK) {

        if (ngx_http_tsface_trail_chain_read(source->chain.fd, &chain)
            == NGX_OK)
        {
            end->seq = chain.seq;
        }

        if (source->fd != -1 && fstat(source->fd, &sb) == -1) {
            rc = ngx_http_tsface_trail_failed(result, "fstat()", "", errno);
        }

        if (source->fd != -1 && rc == NGX_OK) {
            end->size = sb.st_size;

            /* without a name it still may be written to, until USR1 */

            end->done = lstat(source->path, &nb) == 0
                        && (nb.st_ino != sb.st_ino || nb.st_dev != sb.st_dev)
                        && nb.st_size > 0;
        }
    }

    ngx_http_tsface_trail_node_release(&source->chain);

    return rc;
}


/*
 * Makes messages of what is between position and size.  NGX_DECLINED, and
 * nothing is done, unless it was checked where that is: what is there doesn't
 * follow position's record.
 */

static ngx_int_t
ngx_http_tsface_syslog_source_fill(ngx_http_tsface_syslog_source_t *source,
    uint64_t size, ngx_uint_t checked, ngx_http_tsface_syslog_job_t *job)
{
    u_char                             *p, *last, *end;
    size_t                              limit;
    ssize_t                             n;
    ngx_str_t                           line;
    ngx_http_tsface_syslog_position_t  *next;

    next = &source->next;

    if (next->offset > size) {
        return checked ? NGX_OK : NGX_DECLINED;
    }

    n = ngx_http_tsface_trail_io_read(source->fd, source->in.data,
                                      ngx_min(size - next->offset,
                                              NGX_HTTP_TSFACE_SYSLOG_BATCH),
                                      next->offset);
    if (n == -1) {
        return ngx_http_tsface_trail_failed(&job->result, "pread()", "",
                                            errno);
    }

    last = source->in.data + n;
    limit = 0;

    for (p = source->in.data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, LF);

        if (end == NULL) {
            break;
        }

        line.data = p;
        line.len = end - p;

        if (job->n
            && (limit + line.len > job->limit
                || job->len + NGX_HTTP_TSFACE_SYSLOG_FRAME_MAX
                   > source->out.size))
        {
            return NGX_OK;
        }

        /* what comes behind a first one that fits is as it is */

        if (ngx_http_tsface_syslog_source_add(source, &line,
                                     checked || limit || source->skipping, job)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }

        limit += line.len + 1;
        next->offset += line.len + 1;
    }

    if (p == source->in.data && n == NGX_HTTP_TSFACE_SYSLOG_BATCH) {

        /* no end of a line: no trail's */

        next->offset += n;
        source->skipping = 1;
        job->skipped++;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tsface_syslog_source_add(ngx_http_tsface_syslog_source_t *source,
    const ngx_str_t *line, ngx_uint_t checked,
    ngx_http_tsface_syslog_job_t *job)
{
    ngx_http_tsface_syslog_record_t     record;
    ngx_http_tsface_syslog_position_t  *next;

    next = &source->next;

    if (ngx_http_tsface_syslog_message_parse(line, &record) != NGX_OK) {

        if (!checked) {
            return NGX_DECLINED;
        }

        source->skipping = 1;
        job->skipped++;

        return NGX_OK;
    }

    if (!checked && next->seq && record.number != next->seq + 1) {
        return NGX_DECLINED;
    }

    if (next->seq && record.number > next->seq + 1) {
        job->gap += record.number - next->seq - 1;
        job->behind = record.number;

    } else if (record.number <= next->seq) {
        job->flags |= NGX_HTTP_TSFACE_SYSLOG_BACK;
    }

    job->len += ngx_http_tsface_syslog_message_frame(&source->head, line,
                                            &record,
                                            source->out.data + job->len);
    if (job->n++ == 0) {
        job->first = record.number;
    }

    job->last = record.number;
    source->skipping = 0;

    next->seq = record.number;
    ngx_memcpy(next->mac, record.mac.data, NGX_HTTP_TSFACE_RECORD_MAC_LEN);

    return NGX_OK;
}


static void
ngx_http_tsface_syslog_source_measure(ngx_http_tsface_syslog_source_t *source,
    ngx_http_tsface_syslog_job_t *job)
{
    ngx_http_tsface_syslog_end_t     end;
    ngx_http_tsface_trail_result_t   result;

    ngx_memzero(&result, sizeof(ngx_http_tsface_trail_result_t));

    if (ngx_http_tsface_syslog_source_look(source, &end, &result) != NGX_OK) {
        return;
    }

    job->records = end.seq > source->position.seq
                   ? end.seq - source->position.seq : 0;

    job->bytes = end.size > source->position.offset
                 ? end.size - source->position.offset : 0;

    if (end.done
        && ngx_http_tsface_syslog_files_list(source->path, &source->files)
           == NGX_OK)
    {
        job->bytes += ngx_http_tsface_syslog_files_behind(&source->files,
                                                          &source->position);
    }
}
