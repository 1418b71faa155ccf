/* The listening sockets of a configuration. The master opens them, every worker inherits them, and they
 * live as long as the master: so a worker that ends takes no queued connection with it. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include "config.h"

/* One endpoint. TCP and UDP have a socket for each loop (SO_REUSEPORT: the system shares connections
 * out); a Unix socket is one, which the loops share. */
struct bound_endpoint {
    struct endpoint endpoint; /* with the real port */
    const struct listen_config *config;
    size_t service; /* index in the configuration */
    int *fds;
    size_t fd_count;
    bool created_path; /* a Unix socket's file is ours to remove */
};

struct sockets {
    struct bound_endpoint *items;
    size_t count;
};

/* Binds every endpoint of the configuration; loops[i] is the number of loops of service i. Nothing can
 * connect yet. Every failure goes to report. Returns 0 or -EINVAL; sockets_close() is due in both cases. */
int sockets_bind(struct sockets *sockets, const struct config *config, const size_t *loops,
                 struct report *report);

/* Opens the TCP and Unix sockets for connections. */
int sockets_listen(struct sockets *sockets, const struct config *config, struct report *report);

/* Closes all, and removes the files of Unix sockets. */
void sockets_close(struct sockets *sockets);

/* Datagrams that the system dropped for want of room in the sockets of a service. */
uint64_t sockets_dropped(const struct sockets *sockets, size_t service);

#endif
