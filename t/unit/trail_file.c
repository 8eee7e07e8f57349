
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The trail's file under everything that happens to files: many writers,
 * SIGKILL at any moment, torn lines, full disks, rotation, deletion,
 * truncation, disks that lie.  Some system calls are replaced below, so that
 * each can fail once where it matters.
 */

/* link: ngx_http_tsface_trail_file.c ngx_http_tsface_trail_create.c
         ngx_http_tsface_trail_repair.c ngx_http_tsface_trail_node.c
         ngx_http_tsface_trail_chain.c ngx_http_tsface_trail_seal.c
         ngx_http_tsface_trail_batch.c ngx_http_tsface_trail_rotate.c
         ngx_http_tsface_record_sign.c ngx_http_tsface_trail_io.c
         ngx_http_tsface_trail_alive.c ngx_http_tsface_record.c
         ngx_http_tsface_record_text.c ngx_http_tsface_record_mac.c
         ngx_http_tsface_record_line.c */


/* as ngx_config.h has them, which comes too late here */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS  64

#include "tap.h"

#include <pthread.h>
#include <sys/syscall.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_trail_create.h"
#include "ngx_http_tsface_trail_file.h"


#define KEY  "0123456789abcdef0123456789abcdef"

#define FILES  8


typedef struct {
    unsigned long   records;
    unsigned long   opens;
    uint64_t        first, last;
    char            mac[65];
    char            reason[32];     /* of the last open record */
} seen_t;


static char           dir[256], path[300];
static const char    *key = KEY;

/* what is to go wrong, in this process */
static long           write_left = -1;      /* bytes, then die or fail */
static int            write_kills, write_errno, write_watch = -1;
static int            sync_errno, truncate_errno, dir_errno;
static unsigned long  syncs;
static void         (*sync_hook)(void);


ssize_t
write(int fd, const void *buf, size_t n)
{
    if (write_left >= 0 && (write_watch == -1 || fd == write_watch)) {

        if (write_left == 0 && write_kills) {
            kill(getpid(), SIGKILL);
            pause();
        }

        if (write_left == 0) {
            errno = write_errno;
            return -1;
        }

        n = ngx_min(n, (size_t) write_left);
        n = syscall(SYS_write, fd, buf, n);
        write_left -= n;

        return n;
    }

    return syscall(SYS_write, fd, buf, n);
}


int
fdatasync(int fd)
{
    syncs++;

    if (sync_hook) {
        sync_hook();
    }

    if (sync_errno) {
        errno = sync_errno;
        return -1;
    }

    return syscall(SYS_fdatasync, fd);
}


int
fsync(int fd)
{
    if (dir_errno) {
        errno = dir_errno;
        return -1;
    }

    return syscall(SYS_fsync, fd);
}


int
ftruncate(int fd, off_t size)
{
    if (truncate_errno) {
        errno = truncate_errno;
        return -1;
    }

    return syscall(SYS_ftruncate, fd, size);
}


static void
fresh(void)
{
    static unsigned  n;

    write_left = -1;
    write_watch = -1;
    write_kills = 0;
    sync_errno = truncate_errno = dir_errno = 0;
    sync_hook = NULL;

    snprintf(path, sizeof(path), "%s/%u.jsonl", dir, n++);
}


static ngx_http_tsface_trail_file_t *
opened(ngx_uint_t durable)
{
    ngx_str_t                          p, k, name, host;
    ngx_http_tsface_trail_file_t      *file;
    ngx_http_tsface_trail_file_conf_t  conf;

    p.data = (u_char *) path;
    p.len = strlen(path);
    k.data = (u_char *) key;
    k.len = strlen(key);
    ngx_str_set(&name, "revokes");
    ngx_str_set(&host, "unit.test");

    memset(&conf, 0, sizeof(conf));

    conf.path = &p;
    conf.key = &k;
    conf.name = &name;
    conf.host = &host;
    conf.pid = getpid();
    conf.durable = durable;
    conf.fd = -1;
    conf.chain_fd = -1;

    file = ngx_http_tsface_trail_file_new(&conf);
    if (file == NULL) {
        printf("Bail out! no memory\n");
        exit(2);
    }

    return file;
}


/* n records whose request_id is "id-COUNT" */

