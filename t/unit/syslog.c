
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What is sent to a syslog receiver, and from where: messages, the position in
 * PATH.sent, and a trail's files under everything that happens to files.
 */

/* link: ngx_http_tsface_syslog_message.c ngx_http_tsface_syslog_position.c
         ngx_http_tsface_syslog_files.c ngx_http_tsface_syslog_search.c
         ngx_http_tsface_syslog_sent.c ngx_http_tsface_syslog_source.c
         ngx_http_tsface_trail_node.c ngx_http_tsface_trail_chain.c
         ngx_http_tsface_trail_io.c ngx_http_tsface_record_text.c */


/* as ngx_config.h has them, which comes too late here */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS  64

#include "tap.h"

#include <dirent.h>
#include <malloc.h>
#include <sys/syscall.h>

#include "ngx_http_tsface_syslog_files.h"
#include "ngx_http_tsface_syslog_message.h"
#include "ngx_http_tsface_syslog_position.h"
#include "ngx_http_tsface_syslog_source.h"


#define MAC  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

#define RECORD(members)                                                       \
    "{\"v\":1,\"seq\":7,\"time\":\"2026-11-24T20:19:05.421818Z\","            \
    members "\"mac\":\"" MAC "\"}"


static char                               dir[256], path[300];
static ngx_http_tsface_syslog_source_t   *source;
static ngx_http_tsface_syslog_job_t       job;
static int                                sync_errno, write_errno;


int
fdatasync(int fd)
{
    if (sync_errno) {
        errno = sync_errno;
        return -1;
    }

    return syscall(SYS_fdatasync, fd);
}


ssize_t
pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    if (write_errno) {
        errno = write_errno;
        return -1;
    }

    return syscall(SYS_pwrite64, fd, buf, n, offset);
}


/* messages */


static const char *
frame(const char *line)
{
    size_t                            n;
    u_char                           *buf;
    ngx_str_t                         str;
    ngx_http_tsface_syslog_head_t     head;
    ngx_http_tsface_syslog_record_t   record;

    str = text(line);

    if (ngx_http_tsface_syslog_message_parse(&str, &record) != NGX_OK) {
        return NULL;
    }

    head.pri = 86;
    head.host = text("gw1");
    head.app_name = text("tsface");
    head.sd_id = text("tsface@32473");

    buf = block(NGX_HTTP_TSFACE_SYSLOG_FRAME_MAX);

    n = ngx_http_tsface_syslog_message_frame(&head, &str, &record, buf);

    check(n < NGX_HTTP_TSFACE_SYSLOG_FRAME_MAX, "%zu", n);
    buf[n] = '\0';

    return (char *) buf;
}


static void
is_frame(const char *line, const char *message)
{
    char         want[4096];
    const char  *got;

    got = frame(line);

    snprintf(want, sizeof(want), "%zu %s%s", strlen(message) + strlen(line),
             message, line);

    check(got && strcmp(got, want) == 0, "%s\n# instead of %s",
          got ? got : "none", want);
}


