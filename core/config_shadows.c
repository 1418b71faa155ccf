/* The list of shadowed keys: short, and empty for nearly everybody. */
#include "config_shadows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool config_shadows_has(const struct config_shadows *shadows, const char *section, const char *key)
{
    for (size_t i = 0; shadows != NULL && i < shadows->count; i++)
        if (strcmp(shadows->items[i].section, section) == 0 &&
            strcmp(shadows->items[i].key, key) == 0)
            return true;
    return false;
}

int config_shadows_add(struct config_shadows *shadows, const char *section, const char *key)
{
    if (config_shadows_has(shadows, section, key))
        return 0;
    struct config_shadow *items =
        reallocarray(shadows->items, shadows->count + 1, sizeof *shadows->items);
    if (items == NULL)
        return -ENOMEM;
    shadows->items = items;
    struct config_shadow shadow = { .section = strdup(section), .key = strdup(key) };
    if (shadow.section == NULL || shadow.key == NULL) {
        free(shadow.section);
        free(shadow.key);
        return -ENOMEM;
    }
    items[shadows->count++] = shadow;
    return 0;
}

void config_shadows_free(struct config_shadows *shadows)
{
    for (size_t i = 0; i < shadows->count; i++) {
        free(shadows->items[i].section);
        free(shadows->items[i].key);
    }
    free(shadows->items);
    *shadows = (struct config_shadows){ .items = NULL };
}
