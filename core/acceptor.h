/* One listening socket on one loop: accepts in batches and hands over to conn. */
#ifndef ACCEPTOR_H
#define ACCEPTOR_H

#include "service.h"

struct acceptor {
    struct loop_source source;
    struct enchufe_loop *at;
    struct timer pause; /* while the system lacks descriptors or memory */
    uint32_t events;    /* what is watched while not paused */
    bool is_ip;
    bool guarded;                      /* addresses are asked for */
    const _Atomic unsigned char *gone; /* of the endpoint; see sockets.h */
};

/* Watches the listening socket fd, which stays the caller's. shared: other loops wait on the same
 * socket. Returns 0 or -errno. */
int acceptor_start(struct acceptor *acceptor, struct enchufe_loop *at, int fd, bool is_ip,
                   bool shared, const _Atomic unsigned char *gone);

/* Accepts no more, at once. */
void acceptor_stop(struct acceptor *acceptor);

/* Accepts no more. A socket that another generation serves goes on without us; of one that is gone what
 * is queued is accepted first, and then it is shut for all who share it: from then on clients are
 * refused rather than left waiting. */
void acceptor_drain(struct acceptor *acceptor);

#endif
