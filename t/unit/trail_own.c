
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The trail's own records under faults: keys that change between writers that
 * die, checkpoints that are due, rotation by size that is killed or refused at
 * each of its steps.  Some system calls are replaced, so
 * that each can fail once where it matters.
 */

/* link: ngx_http_tsface_trail_file.c ngx_http_tsface_trail_create.c
         ngx_http_tsface_trail_repair.c ngx_http_tsface_trail_node.c
         ngx_http_tsface_trail_chain.c ngx_http_tsface_trail_seal.c
         ngx_http_tsface_trail_batch.c ngx_http_tsface_trail_rotate.c
         ngx_http_tsface_trail_alive.c ngx_http_tsface_trail_io.c
         ngx_http_tsface_record_sign.c ngx_http_tsface_record.c
         ngx_http_tsface_record_text.c ngx_http_tsface_record_mac.c
         ngx_http_tsface_record_line.c */


/* as ngx_config.h has them, which comes too late here */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS  64

#include "tap.h"

#include <sys/syscall.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_record_sign.h"
#include "ngx_http_tsface_trail_file.h"


#define KEYS   3
#define FILES  64


/* What a whole trail has. */
typedef struct {
    unsigned long   records, keys, proofs, checkpoints, rotates, opens;
    unsigned long   longest;      /* without a checkpoint */
    unsigned long   since;
    uint64_t        last;
    char            mac[65];
    int             key;          /* that is in use */
    char            type[16];     /* of the last record */
} seen_t;


static const char  *secrets[KEYS] = {
    "the-first-key-of-the-trail-------",
    "the-second-key-of-the-trail------",
    "the-third-key-of-the-trail-------"
};

static ngx_http_tsface_record_key_t  *keys[KEYS];
static EVP_PKEY                      *signer;

static char       dir[256], path[300];

/* what is to go wrong, in this process */
static long       write_left = -1;
static int        write_errno;           /* 0: SIGKILL */
static int        rename_errno, link_errno, sync_errno, rename_kills;


ssize_t
write(int fd, const void *buf, size_t n)
{
    if (write_left >= 0) {

        if (write_left == 0) {

            if (write_errno == 0) {
                kill(getpid(), SIGKILL);
                pause();
            }

            errno = write_errno;
            return -1;
        }

        n = ngx_min(n, (size_t) write_left);
        write_left -= n;
    }

    return syscall(SYS_write, fd, buf, n);
}


int
renameat2(int fd, const char *from, int to_fd, const char *to,
    unsigned int flags)
{
    if (rename_errno) {
        errno = rename_errno;
        return -1;
    }

    if (rename_kills) {
        syscall(SYS_renameat2, fd, from, to_fd, to, flags);
        kill(getpid(), SIGKILL);
        pause();
    }

    return syscall(SYS_renameat2, fd, from, to_fd, to, flags);
}


int
link(const char *from, const char *to)
{
    if (link_errno) {
        errno = link_errno;
        return -1;
    }

    return syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}


int
fdatasync(int fd)
{
    if (sync_errno) {
        errno = sync_errno;
        return -1;
    }

    return syscall(SYS_fdatasync, fd);
}


static void
fresh(void)
{
    static unsigned  n;

    write_left = -1;
    write_errno = rename_errno = link_errno = sync_errno = rename_kills = 0;

    snprintf(path, sizeof(path), "%s/%u.jsonl", dir, n++);
}


/* sign: records between checkpoints, 0: none */

static ngx_http_tsface_trail_file_t *
opened(int key, int previous, unsigned sign, off_t rotate)
{
    ngx_str_t                          p, k, b, name, host;
    ngx_http_tsface_trail_file_t      *file;
    ngx_http_tsface_trail_file_conf_t  conf;

    memset(&conf, 0, sizeof(conf));

    p = bytes(path, strlen(path) + 1);
    p.len--;
    k = bytes(secrets[key], strlen(secrets[key]));
    ngx_str_set(&name, "revokes");
    ngx_str_set(&host, "unit.test");

    conf.path = &p;
    conf.key = &k;
    conf.name = &name;
    conf.host = &host;
    conf.pid = getpid();
    conf.durable = 1;
    conf.fd = -1;
    conf.chain_fd = -1;
    conf.rotate = rotate;

    if (previous != -1) {
        b = bytes(secrets[previous], strlen(secrets[previous]));
        conf.previous = &b;
    }

    if (sign) {
        conf.signer = signer;
        conf.records = sign;
        conf.interval = 3600000;
    }

    file = ngx_http_tsface_trail_file_new(&conf);

    if (file == NULL) {
        printf("Bail out! no memory\n");
        exit(2);
    }

    return file;
}


