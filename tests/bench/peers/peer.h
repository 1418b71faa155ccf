/* What the peers share: their listening socket (TCP_NODELAY, a long backlog: as good as the server's own), so that
 * they differ in their library alone. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "../common.h"
#include "../reply.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static struct reply peer_reply;

/* A bound socket, of streams or of datagrams, as `echo`, `hola` or `udp` asks. Prints its port. */
static inline int peer_socket(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "echo";
    int type = strcmp(mode, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
    struct sockaddr_in address = loopback(0);
    struct rlimit limit;
    int on = 1, size = 4 << 20, fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("socket");
    if (type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    else
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (type == SOCK_STREAM && listen(fd, 4096) != 0)
        die("listen");
    reply_init(&peer_reply, strcmp(mode, "hola") == 0);
    printf("port %u\n", port_of(fd));
    fflush(stdout);
    return fd;
}

static inline bool peer_is_udp(int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "udp") == 0;
}

#endif
