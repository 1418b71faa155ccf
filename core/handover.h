/* Sockets that came from outside: from the service manager (LISTEN_FDS, sd_listen_fds(3)), or from the
 * server that this one replaces. To sockets.c they are a generation before the first one. */
#ifndef HANDOVER_H
#define HANDOVER_H

#include "sockets.h"

/* Environment variables between a server and the one that replaces it. */
#define HANDOVER_SOCKETS "ENCHUFE_HANDOVER" /* the descriptor of a memory file with the table */
#define HANDOVER_READY "ENCHUFE_READY"      /* the descriptor of a pipe to the old server */
#define HANDOVER_BEFORE "ENCHUFE_BEFORE"    /* the old server's process */

/* What is said on the pipe when the new server serves, before the list of sockets that it does not want;
 * anything else is why it does not. The end without the word: it failed. */
#define HANDOVER_WORD "ready"

struct handover {
    struct sockets sockets; /* what was handed over; each has one user, the handover itself */
    size_t named;           /* how many of them, the first, are from a service manager */
    int control;            /* the control socket; -1: none */
    int ready;              /* where to tell the old server; -1: there is none */
    pid_t before;           /* the old server; -1: there is none, or it did not say */
};

/* Takes what the environment says, and takes it out of the environment. What cannot be used is told in
 * the log. Returns 0 or -ENOMEM; handover_end() is due in both cases. */
int handover_take(struct handover *handover);

/* Says which endpoints the service manager's sockets are for. One that has a service's name (LISTEN_FDNAMES,
 * FileDescriptorName= in a socket unit) is for that service alone: for its endpoint with that address, or with
 * that host and port 0. That another service has the address goes to report. One with any other name is for
 * whoever has its address. */
void handover_check_names(struct handover *handover, const struct config *config,
                          struct report *report);

/* Tells the server before this one why this one will not come up. */
void handover_fail(const struct handover *handover, struct report *report);

/* Up to here everything may still be the other server's alone, so nothing is shut or removed. With good,
 * the first generation serves: what it did not take over is closed, and the server before may leave. Later
 * calls do nothing. */
void handover_end(struct handover *handover, bool good);

/* Writes the table for a program that is about to be executed. Returns the memory file, or -errno; it and
 * the sockets in it are not closed by the exec. */
int handover_make(const struct sockets *sockets, const struct config *config, int control);

#endif
