/* Shadowed keys. A key that the server learnt after a plugin was built may have the name of one of the plugin's
 * options. In the sections of that plugin the name goes on to mean the option, so that no release of the
 * server breaks a plugin; the server's key cannot be said there.
 *
 * Only who opens a plugin knows its options, and that comes after the file was read. So the probe tells
 * which keys are shadowed, and where there are any, the file is read again with that (generation.h). */
#ifndef CONFIG_SHADOWS_H
#define CONFIG_SHADOWS_H

#include <stdbool.h>
#include <stddef.h>

/* In this section, this key is the plugin's. Both strings are its own. */
struct config_shadow {
    char *section, *key;
};

/* Zeroed: none. */
struct config_shadows {
    struct config_shadow *items;
    size_t count;
};

/* Adds one that is not there yet. Returns 0 or -ENOMEM. */
int config_shadows_add(struct config_shadows *shadows, const char *section, const char *key);

/* shadows may be NULL: none. */
bool config_shadows_has(const struct config_shadows *shadows, const char *section, const char *key);

void config_shadows_free(struct config_shadows *shadows);

#endif
