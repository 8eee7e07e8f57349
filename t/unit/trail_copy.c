
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Checkpoints in a second place: whatever happened to that place, or to the
 * trail's files meanwhile, what is missing there comes there, in its order,
 * and nothing that could still be lost in the trail.
 */

/* link: ngx_http_tsface_trail_copy.c ngx_http_tsface_trail_second.c
         ngx_http_tsface_syslog_files.c ngx_http_tsface_syslog_search.c
         ngx_http_tsface_syslog_message.c ngx_http_tsface_syslog_position.c
         ngx_http_tsface_trail_file.c ngx_http_tsface_trail_repair.c
         ngx_http_tsface_trail_node.c ngx_http_tsface_trail_chain.c
         ngx_http_tsface_trail_seal.c ngx_http_tsface_trail_batch.c
         ngx_http_tsface_trail_rotate.c ngx_http_tsface_trail_alive.c
         ngx_http_tsface_trail_create.c ngx_http_tsface_trail_io.c
         ngx_http_tsface_record_sign.c ngx_http_tsface_record.c
         ngx_http_tsface_record_text.c ngx_http_tsface_record_mac.c
         ngx_http_tsface_record_line.c */


/* as ngx_config.h has them, which comes too late here */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS  64

#include "tap.h"

#include <glob.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_trail_chain.h"
#include "ngx_http_tsface_trail_copy.h"
#include "ngx_http_tsface_trail_file.h"


#define LINES  4096


typedef struct {
    char  *line[LINES];
    int    n;
} lines_t;


static EVP_PKEY  *signer;
static char       dir[256], path[300], second[320];

/* of the test that runs: who writes the trail, and who copies */
static ngx_http_tsface_trail_file_t  *file;
static ngx_http_tsface_trail_copy_t  *copy;

static const char  *call;                   /* that failed last */

/* what is to go wrong */
static long       write_left = -1;
static int        sync_errno, sync_fine;    /* after so many that succeed */


ssize_t
write(int fd, const void *buf, size_t n)
{
    if (write_left >= 0) {

        if (write_left == 0) {
            errno = ENOSPC;
            return -1;
        }

        n = ngx_min(n, (size_t) write_left);
        write_left -= n;
    }

    return syscall(SYS_write, fd, buf, n);
}


int
fdatasync(int fd)
{
    if (sync_errno && sync_fine-- == 0) {
        errno = sync_errno;
        sync_errno = 0;
        return -1;
    }

    return syscall(SYS_fdatasync, fd);
}


static void
fresh(void)
{
    static unsigned  n;

    snprintf(path, sizeof(path), "%s/%u.jsonl", dir, n);
    snprintf(second, sizeof(second), "%s/second.%u", dir, n++);
}


static void
conf(ngx_http_tsface_trail_file_conf_t *c, off_t rotate)
{
    static ngx_str_t  p, k, s, trail, host;

    memset(c, 0, sizeof(*c));

    p.data = (u_char *) path;
    p.len = strlen(path);
    s.data = (u_char *) second;
    s.len = strlen(second);
    ngx_str_set(&trail, "revokes");
    ngx_str_set(&k, "the-only-key-of-the-trail--------");
    ngx_str_set(&host, "unit.test");

    c->path = &p;
    c->key = &k;
    c->name = &trail;
    c->host = &host;
    c->pid = getpid();
    c->durable = 1;
    c->fd = -1;
    c->chain_fd = -1;
    c->signer = signer;
    c->records = 10;
    c->interval = 3600000;
    c->rotate = rotate;
    c->copy = &s;
}


static ngx_http_tsface_trail_file_t *
writer(off_t rotate)
{
    ngx_http_tsface_trail_file_t       *made;
    ngx_http_tsface_trail_file_conf_t   c;

    conf(&c, rotate);
    made = ngx_http_tsface_trail_file_new(&c);

    if (made == NULL) {
        printf("Bail out! no memory\n");
        exit(2);
    }

    return made;
}