static ngx_int_t
add(ngx_http_tsface_trail_file_t *file, ngx_uint_t n, const char *id,
    ngx_http_tsface_trail_result_t *result)
{
    char                             text[64];
    u_char                           bufs[64][512];
    ngx_str_t                        bodies[64];
    ngx_uint_t                       i;
    ngx_http_tsface_record_t         record;
    ngx_http_tsface_trail_result_t   ignored;

    if (result == NULL) {
        result = &ignored;
    }

    for (i = 0; i < n; i++) {
        ngx_http_tsface_record_init(&record, NGX_HTTP_TSFACE_RECORD_INTENT);

        snprintf(text, sizeof(text), "%s-%lu", id, (unsigned long) i);
        record.request_id.data = (u_char *) text;
        record.request_id.len = strlen(text);
        record.pid = getpid();
        ngx_str_set(&record.caller, "CN=somebody,O=unit");

        bodies[i].data = bufs[i];
        bodies[i].len = ngx_http_tsface_record_body(&record, bufs[i],
                                                    sizeof(bufs[i]));
    }

    return ngx_http_tsface_trail_file_write(file, bodies, n, 0, result);
}


static char *
slurp(const char *name, size_t *len)
{
    int          fd;
    char        *buf;
    ssize_t      n;
    struct stat  sb;

    fd = open(name, O_RDONLY);
    if (fd == -1) {
        *len = 0;
        return NULL;
    }

    fstat(fd, &sb);
    buf = malloc(sb.st_size + 1);
    n = pread(fd, buf, sb.st_size, 0);
    close(fd);

    buf[n] = '\0';
    *len = n;

    return buf;
}


/* Every line whole, every seq its predecessor's plus one, every mac right. */

static int
verify(const char *name, seen_t *seen)
{
    int                            whole;
    char                          *buf, *p, *lf, *reason;
    size_t                         len;
    u_char                         mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    uint64_t                       seq;
    ngx_str_t                      line, k;
    ngx_http_tsface_record_key_t  *mk;

    k.data = (u_char *) key;
    k.len = strlen(key);

    if (seen->mac[0] == '\0') {
        memset(seen->mac, '0', 64);
    }

    buf = slurp(name, &len);
    if (buf == NULL) {
        return check(0, "%s: %s", name, strerror(errno));
    }

    mk = ngx_http_tsface_record_key_new(&k);

    for (p = buf; p < buf + len; p = lf + 1) {

        lf = memchr(p, '\n', buf + len - p);
        if (!check(lf != NULL, "%s: torn at %zu", name, (size_t) (p - buf))) {
            break;
        }

        line.data = (u_char *) p;
        line.len = lf - p;
        *lf = '\0';

        if (!check(ngx_http_tsface_record_verify(&line, mk,
                                                 (u_char *) seen->mac)
                   == NGX_OK, "%s: chain: %s", name, p)
            || !check(ngx_http_tsface_record_parse_tail(&line, &seq, mac)
                      == NGX_OK, "%s: form: %s", name, p)
            || !check(seq == seen->last + 1, "%s: seq %lu after %lu", name,
                      (unsigned long) seq, (unsigned long) seen->last))
        {
            break;
        }

        memcpy(seen->mac, mac, 64);
        seen->last = seq;
        seen->records++;

        if (seen->first == 0) {
            seen->first = seq;
        }

        if (strstr(p, "\"type\":\"open\"")) {
            seen->opens++;
            reason = strstr(p, "\"reason\":\"");
            snprintf(seen->reason, sizeof(seen->reason), "%s",
                     reason ? reason + 10 : "");
            seen->reason[strcspn(seen->reason, "\"")] = '\0';
        }
    }

    whole = (p == buf + len);

    ngx_http_tsface_record_key_free(mk);
    free(buf);

    return whole;
}


static const char *
named(const char *suffix)
{
    static char      names[8][320];
    static unsigned  n;

    n = (n + 1) % 8;
    snprintf(names[n], sizeof(names[n]), "%s%s", path, suffix);

    return names[n];
}


static void
spoil(const char *name, const void *data, size_t len)
{
    int  fd;

    fd = open(name, O_WRONLY|O_APPEND|O_CREAT, 0640);
    check(fd != -1 && syscall(SYS_write, fd, data, len) == (long) len,
          "%s", name);
    close(fd);
}


