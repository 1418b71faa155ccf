/* A Landlock domain: which files and TCP ports a process can reach, enforced by the kernel. */
#ifndef LANDLOCK_H
#define LANDLOCK_H

#include "config.h"

/* The kernel's Landlock ABI; 0: it has none, or does not let us. From 4 on it knows TCP ports, from 6 on
 * signals and abstract sockets, from 9 on Unix sockets with a path. */
int landlock_abi(void);

/* Puts this process, which has no_new_privs and no other thread, into the domain that these services'
 * sections name together. Parts that the kernel lacks are passed over. A path that cannot be opened is
 * logged, and stays out of reach. Returns 0 or -errno. */
int landlock_enter(const struct config *config, const size_t *services, size_t count);

#endif