static ngx_http_tsface_trail_copy_t *
copier(void)
{
    ngx_http_tsface_trail_copy_t       *made;
    ngx_http_tsface_trail_file_conf_t   c;

    conf(&c, 0);
    made = ngx_http_tsface_trail_copy_new(&c);

    if (made == NULL) {
        printf("Bail out! no memory\n");
        exit(2);
    }

    return made;
}


static void
begin(off_t rotate)
{
    fresh();

    file = writer(rotate);
    copy = copier();
}


static void
stop(void)
{
    ngx_http_tsface_trail_file_free(file);
    ngx_http_tsface_trail_copy_free(copy);
}


/* From here on it is another process that copies. */

static void
forget(void)
{
    ngx_http_tsface_trail_copy_free(copy);
    copy = copier();
}


static void
add(unsigned n)
{
    ngx_str_t                        body;
    ngx_http_tsface_trail_result_t   result;

    ngx_str_set(&body, "\"type\":\"intent\",\"trail\":\"revokes\"");

    while (n--) {
        check(ngx_http_tsface_trail_file_write(file, &body, 1, 0, &result)
              == NGX_OK, "%s: %d", result.call, result.err);
    }
}


static ngx_int_t
run(ngx_http_tsface_trail_copy_t *who)
{
    ngx_int_t                       rc;
    ngx_http_tsface_trail_result_t  result;

    rc = ngx_http_tsface_trail_copy_run(who, &result);
    errno = result.err;
    call = result.call ? result.call : "";

    return rc;
}


#define copied()  check(run(copy) == NGX_OK, "%d", errno)


/* Lines of a file; of a trail's only its checkpoints. */

static void
take(const char *name, lines_t *lines, int all)
{
    char   line[8200];
    FILE  *in;

    in = fopen(name, "r");

    if (in == NULL) {
        return;
    }

    while (lines->n < LINES && fgets(line, sizeof(line), in)) {
        if (all || strstr(line, ",\"type\":\"checkpoint\"")) {
            lines->line[lines->n++] = strdup(line);
        }
    }

    fclose(in);
}


/* Those of the trail in all of its files, in their order. */

static void
checkpoints(lines_t *lines)
{
    char    pattern[340];
    size_t  i;
    glob_t  names;

    lines->n = 0;
    snprintf(pattern, sizeof(pattern), "%s.0*", path);

    if (glob(pattern, 0, NULL, &names) == 0) {
        for (i = 0; i < names.gl_pathc; i++) {
            take(names.gl_pathv[i], lines, 0);
        }

        globfree(&names);
    }

    take(path, lines, 0);
}


static void
drop(lines_t *lines)
{
    while (lines->n) {
        free(lines->line[--lines->n]);
    }
}


/* Whether the second place has all of them, from one on, once, in order. */

static int
alike(int from, const char *what)
{
    int      i, ok;
    lines_t  want, got;

    checkpoints(&want);
    got.n = 0;
    take(second, &got, 1);

    ok = check(got.n == want.n - from, "%s: %d, not %d", what, got.n,
               want.n - from);

    for (i = 0; ok && i < got.n; i++) {
        ok = check(strcmp(got.line[i], want.line[from + i]) == 0,
                   "%s: line %d: %s", what, i, got.line[i]);
    }

    drop(&want);
    drop(&got);

    return ok;
}


/* How many of them there are, how many lines are something else. */

static void
counted(int *missing, int *twice, int *other)
{
    int      i, k, n;
    lines_t  want, got;

    checkpoints(&want);
    got.n = 0;
    take(second, &got, 1);

    *missing = *twice = 0;
    *other = got.n;

    for (i = 0; i < want.n; i++) {
        n = 0;

        for (k = 0; k < got.n; k++) {
            n += (strcmp(want.line[i], got.line[k]) == 0);
        }

        *missing += (n == 0);
        *twice += (n > 1);
        *other -= n;
    }

    drop(&want);
    drop(&got);
}


static void
append(const char *name, const char *text)
{
    FILE  *out;

    out = fopen(name, "a");
    fputs(text, out);
    fclose(out);
}


