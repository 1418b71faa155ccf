/* Listening sockets. The master opens them, every worker inherits them, and they pass from one
 * generation to the next: so neither a worker's end nor a reload takes a queued connection along. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include "config.h"
#include "descriptors.h"
#include <sys/stat.h>

/* The sockets of one endpoint, shared by the generations that serve it. TCP and UDP have one for each
 * loop (SO_REUSEPORT: the system shares connections out), and their number only grows; a Unix socket is
 * one, which the loops share. */
struct listener {
    struct endpoint endpoint; /* with the real port */
    int *fds;
    size_t fd_count;
    size_t bound;      /* of them: the rest is bound when the generation opens */
    bool shared;       /* one socket for all loops: a Unix socket, or one that was inherited */
    bool created_path; /* a Unix socket's file is ours to remove, if it is still this one: */
    struct stat path_file;
    bool foreign; /* a service manager's, who keeps a copy: never shut, the queue is for the next */
    bool late;    /* not bound yet: sockets_bind_late() does */
    unsigned users;    /* generations, */
    unsigned unopened; /* and how many of them still have to open it */
};

struct bound_endpoint {
    struct listener *listener;
    const struct listen_config *config;
    size_t service;  /* index in the configuration */
    size_t fd_count; /* how many of the listener's sockets this generation serves */
    bool broadcast;  /* its address is: all that comes was sent to everybody */
};

/* What becomes of an endpoint when its generation leaves. */
enum sockets_gone { SOCKETS_STAY, SOCKETS_REMOVED, SOCKETS_SERVER_ENDS };

struct sockets {
    struct bound_endpoint *items;
    size_t count;
    /* One for each item (enum sockets_gone), in memory that the workers share: the next generation does not
     * serve it, so whoever drains it shuts it. */
    _Atomic unsigned char *gone;
    size_t gone_size;
    bool unopened; /* between sockets_bind() and sockets_open() */
};

/* What has sockets already when a generation looks for its own; each may be NULL. */
struct sockets_before {
    const struct sockets
        *serving; /* taken over: the generation before, or what came from outside */
    const struct sockets *waiting; /* taken over: of a generation that never opened, and ends now */
    const struct sockets *draining; /* of one that is about to close them */
};

/* Finds the sockets of every endpoint of the configuration: those that there are already are taken over,
 * the others are bound. Nothing new can connect yet. Those that clash with what waits or drains are left
 * to sockets_bind_late(). loops[i] is the number of loops of service i. Every failure goes to report.
 * Returns 0 or a negative errno; sockets_close() is due in both cases. */
int sockets_bind(struct sockets *sockets, const struct config *config, const size_t *loops,
                 const struct sockets_before *before, struct report *report);

/* Binds what sockets_bind() left, now that what waited or drained is gone; before sockets_open(). Every
 * failure goes to report. Returns 0 or a negative errno. */
int sockets_bind_late(struct sockets *sockets, const size_t *loops, struct report *report);

/* Opens all for connections and datagrams: the moment from which a generation serves. The files of Unix
 * sockets have the rights that it names before they listen. Every failure goes
 * to report. Returns 0 or -EINVAL. */
int sockets_open(struct sockets *sockets, const struct config *config, struct report *report);

/* Marks those that no other generation uses, or with all set every one, as gone. Foreign ones never are. */
void sockets_retire(struct sockets *sockets, bool all);

/* Marks those whose indexes are in the list, numbers and blanks, as gone. */
void sockets_retire_list(struct sockets *sockets, const char *list);

/* Lets nobody begin to connect to those that are gone, in any process that has them. For the master, since a worker
 * may lack the right to, and not for a server that never served: another may have given it the sockets. */
void sockets_keep_out(const struct sockets *sockets);

/* Notes that the file of a Unix socket is ours to remove. */
void sockets_own_path(struct listener *listener);

/* Another server has them now: no file is removed when they are closed here. */
void sockets_give(struct sockets *sockets);

/* Adds those of a service to what a worker keeps. */
void sockets_keep(const struct sockets *sockets, size_t service, struct descriptors *kept);

/* Ends a generation's use: what nobody else uses is closed, and files of Unix sockets are removed. */
void sockets_close(struct sockets *sockets);

/* Datagrams that the system dropped for want of room in the sockets of a service. */
uint64_t sockets_dropped(const struct sockets *sockets, size_t service);

#endif
