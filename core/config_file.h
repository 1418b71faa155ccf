/* The sections of all files as they were written: keys and values in order, nothing understood
 * yet. */
#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H

#include "config_shadows.h"
#include "options.h"

/* Memory that lives as long as the configuration. After a failure what was asked for is an empty
 * string or NULL, and `failed` stays set: asked once, at the end. */
struct config_memory {
    void **items;
    size_t count;
    struct options server; /* what the values of [server] point to */
    bool failed;
};

struct section {
    const char *name;
    struct place place; /* of its header */
    bool repeated;      /* the name was there before, which is reported */
    struct setting *settings;
    size_t count;
};

struct sections {
    struct section *items;
    size_t count;
    size_t services; /* headers of sections that are neither [server] nor [defaults] */
    const struct config_shadows *shadows; /* NULL: none */
};

/* Reads a file and appends its sections. included: it may hold services only. Returns 0, or -EINVAL
 * when it was not read to its end. */
int config_file_read(struct sections *sections, const char *file, bool included,
                     struct config_memory *memory, struct report *report);
void config_file_free(struct sections *sections);

/* The section of that name, or NULL. */
struct section *config_file_find(const struct sections *sections, const char *name);

/* Makes memory's own: a copy of text; memory that was malloced (NULL counts as a failure). */
const char *config_keep_text(struct config_memory *memory, const char *text);
void *config_keep(struct config_memory *memory, void *item);

/* Room for one item more, of an array with room for a power of two. Returns the array, moved maybe;
 * NULL without memory, with the array as it was. */
void *config_grow(void *items, size_t count, size_t size);

bool config_is_reserved(const char *section);

#endif
