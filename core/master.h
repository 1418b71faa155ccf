/* The master: keeps the sockets, starts and restarts workers, handles signals. Single-threaded, and runs no
 * line of a plugin's. */
#ifndef MASTER_H
#define MASTER_H

#include "generation.h"

/* Serves a loaded and bound generation until a signal ends it. With
 * debug, everything runs in this one process, for debuggers. Returns the exit status. */
int master_run(struct generation *generation, bool debug);

#endif