static void
messages(void)
{
    int     i;
    char   *line, *p;

    is_frame(RECORD("\"type\":\"open\",\"trail\":\"t\",\"host\":\"h\","
                    "\"pid\":12,\"reason\":\"new\","),
             "<86>1 2026-11-24T20:19:05.421818Z gw1 tsface 12 open "
             "[tsface@32473 trail=\"t\" seq=\"7\" type=\"open\" "
             "reason=\"new\" mac=\"" MAC "\"] ");

    /* values that would leave their quotes, or the element */

    is_frame(RECORD("\"type\":\"refusal\",\"request_id\":\"a]b\\\"c\\\\d\","),
             "<86>1 2026-11-24T20:19:05.421818Z gw1 tsface - refusal "
             "[tsface@32473 seq=\"7\" type=\"refusal\" "
             "request_id=\"a\\]b\\\\\\\"c\\\\\\\\d\" mac=\"" MAC "\"] ");

    /* members in members and in strings are the caller's */

    is_frame(RECORD("\"user\":{\"seq\":9,\"mac\":\"x\"},"
                    "\"caller\":\"\\\",\\\"type\\\":\\\"y\","
                    "\"members\":[\"status\",{\"trail\":1}],\"status\":204,"),
             "<86>1 2026-11-24T20:19:05.421818Z gw1 tsface - - "
             "[tsface@32473 seq=\"7\" status=\"204\" mac=\"" MAC "\"] ");

    /* the first of a name, and no object for a text */

    is_frame(RECORD("\"trail\":\"a\",\"trail\":\"b\",\"result\":{\"x\":1},"),
             "<86>1 2026-11-24T20:19:05.421818Z gw1 tsface - - "
             "[tsface@32473 trail=\"a\" seq=\"7\" mac=\"" MAC "\"] ");

    /* what is no type, pid or time doesn't get into the header */

    is_frame("{\"seq\":1,\"time\":\"2026-11-24T20:19:05\",\"pid\":\"1 2\","
             "\"type\":\"In tent\",\"mac\":\"" MAC "\"}",
             "<86>1 - gw1 tsface - - [tsface@32473 seq=\"1\" "
             "type=\"In tent\" mac=\"" MAC "\"] ");

    /* values that are too long are left out */

    line = (char *) block(8192);
    p = line + sprintf(line, "{\"seq\":1,\"region\":\"");
    memset(p, ']', 256);
    p += sprintf(p + 256, "\",\"reason\":\"") + 256;
    memset(p, ']', 257);
    sprintf(p + 257, "\",\"mac\":\"" MAC "\"}");

    check(frame(line) && strstr(frame(line), " region=\"\\]\\]"), "%s", line);
    check(frame(line) && !strstr(frame(line), " reason=\""), "%s", line);

    done("messages");

    check(frame("") == NULL, "nothing");
    check(frame("{}") == NULL, "empty");
    check(frame("[1]") == NULL, "array");
    check(frame("{\"seq\":1}") == NULL, "no mac");
    check(frame("{\"mac\":\"" MAC "\"}") == NULL, "no seq");
    check(frame("{\"seq\":0,\"mac\":\"" MAC "\"}") == NULL, "0");
    check(frame("{\"seq\":-1,\"mac\":\"" MAC "\"}") == NULL, "-1");
    check(frame("{\"seq\":12345678901234567890,\"mac\":\"" MAC "\"}") == NULL,
          "20 digits");
    check(frame("{\"seq\":1,\"mac\":\"" MAC "0\"}") == NULL, "65 digits");
    check(frame("{\"seq\":1,\"mac\":\"G" MAC "\"}") == NULL, "no digit");
    check(frame("{\"seq\":1,\"mac\":\"" MAC "\"} ") == NULL, "behind it");
    check(frame("{\"seq\":1,\"mac\":\"" MAC "\"") == NULL, "no end");
    check(frame("{\"seq\":1,\"mac\":\"" MAC) == NULL, "no end of a string");
    check(frame("{\"seq\":1,\"mac\":\"" MAC "\\\"}") == NULL, "escaped end");
    check(frame("{\"seq\":1,\"a\":\"\t\",\"mac\":\"" MAC "\"}") == NULL,
          "a control character");
    check(frame("{\"seq\":1,,\"mac\":\"" MAC "\"}") == NULL, "no member");
    check(frame("{\"seq\":,\"mac\":\"" MAC "\"}") == NULL, "no value");

    /* whatever is changed, nothing is read or written beyond its end */

    for (i = 0; i < 20000; i++) {
        line = (char *) block(256);
        strcpy(line, RECORD("\"type\":\"o\",\"user\":{\"a\":[1,\"}\"]},"));
        p = line + below(strlen(line));
        *p = "\"\\{}[],:\0\n0a"[below(12)];
        (void) frame(line);
        tap_free();
    }

    check(1, "alive");

    done("messages of what is no record");
}


static void
names(void)
{
    u_char     buf[8];
    ngx_str_t  name, got;

    name = text("gw1");
    got = ngx_http_tsface_syslog_message_name(&name, buf, 8);
    check(same(&got, "gw1"), "%.*s", (int) got.len, got.data);

    name = text("");
    got = ngx_http_tsface_syslog_message_name(&name, buf, 8);
    check(same(&got, "-"), "%.*s", (int) got.len, got.data);

    name = text("a b\n\xc3\xa4" "c-and-more");
    got = ngx_http_tsface_syslog_message_name(&name, buf, 8);
    check(same(&got, "a?b???c-"), "%.*s", (int) got.len, got.data);

    done("names");
}


/* the position */


