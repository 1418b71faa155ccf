/* What the fuzzers share: their input as a stream of decisions. Each fuzzer asserts what must hold;
 * assert() is never compiled out here. */
#ifndef FUZZ_H
#define FUZZ_H

#undef NDEBUG
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

    assert(text != NULL);
    in->len = 0;
    return text;
}

/* A copy in memory of exactly that size. */
static inline unsigned char *input_copy(const struct input *in)
{
    unsigned char *copy = malloc(in->len != 0 ? in->len : 1);

    assert(copy != NULL);
    if (in->len != 0)
        memcpy(copy, in->data, in->len);
    return copy;
}

#endif
