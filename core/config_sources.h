/* The keys of a service that say who may come: rate_per_source, source_prefix, allow, deny, and for Unix
 * sockets socket_mode, socket_group. What max_connections_per_source says is a plain number of
 * config_service_table. Looks a group up (names.h), so it may block. */
#ifndef CONFIG_SOURCES_H
#define CONFIG_SOURCES_H

#include "config.h"
#include "config_memory.h"

/* Their names, NULL-terminated. */
extern const char *const config_source_keys[];

bool config_sources_knows(const char *key);

/* Whether it may be said again, or go on in an indented line. */
bool config_sources_is_list(const char *key);

/* Reads those of the settings that it knows into limits, over what [defaults] said; what they point to is
 * memory's. The others are left to whoever knows them. Errors go to report. */
void config_sources_read(struct service_limits *limits, const struct setting *settings,
                         size_t count, struct config_memory *memory, struct report *report);

/* Reports those that the section says of Unix sockets where the service has none. [defaults] may. */
void config_sources_check(const struct service_config *service, const struct setting *settings,
                          size_t count, struct report *report);

#endif
