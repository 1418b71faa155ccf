/* The server that this one has replaced, as long as it drains. */
#ifndef PREDECESSOR_H
#define PREDECESSOR_H

#include "loop.h"
#include <sys/types.h>

struct predecessor {
    struct loop *loop;
    struct loop_source source; /* a pidfd */
    pid_t pid;                 /* 0: there is none, or it has gone */
    uint64_t since;            /* it drains, by clock_ms() */
};

/* Notices when the process has gone; pid 0 or less: there is none. Where the system cannot tell, none is
 * assumed, and a line of the log says so. */
void predecessor_watch(struct predecessor *predecessor, struct loop *loop, pid_t pid);

/* It drains from now on. */
void predecessor_drains(struct predecessor *predecessor);

void predecessor_end(struct predecessor *predecessor);

#endif
