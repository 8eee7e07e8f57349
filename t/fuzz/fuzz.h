
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What the fuzz targets share.  Each is a file with one
 * LLVMFuzzerTestOneInput(), is linked with the pure sources that its comment
 * of the form of t/unit's names, and compares what they say with another way
 * to the same result: a crash is not the only thing that is looked for.
 */


#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


/* first, as it asks for GNU's functions */
#include <ngx_config.h>
#include <ngx_core.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<sanitizer/asan_interface.h>)

#include <sanitizer/asan_interface.h>

#else

/* a compiler may come without its sanitizers, which the seeds don't need */

#define ASAN_POISON_MEMORY_REGION(p, size)    ((void) (p), (void) (size))
#define ASAN_UNPOISON_MEMORY_REGION(p, size)  ((void) (p), (void) (size))

#endif


/* What does not hold is a crash to libFuzzer, which then keeps the input. */
#define must(cond)                                                            \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
                    #cond);                                                   \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* A block of exactly that size, so that a byte read behind it is seen. */

static inline u_char *
fuzz_alloc(size_t size)
{
    u_char  *p;

    p = malloc(size ? size : 1);
    must(p != NULL);

    return p;
}


/* A copy in a block of its exact size; free() its data. */

static inline ngx_str_t
fuzz_copy(const void *data, size_t size)
{
    ngx_str_t  str;

    str.data = fuzz_alloc(size);
    str.len = size;

    if (size) {
        memcpy(str.data, data, size);
    }

    return str;
}


static inline int
fuzz_same(const ngx_str_t *one, const ngx_str_t *two)
{
    return one->len == two->len
           && (one->len == 0 || memcmp(one->data, two->data, one->len) == 0);
}


/* FNV-1a: the choices that a target makes depend on its input alone. */

static inline uint32_t
fuzz_hash(const uint8_t *data, size_t size)
{
    uint32_t  hash;

    hash = 2166136261u;

    while (size--) {
        hash = (hash ^ *data++) * 16777619u;
    }

    return hash;
}


/* xorshift32 */

static inline uint32_t
fuzz_next(uint32_t *state)
{
    uint32_t  x;

    x = *state ? *state : 1;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;

    return *state = x;
}


#ifdef FUZZ_REPLAY

/* Without libFuzzer: runs the inputs in the files that are named, once. */

int
main(int argc, char **argv)
{
    int      i;
    long     size;
    FILE    *file;
    u_char  *data;

    for (i = 1; i < argc; i++) {
        file = fopen(argv[i], "rb");

        must(file != NULL);
        must(fseek(file, 0, SEEK_END) == 0);
        size = ftell(file);
        must(size >= 0);
        rewind(file);

        data = fuzz_alloc(size);
        must(fread(data, 1, size, file) == (size_t) size);
        fclose(file);

        fprintf(stderr, "%s\n", argv[i]);
        (void) LLVMFuzzerTestOneInput(data, size);

        free(data);
    }

    return 0;
}

#endif


#endif /* _FUZZ_H_INCLUDED_ */
