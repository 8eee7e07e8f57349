
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * A little TAP: check() as often as needed, then done() for one line of
 * output.  Inputs are copied to blocks of their exact size, so that the
 * address sanitizer sees every byte read behind their end.
 */


#ifndef _TAP_H_INCLUDED_
#define _TAP_H_INCLUDED_


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ngx_config.h>
#include <ngx_core.h>


#define TAP_MAX_DIAG  20


static unsigned long  tap_checks, tap_failed, tap_total, tap_bad, tap_tests;
static uint64_t       tap_seed = 88172645463325252ULL;

static void          *tap_blocks[4096];
static size_t         tap_nblocks;


#define check(cond, ...)                                                      \
    tap_check(!!(cond), __FILE__, __LINE__, #cond, __VA_ARGS__)


__attribute__((format(printf, 5, 6)))
static inline int
tap_check(int cond, const char *file, int line, const char *text,
    const char *fmt, ...)
{
    va_list  args;

    tap_checks++;

    if (cond) {
        return 1;
    }

    if (++tap_failed <= TAP_MAX_DIAG) {
        printf("# %s:%d: %s: ", file, line, text);

        va_start(args, fmt);
        vprintf(fmt, args);
        va_end(args);

        printf("\n");
    }

    return 0;
}


static inline void
tap_free(void)
{
    while (tap_nblocks) {
        free(tap_blocks[--tap_nblocks]);
    }
}


static inline void
done(const char *name)
{
    tap_tests++;

    if (tap_checks == 0) {
        tap_failed = 1;
    }

    printf("%sok %lu - %s (%lu checks)\n", tap_failed ? "not " : "",
           tap_tests, name, tap_checks);

    tap_total += tap_checks;
    tap_bad += tap_failed;
    tap_checks = 0;
    tap_failed = 0;

    tap_free();
    fflush(stdout);
}


static inline int
tap_end(void)
{
    printf("1..%lu\n# %lu checks, %lu failed\n", tap_tests, tap_total,
           tap_bad);

    return tap_bad ? 1 : 0;
}


/* A block that lives until done() or tap_free(). */

static inline u_char *
block(size_t size)
{
    void  *p;

    p = malloc(size ? size : 1);

    if (p == NULL || tap_nblocks == sizeof(tap_blocks) / sizeof(void *)) {
        printf("Bail out! no memory\n");
        exit(2);
    }

    tap_blocks[tap_nblocks++] = p;

    return p;
}


static inline ngx_str_t
bytes(const void *data, size_t len)
{
    ngx_str_t  str;

    str.data = block(len);
    str.len = len;

    memcpy(str.data, data, len);

    return str;
}


static inline ngx_str_t
text(const char *s)
{
    return bytes(s, strlen(s));
}


/* a literal that may contain NUL */
#define lit(s)  bytes(s, sizeof(s) - 1)


static inline int
same(const ngx_str_t *str, const char *s)
{
    return str->len == strlen(s) && memcmp(str->data, s, str->len) == 0;
}


/* xorshift64*: the same numbers in every run */

static inline uint64_t
rnd(void)
{
    tap_seed ^= tap_seed >> 12;
    tap_seed ^= tap_seed << 25;
    tap_seed ^= tap_seed >> 27;

    return tap_seed * 2685821657736338717ULL;
}


/* 0 .. n - 1 */

static inline uint64_t
below(uint64_t n)
{
    return (rnd() >> 11) % n;
}


#endif /* _TAP_H_INCLUDED_ */
