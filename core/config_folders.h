/* Folders in which the server is to make files of its own: sockets and the log. */
#ifndef CONFIG_FOLDERS_H
#define CONFIG_FOLDERS_H

#include "config.h"

/* Reports those that are not there. Opens nothing, so that `enchufe check` tells it as well. */
void config_check_folders(const struct config *config, struct report *report);

#endif