static void
catches_up(void)
{
    lines_t                        lines;
    struct stat                    sb;
    ngx_http_tsface_trail_copy_t  *other;

    begin(0);
    other = copier();

    check(run(copy) == NGX_OK, "no trail: %d", errno);
    check(stat(second, &sb) == 0 && sb.st_size == 0
          && (sb.st_mode & 07777) == 0640, "the file: %o", sb.st_mode);

    add(35);
    copied();
    alike(0, "all");
    check(run(copy) == NGX_OK && run(other) == NGX_OK, "again: %d", errno);
    alike(0, "once");

    add(20);
    check(run(other) == NGX_OK && run(copy) == NGX_OK, "%d", errno);
    alike(0, "by another");

    add(3000);
    copied();
    alike(0, "more than is read and written at once");
    checkpoints(&lines);
    check(lines.n > 250, "%d", lines.n);
    drop(&lines);

    ngx_http_tsface_trail_copy_free(other);
    stop();

    done("what is missing is copied, once");
}


static void
files(void)
{
    char                           name[340], gone[340];

    begin(3000);

    add(3);
    copied();
    alike(0, "one file");

    add(300);
    copied();
    alike(0, "many files");

    /* in which a worker begins that knows nothing */

    add(300);
    forget();
    copied();
    alike(0, "by what is there");

    /* renamed by somebody else, in the middle */

    ngx_http_tsface_trail_file_free(file);
    file = writer(0);

    add(12);
    copied();
    add(12);
    snprintf(name, sizeof(name), "%s.0zz", path);
    check(rename(path, name) == 0, "%d", errno);
    add(12);
    copied();
    alike(0, "renamed");

    /* a whole trail that was put away, and another one under its name */

    snprintf(name, sizeof(name), "%s.chain", path);
    snprintf(gone, sizeof(gone), "%s.gone", second);
    check(rename(name, gone) == 0, "%d", errno);
    snprintf(name, sizeof(name), "%s.0zz1", path);
    check(rename(path, name) == 0, "%d", errno);
    add(40);
    copied();
    alike(0, "begun anew");
    add(40);
    copied();
    alike(0, "and on");

    stop();

    done("through the files of a trail");
}


static void
lost(void)
{
    char                           name[340];
    size_t                         i;
    glob_t                         names;
    int                            missing, twice, other;
    lines_t                        lines;

    begin(3000);

    add(50);
    copied();
    add(100);

    /* compressed, or gone, before it could be copied */

    snprintf(name, sizeof(name), "%s.0*", path);
    check(glob(name, 0, NULL, &names) == 0 && names.gl_pathc > 8, "%zu",
          names.gl_pathc);

    for (i = 0; i < names.gl_pathc - 3; i++) {
        unlink(names.gl_pathv[i]);
    }

    globfree(&names);

    copied();
    counted(&missing, &twice, &other);
    check(missing == 0 && twice == 0, "%d, %d", missing, twice);

    stop();

    /* somebody cut the trail: what was known stays known, the rest follows */

    begin(0);
    add(50);
    copied();
    check(truncate(path, 4000) == 0, "%d", errno);
    add(50);
    forget();
    copied();
    counted(&missing, &twice, &other);
    check(missing == 0 && other > 3, "%d, %d", missing, other);
    lines.n = 0;
    take(second, &lines, 1);
    check(lines.n < 20, "%d", lines.n);
    drop(&lines);

    stop();

    done("files that are gone, or cut");
}


static void
moved(void)
{
    char                           name[340];
    int                            known;
    lines_t                        lines;

    begin(0);

    add(35);
    copied();
    checkpoints(&lines);
    known = lines.n;
    drop(&lines);

    snprintf(name, sizeof(name), "%s.1", second);
    check(rename(second, name) == 0, "%d", errno);
    add(35);
    copied();
    alike(known, "moved: it goes on in the new one");

    check(rename(second, name) == 0, "%d", errno);
    forget();
    copied();
    alike(0, "moved while nobody looked: all of the file that is written");

    stop();

    /* not with all that there ever was */

    begin(3000);
    add(200);
    checkpoints(&lines);
    known = lines.n;
    drop(&lines);
    take(path, &lines, 0);
    known -= lines.n;
    drop(&lines);
    copied();
    check(known > 10, "%d", known);
    alike(known, "new: the newest file");

    stop();

    done("a second place that was moved, or is new");
}


