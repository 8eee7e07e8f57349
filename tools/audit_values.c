
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit_values.h"
#include "ngx_http_tsface_trail_chain.h"


#define TSFACE_AUDIT_TRIES  100    /* to find PATH.chain at rest */


/* SEQ:MAC, as verify prints it. */
int
tsface_audit_mark(tsface_audit_mark_t *mark, const char *text)
{
    if (tsface_audit_mark_read(mark, (const u_char *) text,
                               ngx_strlen(text))
        != NGX_OK)
    {
        return tsface_audit_bad("not SEQ:MAC", text);
    }

    return TSFACE_AUDIT_OK;
}


/*
 * Read before the records are: whatever is written meanwhile comes behind the
 * one that it names, which therefore has to be there.  The gateway writes it
 * over in place under a lock, which an auditor does not take, lest workers
 * wait for him: it is read until two readings agree.
 */
int
tsface_audit_chain_end(tsface_audit_t *audit, const char *name)
{
    int                             fd;
    ngx_int_t                       rc;
    ngx_uint_t                      tries;
    tsface_audit_mark_t            *mark;
    ngx_http_tsface_trail_chain_t   end, again;

    if (audit->nmarks == TSFACE_AUDIT_MAX_MARKS) {
        return tsface_audit_bad("too many marks", name);
    }

    fd = open(name, O_RDONLY|O_NOCTTY|O_CLOEXEC);

    if (fd == -1) {
        fprintf(stderr, "tsface-audit: \"%s\": %s\n", name, strerror(errno));
        return TSFACE_AUDIT_USAGE;
    }

    rc = ngx_http_tsface_trail_chain_read(fd, &end);

    for (tries = 0; rc == NGX_OK && tries < TSFACE_AUDIT_TRIES; tries++) {
        again = end;
        rc = ngx_http_tsface_trail_chain_read(fd, &end);

        if (again.seq == end.seq
            && ngx_memcmp(again.mac, end.mac, sizeof(end.mac)) == 0)
        {
            break;
        }
    }

    (void) close(fd);

    if (tries == TSFACE_AUDIT_TRIES) {
        return tsface_audit_bad("changes too fast", name);
    }

    if (rc != NGX_OK) {
        return tsface_audit_bad("not a PATH.chain", name);
    }

    mark = &audit->marks[audit->nmarks++];

    mark->seq = end.seq;
    ngx_memcpy(mark->mac, end.mac, sizeof(mark->mac));

    return TSFACE_AUDIT_OK;
}


/* The beginning of a record's time: at least the year. */
int
tsface_audit_time(const char **when, const char *text)
{
    size_t              i;
    static const char   form[] = "dddd-dd-ddTdd:dd:dd.ddddddZ";

    for (i = 0; text[i]; i++) {
        if (form[i] == '\0'
            || (form[i] == 'd' ? (text[i] < '0' || text[i] > '9')
                               : text[i] != form[i]))
        {
            return tsface_audit_bad("not a time in UTC", text);
        }
    }

    if (i < 4 || (form[i] == 'd' && form[i - 1] != 'd' && i < 20)) {
        return tsface_audit_bad("not a time in UTC", text);
    }

    *when = text;

    return TSFACE_AUDIT_OK;
}


int
tsface_audit_number(uint64_t *n, const char *text, uint64_t max)
{
    char  *end;

    errno = 0;
    *n = strtoull(text, &end, 10);

    if (errno || *text < '0' || *text > '9' || *end || *n > max) {
        return tsface_audit_bad("not a number, or too large a one", text);
    }

    return TSFACE_AUDIT_OK;
}


int
tsface_audit_bad(const char *what, const char *value)
{
    fprintf(stderr, "tsface-audit: %s: \"%s\"; see \"tsface-audit help\"\n",
            what, value);

    return TSFACE_AUDIT_USAGE;
}
