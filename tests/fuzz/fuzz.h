/* What the fuzzers share: their input as a stream of decisions, and CHECK() for what must hold. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: does not hold: %s\n", __FILE__, __LINE__, __func__,        \
                    #condition);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Bytes that decide, one after the other; behind their end all are zero. */
struct input {
    const uint8_t *data;
    size_t len;
};

static inline unsigned input_byte(struct input *in)
{
    if (in->len == 0)
        return 0;
    in->len--;
    return *in->data++;
}

static inline unsigned input_number(struct input *in)
{
    unsigned high = input_byte(in);

    return high << 8 | input_byte(in);
}

/* The next bytes, at most len. */
static inline struct input input_part(struct input *in, size_t len)
{
    struct input part = { .data = in->data, .len = len < in->len ? len : in->len };

    in->data += part.len;
    in->len -= part.len;
    return part;
}

/* The rest as a string of its own memory, so that a sanitizer sees the first byte behind its end. What
 * stands behind a NUL is lost. */
static inline char *input_text(struct input *in)
{
    char *text = strndup(in->len != 0 ? (const char *)in->data : "", in->len);

    CHECK(text != NULL);
    in->len = 0;
    return text;
}

/* realloc() that does not fail. */
static inline void *input_grow(void *memory, size_t size)
{
    void *grown = realloc(memory, size);

    CHECK(grown != NULL);
    return grown;
}

/* A copy in memory of exactly that size. */
static inline unsigned char *input_copy(const struct input *in)
{
    unsigned char *copy = malloc(in->len != 0 ? in->len : 1);

    CHECK(copy != NULL);
    if (in->len != 0)
        memcpy(copy, in->data, in->len);
    return copy;
}

#endif
