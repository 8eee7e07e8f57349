
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Whether the process that wrote a record lives.  Its pid alone does not tell:
 * pids are given again, and two containers that share a trail have the same
 * ones.  So each writer holds a lock on PATH.chain for as long as it lives, far
 * beyond the file's end: from the seq that it began after, in a range that is
 * its pid's.  The kernel drops it after the process's last write.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_ALIVE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_ALIVE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * To be called under the trail's lock, before this process's first record,
 * which will be later than seq.  May be repeated, and has to be when fd is
 * another description.  Never blocks.
 */
ngx_int_t ngx_http_tsface_trail_alive_claim(int fd, ngx_int_t pid,
    uint64_t seq);

/*
 * Whether the writer of a record may still write another one.  time is the
 * record's, as it is written there: a process of this pid counts that was
 * started before, whatever it is, since a writer of an older version claims
 * nothing.  fd must not be the description that this process claims with.
 */
ngx_uint_t ngx_http_tsface_trail_alive(int fd, ngx_int_t pid, uint64_t seq,
    const ngx_str_t *time);


#endif /* _NGX_HTTP_TSFACE_TRAIL_ALIVE_H_INCLUDED_ */
