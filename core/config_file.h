/* The sections of all files as they were written: keys and values in order, nothing understood
 * yet. */
#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H

#include "config_memory.h"
#include "config_shadows.h"

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

bool config_is_reserved(const char *section);

#endif
