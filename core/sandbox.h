/* What keeps plugin code to what its section names: all that a process puts on before it opens one. */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "privileges.h"
#include "rlimits.h"

/* Room for the list of what a kernel lacks, or for an error. */
#define SANDBOX_TEXT 256

/* Which workers have a filter of system calls, beyond what all have that have a sandbox. */
enum sandbox_filter {
    SANDBOX_FILTER_NONE,
    SANDBOX_FILTER_STRICT, /* where a service says so */
    SANDBOX_FILTER_ALL,    /* this system lacks what makes it needless, or they are root */
};

enum sandbox_filter sandbox_filter(const struct config *config, const struct identity *identity);

/* Which of the parts that are needed this system lacks, as words, or "" where it has all. Returns text. */
const char *sandbox_lacking(const struct config *config, const struct identity *identity,
                            char text[SANDBOX_TEXT]);

/* The whole way down, in a process with one thread: an empty network, user and group, capabilities, limits,
 * and what these services' sections ask for together: a Landlock domain, and a filter of system calls where
 * they or the system need it. What the kernel lacks is passed over. Clears the death signal. Returns 0, or -errno with
 * a sentence in error. */
int sandbox_enter(const struct rlimits_setup *setup, const struct identity *identity,
                  char error[SANDBOX_TEXT]);

#endif
