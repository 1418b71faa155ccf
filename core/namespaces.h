/* A network in which there is nothing, for the workers that need none. */
#ifndef NAMESPACES_H
#define NAMESPACES_H

#include "descriptors.h"
#include <stdbool.h>

/* Whether this system lets us have one. The first call makes it, in a few milliseconds, and keeps it for all
 * processes that are forked later: for the master, or a process that starts one worker. Single-threaded
 * processes only. */
bool namespaces_are_there(void);

/* Whether nobody inside can make namespaces of his own. Not where /proc/sys cannot be written. */
bool namespaces_are_closed(void);

/* Closes what namespaces_enter() needs, in a process that stays outside: a plugin could enter as well. */
void namespaces_forget(void);

/* What namespaces_enter() needs of a process that closes the rest. */
void namespaces_keep(struct descriptors *kept);

/* Moves this process, which has one thread and is still who the master is, into it. It then has no right
 * outside, and every capability inside: privileges_drop() is due. Its sockets stay where they were made.
 * Returns 0 or -errno. */
int namespaces_enter(void);

#endif