static void
one_writer(void)
{
    seen_t                          seen = { 0 };
    ngx_uint_t                      i;
    struct stat                     sb;
    ngx_http_tsface_trail_file_t   *file;
    ngx_http_tsface_trail_result_t  result;

    fresh();
    file = opened(1);
    syncs = 0;

    check(add(file, 1, "a", &result) == NGX_OK, "first");
    check(result.flags == NGX_HTTP_TSFACE_TRAIL_OPENED, "%lx",
          (unsigned long) result.flags);
    check(strcmp(result.reason, "new") == 0, "%s", result.reason);
    check(result.seq == 2, "%lu", (unsigned long) result.seq);
    check(syncs == 1, "%lu", syncs);

    for (i = 0; i < 50; i++) {
        check(add(file, 1 + i % 60, "b", &result) == NGX_OK, "more");
        check(result.flags == 0 && result.reason == NULL, "quiet");
    }

    ngx_http_tsface_trail_file_free(file);

    /* another process's life */

    file = opened(0);
    syncs = 0;
    check(add(file, 3, "c", &result) == NGX_OK, "continued");
    check(result.reason == NULL && syncs == 0, "quietly, without a sync");
    ngx_http_tsface_trail_file_free(file);

    /* the chain is lost: the file is believed */

    unlink(named(".chain"));
    file = opened(1);
    check(add(file, 1, "d", &result) == NGX_OK && result.flags == 0, "%lx",
          (unsigned long) result.flags);
    unlink(named(".chain"));
    check(add(file, 1, "d", &result) == NGX_OK && result.flags == 0, "%lx",
          (unsigned long) result.flags);
    ngx_http_tsface_trail_file_free(file);

    check(verify(path, &seen) && seen.opens == 1, "%lu", seen.opens);
    check(stat(path, &sb) == 0 && (sb.st_mode & 0777) == 0640, "%o",
          sb.st_mode);
    check(stat(named(".chain"), &sb) == 0 && (sb.st_mode & 0777) == 0640,
          "%o", sb.st_mode);

    /* and when the file was renamed: by the one that was open */

    file = opened(1);
    check(add(file, 1, "e", &result) == NGX_OK && result.flags == 0, "%lx",
          (unsigned long) result.flags);
    check(rename(path, named(".0")) == 0, "renamed");
    unlink(named(".chain"));
    check(add(file, 1, "f", &result) == NGX_OK, "%lx",
          (unsigned long) result.flags);
    ngx_http_tsface_trail_file_free(file);

    memset(&seen, 0, sizeof(seen));
    check(verify(named(".0"), &seen) && verify(path, &seen)
          && strcmp(seen.reason, "rotated") == 0, "%s", seen.reason);
    unlink(named(".0"));

    done("one writer: new, continued, chain lost");
}


static void
torn(void)
{
    char                           *kept;
    size_t                          len;
    seen_t                          seen;
    ngx_uint_t                      i, cut;
    struct stat                     sb;
    ngx_http_tsface_trail_file_t   *file;
    ngx_http_tsface_trail_result_t  result;

    /* the last line cut at every byte, by somebody without a chain to tell */

    for (cut = 1; cut < 240; cut += 7) {
        fresh();
        file = opened(0);
        add(file, 5, "a", NULL);
        stat(path, &sb);
        check(syscall(SYS_truncate, path, sb.st_size - cut) == 0, "cut");
        unlink(named(".chain"));

        check(add(file, 2, "b", &result) == NGX_OK, "cut %lu", cut);
        check(result.flags == NGX_HTTP_TSFACE_TRAIL_TORN, "cut %lu: %lx",
              cut, (unsigned long) result.flags);
        ngx_http_tsface_trail_file_free(file);

        memset(&seen, 0, sizeof(seen));
        check(verify(path, &seen) && strcmp(seen.reason, "torn_tail") == 0,
              "%s", seen.reason);
        check(stat(named(".torn"), &sb) == 0
              && (size_t) sb.st_size == result.torn + 1, "kept");
    }

    /* the very first line, cut */

    fresh();
    spoil(path, "{\"v\":1,\"seq\":1,\"ti", 18);
    file = opened(1);
    check(add(file, 1, "a", &result) == NGX_OK, "first line");
    check(result.torn == 18, "%zu", result.torn);
    ngx_http_tsface_trail_file_free(file);
    memset(&seen, 0, sizeof(seen));
    check(verify(path, &seen) && seen.first == 1, "%lu",
          (unsigned long) seen.first);
    kept = slurp(named(".torn"), &len);
    check(len == 19 && memcmp(kept, "{\"v\":1,\"seq\":1,\"ti\n", 19) == 0,
          "%s", kept);
    free(kept);

    /* long tails: zeros after a power failure */

    for (i = 1; i < 400000; i *= 5) {
        fresh();
        file = opened(0);
        add(file, 3, "a", NULL);
        kept = calloc(1, i);
        spoil(path, kept, i);
        free(kept);
        check(add(file, 1, "b", &result) == NGX_OK && result.torn == i,
              "%lu zeros: %zu", i, result.torn);
        ngx_http_tsface_trail_file_free(file);
        memset(&seen, 0, sizeof(seen));
        verify(path, &seen);
    }

    /* the repair fails half-way, and works the next time */

    fresh();
    file = opened(0);
    add(file, 3, "a", NULL);
    spoil(path, "{\"v\":1", 6);
    truncate_errno = EIO;
    check(add(file, 1, "b", &result) == NGX_ERROR && result.err == EIO
          && strcmp(result.call, "ftruncate()") == 0, "%s", result.call);
    truncate_errno = 0;
    check(add(file, 1, "b", &result) == NGX_OK && result.torn == 6, "%zu",
          result.torn);
    ngx_http_tsface_trail_file_free(file);
    memset(&seen, 0, sizeof(seen));
    verify(path, &seen);

    done("torn tails are cut off and kept");
}