static ngx_int_t
add(ngx_http_tsface_trail_file_t *file, ngx_uint_t n,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_str_t                        bodies[64];
    ngx_uint_t                       i;
    ngx_http_tsface_trail_result_t   ignored;

    for (i = 0; i < n; i++) {
        ngx_str_set(&bodies[i], "\"type\":\"intent\",\"trail\":\"revokes\"");
    }

    return ngx_http_tsface_trail_file_write(file, bodies, n, 0,
                                            result ? result : &ignored);
}


static int
member(const char *line, const char *name, char *value, size_t size)
{
    const char  *p;

    value[0] = '\0';
    p = strstr(line, name);

    if (p == NULL) {
        return 0;
    }

    p += strlen(name);
    snprintf(value, size, "%.*s", (int) strcspn(p, "\""), p);

    return 1;
}


static int
find(const char *id)
{
    int  i;

    for (i = 0; i < KEYS; i++) {
        if (memcmp(ngx_http_tsface_record_key_id(keys[i]), id, 16) == 0) {
            return i;
        }
    }

    return -1;
}


static void
see_key(const char *line, seen_t *seen)
{
    char    id[32], before[32], proof[80];
    u_char  want[64];
    int     key;

    member(line, ",\"key_id\":\"", id, sizeof(id));
    key = find(id);

    if (!check(key != -1, "a known key: %s", line)) {
        return;
    }

    seen->keys++;

    if (member(line, ",\"proof\":\"", proof, sizeof(proof))) {
        member(line, ",\"previous_key_id\":\"", before, sizeof(before));

        check(find(before) != -1
              && ngx_http_tsface_record_key_proof(keys[find(before)],
                                                  (u_char *) id,
                                                  (u_char *) seen->mac,
                                                  seen->last + 1, want)
                 == NGX_OK
              && memcmp(want, proof, 64) == 0, "proof: %s", line);
        seen->proofs++;
    }

    seen->key = key;
}


static void
see_checkpoint(const char *line, const seen_t *seen)
{
    char                             mark[96], id[32], time[32], want[96];
    char                             hex[160];
    ngx_str_t                        signature;
    ngx_http_tsface_record_signed_t  what;

    member(line, ",\"mark\":\"", mark, sizeof(mark));
    member(line, ",\"key_id\":\"", id, sizeof(id));
    member(line, ",\"time\":\"", time, sizeof(time));
    member(line, ",\"signature\":\"", hex, sizeof(hex));

    snprintf(want, sizeof(want), "%lu:%s", (unsigned long) seen->last,
             seen->mac);
    check(strcmp(mark, want) == 0, "%s is not of %s", line, want);

    ngx_str_set(&what.trail, "revokes");
    what.mark = bytes(mark, strlen(mark));
    what.key_id = bytes(id, strlen(id));
    what.time = bytes(time, strlen(time));
    signature = bytes(hex, strlen(hex));

    check(ngx_http_tsface_record_sign_verify(signer, &what, &signature)
          == NGX_OK, "signature: %s", line);
}


/* Every line whole, in its place, under the key that the trail says. */