static void
positions(void)
{
    int                                 fd, i;
    char                                name[320];
    u_char                              line[256];
    ssize_t                             n;
    ngx_http_tsface_syslog_position_t   position, back;

    snprintf(name, sizeof(name), "%s/position", dir);
    fd = open(name, O_RDWR|O_CREAT, 0600);

    check(ngx_http_tsface_syslog_position_read(fd, &back) == NGX_DONE,
          "empty");
    check(back.seq == 0 && back.offset == 0 && back.mac[63] == '0', "empty");

    position.seq = 18446744073709551615ULL;
    position.offset = 9223372036854775807ULL;
    memcpy(position.mac, MAC, 64);
    memset(position.file, 'f', 64);

    check(ngx_http_tsface_syslog_position_write(fd, &position) == NGX_OK,
          "%d", errno);
    check(ngx_http_tsface_syslog_position_read(fd, &back) == NGX_OK
          && memcmp(&position, &back, sizeof(back)) == 0, "read back");

    n = pread(fd, line, sizeof(line), 0);
    check(n == 186 && line[n - 1] == LF, "%zd", n);

    /* cut, or any byte another one */

    for (i = 0; i < n; i++) {
        check(ftruncate(fd, i) == 0, "%d", errno);
        check(ngx_http_tsface_syslog_position_read(fd, &back)
              == (i ? NGX_DECLINED : NGX_DONE) && back.seq == 0, "%d", i);

        check(pwrite(fd, line, n, 0) == n, "%d", errno);

        if ((i >= 35 && i < 99) || (i >= 100 && i < 164)) {
            continue;
        }

        check(pwrite(fd, "x", 1, i) == 1, "%d", errno);
        check(ngx_http_tsface_syslog_position_read(fd, &back) == NGX_DECLINED
              && back.seq == 0, "%d", i);
        check(pwrite(fd, line, n, 0) == n, "%d", errno);
    }

    position.offset++;
    check(ngx_http_tsface_syslog_position_write(fd, &position) == NGX_OK
          && ngx_http_tsface_syslog_position_read(fd, &back) == NGX_DECLINED,
          "an offset that no file has");

    (void) close(fd);

    done("positions");
}


/* files */


static void
clean(void)
{
    DIR            *d;
    char            name[600];
    struct dirent  *de;

    d = opendir(dir);

    while ((de = readdir(d)) != NULL) {
        if (de->d_name[0] != '.') {
            snprintf(name, sizeof(name), "%s/%s", dir, de->d_name);
            (void) unlink(name);
        }
    }

    (void) closedir(d);
}


/* Records first to last of a chain to PATH with suffix, hour as their time. */

static void
append(const char *suffix, uint64_t first, uint64_t last, int hour, int chain)
{
    FILE      *fp;
    char       name[320];
    uint64_t   seq;

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    fp = fopen(name, "a");

    for (seq = first; seq <= last; seq++) {
        fprintf(fp, "{\"v\":1,\"seq\":%llu,\"time\":"
                "\"2026-11-24T%02d:00:00.000000Z\",\"type\":\"open\","
                "\"caller\":\"%0*d\",\"mac\":\"%064llx\"}\n",
                (unsigned long long) seq, hour, (int) (seq % 300) + 1, 0,
                (unsigned long long) (seq + 1000000 * (uint64_t) chain));
    }

    fclose(fp);
}


static void
raw(const char *suffix, const char *bytes)
{
    FILE  *fp;
    char   name[320];

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    fp = fopen(name, "a");
    fputs(bytes, fp);
    fclose(fp);
}


static void
move(const char *from, const char *to)
{
    char  a[320], b[320];

    snprintf(a, sizeof(a), "%s%s", path, from);
    snprintf(b, sizeof(b), "%s%s", path, to);

    check(rename(a, b) == 0, "%s: %s", a, strerror(errno));
}


static void
gone(const char *suffix)
{
    char  name[320];

    snprintf(name, sizeof(name), "%s%s", path, suffix);

    check(unlink(name) == 0, "%s: %s", name, strerror(errno));
}


static ngx_http_tsface_syslog_source_t *
begin(void)
{
    ngx_str_t                              name;
    ngx_http_tsface_syslog_source_conf_t   conf;

    name.data = (u_char *) path;
    name.len = strlen(path);

    memset(&conf, 0, sizeof(conf));

    conf.path = &name;
    conf.durable = 1;
    conf.chain_fd = -1;
    conf.sent_fd = -1;
    conf.head.pri = 86;
    conf.head.host = text("h");
    conf.head.app_name = text("a");
    conf.head.sd_id = text("s@1");

    return ngx_http_tsface_syslog_source_new(&conf);
}