static void
killed_in_write(void)
{
    int                             status;
    char                            name[32];
    pid_t                           pid;
    seen_t                          seen = { 0 };
    ngx_uint_t                      i;
    ngx_http_tsface_trail_file_t   *file;
    ngx_http_tsface_trail_result_t  result;

    fresh();

    for (i = 0; i < 120; i++) {
        fflush(stdout);
        pid = fork();

        if (pid == 0) {
            file = opened(1);
            write_kills = 1;
            write_left = below(3000 + i) + i;
            add(file, 10, "killed", NULL);
            _exit(0);
        }

        (void) below(3000 + i);         /* the child's copy drew one */
        waitpid(pid, &status, 0);

        file = opened(1);
        check(add(file, 1, "survivor", &result) == NGX_OK, "%s %s",
              result.call, strerror(result.err));
        ngx_http_tsface_trail_file_free(file);
    }

    verify(path, &seen);
    check(seen.opens > 60, "%lu", seen.opens);

    /* and the file is moved before anybody mends it */

    memset(&seen, 0, sizeof(seen));
    fresh();
    file = opened(1);
    add(file, 1, "first", NULL);

    for (i = 0; i < 60; i++) {
        fflush(stdout);
        pid = fork();

        if (pid == 0) {
            file = opened(1);
            write_kills = 1;
            write_left = i * 37;
            add(file, 10, "killed", NULL);
            _exit(0);
        }

        waitpid(pid, &status, 0);
        snprintf(name, sizeof(name), ".%lu", (unsigned long) i);
        rename(path, named(name));

        if (i % 2) {
            ngx_http_tsface_trail_file_free(file);
            file = opened(1);
        }

        check(add(file, 1, "survivor", &result) == NGX_OK, "%s %s",
              result.call, strerror(result.err));
        verify(named(name), &seen);
    }

    ngx_http_tsface_trail_file_free(file);
    verify(path, &seen);
    check(seen.records > 300, "%lu", seen.records);

    done("killed in write()");
}