static void
see(const char *name, seen_t *seen)
{
    int          fd;
    char        *buf, *p, *lf;
    u_char       mac[64];
    ssize_t      len;
    uint64_t     seq;
    ngx_str_t    line;
    struct stat  sb;

    fd = open(name, O_RDONLY);
    if (!check(fd != -1, "%s: %s", name, strerror(errno))) {
        return;
    }

    fstat(fd, &sb);
    buf = malloc(sb.st_size + 1);
    len = pread(fd, buf, sb.st_size, 0);
    close(fd);

    if (seen->mac[0] == '\0') {
        memset(seen->mac, '0', 64);
    }

    for (p = buf; p < buf + len; p = lf + 1) {
        lf = memchr(p, '\n', buf + len - p);

        if (!check(lf != NULL, "%s: torn", name)) {
            break;
        }

        *lf = '\0';
        line.data = (u_char *) p;
        line.len = lf - p;

        member(p, ",\"type\":\"", seen->type, sizeof(seen->type));

        if (strcmp(seen->type, "key") == 0) {
            see_key(p, seen);

        } else if (strcmp(seen->type, "checkpoint") == 0) {
            see_checkpoint(p, seen);
        }

        if (!check(ngx_http_tsface_record_verify(&line, keys[seen->key],
                                                 (u_char *) seen->mac)
                   == NGX_OK, "%s: chain: %s", name, p)
            || !check(ngx_http_tsface_record_parse_tail(&line, &seq, mac)
                      == NGX_OK && seq == seen->last + 1, "%s: %s", name, p))
        {
            break;
        }

        memcpy(seen->mac, mac, 64);
        seen->last = seq;
        seen->records++;
        seen->opens += (strcmp(seen->type, "open") == 0);
        seen->rotates += (strcmp(seen->type, "rotate") == 0);

        if (strcmp(seen->type, "checkpoint") == 0) {
            seen->checkpoints++;
            seen->since = 0;

        } else if (++seen->since > seen->longest) {
            seen->longest = seen->since;
        }
    }

    free(buf);
}


/* Those that rotation made, in their order, and the one in use; how many. */

static int
see_all(seen_t *seen)
{
    int      n;
    char     command[700], name[400];
    FILE    *out;

    memset(seen, 0, sizeof(*seen));
    snprintf(command, sizeof(command), "ls %s.[0-9]* 2>/dev/null", path);

    out = popen(command, "r");

    for (n = 0; fgets(name, sizeof(name), out); n++) {
        name[strcspn(name, "\n")] = '\0';
        see(name, seen);
    }

    pclose(out);

    if (access(path, F_OK) == 0) {
        see(path, seen);
    }

    return n;
}


static void
key_changes(void)
{
    int                             i;
    seen_t                          seen;
    ngx_http_tsface_trail_file_t   *a, *b, *c;
    ngx_http_tsface_trail_result_t  result;

    fresh();
    a = opened(0, -1, 0, 0);
    b = opened(1, 0, 0, 0);
    c = opened(2, -1, 0, 0);

    for (i = 0; i < 3; i++) {
        check(add(a, 2, &result) == NGX_OK, "a");
        check(result.own[NGX_HTTP_TSFACE_RECORD_KEY] == (i ? 1 : 0), "%lu",
              result.own[NGX_HTTP_TSFACE_RECORD_KEY]);
        check(add(a, 2, &result) == NGX_OK, "a");
        check(result.own[NGX_HTTP_TSFACE_RECORD_KEY] == 0, "no change");
        check(add(b, 2, NULL) == NGX_OK && add(b, 1, NULL) == NGX_OK, "b");
    }

    see_all(&seen);
    check(seen.keys == 5 && seen.proofs == 3, "%lu %lu", seen.keys,
          seen.proofs);

    check(add(c, 1, NULL) == NGX_OK, "c");
    see_all(&seen);
    check(seen.keys == 6 && seen.proofs == 3, "%lu %lu", seen.keys,
          seen.proofs);

    ngx_http_tsface_trail_file_free(a);
    ngx_http_tsface_trail_file_free(b);
    ngx_http_tsface_trail_file_free(c);

    done("keys change, and come back");
}