static void
shared(void)
{
    int                            i, missing, twice, other;
    char                           line[1200], pad[700];
    ngx_http_tsface_trail_copy_t  *next;

    begin(0);
    next = copier();

    add(35);
    copied();

    memset(pad, 'x', sizeof(pad));
    pad[sizeof(pad) - 1] = '\0';

    for (i = 1; i <= 200; i++) {
        snprintf(line, sizeof(line), "{\"v\":1,\"seq\":%d,\"time\":\"2026-11-25"
                 "T07:37:43.041830Z\",\"type\":\"checkpoint\",\"trail\":\"%s\","
                 "\"host\":\"%s\",\"mac\":\"%064d\"}\n", 10000 + i,
                 i % 2 ? "revoke" : "revokes2", pad, i);
        append(second, line);
    }

    /* no checkpoint of it within 64 KB */

    add(35);
    check(run(next) == NGX_OK, "%d", errno);
    counted(&missing, &twice, &other);
    check(missing == 0 && twice == 0 && other == 200, "%d, %d, %d", missing,
          twice, other);

    /* of another trail under the same name: it isn't ours */

    for (i = 0; i < 3; i++) {
        snprintf(line, sizeof(line), "{\"v\":1,\"seq\":%d,\"time\":\"2026-11-25"
                 "T07:37:43.041830Z\",\"type\":\"checkpoint\","
                 "\"trail\":\"revokes\",\"mac\":\"%064d\"}\n", i ? 30 : 90000,
                 i);
        append(second, line);
        add(20);
        check(run(next) == NGX_OK, "%d", errno);
    }

    counted(&missing, &twice, &other);
    check(missing == 0 && twice == 0 && other == 203, "%d, %d, %d", missing,
          twice, other);

    ngx_http_tsface_trail_copy_free(next);
    stop();

    done("shared with other trails");
}


/*
 * A line with the number and the MAC of a record that is no checkpoint: if it
 * were believed, those before that record would never come.
 */

static void
forged(off_t rotate)
{
    int                            i, missing, twice, other;
    char                           line[9000], *p;
    lines_t                        lines;
    ngx_http_tsface_trail_copy_t  *next;

    begin(rotate);

    add(35);
    copied();

    for (i = 0; i < 2; i++) {
        add(15);

        do {
            add(1);
            lines.n = 0;
            take(path, &lines, 1);
            snprintf(line, sizeof(line), "%s", lines.line[lines.n - 1]);
            drop(&lines);
            p = strstr(line, "\"type\":\"intent\"");
        } while (p == NULL);

        memmove(p + 19, p + 15, strlen(p + 15) + 1);
        memcpy(p, "\"type\":\"checkpoint\"", 19);
        append(second, line);
        add(25);

        /* by one that knows how far it was, and by one that doesn't */

        next = i ? copy : copier();
        check(run(next) == NGX_OK, "%d", errno);
        counted(&missing, &twice, &other);
        check(missing == 0 && other == i + 1, "%d: %d, %d, %d", i, missing,
              twice, other);

        if (next != copy) {
            ngx_http_tsface_trail_copy_free(next);
        }
    }

    stop();

    done(rotate ? "a forged line, and many files" : "a forged line");
}