static void
foreign(void)
{
    int                             fd;
    char                           *now;
    size_t                          i, len;
    ngx_str_t                       p;
    ngx_http_tsface_trail_file_t   *file;
    ngx_http_tsface_trail_result_t  result;

    static const char  *texts[] = {
        "127.0.0.1 - - [24/Nov/2026:19:30:00 +0000] \"GET / HTTP/1.1\" 200\n",
        "no line end",
        "\n",
        "{\"v\":1,\"seq\":1}\n",
        "{\"v\":1,\"seq\":7,\"time\":\"\",\"mac\":\"00\"}\n{\"v\"",
        "{}",
    };

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        fresh();
        spoil(path, texts[i], strlen(texts[i]));
        file = opened(1);
        check(add(file, 1, "a", &result) == NGX_ERROR, "%s", texts[i]);
        check(result.flags == NGX_HTTP_TSFACE_TRAIL_FOREIGN, "%lx: %s",
              (unsigned long) result.flags, texts[i]);
        ngx_http_tsface_trail_file_free(file);

        now = slurp(path, &len);
        check(len == strlen(texts[i]) && memcmp(now, texts[i], len) == 0,
              "untouched: %s", now);
        free(now);
        check(access(named(".torn"), F_OK) == -1, "nothing set aside");
    }

    /* names that are no files of ours */

    p.data = (u_char *) path;

    fresh();
    p.len = strlen(path);
    check(symlink("/dev/null", path) == 0, "symlink");
    check(ngx_http_tsface_trail_create(&p, 0, -1, &result) == -1
          && result.err == ELOOP, "%d", result.err);
    file = opened(1);
    check(add(file, 1, "a", &result) == NGX_ERROR && result.err == ELOOP,
          "%d", result.err);
    ngx_http_tsface_trail_file_free(file);

    fresh();
    p.len = strlen(path);
    check(mkfifo(path, 0640) == 0, "fifo");
    check(ngx_http_tsface_trail_create(&p, 0, -1, &result) == -1
          && (result.flags & NGX_HTTP_TSFACE_TRAIL_FOREIGN), "fifo");
    file = opened(1);
    check(add(file, 1, "a", &result) == NGX_ERROR
          && (result.flags & NGX_HTTP_TSFACE_TRAIL_FOREIGN), "fifo");
    ngx_http_tsface_trail_file_free(file);

    fresh();
    p.len = strlen(path);
    spoil(named("x"), "", 0);
    check(link(named("x"), path) == 0, "link");
    check(ngx_http_tsface_trail_create(&p, 0, -1, &result) == -1
          && (result.flags & NGX_HTTP_TSFACE_TRAIL_FOREIGN), "hard link");

    fresh();
    p.len = strlen(path);
    mkdir(path, 0755);
    check(ngx_http_tsface_trail_create(&p, 0, -1, &result) == -1
          && result.err == EISDIR, "%d", result.err);

    fresh();
    p.len = strlen(path);
    check(ngx_http_tsface_trail_create_check(&p, 0, &result) == NGX_OK, "%d",
          result.err);
    check(access(path, F_OK) == -1 && access(named(".chain"), F_OK) == -1,
          "a check leaves nothing behind");
    fd = ngx_http_tsface_trail_create(&p, 0, -1, &result);
    check(fd != -1, "%d", result.err);
    close(fd);
    check(ngx_http_tsface_trail_create_check(&p, 0, &result) == NGX_OK, "%d",
          result.err);

    snprintf(path, sizeof(path), "%s/none/a.jsonl", dir);
    p.len = strlen(path);
    check(ngx_http_tsface_trail_create_check(&p, 0, &result) == NGX_ERROR
          && result.err == ENOENT, "%d", result.err);

    done("what is not ours is refused and left alone");
}


static void
disk_errors(void)
{
    seen_t                          seen = { 0 };
    ngx_uint_t                      i;
    struct stat                     before, after;
    struct rlimit                   lim, old;
    ngx_http_tsface_trail_file_t   *file;
    ngx_http_tsface_trail_result_t  result;

    fresh();
    file = opened(1);
    add(file, 5, "a", NULL);

    /* a full disk after each number of bytes: no half batch remains */

    for (i = 0; i < 2000; i += 61) {
        stat(path, &before);
        write_left = i;
        write_errno = ENOSPC;
        check(add(file, 24, "full", &result) == NGX_ERROR
              && result.err == ENOSPC, "%lu", i);
        write_left = -1;
        stat(path, &after);
        check(before.st_size == after.st_size, "%lu", i);
    }

    /* nor if it can't be cut off: the next writer mends it */

    for (i = 0; i < 2000; i += 61) {
        write_left = i;
        write_errno = EIO;
        truncate_errno = EIO;
        check(add(file, 24, "full", &result) == NGX_ERROR, "%lu", i);
        write_left = -1;
        truncate_errno = 0;
        check(add(file, 1, "well", &result) == NGX_OK, "%lu", i);
    }

    check(verify(path, &seen), "after errors");

    /* not injected: the kernel's own limit */

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    stat(path, &before);
    lim = old;
    lim.rlim_cur = before.st_size + 700;
    setrlimit(RLIMIT_FSIZE, &lim);
    check(add(file, 8, "limit", &result) == NGX_ERROR && result.err == EFBIG,
          "%d", result.err);
    setrlimit(RLIMIT_FSIZE, &old);
    stat(path, &after);
    check(before.st_size == after.st_size, "rolled back");
    check(add(file, 8, "limit", &result) == NGX_OK, "%d", result.err);

    /* what was not synced does not count */

    sync_errno = EIO;
    check(add(file, 2, "sync", &result) == NGX_ERROR && result.err == EIO
          && strcmp(result.call, "fdatasync()") == 0, "%s", result.call);
    sync_errno = 0;
    check(add(file, 2, "sync", &result) == NGX_OK, "%d", result.err);

    ngx_http_tsface_trail_file_free(file);

    /* neither does a new file whose name is not on disk */

    memset(&seen, 0, sizeof(seen));
    check(verify(path, &seen), "after syncs");

    fresh();
    file = opened(1);
    dir_errno = EIO;
    check(add(file, 2, "dir", &result) == NGX_ERROR
          && strcmp(result.call, "fsync(DIR)") == 0, "%s", result.call);
    dir_errno = 0;
    check(add(file, 2, "dir", &result) == NGX_OK
          && strcmp(result.reason, "new") == 0, "%s", result.reason);
    ngx_http_tsface_trail_file_free(file);
    memset(&seen, 0, sizeof(seen));
    check(verify(path, &seen) && seen.records == 3, "%lu", seen.records);

    done("full and failing disks");
}


