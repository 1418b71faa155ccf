/* What keeps plugin code to what its section names: all that a process puts on before it opens one. */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "privileges.h"

/* Room for the list of what a kernel lacks, or for an error. */
#define SANDBOX_TEXT 256

/* Which parts this kernel lacks, as words, or "" where it has all. Returns text. */
const char *sandbox_lacking(char text[SANDBOX_TEXT]);

/* The whole way down, in a process with one thread: user and group, capabilities, limits, and what these
 * services' sections ask for together: a Landlock domain and a filter of system calls. What the kernel
 * lacks is passed over. loops is how many threads there will be. Clears the death signal. Returns 0, or
 * -errno with a sentence in error. */
int sandbox_enter(const struct config *config, const size_t *services, size_t count, size_t loops,
                  const struct identity *identity, char error[SANDBOX_TEXT]);

#endif
