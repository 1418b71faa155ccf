/* Memory of a configuration. */
#include "config_memory.h"

#include <stdlib.h>
#include <string.h>

void *config_grow(void *items, size_t count, size_t size)
{
    if (count & (count - 1))
        return items;
    return reallocarray(items, count ? count * 2 : 1, size);
}

void *config_keep(struct config_memory *memory, void *item)
{
    void **items = item ? config_grow(memory->items, memory->count, sizeof *items) : NULL;

    if (!items) {
        free(item);
        memory->failed = true;
        return NULL;
    }
    memory->items = items;
    return items[memory->count++] = item;
}

const char *config_keep_text(struct config_memory *memory, const char *text)
{
    const char *kept = config_keep(memory, strdup(text));

    return kept ? kept : "";
}

void config_memory_free(struct config_memory *memory)
{
    if (!memory)
        return;
    for (size_t i = 0; i < memory->count; i++)
        free(memory->items[i]);
    free(memory->items);
    options_free(&memory->server);
    free(memory);
}