static void
delete_it(void)
{
    unlink(path);
}


static void
empty_it(void)
{
    check(syscall(SYS_truncate, path, 0) == 0, "truncate");
}


static void
rotation(void)
{
    seen_t                          seen = { 0 };
    ngx_uint_t                      i;
    ngx_http_tsface_trail_file_t   *one, *two, *late;
    ngx_http_tsface_trail_result_t  result;

    fresh();
    one = opened(1);
    two = opened(1);

    add(one, 3, "a", NULL);
    add(two, 3, "b", NULL);

    /* "one" sleeps through two rotations; "late" knows neither file */

    rename(path, named(".3"));
    check(add(two, 2, "c", &result) == NGX_OK
          && strcmp(result.reason, "rotated") == 0, "%s", result.reason);
    rename(path, named(".2"));
    spoil(path, "", 0);
    check(add(one, 2, "d", &result) == NGX_OK
          && strcmp(result.reason, "rotated") == 0, "%s", result.reason);
    check(add(two, 2, "e", &result) == NGX_OK && result.reason == NULL, "e");
    rename(path, named(".1"));
    late = opened(1);
    check(add(late, 2, "f", &result) == NGX_OK
          && strcmp(result.reason, "rotated") == 0, "%s", result.reason);
    check(add(one, 2, "g", &result) == NGX_OK && result.reason == NULL, "g");

    check(verify(named(".3"), &seen) && verify(named(".2"), &seen)
          && verify(named(".1"), &seen) && verify(path, &seen),
          "one chain over four files");
    check(seen.opens == 4 && seen.first == 1 && seen.last == seen.records,
          "%lu %lu", seen.opens, seen.records);

    /* deleted: what was in it is gone, the seq goes on */

    unlink(path);
    check(add(two, 1, "h", &result) == NGX_OK
          && result.flags == NGX_HTTP_TSFACE_TRAIL_OPENED
          && result.seq == seen.last + 2, "%lu", (unsigned long) result.seq);

    /* deleted or emptied while a batch was under way */

    sync_hook = delete_it;
    check(add(two, 1, "i", &result) == NGX_ERROR
          && (result.flags & NGX_HTTP_TSFACE_TRAIL_SHRUNK), "deleted");
    sync_hook = NULL;
    check(add(two, 1, "i", &result) == NGX_OK, "%d", result.err);

    sync_hook = empty_it;
    check(add(two, 1, "j", &result) == NGX_ERROR
          && (result.flags & NGX_HTTP_TSFACE_TRAIL_SHRUNK), "emptied");
    sync_hook = NULL;

    /* emptied, or cut, between batches */

    for (i = 0; i < 2; i++) {
        check(add(one, 4, "k", NULL) == NGX_OK, "fill");
        check(syscall(SYS_truncate, path, 0) == 0, "truncate");
        check(add(i ? one : two, 1, "l", &result) == NGX_OK, "go on");
        check((result.flags & NGX_HTTP_TSFACE_TRAIL_SHRUNK)
              && strcmp(result.reason, "truncated") == 0, "%s",
              result.reason);
    }

    {
        char    *buf;
        size_t   len, n;

        fresh();
        ngx_http_tsface_trail_file_free(one);
        one = opened(1);
        add(one, 6, "m", NULL);
        buf = slurp(path, &len);

        for (n = len - 1; n && buf[n - 1] != '\n'; n--) { /* void */ }

        check(syscall(SYS_truncate, path, n) == 0, "one record less");
        free(buf);
        check(add(one, 1, "n", &result) == NGX_OK
              && result.flags == NGX_HTTP_TSFACE_TRAIL_SHRUNK
              && result.seq == 9, "%lu", (unsigned long) result.seq);

        /* and it shows: the chain is broken where the record was */

        buf = slurp(path, &len);
        check(strstr(buf, "\"seq\":7,") == NULL
              && strstr(buf, "\"seq\":8,") != NULL, "seq 7 is missing");
        free(buf);
    }

    ngx_http_tsface_trail_file_free(one);
    ngx_http_tsface_trail_file_free(two);
    ngx_http_tsface_trail_file_free(late);

    done("rotation, deletion, truncation");
}


