/* From a part to the struct that it is in: how a callback that gets a timer, a task or a source finds whose
 * it is. */
#ifndef CONTAINER_H
#define CONTAINER_H

#include <stddef.h>

/* CONTAINER_OF(timer, struct post, restart) is the struct post * whose member restart is at timer. */
#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
