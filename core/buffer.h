/* A queue of bytes in one piece of memory: append at the end, consume from the front.
 * Empty, it owns no memory, so that an idle connection costs none. */
#ifndef BUFFER_H
#define BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
void buffer_lend(struct buffer *buffer, void *memory, size_t size);

/* Ends a loan: what is still queued moves to memory of the buffer's own. Returns 0, or -ENOMEM with
 * the bytes lost and the buffer empty. Nothing to do where nothing is lent. */
int buffer_own(struct buffer *buffer);

/* Returns 0, -ENOBUFS or -ENOMEM (nothing appended). data may not point into the buffer. */
int buffer_append(struct buffer *buffer, const void *data, size_t len);

/* Takes len bytes, at most buffer->len, from the front; an empty buffer gives its memory back (a lent
 * one is kept for more). */
void buffer_consume(struct buffer *buffer, size_t len);

void buffer_free(struct buffer *buffer);

#endif