static void
locked(void)
{
    ngx_str_t                       body;
    ngx_http_tsface_trail_file_t   *file, *other;
    ngx_http_tsface_trail_result_t  result;
    int                             fd;
    struct flock                    fl = { 0 };

    fresh();
    file = opened(1);
    other = opened(1);
    add(file, 1, "a", NULL);

    fd = open(named(".chain"), O_RDWR|O_CLOEXEC);
    fl.l_type = F_WRLCK;
    fl.l_len = 1;
    check(fcntl(fd, F_OFD_SETLK, &fl) == 0, "lock");

    ngx_str_set(&body, "\"type\":\"intent\"");
    check(ngx_http_tsface_trail_file_write(other, &body, 1, 50, &result)
          == NGX_ERROR && strcmp(result.call, "fcntl(LOCK)") == 0, "%s",
          result.call);

    close(fd);
    check(ngx_http_tsface_trail_file_write(other, &body, 1, 50, &result)
          == NGX_OK, "free again");

    ngx_http_tsface_trail_file_free(file);
    ngx_http_tsface_trail_file_free(other);

    done("a bounded wait for the lock");
}


static void
closed_directory(void)
{
    int                                fd, chain_fd, status;
    pid_t                              pid;
    seen_t                             seen = { 0 };
    ngx_str_t                          p, k, name;
    ngx_http_tsface_trail_file_t      *file;
    ngx_http_tsface_trail_result_t     result;
    ngx_http_tsface_trail_file_conf_t  conf;

    if (geteuid() != 0) {
        printf("ok %lu - # SKIP needs root\n", ++tap_tests);
        return;
    }

    /* root's directory, a worker's files, a descriptor from the master */

    fresh();
    snprintf(path, sizeof(path), "%s/closed", dir);
    mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/closed/a.jsonl", dir);

    p.data = (u_char *) path;
    p.len = strlen(path);

    fd = ngx_http_tsface_trail_create(&p, 0, 65534, &result);
    chain_fd = ngx_http_tsface_trail_create(&p, 1, 65534, &result);
    check(fd != -1 && chain_fd != -1, "%d", result.err);

    fflush(stdout);
    pid = fork();

    if (pid == 0) {
        if (setgid(65534) == -1 || setuid(65534) == -1) {
            _exit(100);
        }

        (void) prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);

        k.data = (u_char *) key;
        k.len = strlen(key);
        ngx_str_set(&name, "revokes");
        memset(&conf, 0, sizeof(conf));
        conf.path = &p;
        conf.key = &k;
        conf.name = &name;
        conf.host = &name;
        conf.pid = getpid();
        conf.durable = 1;
        conf.fd = fd;
        conf.chain_fd = chain_fd;

        file = ngx_http_tsface_trail_file_new(&conf);

        check(add(file, 2, "a", &result) == NGX_OK, "%d", result.err);

        /* torn, and no place to keep it: goes on */

        spoil(path, "{\"v\":1,", 7);
        check(add(file, 2, "a", &result) == NGX_OK
              && (result.flags & NGX_HTTP_TSFACE_TRAIL_TORN_LOST), "%lx",
              (unsigned long) result.flags);

        /* moved, and nobody has made another: on with the old one */

        raise(SIGSTOP);

        check(add(file, 2, "b", &result) == NGX_OK
              && (result.flags & NGX_HTTP_TSFACE_TRAIL_STRAY), "%lx",
              (unsigned long) result.flags);

        /* made by root, as when it reopens its files */

        raise(SIGSTOP);

        check(add(file, 2, "c", &result) == NGX_OK
              && result.flags == NGX_HTTP_TSFACE_TRAIL_OPENED
              && strcmp(result.reason, "rotated") == 0, "%lx",
              (unsigned long) result.flags);

        /* deleted: there is no place for a record to be found in */

        raise(SIGSTOP);

        check(add(file, 2, "d", &result) == NGX_ERROR
              && result.err == EACCES, "%d", result.err);

        ngx_http_tsface_trail_file_free(file);

        fflush(stdout);
        _exit(tap_failed ? 1 : 0);
    }

    waitpid(pid, &status, WUNTRACED);
    check(WIFSTOPPED(status), "%x", status);
    rename(path, named(".1"));
    kill(pid, SIGCONT);

    waitpid(pid, &status, WUNTRACED);
    check(WIFSTOPPED(status), "%x", status);
    close(ngx_http_tsface_trail_create(&p, 0, 65534, &result));
    kill(pid, SIGCONT);

    waitpid(pid, &status, WUNTRACED);
    check(WIFSTOPPED(status), "%x", status);
    check(verify(named(".1"), &seen) && verify(path, &seen)
          && seen.records == 11 && seen.opens == 3, "%lu", seen.records);
    unlink(path);
    kill(pid, SIGCONT);

    waitpid(pid, &status, WUNTRACED);
    check(status == 0, "%x", status);

    close(fd);
    close(chain_fd);

    done("a directory that is closed to workers");
}


