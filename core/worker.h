/* One worker process: its services, and its loops, a thread each, the first the main one. It takes orders from the
 * master's channel only, and ends when the channel does. */
#ifndef WORKER_H
#define WORKER_H

#include "worker_setup.h"

/* Serves until it is told to end. Returns the process's exit status. */
int worker_run(const struct worker_setup *setup);

#endif
