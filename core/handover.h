/* Sockets that came from outside: from the service manager (LISTEN_FDS, sd_listen_fds(3)), or from the
 * server that this one replaces. To sockets.c they are a generation before the first one. */
#ifndef HANDOVER_H
#define HANDOVER_H

#include "sockets.h"

/* Environment variables between a server and the one that replaces it. */
#define HANDOVER_SOCKETS "ENCHUFE_HANDOVER" /* the descriptor of a memory file with the table */
#define HANDOVER_READY "ENCHUFE_READY"      /* the descriptor of a pipe to say `ready` on */

struct handover {
    struct sockets sockets; /* what was handed over; each has one user, the handover itself */
    int control;            /* the control socket; -1: none */
    int ready;              /* where to tell the old server; -1: there is none */
};

/* Takes what the environment says, and takes it out of the environment. What cannot be used is told in
 * the log. Returns 0 or -ENOMEM; handover_end() and
 * handover_close() are due in both cases. */
int handover_take(struct handover *handover);

/* The first generation has its sockets: what it did not take over is closed. With good not set it does not
 * come up: then the files of Unix sockets are still the other server's, and stay. */
void handover_end(struct handover *handover, bool good);

/* At the end of the server: closes the pipe to the one before, if it was not told. */
void handover_close(struct handover *handover);

/* Tells the server before this one that it may leave. */
void handover_ready(struct handover *handover);

/* Writes the table for a program that is about to be executed. Returns the memory file, or -errno; it and
 * the sockets in it are not closed by the exec. */
int handover_make(const struct sockets *sockets, const struct config *config, int control);

#endif
