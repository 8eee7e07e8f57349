
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Intents that a crash has left: which of them get an outcome, once, and which
 * must not.  Writers have pids that no process has, so that what tells of
 * their life is their lock.
 */

/* link: ngx_http_tsface_trail_orphan.c ngx_http_tsface_trail_intents.c
         ngx_http_tsface_trail_file.c ngx_http_tsface_trail_alive.c
         ngx_http_tsface_trail_repair.c ngx_http_tsface_trail_node.c
         ngx_http_tsface_trail_chain.c ngx_http_tsface_trail_io.c
         ngx_http_tsface_trail_seal.c ngx_http_tsface_trail_batch.c
         ngx_http_tsface_trail_rotate.c ngx_http_tsface_record_sign.c
         ngx_http_tsface_record.c ngx_http_tsface_record_text.c
         ngx_http_tsface_record_mac.c ngx_http_tsface_record_line.c */


/* as ngx_config.h has them, which comes too late here */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS  64

#include "tap.h"

#include <sys/syscall.h>
#include <sys/wait.h>

#include "ngx_http_tsface_record.h"
#include "ngx_http_tsface_trail_file.h"
#include "ngx_http_tsface_trail_orphan.h"


#define KEY     "0123456789abcdef0123456789abcdef"
#define PID     4194000     /* beyond what a machine with few processes has */
#define WINDOW  NGX_HTTP_TSFACE_TRAIL_ORPHAN_WINDOW


static char    dir[256], path[300];

/* called once, when a file is read to its end, or when it has been */
static void  (*read_hook)(void);
static int     read_late;


ssize_t
pread(int fd, void *buf, size_t n, off_t offset)
{
    void     (*hook)(void);
    ssize_t    rc;

    rc = syscall(SYS_pread64, fd, buf, n, offset);

    if (rc < (read_late ? 1 : (ssize_t) n) && n >= 65536 && read_hook) {
        hook = read_hook;
        read_hook = NULL;
        hook();
    }

    return rc;
}


static void
clean(void)
{
    char  command[320];

    snprintf(command, sizeof(command), "rm -rf %s", dir);
    check(system(command) == 0, "rm");
}


static void
fresh(void)
{
    clean();
    mkdir(dir, 0700);
}


static void
conf(ngx_http_tsface_trail_file_conf_t *c, ngx_int_t pid, const char *host)
{
    static ngx_str_t  key, name, h, p;

    ngx_str_set(&key, KEY);
    ngx_str_set(&name, "unit");

    h.data = (u_char *) host;
    h.len = strlen(host);
    p.data = (u_char *) path;
    p.len = strlen(path);

    memset(c, 0, sizeof(*c));

    c->path = &p;
    c->key = &key;
    c->name = &name;
    c->host = &h;
    c->pid = pid;
    c->durable = 0;
    c->fd = -1;
    c->chain_fd = -1;
}


static ngx_http_tsface_trail_file_t *
writer(ngx_int_t pid)
{
    ngx_http_tsface_trail_file_t       *file;
    ngx_http_tsface_trail_file_conf_t   c;

    conf(&c, pid, "here");

    file = ngx_http_tsface_trail_file_new(&c);
    if (file == NULL) {
        printf("Bail out! no memory\n");
        exit(2);
    }

    return file;
}


static void
put(ngx_http_tsface_trail_file_t *file, ngx_int_t pid,
    ngx_http_tsface_record_type_e type, const char *id, const char *host)
{
    u_char                           buf[NGX_HTTP_TSFACE_RECORD_MAX];
    ngx_str_t                        body;
    ngx_http_tsface_record_t         r;
    ngx_http_tsface_trail_result_t   result;

    ngx_http_tsface_record_init(&r, type);

    r.trail = text("unit");
    r.host = text(host);
    r.pid = pid;
    r.request_id = text(id);
    r.attempt = 1;
    r.caller = text("CN=\",\"pid\":1,\"request_id\":\"x\\");
    r.operation = text("face.revoke");
    r.user_plain = text("somebody");
    r.token_kind = text("credentials");

    if (type == NGX_HTTP_TSFACE_RECORD_OUTCOME) {
        r.result = text("success");
        r.status = 204;
    }

    body.data = buf;
    body.len = ngx_http_tsface_record_body(&r, buf, sizeof(buf));

    check(ngx_http_tsface_trail_file_write(file, &body, 1, 0, &result)
          == NGX_OK, "%s: %s", id, result.call ? result.call : "");
}

#define intent(file, pid, id)                                                 \
    put(file, pid, NGX_HTTP_TSFACE_RECORD_INTENT, id, "here")