static void
restart(void)
{
    if (source) {
        ngx_http_tsface_syslog_source_free(source);
    }

    source = begin();
}


static ngx_int_t
step(int commit, int reads)
{
    job.release = 0;
    job.commit = commit;
    job.read = reads;
    job.sending = 0;
    job.limit = NGX_HTTP_TSFACE_SYSLOG_BATCH;
    job.n = 0;

    ngx_http_tsface_syslog_source_step(source, &job);

    return job.rc;
}


/*
 * Reads and commits until nothing is left; checks that first to last came,
 * none twice.
 */

static void
takes(uint64_t first, uint64_t last, const char *what)
{
    uint64_t     seq;
    ngx_uint_t   n, flags, gap;

    flags = 0;
    gap = 0;
    seq = first;

    for (n = 0; n < 10000; n++) {
        check(step(n > 0, 1) == NGX_OK, "%s: %s(%s) %d", what,
              job.result.call, job.result.suffix, job.result.err);

        flags |= job.flags;
        gap += job.gap;

        if (job.n == 0) {
            break;
        }

        check(job.first == seq, "%s: %llu instead of %llu", what,
              (unsigned long long) job.first, (unsigned long long) seq);
        check(job.last - job.first + 1 == job.n, "%s: %llu to %llu are %lu",
              what, (unsigned long long) job.first,
              (unsigned long long) job.last, (unsigned long) job.n);
        check(job.len && job.data[job.len - 1] == '}', "%s", what);

        seq = job.last + 1;
    }

    check(seq == last + 1, "%s: up to %llu instead of %llu", what,
          (unsigned long long) (seq - 1), (unsigned long long) last);
    check(job.bytes == 0, "%s: %llu bytes are left", what,
          (unsigned long long) job.bytes);

    job.flags = flags;
    job.gap = gap;
}


static void
files(void)
{
    size_t                            limit;
    ngx_http_tsface_syslog_source_t  *other;

    /* nothing there, then something */

    clean();
    restart();
    check(step(0, 1) == NGX_OK && job.n == 0, "no file");
    check(job.flags & NGX_HTTP_TSFACE_SYSLOG_NEW, "%lx",
          (unsigned long) job.flags);

    append("", 1, 10, 1, 0);
    takes(1, 10, "new");
    append("", 11, 5000, 1, 0);
    takes(11, 5000, "more");

    restart();
    append("", 5001, 5010, 1, 0);
    takes(5001, 5010, "after a restart");
    check(job.flags == 0, "%lx", (unsigned long) job.flags);

    /* what was not committed comes again */

    append("", 5011, 5020, 1, 0);
    check(step(0, 1) == NGX_OK && job.n == 10, "%lu", (unsigned long) job.n);
    check(step(0, 1) == NGX_OK && job.n == 10, "%lu", (unsigned long) job.n);
    restart();
    takes(5011, 5020, "not committed");

    /* by parts */

    append("", 5021, 5030, 1, 0);

    for (limit = 1; limit <= 10; limit++) {
        job.release = 0;
        job.commit = (limit > 1);
        job.read = 1;
        job.limit = 1;
        ngx_http_tsface_syslog_source_step(source, &job);
        check(job.n == 1 && job.first == 5020 + limit, "%zu", limit);
    }

    takes(5030, 5030, "not committed");

    /* a line without an end is none */

    raw("", "{\"v\":1,\"seq\":5031,");
    check(step(0, 1) == NGX_OK && job.n == 0, "torn");
    raw("", "\"type\":\"open\",\"mac\":\"" MAC "\"}\n");
    takes(5031, 5031, "whole");

    done("one file");

    /* only one has it */

    other = source;
    source = begin();
    check(step(0, 1) == NGX_BUSY, "%d", (int) job.rc);

    ngx_http_tsface_syslog_source_free(other);
    check(step(0, 1) == NGX_OK, "%d", (int) job.rc);

    job.release = 1;
    ngx_http_tsface_syslog_source_step(source, &job);
    other = source;
    source = begin();
    check(step(0, 1) == NGX_OK, "released: %d", (int) job.rc);
    ngx_http_tsface_syslog_source_free(source);
    source = other;

    /* who has it notices that it is another one's */

    check(step(0, 1) == NGX_OK, "%d", (int) job.rc);
    move(".sent", ".away");
    other = source;
    source = begin();
    check(step(0, 0) == NGX_OK, "a new one: %d", (int) job.rc);
    ngx_http_tsface_syslog_source_step(other, &job);
    check(job.rc == NGX_BUSY, "%d", (int) job.rc);
    ngx_http_tsface_syslog_source_free(other);

    /* deleted: it is made anew, and says the same */

    append("", 5032, 5040, 1, 0);
    takes(1, 5040, "from a new beginning");
    gone(".sent");
    append("", 5041, 5050, 1, 0);
    takes(5041, 5050, "deleted");
    restart();
    append("", 5051, 5060, 1, 0);
    takes(5051, 5060, "and made anew");

    /* put in its place: it is believed */

    append("", 5061, 5070, 1, 0);
    check(step(0, 1) == NGX_OK && job.n == 10, "%lu", (unsigned long) job.n);
    move(".sent", ".away");
    restart();
    takes(1, 5070, "all");
    other = source;
    source = NULL;
    move(".sent", ".all");
    restart();
    check(step(0, 0) == NGX_OK, "%d", (int) job.rc);
    ngx_http_tsface_syslog_source_free(source);
    source = other;
    move(".away", ".sent");
    check(step(0, 1) == NGX_BUSY, "%d", (int) job.rc);
    takes(5061, 5070, "where the other one was");

    done("one source");
}