static void
fails(void)
{
    int                            missing, twice, other;
    lines_t                        lines;
    struct stat                    sb;
    ngx_http_tsface_trail_copy_t  *next;

    begin(0);
    next = copier();

    add(15);
    check(mkdir(second, 0700) == 0, "%d", errno);
    check(run(copy) == NGX_ERROR && errno == EISDIR, "%d", errno);
    rmdir(second);
    check(mkfifo(second, 0600) == 0, "%d", errno);
    check(run(copy) == NGX_ERROR && errno == EINVAL
          && strcmp(call, "open()") == 0, "%d of %s", errno, call);
    unlink(second);
    check(symlink(path, second) == 0, "%d", errno);
    check(run(copy) == NGX_ERROR && errno == ELOOP, "%d", errno);
    unlink(second);
    copied();
    alike(0, "when it can be");

    /* half a line stays half a line */

    append(second, "{\"v\":1,\"se");
    add(15);
    copied();
    counted(&missing, &twice, &other);
    check(missing == 0 && twice == 0 && other == 1, "%d, %d, %d", missing,
          twice, other);

    /* the disk is full in the middle of the second of three */

    add(30);
    write_left = 900;
    check(run(copy) == NGX_ERROR && errno == ENOSPC, "%d", errno);
    check(run(next) == NGX_ERROR && errno == ENOSPC, "%d", errno);
    write_left = -1;
    counted(&missing, &twice, &other);
    check(missing == 2 && other == 2, "%d, %d", missing, other);
    check(run(next) == NGX_OK, "%d", errno);
    counted(&missing, &twice, &other);
    check(missing == 0 && twice == 0 && other == 2, "%d, %d, %d", missing,
          twice, other);

    /* what can't be synced may not be there */

    copied();
    add(10);
    sync_errno = EIO;
    sync_fine = 1;
    check(run(copy) == NGX_ERROR && errno == EIO, "%d", errno);
    copied();
    counted(&missing, &twice, &other);
    check(missing == 0 && twice == 1 && other == 2, "%d, %d, %d", missing,
          twice, other);

    /* nor must be known elsewhere what the trail may lose */

    add(10);
    lines.n = 0;
    take(second, &lines, 1);
    other = lines.n;
    drop(&lines);
    sync_errno = EIO;
    sync_fine = 0;
    check(run(copy) == NGX_ERROR && errno == EIO, "%d", errno);
    take(second, &lines, 1);
    check(lines.n == other, "%d", lines.n);
    drop(&lines);
    copied();
    take(second, &lines, 1);
    check(lines.n == other + 1, "%d", lines.n);
    drop(&lines);

    /* the end is where PATH.chain says */

    check(stat(second, &sb) == 0, "%d", errno);
    append(path, "{\"v\":1,\"seq\":90000,\"time\":\"2026-11-25T07:37:43.041830Z"
           "\",\"type\":\"checkpoint\",\"trail\":\"revokes\",\"mac\":\"01234567"
           "89abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}\n");
    copied();
    other = sb.st_size;
    check(stat(second, &sb) == 0 && sb.st_size == other, "beyond the end");

    ngx_http_tsface_trail_copy_free(next);
    stop();

    done("a second place that fails");
}


static void
locked(void)
{
    int                            fd;
    pid_t                          pid;
    struct flock                   fl;

    begin(0);

    add(15);
    fd = open(second, O_RDWR|O_CREAT, 0640);
    memset(&fl, 0, sizeof(fl));
    fl.l_type = F_WRLCK;
    check(fd != -1 && fcntl(fd, F_OFD_SETLK, &fl) == 0, "%d", errno);

    /* another process has it, and shows when it gives it up */

    pid = fork();

    if (pid == 0) {
        usleep(300000);
        rename(path, second);
        _exit(0);
    }

    close(fd);
    copied();
    check(access(path, F_OK) == -1, "it was waited for");
    check(waitpid(pid, NULL, 0) == pid, "%d", errno);

    stop();

    done("one at a time");
}


int
main(void)
{
    char         command[300];
    const char  *tmp;

    signer = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/tsface-copy-XXXXXX", tmp ? tmp : "/tmp");

    if (signer == NULL || mkdtemp(dir) == NULL) {
        printf("Bail out! no key, or no directory\n");
        return 2;
    }

    catches_up();
    files();
    lost();
    moved();
    shared();
    forged(0);
    forged(3000);
    fails();
    locked();

    EVP_PKEY_free(signer);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    (void) !system(command);

    return tap_end();
}