static void
killed(void)
{
    int                            i, key, status;
    pid_t                          pid;
    seen_t                         seen;
    ngx_http_tsface_trail_file_t  *file;

    fresh();

    for (i = 0; i < 200; i++) {
        key = i % 2;
        fflush(stdout);
        pid = fork();

        if (pid == 0) {
            file = opened(key, key ? 0 : -1, 5, i % 3 ? 4000 : 0);
            rename_kills = (i % 7 == 1);
            write_left = below(9000);
            add(file, 12, NULL);
            _exit(0);
        }

        (void) below(9000);
        waitpid(pid, &status, 0);
    }

    file = opened(1, 0, 5, 0);
    check(add(file, 1, NULL) == NGX_OK, "mended");
    ngx_http_tsface_trail_file_free(file);

    i = see_all(&seen);
    check(i > 10 && seen.keys > 50 && seen.checkpoints > 100, "%d %lu %lu",
          i, seen.keys, seen.checkpoints);

    /* five, those that died before they told, a key and one record more */

    check(seen.longest <= 12, "%lu without a checkpoint", seen.longest);
    check(seen.rotates < (unsigned long) i, "some die before they say so");

    done("writers of two keys, killed while they write and rotate");
}


static void
rotation(void)
{
    int                             i;
    char                            name[400];
    seen_t                          seen;
    struct stat                     sb;
    ngx_http_tsface_trail_file_t   *a, *b;
    ngx_http_tsface_trail_result_t  result;

    fresh();
    a = opened(0, -1, 1000, 3000);
    b = opened(0, -1, 1000, 3000);

    for (i = 0; i < 60; i++) {
        check(add(i % 3 ? a : b, 7, &result) == NGX_OK, "%s %s", result.call,
              strerror(result.err));

        if (result.flags & NGX_HTTP_TSFACE_TRAIL_ROTATED) {
            snprintf(name, sizeof(name), "%s.%012lu", path,
                     (unsigned long) result.seq);
            check(stat(name, &sb) == 0 && sb.st_size >= 3000
                  && access(path, F_OK) == -1, "%s", name);
        }
    }

    i = see_all(&seen);
    check(i > 10 && seen.rotates == (unsigned long) i
          && seen.opens == seen.rotates + (access(path, F_OK) == 0), "%d", i);

    /* a file system without RENAME_NOREPLACE */

    rename_errno = EINVAL;

    while (add(a, 7, &result) == NGX_OK
           && !(result.flags & NGX_HTTP_TSFACE_TRAIL_ROTATED)) { /* void */ }

    check(access(path, F_OK) == -1, "linked, and unlinked");

    /* no way at all: no record says so, and it is tried again later */

    link_errno = EPERM;

    for (i = 0; add(a, 7, &result) == NGX_OK
                && !(result.flags & NGX_HTTP_TSFACE_TRAIL_LARGE); i++)
    { /* void */ }

    check(result.rotate_err == EPERM && i < 20, "%d", result.rotate_err);
    stat(path, &sb);
    check(sb.st_size >= 3000, "%ld", (long) sb.st_size);

    for (i = 0; add(a, 7, &result) == NGX_OK
                && !(result.flags & NGX_HTTP_TSFACE_TRAIL_LARGE); i++)
    { /* void */ }

    check(i > 1 && i < 20, "after as much again: %d", i);

    rename_errno = link_errno = 0;
    check(add(b, 7, &result) == NGX_OK
          && (result.flags & NGX_HTTP_TSFACE_TRAIL_ROTATED), "others may");
    see_all(&seen);

    /* the name is taken: nothing is replaced */

    check(add(a, 1, &result) == NGX_OK, "one");

    for (i = 1; i < 200; i++) {
        snprintf(name, sizeof(name), "%s.%012lu", path,
                 (unsigned long) result.seq + i);
        close(open(name, O_WRONLY|O_CREAT|O_EXCL, 0600));
    }

    for (i = 0; add(a, 7, &result) == NGX_OK
                && !(result.flags & (NGX_HTTP_TSFACE_TRAIL_LARGE
                                     |NGX_HTTP_TSFACE_TRAIL_ROTATED)); i++)
    { /* void */ }

    check(result.rotate_err == EEXIST, "%d", result.rotate_err);

    /* the disk has lied: the batch does not count */

    ngx_http_tsface_trail_file_free(a);
    fresh();
    a = opened(0, -1, 0, 3000);
    check(add(a, 1, NULL) == NGX_OK, "one");
    sync_errno = EIO;
    check(add(a, 40, &result) == NGX_ERROR && result.err == EIO, "%d",
          result.err);
    sync_errno = 0;
    check(add(a, 1, &result) == NGX_OK, "%d", result.err);
    see_all(&seen);

    ngx_http_tsface_trail_file_free(a);
    ngx_http_tsface_trail_file_free(b);

    done("rotation by size, and what keeps it off");
}