#define outcome(file, pid, id)                                                \
    put(file, pid, NGX_HTTP_TSFACE_RECORD_OUTCOME, id, "here")


/* A writer that writes some intents, and dies. */

static void
dead(ngx_int_t pid, const char *ids)
{
    char                          *copy, *id;
    ngx_http_tsface_trail_file_t  *file;

    file = writer(pid);
    copy = strdup(ids);

    for (id = strtok(copy, " "); id; id = strtok(NULL, " ")) {
        intent(file, pid, id);
    }

    free(copy);
    ngx_http_tsface_trail_file_free(file);
}


static ngx_uint_t
close_all(uint64_t window, ngx_http_tsface_trail_orphan_stat_t *stat)
{
    ngx_int_t                             rc;
    ngx_http_tsface_trail_result_t        result;
    ngx_http_tsface_trail_orphan_t       *orphan;
    ngx_http_tsface_trail_file_conf_t     c;
    ngx_http_tsface_trail_orphan_stat_t   ignored;

    if (stat == NULL) {
        stat = &ignored;
    }

    conf(&c, PID + 99, "here");

    orphan = ngx_http_tsface_trail_orphan_new(&c);
    if (orphan == NULL) {
        printf("Bail out! no memory\n");
        exit(2);
    }

    rc = ngx_http_tsface_trail_orphan_close(orphan, window, stat, &result);
    check(rc == NGX_OK, "%s", result.call ? result.call : "");

    ngx_http_tsface_trail_orphan_free(orphan);

    return stat->closed;
}


static char *
slurp(const char *name)
{
    FILE    *f;
    char    *buf;
    size_t   n;

    buf = (char *) block(16 * 1024 * 1024);

    f = fopen(name, "r");
    n = f ? fread(buf, 1, 16 * 1024 * 1024 - 1, f) : 0;
    buf[n] = '\0';

    if (f) {
        fclose(f);
    }

    return buf;
}


static ngx_uint_t
count(const char *buf, const char *what)
{
    ngx_uint_t   n;
    const char  *p;

    for (n = 0, p = buf; (p = strstr(p, what)) != NULL; p++, n++) { }

    return n;
}


/* The chain over these files: the number of records, 0 if it is broken. */

static ngx_uint_t
whole(const char *one, const char *two)
{
    char                          *p, *lf;
    u_char                         mac[64], next[64];
    uint64_t                       seq, last;
    ngx_str_t                      line, k;
    ngx_uint_t                     i;
    ngx_http_tsface_record_key_t  *key;

    ngx_str_set(&k, KEY);
    key = ngx_http_tsface_record_key_new(&k);

    memset(mac, '0', 64);
    last = 0;

    for (i = 0; i < 2; i++) {
        if ((i ? two : one) == NULL) {
            continue;
        }

        for (p = slurp(i ? two : one); *p; p = lf + 1) {
            lf = strchr(p, '\n');

            line.data = (u_char *) p;
            line.len = lf - p;

            if (ngx_http_tsface_record_verify(&line, key, mac) != NGX_OK
                || ngx_http_tsface_record_parse_tail(&line, &seq, next)
                   != NGX_OK
                || seq != last + 1)
            {
                ngx_http_tsface_record_key_free(key);
                return 0;
            }

            memcpy(mac, next, 64);
            last = seq;
        }
    }

    ngx_http_tsface_record_key_free(key);

    return last;
}


static void
test_closed(void)
{
    char                          *buf, *line, *p, *q;
    ngx_http_tsface_trail_file_t  *file;

    fresh();

    check(close_all(WINDOW, NULL) == 0, "no file");

    file = writer(PID);
    intent(file, PID, "a");
    intent(file, PID, "b");
    outcome(file, PID, "a");
    intent(file, PID, "c");
    put(file, PID, NGX_HTTP_TSFACE_RECORD_REFUSAL, "c", "here");
    ngx_http_tsface_trail_file_free(file);

    check(close_all(WINDOW, NULL) == 1, "one is open");
    check(close_all(WINDOW, NULL) == 0, "none is");

    buf = slurp(path);
    check(whole(path, NULL) == 7, "%lu records",
          (unsigned long) whole(path, NULL));

    /* the intent of "b", with another type, pid and end */

    line = strstr(buf, "orphaned");
    check(line != NULL, "no orphan");
    line = line ? line : buf;

    while (line > buf && line[-1] != '\n') {
        line--;
    }

    check(strstr(line, ",\"type\":\"outcome\",\"trail\":\"unit\",\"host\":"
                 "\"here\",\"pid\":4194099,\"request_id\":\"b\",\"attempt\":1,")
          != NULL, "its beginning");

    p = strstr(line, "\"request_id\"");
    q = strstr(p, ",\"result\":\"unknown\",\"reason\":\"orphaned\",\"mac\":");

    if (check(q != NULL, "its end")) {
        *q = '\0';
        check(count(buf, p) == 2, "as the intent: %s", p);
    }

    done("an intent without outcome gets one, as a copy");
}