static void
rotation(void)
{
    int  i;

    clean();
    restart();

    append("", 1, 100, 1, 0);
    takes(1, 100, "the first");

    /* one after the other, while it is open */

    append("", 101, 150, 1, 0);
    move("", ".1");
    check(step(0, 1) == NGX_OK && job.n == 50, "no new file: %lu",
          (unsigned long) job.n);
    check(job.bytes > 0, "bytes");
    append("", 151, 160, 2, 0);
    takes(101, 160, "rotated");

    /* a name for a file without a record is no reason to leave the old one */

    move("", ".2");
    raw("", "");
    append(".2", 161, 162, 2, 0);
    takes(161, 162, "still written");
    append("", 163, 170, 3, 0);
    takes(163, 170, "and the new one");

    /* many, while it isn't */

    ngx_http_tsface_syslog_source_free(source);
    source = NULL;

    for (i = 0; i < 20; i++) {
        append("", 171 + 10 * i, 180 + 10 * i, 3 + (i > 0 ? i / 5 : 0), 0);

        if (i < 19) {
            char  to[8];

            snprintf(to, sizeof(to), ".x%d", 20 - i);
            move("", to);
        }
    }

    restart();
    takes(171, 370, "many");

    /* renamed over and over: a file is found by what is in it */

    append("", 371, 380, 7, 0);
    check(step(0, 1) == NGX_OK && job.n == 10, "%lu", (unsigned long) job.n);
    move("", ".1a");
    append("", 381, 390, 8, 0);
    ngx_http_tsface_syslog_source_free(source);
    source = NULL;
    move(".1a", ".2a");
    move("", ".1a");
    append("", 391, 400, 9, 0);
    restart();
    takes(371, 400, "renamed");

    /* a copy is not sent, the original is followed */

    append(".copy", 391, 400, 9, 0);
    restart();
    append("", 401, 410, 9, 0);
    takes(401, 410, "a copy beside it");

    /* compressed while it was read: its descriptor is good to the end */

    append("", 411, 5000, 9, 0);
    check(step(0, 1) == NGX_OK && job.n, "%lu", (unsigned long) job.n);
    move("", ".1b");
    append("", 5001, 5010, 10, 0);
    gone(".1b");
    takes(411, 5010, "compressed");
    check(job.gap == 0 && job.flags == 0, "%lu", (unsigned long) job.gap);

    /* and before */

    move("", ".1c");
    append("", 5011, 5020, 11, 0);
    move("", ".1d");
    append("", 5021, 5030, 12, 0);
    ngx_http_tsface_syslog_source_free(source);
    source = NULL;
    gone(".1c");
    gone(".1d");
    raw(".1d.gz", "\x1f\x8b what gzip writes\n");
    restart();
    takes(5021, 5030, "gone");
    check(job.gap == 10, "%lu", (unsigned long) job.gap);

    /* the clock was set back */

    move("", ".1e");
    append("", 5031, 5040, 2, 0);
    takes(5031, 5040, "set back");
    move("", ".1f");
    append("", 5041, 5050, 3, 0);
    restart();
    takes(5041, 5050, "after it");
    check(job.gap == 0 && job.flags == 0, "%lx", (unsigned long) job.flags);

    done("rotation");
}


