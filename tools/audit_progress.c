
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_progress.h"


/* milliseconds */
#define TSFACE_AUDIT_PROGRESS_AFTER  500
#define TSFACE_AUDIT_PROGRESS_EVERY  100


static void tsface_audit_progress_draw(tsface_audit_progress_t *progress,
    uint64_t now);
static uint64_t tsface_audit_progress_clock(void);


void
tsface_audit_progress_begin(tsface_audit_progress_t *progress,
    tsface_audit_progress_e mode, char *const *names, size_t nnames)
{
    int          rc;
    size_t       i;
    struct stat  st;

    ngx_memzero(progress, sizeof(tsface_audit_progress_t));

    if (mode == TSFACE_AUDIT_PROGRESS_OFF) {
        return;
    }

    progress->mode = mode;
    progress->started = tsface_audit_progress_clock();

    for (i = 0; i < nnames; i++) {
        rc = strcmp(names[i], "-") == 0 ? fstat(STDIN_FILENO, &st)
                                        : stat(names[i], &st);

        if (rc == -1 || !S_ISREG(st.st_mode)) {
            progress->total = 0;
            break;
        }

        progress->total += (uint64_t) st.st_size;
    }
}


void
tsface_audit_progress_add(tsface_audit_progress_t *progress, size_t n)
{
    uint64_t  now;

    if (progress->mode == TSFACE_AUDIT_PROGRESS_OFF) {
        return;
    }

    progress->done += n;

    now = tsface_audit_progress_clock();

    if (progress->mode == TSFACE_AUDIT_PROGRESS_LATE
        && (now - progress->started < TSFACE_AUDIT_PROGRESS_AFTER
            || now - progress->drawn < TSFACE_AUDIT_PROGRESS_EVERY))
    {
        return;
    }

    tsface_audit_progress_draw(progress, now);
}


void
tsface_audit_progress_erase(tsface_audit_progress_t *progress)
{
    if (progress->shown) {
        (void) fputs("\r\033[K", stderr);
        progress->shown = 0;
    }
}


static void
tsface_audit_progress_draw(tsface_audit_progress_t *progress, uint64_t now)
{
    double    done, total, rate;
    uint64_t  spent;

    progress->drawn = now;
    progress->shown = 1;

    spent = now - progress->started;

    done = (double) progress->done / 1e6;
    total = (double) progress->total / 1e6;
    rate = spent ? done * 1000 / (double) spent : 0;

    if (progress->total) {

        /* files may grow */

        total = ngx_max(done, total);

        fprintf(stderr, "\r%3.0f%%  %.1f of %.1f MB  %.0f MB/s\033[K",
                100 * done / total, done, total, rate);

    } else {
        fprintf(stderr, "\r%.1f MB  %.0f MB/s\033[K", done, rate);
    }

    fflush(stderr);
}


static uint64_t
tsface_audit_progress_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}