static void
test_alive(void)
{
    ngx_http_tsface_trail_file_t         *file;
    ngx_http_tsface_trail_orphan_stat_t   stat;

    fresh();

    file = writer(PID);
    intent(file, PID, "a");

    check(close_all(WINDOW, &stat) == 0 && stat.alive == 1, "it lives");

    ngx_http_tsface_trail_file_free(file);
    check(close_all(WINDOW, NULL) == 1, "it is dead");

    done("a living writer's intent is its own");
}


static void
test_reuse(void)
{
    ngx_http_tsface_trail_file_t         *file;
    ngx_http_tsface_trail_orphan_stat_t   stat;

    fresh();

    dead(PID, "a b");
    dead(PID + 1, "c");

    file = writer(PID);
    intent(file, PID, "d");

    check(close_all(WINDOW, &stat) == 3 && stat.alive == 1, "%lu, %lu",
          (unsigned long) stat.closed, (unsigned long) stat.alive);

    outcome(file, PID, "d");
    ngx_http_tsface_trail_file_free(file);

    check(close_all(WINDOW, NULL) == 0, "nothing is left");
    check(count(slurp(path), "\"outcome\"") == 4, "one each");

    done("a pid that is used again is another writer's");
}


static void
test_chain_gone(void)
{
    char                           name[320];
    ngx_http_tsface_trail_file_t  *file;

    fresh();

    file = writer(PID);
    intent(file, PID, "a");

    snprintf(name, sizeof(name), "%s.chain", path);
    unlink(name);

    intent(file, PID, "b");

    check(close_all(WINDOW, NULL) == 0, "it claims again");

    ngx_http_tsface_trail_file_free(file);

    done("PATH.chain was deleted under a living writer");
}


/* No lock, as of a version that takes none: the process is there. */

static void
test_process(void)
{
    pid_t                                 pid;
    ngx_http_tsface_trail_orphan_stat_t   stat;

    fresh();

    dead(getpid(), "a");
    check(close_all(WINDOW, &stat) == 0 && stat.alive == 1, "we live");

    pid = fork();

    if (pid == 0) {
        usleep(50000);      /* no record is older than its process */
        dead(getpid(), "b");
        _exit(0);
    }

    /* a zombie: dead, but there */

    check(waitid(P_PID, pid, &(siginfo_t) { 0 }, WEXITED|WNOWAIT) == 0,
          "waitid");
    check(close_all(WINDOW, NULL) == 1, "a zombie");

    waitpid(pid, NULL, 0);

    done("a process that was there before the record may be its writer");
}


static void
test_younger(void)
{
    int    fds[2];
    char   c;
    pid_t  pid;

    fresh();
    check(pipe(fds) == 0, "pipe");

    pid = fork();

    if (pid == 0) {
        close(fds[1]);
        (void) !read(fds[0], &c, 1);
        _exit(0);
    }

    usleep(200000);

    /* as if the record were from before: a pid of a process to come */

    dead(pid, "late");
    check(close_all(WINDOW, NULL) == 0, "older than its record: alive");

    close(fds[1]);
    close(fds[0]);
    waitpid(pid, NULL, 0);

    check(close_all(WINDOW, NULL) == 1, "gone");

    done("and one that is gone is not");
}


static void
test_others(void)
{
    char                                 *buf, *p;
    FILE                                 *f;
    ngx_http_tsface_trail_file_t         *file;
    ngx_http_tsface_trail_orphan_stat_t   stat;

    fresh();

    file = writer(PID);
    put(file, PID, NGX_HTTP_TSFACE_RECORD_INTENT, "a", "there");
    put(file, PID, NGX_HTTP_TSFACE_RECORD_INTENT, "a2", "here2");
    ngx_http_tsface_trail_file_free(file);

    check(close_all(WINDOW, NULL) == 0, "another host's");

    dead(PID, "b");

    buf = slurp(path);
    p = strstr(buf, "\"request_id\":\"b\"");
    p = strstr(p, "somebody");
    memcpy(p, "nobody!!", 8);

    f = fopen(path, "r+");
    fwrite(buf, 1, strlen(buf), f);
    fclose(f);

    check(close_all(WINDOW, &stat) == 0 && stat.alive == 0, "forged");

    done("not those of another host, nor what somebody forged");
}