/* Once no record has come since rotation, its file alone has the end. */

static void
chain_lost(void)
{
    int                             i, how, n;
    char                            name[320], command[700];
    seen_t                          seen;
    ngx_http_tsface_trail_file_t   *a, *b;
    ngx_http_tsface_trail_result_t  result;

    for (how = 0; how < 6; how++) {
        fresh();
        a = opened(0, -1, 5, 3000);
        b = opened(0, -1, 5, 3000);

        for (i = 0, n = 0; n < 3; i++) {
            check(add(i % 2 ? a : b, 7, &result) == NGX_OK, "%s", result.call);

            if (result.flags & NGX_HTTP_TSFACE_TRAIL_ROTATED && n++ == 0) {
                snprintf(command, sizeof(command), "cp %s.chain %s.older",
                         path, path);
                check(system(command) == 0, "kept");
            }
        }

        snprintf(name, sizeof(name), "%s.chain", path);

        switch (how) {
        case 0:
        case 1:
            check(unlink(name) == 0, "lost");
            break;

        case 2:
        case 3:
            check(truncate(name, how == 2 ? 0 : 60) == 0, "cut");
            break;

        default:
            snprintf(command, sizeof(command), "cp %s.older %s", path, name);
            check(system(command) == 0, "an older one");
        }

        /* what is no file of the trail's, or not its last */

        snprintf(name, sizeof(name), "%s.000000000000", path);
        close(open(name, O_WRONLY|O_CREAT, 0600));
        snprintf(name, sizeof(name), "%s.999999999999.gz", path);
        close(open(name, O_WRONLY|O_CREAT, 0600));
        snprintf(name, sizeof(name), "%s.999999999999", path);
        check(mkdir(name, 0700) == 0, "a directory");

        if (how % 2) {
            ngx_http_tsface_trail_file_free(a);
            a = opened(0, -1, 5, 3000);
        }

        check(add(a, 1, &result) == NGX_OK && result.reason != NULL
              && strcmp(result.reason, "rotated") == 0, "%d: %s", how,
              result.reason);

        snprintf(name, sizeof(name), "%s.999999999999.gz", path);
        unlink(name);
        snprintf(name, sizeof(name), "%s.999999999999", path);
        rmdir(name);

        see_all(&seen);
        check(seen.rotates == 3 && seen.opens == 4, "%lu %lu", seen.rotates,
              seen.opens);

        ngx_http_tsface_trail_file_free(a);
        ngx_http_tsface_trail_file_free(b);
    }

    done("PATH.chain is lost just when the file was rotated");
}


