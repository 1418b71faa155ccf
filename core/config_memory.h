/* Memory that lives as long as the configuration: what its strings and lists point to. */
#ifndef CONFIG_MEMORY_H
#define CONFIG_MEMORY_H

#include "options.h"

/* After a failure what was asked for is an empty string or NULL, and `failed` stays set: asked once, at
 * the end. */
struct config_memory {
    void **items;
    size_t count;
    struct options server; /* what the values of [server] point to */
    bool failed;
};

/* Makes memory's own: a copy of text; memory that was malloced (NULL counts as a failure). */
const char *config_keep_text(struct config_memory *memory, const char *text);
void *config_keep(struct config_memory *memory, void *item);

/* Room for one item more, of an array with room for a power of two. Returns the array, moved maybe;
 * NULL without memory, with the array as it was. */
void *config_grow(void *items, size_t count, size_t size);

/* Frees it, and all that is in it. NULL: nothing. */
void config_memory_free(struct config_memory *memory);

#endif
