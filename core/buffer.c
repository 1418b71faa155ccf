/* A queue of bytes in one piece of memory. */
#include "buffer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_FIRST 4096u

void buffer_lend(struct buffer *buffer, void *memory, size_t size)
{
    assert(!buffer->data && size <= BUFFER_MAX);
    *buffer = (struct buffer){ .data = memory, .cap = (uint32_t)size, .lent = true };
}

static void compact(struct buffer *buffer)
{
    memmove(buffer->data, buffer_head(buffer), buffer->len);
    buffer->start = 0;
}

/* Makes room for `need` bytes in all, in memory of the buffer's own. */
static int grow(struct buffer *buffer, size_t need)
{
    uint32_t cap = BUFFER_FIRST;
    unsigned char *data;

    while (cap < need || (!buffer->lent && cap <= buffer->cap))
        cap *= 2;
    if (buffer->lent || !buffer->data) {
        data = malloc(cap);
        if (data && buffer->len)
            memcpy(data, buffer_head(buffer), buffer->len);
    } else {
        compact(buffer);
        data = realloc(buffer->data, cap);
    }
    if (!data)
        return -ENOMEM;
    *buffer = (struct buffer){ .data = data, .len = buffer->len, .cap = cap };
    return 0;
}

int buffer_own(struct buffer *buffer)
{
    int rc;

    if (!buffer->lent)
        return 0;
    rc = buffer->len ? grow(buffer, buffer->len) : 0;
    if (buffer->lent) /* still: it was empty, or there was no memory */
        *buffer = (struct buffer){ .data = NULL };
    return rc;
}

/* Makes room behind the last byte. Moving the bytes to the front costs as much as there are bytes,
 * so it must have been paid for by at least a quarter of the memory consumed since: a queue that
 * stays nearly full would otherwise be moved at every append. */
static int make_room(struct buffer *buffer, size_t add)
{
    size_t need = buffer->len + add;

    if (buffer->start + need <= buffer->cap)
        return 0;
    if (need > buffer->cap || (buffer->start < buffer->cap / 4 && buffer->cap < BUFFER_MAX))
        return grow(buffer, need);
    compact(buffer);
    return 0;
}

int buffer_append(struct buffer *buffer, const void *data, size_t len)
{
    int rc;

    if (len == 0)
        return 0;
    if (len >= BUFFER_MAX - buffer->len)
        return -ENOBUFS;
    rc = make_room(buffer, len);
    if (rc)
        return rc;
    memcpy(buffer->data + buffer->start + buffer->len, data, len);
    buffer->len += (uint32_t)len;
    return 0;
}

void buffer_consume(struct buffer *buffer, size_t len)
{
    assert(len <= buffer->len);
    buffer->start += (uint32_t)len;
    buffer->len -= (uint32_t)len;
    if (buffer->len)
        return;
    if (buffer->lent)
        buffer->start = 0;
    else
        buffer_free(buffer);
}

void buffer_free(struct buffer *buffer)
{
    if (!buffer->lent)
        free(buffer->data);
    *buffer = (struct buffer){ .data = NULL };
}
