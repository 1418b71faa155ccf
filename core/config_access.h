/* What a service's section names that it may touch: read_paths, write_paths and connect. */
#ifndef CONFIG_ACCESS_H
#define CONFIG_ACCESS_H

#include "config.h"

/* Reads the setting where it is one of those keys. Errors go to report. Returns whether it is one. */
bool config_access_read(struct config *config, struct service_config *service,
                        const struct setting *setting, struct report *report);

/* Once all services are read: whether what they ask for can be. */
void config_access_check(const struct config *config, struct report *report);

void config_access_free(struct service_config *service);

#endif
