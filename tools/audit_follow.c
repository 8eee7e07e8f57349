
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Shows records as they are written, as "tail -F" does with lines.
 *
 * It looks four times a second.  inotify(7) would save those calls, but tells
 * nothing on network file systems and of files that containers share, so that
 * the look would be needed all the same; and one look finds whatever happened
 * to the name and the file, in any order.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <poll.h>

#include "audit.h"


#define TSFACE_AUDIT_FOLLOW_EVERY  250    /* milliseconds */


/* The last lines that were there before. */
typedef struct {
    ngx_str_t               *lines;
    size_t                   size;
    uint64_t                 n;          /* that were put in */
} tsface_audit_ring_t;


typedef struct {
    const tsface_audit_t    *audit;
    tsface_audit_reader_t    reader;
    tsface_audit_chain_t     chain;
    tsface_audit_record_t    record;
    tsface_audit_ring_t      ring;
    const char              *name;       /* of what is followed */
    uint64_t                 faults;
    uint64_t                 shown;
    unsigned                 live:1;     /* what was there is shown */
    unsigned                 missing:1;
} tsface_audit_follow_t;


static int tsface_audit_follow_loop(tsface_audit_follow_t *follow);
static int tsface_audit_follow_line(tsface_audit_follow_t *follow,
    tsface_audit_reader_e what, ngx_str_t *line);
static int tsface_audit_follow_keep(tsface_audit_follow_t *follow,
    const ngx_str_t *line);
static int tsface_audit_follow_show(tsface_audit_follow_t *follow,
    const ngx_str_t *line);
static int tsface_audit_follow_kept(tsface_audit_follow_t *follow);
static int tsface_audit_follow_look(tsface_audit_follow_t *follow);
static int tsface_audit_follow_other(const tsface_audit_follow_t *follow,
    const struct stat *st);
static int tsface_audit_follow_absent(tsface_audit_follow_t *follow);
static int tsface_audit_follow_pause(void);
static int tsface_audit_follow_end(tsface_audit_follow_t *follow, int rc);
static void tsface_audit_follow_signals(void);
static void tsface_audit_follow_stop(int signo);


static volatile sig_atomic_t  tsface_audit_follow_stopped;


int
tsface_audit_follow(const tsface_audit_t *audit)
{
    int                            rc;
    size_t                         i;
    static tsface_audit_follow_t   follow;

    follow.audit = audit;
    follow.name = audit->files[audit->nfiles - 1];

    if (strcmp(follow.name, "-") == 0) {
        fprintf(stderr, "tsface-audit: a file can be followed, not the "
                "standard input\n");
        return TSFACE_AUDIT_USAGE;
    }

    if (tsface_audit_reader_init(&follow.reader, audit->files, audit->nfiles)
        != NGX_OK)
    {
        return tsface_audit_no_memory();
    }

    follow.reader.wait = 1;
    follow.ring.size = (size_t) audit->lines;

    if (follow.ring.size) {
        follow.ring.lines = calloc(follow.ring.size, sizeof(ngx_str_t));

        if (follow.ring.lines == NULL) {
            tsface_audit_reader_done(&follow.reader);
            return tsface_audit_no_memory();
        }
    }

    tsface_audit_begin(audit, &follow.chain);
    tsface_audit_follow_signals();
    tsface_audit_emit_head(audit);

    rc = tsface_audit_follow_end(&follow, tsface_audit_follow_loop(&follow));

    for (i = 0; i < follow.ring.size; i++) {
        free(follow.ring.lines[i].data);
    }

    free(follow.ring.lines);
    tsface_audit_reader_done(&follow.reader);

    return rc;
}