/* Writers that are killed, and threads, and a hand that rotates. */

static void *
hammer(void *data)
{
    char                             id[32];
    unsigned long                    i, n;
    ngx_http_tsface_trail_file_t    *file;
    ngx_http_tsface_trail_result_t   result;

    n = (unsigned long) data;
    file = opened(n & 1);

    for (i = 0; n < 1000 || i < 150; i++) {
        snprintf(id, sizeof(id), "%d.%lu.%lu", getpid(), n, i);

        if (add(file, 1 + (i * 7 + n) % 24, id, &result) != NGX_OK) {
            printf("# %s: %s (%s%s)\n", id, strerror(result.err),
                   result.call ? result.call : "", result.suffix);
            exit(1);
        }
    }

    ngx_http_tsface_trail_file_free(file);

    return NULL;
}


static pid_t
writer(unsigned long endless)
{
    pid_t           pid;
    pthread_t       tid[2];
    unsigned long   i;

    fflush(stdout);
    pid = fork();

    if (pid != 0) {
        return pid;
    }

    for (i = 0; i < 2; i++) {
        pthread_create(&tid[i], NULL, hammer,
                       (void *) (i + (endless ? 0 : 1000)));
    }

    for (i = 0; i < 2; i++) {
        pthread_join(tid[i], NULL);
    }

    _exit(0);
}


static void
many_writers(void)
{
    int              status;
    pid_t            pids[4], steady[2];
    seen_t           seen = { 0 };
    unsigned         i, j, kills;
    char             name[32];

    fresh();

    for (i = 0; i < 2; i++) {
        steady[i] = writer(0);
    }

    for (i = 0; i < 4; i++) {
        pids[i] = writer(1);
    }

    kills = 0;

    for (i = 0; i < 80; i++) {
        usleep(1000 + below(15000));
        j = below(4);
        kill(pids[j], SIGKILL);
        waitpid(pids[j], &status, 0);
        check(WIFSIGNALED(status), "ended by itself: %x", status);
        kills++;
        pids[j] = writer(1);

        if (i % 10 == 9) {
            snprintf(name, sizeof(name), ".%u", i / 10);
            check(rename(path, named(name)) == 0, "%s", name);

            if (i % 20 == 9) {
                spoil(path, "", 0);     /* as "create" of logrotate does */
            }
        }

        if (i % 10 == 4) {
            unlink(named(".chain"));
        }
    }

    for (i = 0; i < 4; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], &status, 0);
    }

    for (i = 0; i < 2; i++) {
        waitpid(steady[i], &status, 0);
        check(status == 0, "%x", status);
    }

    /* the last one killed may have left a torn line */

    {
        ngx_http_tsface_trail_file_t  *file;

        file = opened(1);
        check(add(file, 1, "last", NULL) == NGX_OK, "mended");
        ngx_http_tsface_trail_file_free(file);
    }

    for (i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), ".%u", i);
        (void) verify(named(name), &seen);
    }

    (void) verify(path, &seen);

    printf("# %lu records, %lu \"open\", %u writers killed, %u rotations\n",
           seen.records, seen.opens, kills, FILES);

    done("six processes, twelve threads, kill -9 and rotation");
}


int
main(void)
{
    char        command[300];
    const char *tmp;

    tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/tsface-trail-XXXXXX", tmp ? tmp : "/tmp");

    if (mkdtemp(dir) == NULL) {
        printf("Bail out! mkdtemp: %s\n", strerror(errno));
        return 2;
    }

    chmod(dir, 0755);
    umask(0);

    one_writer();
    torn();
    killed_in_write();
    foreign();
    disk_errors();
    rotation();
    locked();
    closed_directory();
    many_writers();

    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    (void) !system(command);

    return tap_end();
}
