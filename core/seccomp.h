/* A filter of system calls: the second line, where Landlock does not reach. */
#ifndef SECCOMP_H
#define SECCOMP_H

#include <stdbool.h>

/* Which sockets a process may make. Those that it has, it may use. */
struct seccomp_sockets {
    bool tcp, udp, local;
};

/* Whether the kernel has what seccomp_enter() needs. */
bool seccomp_is_there(void);

/* From now on, and for good, this process (with no_new_privs and one thread) starts no programs and no
 * processes, makes no memory executable that can be written, sends signals to nobody but itself, and has
 * none of the calls that administer the system; each fails with EPERM. Returns 0 or -errno. */
int seccomp_enter(const struct seccomp_sockets *sockets);

#endif