/* Ends with DONE, or an exit code for what can't go on. */
static int
tsface_audit_follow_loop(tsface_audit_follow_t *follow)
{
    int                     rc;
    ngx_str_t               line;
    tsface_audit_reader_e   what;
    tsface_audit_reader_t  *reader;

    reader = &follow->reader;
    rc = TSFACE_AUDIT_OK;

    while (rc == TSFACE_AUDIT_OK && !tsface_audit_follow_stopped) {

        what = tsface_audit_reader_next(reader, &line);

        switch (what) {

        case TSFACE_AUDIT_WAIT:
            rc = tsface_audit_follow_kept(follow);

            if (rc == TSFACE_AUDIT_OK) {
                rc = tsface_audit_follow_look(follow);
            }

            break;

        case TSFACE_AUDIT_END:

            /* of the file that was renamed: the new one, from its start */

            tsface_audit_reader_again(reader);
            reader->wait = 1;
            break;

        case TSFACE_AUDIT_FAILED:

            if (reader->fd == -1
                && reader->err == ENOENT
                && reader->next == reader->nnames)
            {
                rc = tsface_audit_follow_absent(follow);
                break;
            }

            rc = tsface_audit_unreadable(reader);
            break;

        default:
            rc = tsface_audit_follow_line(follow, what, &line);
            break;
        }
    }

    return rc;
}


static int
tsface_audit_follow_line(tsface_audit_follow_t *follow,
    tsface_audit_reader_e what, ngx_str_t *line)
{
    ngx_uint_t            readable;
    tsface_audit_fault_e  fault;

    fault = tsface_audit_take(&follow->chain, what, line, &follow->record,
                              &readable);

    if (fault != TSFACE_AUDIT_WHOLE) {
        follow->faults++;
        fflush(stdout);
        tsface_audit_chain_report(stderr, &follow->chain, &follow->reader,
                                  fault);
    }

    if (!readable
        || !tsface_audit_matches(&follow->audit->filter, &follow->record))
    {
        return TSFACE_AUDIT_OK;
    }

    return follow->live ? tsface_audit_follow_show(follow, line)
                        : tsface_audit_follow_keep(follow, line);
}


static int
tsface_audit_follow_keep(tsface_audit_follow_t *follow, const ngx_str_t *line)
{
    u_char               *p;
    ngx_str_t            *kept;
    tsface_audit_ring_t  *ring;

    ring = &follow->ring;

    if (ring->size == 0) {
        return TSFACE_AUDIT_OK;
    }

    kept = &ring->lines[ring->n % ring->size];

    p = realloc(kept->data, line->len);
    if (p == NULL) {
        return tsface_audit_no_memory();
    }

    ngx_memcpy(p, line->data, line->len);

    kept->data = p;
    kept->len = line->len;
    ring->n++;

    return TSFACE_AUDIT_OK;
}


/* The record has been read. */
static int
tsface_audit_follow_show(tsface_audit_follow_t *follow, const ngx_str_t *line)
{
    tsface_audit_emit(follow->audit, &follow->record, line);

    return ++follow->shown == follow->audit->limit ? TSFACE_AUDIT_DONE
                                                   : TSFACE_AUDIT_OK;
}


/* Once, at the end of what was there at the beginning. */
static int
tsface_audit_follow_kept(tsface_audit_follow_t *follow)
{
    int                   rc;
    uint64_t              i;
    ngx_str_t            *line;
    tsface_audit_ring_t  *ring;

    if (follow->live) {
        return TSFACE_AUDIT_OK;
    }

    follow->live = 1;
    ring = &follow->ring;

    for (i = ring->n > ring->size ? ring->n - ring->size : 0; i < ring->n; i++)
    {
        line = &ring->lines[i % ring->size];

        if (tsface_audit_record_read(&follow->record, line) != NGX_OK) {
            continue;
        }

        rc = tsface_audit_follow_show(follow, line);

        if (rc != TSFACE_AUDIT_OK) {
            return rc;
        }
    }

    return TSFACE_AUDIT_OK;
}


/*
 * At the end of the file: whether it is still the one of that name, and then
 * a pause.  A writer may still be at the file that was renamed when the new
 * one is there already, so that is read to its end once more, a pause later.
 * The new one is held open meanwhile, since it may be renamed itself.
 */
