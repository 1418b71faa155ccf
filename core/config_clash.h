/* Finds endpoints that are said twice. For config.c only. */
#ifndef CONFIG_CLASH_H
#define CONFIG_CLASH_H

#include "config.h"

/* Reports every two lines that name one endpoint, be they of one service or of two. */
void config_check_endpoints(struct config *config, struct report *report);

#endif
