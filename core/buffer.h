/* A queue of bytes in one piece of memory: append at the end, consume from the front.
 * Empty, it owns no memory, so that an idle connection costs none. */
#ifndef BUFFER_H
#define BUFFER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
    unsigned char *data;
    uint32_t start, len, cap;
    bool lent; /* data is somebody else's, cap bytes of it: moved to memory of our own to grow */
};

/* Whole sizes stay below this; appending beyond is -ENOBUFS. */
#define BUFFER_MAX ((size_t)1 << 30)

static inline const unsigned char *buffer_head(const struct buffer *buffer)
{
    return buffer->data + buffer->start;
}

/* Lends memory to an empty buffer that owns none, so that a short-lived queue allocates nothing. */
static inline void buffer_lend(struct buffer *buffer, void *memory, size_t size)
{
    assert(!buffer->data && size <= BUFFER_MAX);
    *buffer = (struct buffer){ .data = memory, .cap = (uint32_t)size, .lent = true };
}

/* Moves what is queued in lent memory to memory of the buffer's own. */
int buffer_move(struct buffer *buffer);

/* Ends a loan: what is still queued moves to memory of the buffer's own. Returns 0, or -ENOMEM with
 * the bytes lost and the buffer empty. Nothing to do where nothing is lent. */
static inline int buffer_own(struct buffer *buffer)
{
    if (!buffer->lent)
        return 0;
    if (buffer->len != 0)
        return buffer_move(buffer);
    *buffer = (struct buffer){ .data = NULL };
    return 0;
}

/* Makes room behind the last byte. Returns 0, -ENOBUFS or -ENOMEM. */
int buffer_reserve(struct buffer *buffer, size_t add);

/* Returns 0, -ENOBUFS or -ENOMEM (nothing appended). data may not point into the buffer. */
static inline int buffer_append(struct buffer *buffer, const void *data, size_t len)
{
    if (len > buffer->cap - buffer->start - buffer->len || len == 0) {
        int err = buffer_reserve(buffer, len);
        if (err != 0 || len == 0)
            return err;
    }
    memcpy(buffer->data + buffer->start + buffer->len, data, len);
    buffer->len += (uint32_t)len;
    return 0;
}

static inline void buffer_free(struct buffer *buffer)
{
    if (!buffer->lent)
        free(buffer->data);
    *buffer = (struct buffer){ .data = NULL };
}

/* Takes len bytes, at most buffer->len, from the front. Empty, it gives its memory back; a loan ends. */
static inline void buffer_consume(struct buffer *buffer, size_t len)
{
    assert(len <= buffer->len);
    if (len == buffer->len) {
        buffer_free(buffer);
    } else {
        buffer->start += (uint32_t)len;
        buffer->len -= (uint32_t)len;
    }
}

#endif