static void
test_gap(void)
{
    char                          *buf, *p;
    ngx_http_tsface_trail_file_t  *file;

    fresh();

    file = writer(PID);
    intent(file, PID, "a");
    outcome(file, PID, "a");

    /* its outcome is lost */

    buf = slurp(path);
    p = strstr(buf, "\"outcome\"");
    while (p[-1] != '\n') {
        p--;
    }
    check(truncate(path, p - buf) == 0, "truncate");

    intent(file, PID, "b");
    ngx_http_tsface_trail_file_free(file);

    check(count(slurp(path), "\"truncated\"") == 1, "it says so");
    check(close_all(WINDOW, NULL) == 1, "b only");
    check(count(slurp(path), "\"request_id\":\"a\"") == 1, "a has none");

    done("where records are missing, an outcome may be");
}


static void
test_rotated(void)
{
    char                           old[320], older[320];
    ngx_http_tsface_trail_file_t  *file;

    fresh();

    snprintf(old, sizeof(old), "%s.1", path);
    snprintf(older, sizeof(older), "%s.2", path);

    file = writer(PID + 1);
    intent(file, PID + 1, "z");
    outcome(file, PID + 1, "z");
    rename(path, older);

    dead(PID, "a b");
    rename(path, old);

    /* empty, then with a record */

    check(close_all(WINDOW, NULL) == 0, "no file: nothing is done");

    intent(file, PID + 1, "c");
    check(close_all(WINDOW, NULL) == 2, "found in the file before");

    outcome(file, PID + 1, "c");
    ngx_http_tsface_trail_file_free(file);

    check(count(slurp(path), "orphaned") == 2, "in the new file");
    check(close_all(WINDOW, NULL) == 0, "none is left");

    done("the file before is looked at as well");
}


/* Small files, filled and rotated while a request was under way. */

static void
test_small(void)
{
    int                            i;
    char                           name[320];
    ngx_http_tsface_trail_file_t  *file;

    fresh();

    dead(PID, "a b");

    file = writer(PID + 1);

    for (i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "%s.%d", path, i);
        rename(path, name);
        intent(file, PID + 1, "z");
        outcome(file, PID + 1, "z");
    }

    ngx_http_tsface_trail_file_free(file);

    check(close_all(3000, NULL) == 0, "not beyond the window");
    check(close_all(WINDOW, NULL) == 2, "found, twelve files before");
    check(close_all(WINDOW, NULL) == 0, "none is left");

    done("files before the one before, too");
}


static void
test_many(void)
{
    int                                   i, status, bad;
    char                                  id[32];
    ngx_http_tsface_trail_file_t         *file;
    ngx_http_tsface_trail_orphan_stat_t   stat;

    fresh();

    file = writer(PID);

    for (i = 0; i < 1000; i++) {
        snprintf(id, sizeof(id), "id-%d", i);
        intent(file, PID, id);
        tap_free();
    }

    ngx_http_tsface_trail_file_free(file);

    for (i = 0; i < 8; i++) {
        if (fork() == 0) {
            close_all(WINDOW, &stat);
            _exit(tap_failed ? 1 : 0);
        }
    }

    for (bad = 0, i = 0; i < 8; i++) {
        wait(&status);
        bad += (status != 0);
    }

    check(bad == 0, "%d failed", bad);
    check(count(slurp(path), "orphaned") == 1000, "%lu",
          (unsigned long) count(slurp(path), "orphaned"));
    check(whole(path, NULL) == 2001, "chain");
    check(close_all(WINDOW, NULL) == 0, "none is left");

    done("a thousand, by eight at once: one outcome each");
}


static void
test_window(void)
{
    fresh();

    dead(PID, "a b c d e");

    check(close_all(1000, NULL) == 1, "the last one");
    check(count(slurp(path), "\"request_id\":\"e\"") == 2, "e");

    done("no further back than it is told");
}


static ngx_http_tsface_trail_file_t  *meanwhile;


static void
hook_outcome(void)
{
    outcome(meanwhile, PID, "a");
    ngx_http_tsface_trail_file_free(meanwhile);
}


static void
hook_rotate(void)
{
    char  old[320];

    snprintf(old, sizeof(old), "%s.1", path);

    outcome(meanwhile, PID, "a");
    rename(path, old);
    intent(meanwhile, PID, "c");
    ngx_http_tsface_trail_file_free(meanwhile);
}


