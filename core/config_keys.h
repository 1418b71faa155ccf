/* The tables of the server's own keys, in the form in which plugins describe theirs. */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include <enchufe/plugin.h>
#include <stdbool.h>

/* [server]: struct server_config. */
extern const enchufe_option config_server_table[];

/* [defaults] and each service: those fields of struct service_limits that point to no memory, so that a service
 * starts with a copy of the defaults. What each service says itself (plugin, listen ...) is config.c's, and
 * those of sources (allow, deny ...) config_sources.c's. */
extern const enchufe_option config_service_table[];

/* The names of the keys that the server itself knows in a service section, NULL-terminated: what an
 * unknown plugin option may have meant. */
const char *const *config_service_keys(void);

/* The first minor version of the plugins' ABI whose server had this key; any other name: 0. A plugin that was
 * built before may have an option of that name (config_shadows.h). */
unsigned config_key_since(const char *key);

/* Whether a plugin that was built before a key may keep an option of that name: not where the key is a guard, which a
 * plugin could take away by having such an option. */
bool config_key_may_be_shadowed(const char *key);

/* Whether a service can only say it itself (`plugin`, `listen`, `connect` ...), not [defaults]. */
bool config_is_own_key(const char *key);

#endif