static void
changes(void)
{
    int       i;
    char      name[320], junk[4097];
    uint64_t  first;

    /* cut: what comes behind the cut is sent, what was cut is missed */

    clean();
    restart();
    append("", 1, 100, 1, 0);
    takes(1, 100, "before");
    append("", 101, 110, 1, 0);
    check(truncate(path, 1000) == 0, "%d", errno);
    raw("", "\n");
    append("", 111, 120, 1, 0);
    takes(111, 120, "cut");
    check(job.gap == 10, "%lu", (unsigned long) job.gap);

    /* emptied */

    check(truncate(path, 0) == 0, "%d", errno);
    append("", 121, 130, 2, 0);
    takes(121, 130, "emptied");

    restart();
    append("", 131, 140, 2, 0);
    takes(131, 140, "after it");
    check(job.gap == 0 && job.flags == 0, "%lx", (unsigned long) job.flags);

    done("cut and emptied");

    /* begun anew, with the old one there, at each length of the new one */

    for (i = 0; i < 3; i++) {
        clean();
        restart();
        append("", 1, 50, 1, 0);
        takes(1, 50, "the old one");
        append("", 51, 60, 1, 0);
        move("", ".old");

        if (i == 2) {
            gone(".old");
        }

        append("", 1, i ? 100 : 10, 2, 1);

        /* an open file is read to its end, a lost one can't be */

        first = 51;

        if (i) {
            restart();
        }

        while (i < 2 && first <= 60) {
            check(step(first > 51, 1) == NGX_OK && job.first == first,
                  "the rest of the old one: %llu",
                  (unsigned long long) job.first);
            first = job.last + 1;
        }

        check(step(i < 2, 1) == NGX_OK && job.first == 1, "%d: anew: %llu", i,
              (unsigned long long) job.first);
        check(job.flags & NGX_HTTP_TSFACE_SYSLOG_RESTART, "%lx",
              (unsigned long) job.flags);
        check(job.last == (i ? 100u : 10u) && job.gap == 0, "%d: %llu", i,
              (unsigned long long) job.last);
        check(step(1, 1) == NGX_OK && job.n == 0, "and no more: %lu",
              (unsigned long) job.n);
    }

    done("begun anew");

    /* rubbish is skipped, and does not come again */

    clean();
    restart();
    append("", 1, 10, 1, 0);
    raw("", "no record\n{\"v\":1}\n\n");
    append("", 11, 20, 1, 0);
    takes(1, 20, "between");

    snprintf(name, sizeof(name), "%s", path);

    /* more than one step goes through */

    memset(junk, 'x', sizeof(junk) - 1);
    junk[sizeof(junk) - 1] = '\0';

    for (i = 0; i < 1500; i++) {
        raw("", junk);
    }

    check(step(0, 1) == NGX_OK && job.n == 0, "%lu", (unsigned long) job.n);
    check(step(0, 1) == NGX_OK && job.n == 0, "%lu", (unsigned long) job.n);
    check(step(0, 1) == NGX_OK && job.n == 0, "%lu", (unsigned long) job.n);
    raw("", "\n");
    append("", 21, 30, 1, 0);

    for (i = 0, first = 0; i < 20 && first == 0; i++) {
        check(step(0, 1) == NGX_OK, "%d", (int) job.rc);
        first = job.n ? job.first : 0;
    }

    check(first == 21, "%llu", (unsigned long long) first);

    done("rubbish");

    /* a large file is searched by halves */

    clean();
    restart();
    append("", 1, 30000, 1, 0);
    takes(1, 30000, "all");
    gone(".sent");
    snprintf(name, sizeof(name), "%s.sent", path);

    for (i = 0; i < 40; i++) {
        int                                 fd;
        ngx_http_tsface_syslog_position_t   position;

        first = 1 + below(29999);

        ngx_http_tsface_syslog_position_init(&position);
        position.seq = first;
        snprintf((char *) position.mac, 64, "%063llx",
                 (unsigned long long) first >> 4);
        position.mac[63] = "0123456789abcdef"[first & 15];
        position.offset = below(5000000);

        fd = open(name, O_RDWR|O_CREAT, 0600);
        check(ngx_http_tsface_syslog_position_write(fd, &position) == NGX_OK,
              "%d", errno);
        (void) close(fd);

        restart();
        check(step(0, 1) == NGX_OK && job.first == first + 1
              && job.flags == 0, "%llu instead of %llu",
              (unsigned long long) job.first, (unsigned long long) first + 1);
    }

    done("search");
}


