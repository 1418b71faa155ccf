/* What a process forked from the master keeps open. Everything else is the master's alone: other workers'
 * channels, the control socket and its clients, files that are watched, other generations' sockets and
 * plugins, and whatever the master itself was started with. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>

struct descriptors {
    int *fds;
    size_t count, room;
    bool failed; /* no memory */
};

/* Adds one to keep; a negative one is none. */
void descriptors_keep(struct descriptors *kept, int fd);

/* Closes all but those, the log's two (its bell's is one) and the standard ones, and frees the list. Without memory nothing is
 * closed. */
void descriptors_close_others(struct descriptors *kept);

#endif
