
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What PATH.chain says: where the chain ends.  One line of fixed width,
 *
 *     tsface-chain 2 SEQ MAC INODE SIZE KEY SEQ TIME
 *
 * which is written over under the trail's lock: the last record, the file it
 * is in, the id of the key it was sealed with, and the last checkpoint.
 * Version 1 had no KEY, SEQ and TIME.  Nobody waits until it is on disk: the
 * records themselves tell as much, and are believed.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_CHAIN_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_CHAIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_trail_io.h"


#define NGX_HTTP_TSFACE_TRAIL_CHAIN_MAGIC  "tsface-chain "

/* in place of a key's id: nothing tells which */
#define NGX_HTTP_TSFACE_TRAIL_CHAIN_NO_KEY  "0000000000000000"

/* pwrite() to a file opened with O_APPEND appends, whatever the offset */
#define NGX_HTTP_TSFACE_TRAIL_CHAIN_FLAGS  (NGX_HTTP_TSFACE_TRAIL_FLAGS       \
                                            & ~O_APPEND)


typedef struct {
    uint64_t         seq;       /* of the last record */
    uint64_t         ino;       /* of the file that it is in */
    uint64_t         size;      /* of that file, with it */
    u_char           mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char           key_id[NGX_HTTP_TSFACE_RECORD_ID_LEN];
    uint64_t         checkpoint;        /* seq of the last one; 0: none */
    uint64_t         checkpoint_usec;   /* its time */
} ngx_http_tsface_trail_chain_t;


/* Before the first record: seq 0, a mac of zeros, no key. */
void ngx_http_tsface_trail_chain_init(ngx_http_tsface_trail_chain_t *chain);

/*
 * NGX_DECLINED, and chain as init() makes it, if fd has not this form.  What
 * an old version does not tell is as init() makes it, too.
 */
ngx_int_t ngx_http_tsface_trail_chain_read(int fd,
    ngx_http_tsface_trail_chain_t *chain);

/*
 * A failure is no failure of the batch: the file's end then tells more than
 * the chain does, and the next writer believes the file.
 */
void ngx_http_tsface_trail_chain_write(int fd,
    const ngx_http_tsface_trail_chain_t *chain);


#endif /* _NGX_HTTP_TSFACE_TRAIL_CHAIN_H_INCLUDED_ */