static void
failures(void)
{
    char                              name[320];
    u_char                           *copy;
    ngx_http_tsface_syslog_source_t  *other;

    clean();
    restart();
    append("", 1, 10, 1, 0);

    sync_errno = EIO;
    check(step(0, 1) == NGX_ERROR && job.n == 0 && job.result.err == EIO,
          "not on disk, not sent");
    sync_errno = 0;
    check(step(0, 1) == NGX_OK && job.n == 10, "%lu", (unsigned long) job.n);

    write_errno = ENOSPC;
    check(step(1, 0) == NGX_ERROR && job.result.err == ENOSPC, "%d",
          job.result.err);
    check(step(0, 1) == NGX_OK && job.n == 0, "it remembers: %lu",
          (unsigned long) job.n);
    write_errno = 0;

    restart();
    takes(1, 10, "and a new one sends twice");

    gone(".sent");
    snprintf(name, sizeof(name), "%s.sent", path);
    check(mkdir(name, 0700) == 0, "%d", errno);
    restart();
    check(step(0, 1) == NGX_ERROR, "%d", (int) job.rc);
    check(rmdir(name) == 0, "%d", errno);
    check(symlink("/etc/passwd", name) == 0, "%d", errno);
    check(step(0, 1) == NGX_ERROR, "%d", (int) job.rc);
    gone(".sent");
    raw(".sent", "tsface-sent 1 and no more\n");
    restart();
    check(step(0, 1) == NGX_OK && job.n == 10
          && (job.flags & NGX_HTTP_TSFACE_SYSLOG_LOST), "%lx",
          (unsigned long) job.flags);

    done("failures");

    /* a batch that is being sent stays, whatever becomes of PATH.sent */

    (void) mallopt(M_PERTURB, 0x5a);

    clean();
    restart();
    append("", 1, 1000, 1, 0);
    check(step(0, 1) == NGX_OK && job.n, "%lu", (unsigned long) job.n);

    copy = block(job.len);
    memcpy(copy, job.data, job.len);

    gone(".sent");
    check(mkdir(name, 0700) == 0, "%d", errno);
    job.read = 0;
    job.sending = 1;
    ngx_http_tsface_syslog_source_step(source, &job);
    check(job.rc == NGX_ERROR, "%d", (int) job.rc);
    check(memcmp(copy, job.data, job.len) == 0, "it can't be opened");

    check(rmdir(name) == 0, "%d", errno);
    ngx_http_tsface_syslog_source_step(source, &job);
    check(job.rc == NGX_OK, "%d", (int) job.rc);
    move(".sent", ".away");
    other = source;
    source = begin();
    check(step(0, 0) == NGX_OK, "%d", (int) job.rc);
    job.sending = 1;
    ngx_http_tsface_syslog_source_step(other, &job);
    check(job.rc == NGX_BUSY, "%d", (int) job.rc);
    check(memcmp(copy, job.data, job.len) == 0, "it is another one's");
    ngx_http_tsface_syslog_source_free(other);

    done("a batch under way");
}


int
main(void)
{
    const char  *tmp;

    tmp = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/tsface-syslog-XXXXXX", tmp ? tmp : "/tmp");

    if (mkdtemp(dir) == NULL) {
        printf("Bail out! mkdtemp: %s\n", strerror(errno));
        return 2;
    }

    snprintf(path, sizeof(path), "%s/trail.jsonl", dir);

    messages();
    names();
    positions();
    files();
    rotation();
    changes();
    failures();

    ngx_http_tsface_syslog_source_free(source);
    clean();
    (void) rmdir(dir);

    return tap_end();
}