static int
tsface_audit_follow_look(tsface_audit_follow_t *follow)
{
    struct stat             st;
    tsface_audit_reader_t  *reader;

    reader = &follow->reader;

    if (reader->ready != -1) {
        reader->wait = 0;
        return TSFACE_AUDIT_OK;
    }

    if (fstat(reader->fd, &st) == -1) {
        reader->err = errno;
        return tsface_audit_unreadable(reader);
    }

    if (!S_ISREG(st.st_mode)) {
        fprintf(stderr, "tsface-audit: \"%s\": not a file that can be "
                "followed\n", follow->name);
        return TSFACE_AUDIT_USAGE;
    }

    if ((uint64_t) st.st_size < reader->offset) {
        fflush(stdout);
        fprintf(stderr, "tsface-audit: \"%s\" was truncated: it is read from "
                "its beginning\n", follow->name);

        follow->faults++;
        tsface_audit_reader_again(reader);

        return TSFACE_AUDIT_OK;
    }

    reader->ready = tsface_audit_follow_other(follow, &st);

    return tsface_audit_follow_pause();
}


/* What the name is now, if that is another file; -1: it is not. */
static int
tsface_audit_follow_other(const tsface_audit_follow_t *follow,
    const struct stat *st)
{
    int          fd;
    struct stat  named;

    if (stat(follow->name, &named) == -1
        || (named.st_ino == st->st_ino && named.st_dev == st->st_dev))
    {
        return -1;
    }

    fd = open(follow->name, O_RDONLY|O_NOCTTY|O_NONBLOCK|O_CLOEXEC);

    if (fd != -1
        && (fstat(fd, &named) == -1
            || (named.st_ino == st->st_ino && named.st_dev == st->st_dev)))
    {
        (void) close(fd);
        return -1;
    }

    return fd;
}


static int
tsface_audit_follow_absent(tsface_audit_follow_t *follow)
{
    int  rc;

    rc = tsface_audit_follow_kept(follow);

    if (rc != TSFACE_AUDIT_OK) {
        return rc;
    }

    if (!follow->missing) {
        follow->missing = 1;
        fprintf(stderr, "tsface-audit: \"%s\": waiting for it to be there\n",
                follow->name);
    }

    tsface_audit_reader_again(&follow->reader);

    return tsface_audit_follow_pause();
}


/* Ends early, and all, when nobody reads any more. */
static int
tsface_audit_follow_pause(void)
{
    struct pollfd  pfd;

    if (fflush(stdout) != 0) {
        return errno == EPIPE ? TSFACE_AUDIT_DONE : TSFACE_AUDIT_USAGE;
    }

    pfd.fd = STDOUT_FILENO;
    pfd.events = 0;
    pfd.revents = 0;

    if (poll(&pfd, 1, TSFACE_AUDIT_FOLLOW_EVERY) > 0) {
        return TSFACE_AUDIT_DONE;
    }

    return TSFACE_AUDIT_OK;
}


static int
tsface_audit_follow_end(tsface_audit_follow_t *follow, int rc)
{
    if (rc == TSFACE_AUDIT_USAGE) {
        return rc;
    }

    /* a pipe that nobody reads is no fault, and main() would call it one */

    if (fflush(stdout) != 0
        && errno == EPIPE
        && freopen("/dev/null", "w", stdout) == NULL)
    {
        return TSFACE_AUDIT_USAGE;
    }

    return tsface_audit_checked(follow->audit, follow->faults);
}


static void
tsface_audit_follow_signals(void)
{
    struct sigaction  sa;

    ngx_memzero(&sa, sizeof(struct sigaction));

    sa.sa_handler = tsface_audit_follow_stop;
    sigemptyset(&sa.sa_mask);

    (void) sigaction(SIGINT, &sa, NULL);
    (void) sigaction(SIGTERM, &sa, NULL);
    (void) sigaction(SIGHUP, &sa, NULL);

    sa.sa_handler = SIG_IGN;

    (void) sigaction(SIGPIPE, &sa, NULL);
}


static void
tsface_audit_follow_stop(int signo)
{
    tsface_audit_follow_stopped = 1;
}
