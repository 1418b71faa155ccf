/* The master: keeps the sockets, starts and restarts workers, handles signals. Single-threaded, and runs no
 * line of a plugin's. */
#ifndef MASTER_H
#define MASTER_H

#include "generation.h"
#include "handover.h"

/* What the command line says, besides what the file does. */
struct master_setup {
    const char *file;
    const char *plugin_dir; /* NULL: not said */
    const char *program; /* the path of this program, and what it was called with, for an upgrade */
    char **argv;
    struct handover *handover; /* what was handed over to us */
    bool debug;                /* everything in this one process, for debuggers */
};

/* Serves a generation that was read, probed and bound, and those that follow it, until a signal or a
 * command ends it; the generation is the master's from now on. Returns the exit status. */
int master_run(const struct master_setup *setup, struct generation *generation);

#endif
