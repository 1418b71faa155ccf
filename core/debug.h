/* Everything in one process, for debuggers: no worker, no reload, no control socket. */
#ifndef DEBUG_H
#define DEBUG_H

#include "generation.h"
#include "handover.h"

/* Serves a generation that was read, probed and bound, until a signal that can be read from `signals` ends it.
 * Returns the exit status. */
int debug_run(struct generation *generation, struct handover *handover, int signals);

#endif