static void
cut(void)
{
    char  *buf, *p;

    /* a batch that could not be written whole is cut off: "a" never was */

    buf = slurp(path);
    p = strstr(buf, "\"request_id\":\"a\"");
    while (p[-1] != '\n') {
        p--;
    }
    check(truncate(path, p - buf) == 0, "truncate");
}


static void
cut_unseen(void)
{
    char  name[320];

    cut();

    snprintf(name, sizeof(name), "%s.chain", path);
    unlink(name);
}


static void
hook_cut(void)
{
    cut_unseen();

    /* as long as what was there, so that lines begin where they did */

    dead(PID, "q");
    dead(PID, "r");
}


static void
test_meanwhile(int late)
{
    read_late = late;

    fresh();
    meanwhile = writer(PID);
    intent(meanwhile, PID, "a");
    intent(meanwhile, PID, "b");
    read_hook = hook_outcome;
    check(close_all(WINDOW, NULL) == 1 && read_hook == NULL, "b only");
    check(count(slurp(path), "\"request_id\":\"a\"") == 2, "a has one");

    fresh();
    meanwhile = writer(PID);
    intent(meanwhile, PID, "a");
    intent(meanwhile, PID, "b");
    read_hook = hook_rotate;
    check(close_all(WINDOW, NULL) == 2 && read_hook == NULL, "b and c");
    check(count(slurp(path), "\"request_id\":\"a\"") == 0, "not a");

    fresh();
    dead(PID, "z a");
    read_hook = hook_cut;
    close_all(WINDOW, NULL);
    check(read_hook == NULL, "the hook was called");
    check(count(slurp(path), "\"request_id\":\"a\"") == 0, "a never was");
    check(whole(path, NULL) > 0, "chain");
    close_all(WINDOW, NULL);
    check(count(slurp(path), "\"orphaned\"") == 3, "z, q and r have theirs");

    fresh();
    dead(PID, "z a");
    read_hook = cut;
    close_all(WINDOW, NULL);
    check(read_hook == NULL, "the hook was called");
    check(count(slurp(path), "\"request_id\":\"a\"") == 0, "a is gone");

    fresh();
    dead(PID, "z a");
    read_hook = cut_unseen;
    close_all(WINDOW, NULL);
    check(read_hook == NULL, "the hook was called");
    check(count(slurp(path), "\"request_id\":\"a\"") == 0, "a never was");

    done(late ? "what happens between looking and locking counts"
              : "and what happens while looking");
}


static void
test_torn(void)
{
    int                                   fd;
    ngx_http_tsface_trail_file_t         *file;

    fresh();

    dead(PID, "a");

    fd = open(path, O_WRONLY|O_APPEND);
    check(write(fd, "{\"v\":1,\"seq\":3,\"ti", 18) == 18, "write");
    close(fd);

    check(close_all(WINDOW, NULL) == 1, "a");
    check(count(slurp(path), "torn_tail") == 1, "said once");
    check(whole(path, NULL) == 4, "chain");

    file = writer(PID);
    intent(file, PID, "b");
    outcome(file, PID, "b");
    ngx_http_tsface_trail_file_free(file);

    check(whole(path, NULL) == 6, "chain");

    /* also if there is nothing to close */

    file = writer(PID);
    intent(file, PID, "c");

    fd = open(path, O_WRONLY|O_APPEND);
    check(write(fd, "{\"v\":1,\"seq\":8,\"ti", 18) == 18, "write");
    close(fd);

    check(close_all(WINDOW, NULL) == 0, "it lives");
    check(count(slurp(path), "torn_tail") == 2, "said all the same");
    check(whole(path, NULL) == 8, "chain");

    outcome(file, PID, "c");
    ngx_http_tsface_trail_file_free(file);

    done("a torn tail is cut, kept and told of");
}


int
main(void)
{
    char  template[] = "/tmp/tsface-orphan-XXXXXX";

    if (mkdtemp(template) == NULL) {
        printf("Bail out! mkdtemp\n");
        return 2;
    }

    snprintf(dir, sizeof(dir), "%s/t", template);
    snprintf(path, sizeof(path), "%s/trail.jsonl", dir);

    test_closed();
    test_alive();
    test_reuse();
    test_chain_gone();
    test_process();
    test_younger();
    test_others();
    test_gap();
    test_rotated();
    test_small();
    test_many();
    test_window();
    test_meanwhile(1);
    test_meanwhile(0);
    test_torn();

    clean();
    rmdir(template);

    return tap_end();
}
