
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_text.h"
#include "ngx_http_tsface_trail_alive.h"
#include "ngx_http_tsface_trail_node.h"


/* 2^22 pids, which is Linux's limit, of 2^38 records each */
#define NGX_HTTP_TSFACE_TRAIL_ALIVE_BITS   38
#define NGX_HTTP_TSFACE_TRAIL_ALIVE_PIDS   (1 << 22)

#define NGX_HTTP_TSFACE_TRAIL_ALIVE_TIME   27

/*
 * A process's start is known in ticks of 10 ms, and is converted with a clock
 * that is read a moment later.  No container is restarted in less.
 */
#define NGX_HTTP_TSFACE_TRAIL_ALIVE_SLACK  50000


static void ngx_http_tsface_trail_alive_range(struct flock *fl, ngx_int_t pid,
    uint64_t seq);
static ngx_uint_t ngx_http_tsface_trail_alive_process(ngx_int_t pid,
    const ngx_str_t *time);
static ngx_int_t ngx_http_tsface_trail_alive_ticks(ngx_int_t pid,
    uint64_t *ticks);


ngx_int_t
ngx_http_tsface_trail_alive_claim(int fd, ngx_int_t pid, uint64_t seq)
{
    struct flock  fl;

    if (pid <= 0 || pid >= NGX_HTTP_TSFACE_TRAIL_ALIVE_PIDS) {
        return NGX_ERROR;
    }

    ngx_http_tsface_trail_alive_range(&fl, pid, seq + 1);

    /* shared: another container's process may have the same pid */

    fl.l_type = F_RDLCK;

    return fcntl(fd, F_OFD_SETLK, &fl) == -1 ? NGX_ERROR : NGX_OK;
}


ngx_uint_t
ngx_http_tsface_trail_alive(int fd, ngx_int_t pid, uint64_t seq,
    const ngx_str_t *time)
{
    struct flock  fl;

    if (pid <= 0 || pid >= NGX_HTTP_TSFACE_TRAIL_ALIVE_PIDS) {
        return 1;
    }

    ngx_http_tsface_trail_alive_range(&fl, pid, seq);

    fl.l_len = 1;
    fl.l_type = F_WRLCK;

    if (fcntl(fd, F_OFD_GETLK, &fl) == -1 || fl.l_type != F_UNLCK) {
        return 1;
    }

    return ngx_http_tsface_trail_alive_process(pid, time);
}


/* From seq to the last that is pid's. */

static void
ngx_http_tsface_trail_alive_range(struct flock *fl, ngx_int_t pid,
    uint64_t seq)
{
    uint64_t  last;

    last = ((uint64_t) 1 << NGX_HTTP_TSFACE_TRAIL_ALIVE_BITS) - 1;
    seq = ngx_min(seq, last);

    ngx_memzero(fl, sizeof(struct flock));

    fl->l_whence = SEEK_SET;
    fl->l_start = NGX_HTTP_TSFACE_TRAIL_LOCK_LEN
                  + ((off_t) pid << NGX_HTTP_TSFACE_TRAIL_ALIVE_BITS)
                  + (off_t) seq;
    fl->l_len = (off_t) (last - seq) + 1;
}


/* If it can't be told, it lives: an intent stays open then, as before. */

static ngx_uint_t
ngx_http_tsface_trail_alive_process(ngx_int_t pid, const ngx_str_t *time)
{
    long             hz;
    u_char           began[NGX_HTTP_TSFACE_TRAIL_ALIVE_TIME];
    int64_t          usec;
    uint64_t         ticks;
    ngx_int_t        rc;
    struct timespec  now, up;

    if (kill((pid_t) pid, 0) == -1 && errno == ESRCH) {
        return 0;
    }

    rc = ngx_http_tsface_trail_alive_ticks(pid, &ticks);

    if (rc == NGX_DECLINED) {
        return 0;
    }

    hz = sysconf(_SC_CLK_TCK);

    if (rc != NGX_OK
        || hz <= 0
        || time->len != sizeof(began)
        || clock_gettime(CLOCK_REALTIME, &now) == -1
        || clock_gettime(CLOCK_BOOTTIME, &up) == -1)
    {
        return 1;
    }

    usec = (int64_t) (now.tv_sec - up.tv_sec) * 1000000
           + (now.tv_nsec - up.tv_nsec) / 1000
           + (int64_t) (ticks * 1000000 / hz)
           - NGX_HTTP_TSFACE_TRAIL_ALIVE_SLACK;

    if (usec < 0 || ngx_http_tsface_record_time(began, usec) == NULL) {
        return 1;
    }

    /* of this form, times are in the order of their bytes */

    return ngx_memcmp(began, time->data, sizeof(began)) <= 0;
}


/*
 * The 22nd field of /proc/PID/stat; the 2nd is a name, of any bytes, in (), and
 * the 3rd the state: what nobody has waited for is dead, but for a thread that
 * hangs in a write, which keeps the lock.  NGX_DECLINED: it is dead.
 */

static ngx_int_t
ngx_http_tsface_trail_alive_ticks(ngx_int_t pid, uint64_t *ticks)
{
    int         fd;
    char        name[sizeof("/proc//stat") + NGX_INT64_LEN];
    char        buf[1024], *p;
    ssize_t     n;
    ngx_uint_t  i;

    (void) snprintf(name, sizeof(name), "/proc/%ld/stat", (long) pid);

    fd = open(name, O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return NGX_ERROR;
    }

    n = read(fd, buf, sizeof(buf) - 1);

    (void) close(fd);

    if (n <= 0) {
        return NGX_ERROR;
    }

    buf[n] = '\0';

    p = strrchr(buf, ')');

    if (p && p[1] == ' ' && (p[2] == 'Z' || p[2] == 'X')) {
        return NGX_DECLINED;
    }

    for (i = 2; p && i < 22; i++) {
        p = strchr(p + 1, ' ');
    }

    if (p == NULL) {
        return NGX_ERROR;
    }

    *ticks = strtoull(p + 1, NULL, 10);

    return NGX_OK;
}