static void
checkpoints(void)
{
    seen_t                          seen;
    ngx_http_tsface_trail_file_t   *file;
    ngx_http_tsface_trail_result_t  result;

    fresh();
    file = opened(0, -1, 10, 5000);

    check(add(file, 64, &result) == NGX_OK
          && result.own[NGX_HTTP_TSFACE_RECORD_CHECKPOINT] > 6, "%lu",
          result.own[NGX_HTTP_TSFACE_RECORD_CHECKPOINT]);
    check(result.due == 0, "rotated and signed: %lu",
          (unsigned long) result.due);
    check(add(file, 3, &result) == NGX_OK && result.due > 3500000, "%lu",
          (unsigned long) result.due);

    /* nothing to do but that */

    check(add(file, 0, &result) == NGX_OK && result.bytes == 0, "%zu",
          result.bytes);
    check(ngx_http_tsface_trail_file_note(file, NGX_HTTP_TSFACE_RECORD_CLOSE,
                                          NULL, 100, &result) == NGX_OK
          && result.own[NGX_HTTP_TSFACE_RECORD_CHECKPOINT] == 1
          && result.own[NGX_HTTP_TSFACE_RECORD_CLOSE] == 0, "a last one");
    check(ngx_http_tsface_trail_file_note(file, NGX_HTTP_TSFACE_RECORD_CLOSE,
                                          NULL, 100, &result) == NGX_OK
          && result.bytes == 0, "once");
    check(ngx_http_tsface_trail_file_note(file, NGX_HTTP_TSFACE_RECORD_CLOSE,
                                          "stopped", 100, &result) == NGX_OK
          && result.own[NGX_HTTP_TSFACE_RECORD_CLOSE] == 1, "a note");

    see_all(&seen);
    check(strcmp(seen.type, "checkpoint") == 0 && seen.longest <= 10, "%s %lu",
          seen.type, seen.longest);

    ngx_http_tsface_trail_file_free(file);

    done("checkpoints that are due");
}


static void
signatures(void)
{
    size_t                           i;
    u_char                           id[16], hex[128];
    ngx_str_t                        text;
    ngx_http_tsface_record_signed_t  what, other;

    check(ngx_http_tsface_record_signer(signer, id) == NGX_OK, "an id");

    ngx_str_set(&what.trail, "revokes");
    ngx_str_set(&what.mark, "1:00");
    ngx_str_set(&what.key_id, "0123456789abcdef");
    ngx_str_set(&what.time, "2026-11-25T00:00:00.000000Z");

    check(ngx_http_tsface_record_sign(signer, &what, hex) == NGX_OK, "signed");
    text = bytes(hex, sizeof(hex));
    check(ngx_http_tsface_record_sign_verify(signer, &what, &text) == NGX_OK,
          "verified");

    for (i = 0; i < sizeof(hex); i++) {
        text.data[i] ^= 1;
        check(ngx_http_tsface_record_sign_verify(signer, &what, &text)
              == NGX_DECLINED, "digit %zu", i);
        text.data[i] ^= 1;
    }

    text.len--;
    check(ngx_http_tsface_record_sign_verify(signer, &what, &text)
          == NGX_DECLINED, "short");
    text.len++;

    other = what;
    ngx_str_set(&other.trail, "revoke");
    check(ngx_http_tsface_record_sign_verify(signer, &other, &text)
          == NGX_DECLINED, "another trail");

    /* a text that could be read in two ways is none */

    ngx_str_set(&other.trail, "a\nafter 1:00");
    check(ngx_http_tsface_record_sign(signer, &other, hex) == NGX_ERROR
          && ngx_http_tsface_record_sign_verify(signer, &other, &text)
             == NGX_DECLINED, "two lines");
    ngx_str_null(&other.trail);
    check(ngx_http_tsface_record_sign(signer, &other, hex) == NGX_ERROR,
          "none");
    other.trail = bytes(dir, sizeof(dir));
    memset(other.trail.data, 'x', other.trail.len);
    other.mark = other.trail;
    check(ngx_http_tsface_record_sign(signer, &other, hex) == NGX_ERROR,
          "too long");

    done("signatures");
}


int
main(void)
{
    int         i;
    char        command[300];
    ngx_str_t   value;
    const char *tmp;

    tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/tsface-own-XXXXXX", tmp ? tmp : "/tmp");

    if (mkdtemp(dir) == NULL) {
        printf("Bail out! mkdtemp: %s\n", strerror(errno));
        return 2;
    }

    for (i = 0; i < KEYS; i++) {
        value.data = (u_char *) secrets[i];
        value.len = strlen(secrets[i]);
        keys[i] = ngx_http_tsface_record_key_new(&value);
    }

    signer = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    signatures();
    key_changes();
    killed();
    rotation();
    chain_lost();
    checkpoints();

    for (i = 0; i < KEYS; i++) {
        ngx_http_tsface_record_key_free(keys[i]);
    }

    EVP_PKEY_free(signer);

    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    (void) !system(command);

    return tap_end();
}
