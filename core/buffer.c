/* A queue of bytes in one piece of memory. */
#include "buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_FIRST 4096u

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

int buffer_move(struct buffer *buffer)
{
    int rc = grow(buffer, buffer->len);

    if (rc != 0)
        *buffer = (struct buffer){ .data = NULL };
    return rc;
}

/* Moving the bytes to the front costs as much as there are bytes,
 * so it must have been paid for by at least a quarter of the memory consumed since: a queue that
 * stays nearly full would otherwise be moved at every append. */
int buffer_reserve(struct buffer *buffer, size_t add)
{
    size_t need = buffer->len + add;

    if (add >= BUFFER_MAX - buffer->len)
        return -ENOBUFS;
    if (buffer->start + need <= buffer->cap)
        return 0;
    if (need > buffer->cap || (buffer->start < buffer->cap / 4 && buffer->cap < BUFFER_MAX))
        return grow(buffer, need);
    compact(buffer);
    return 0;
}
