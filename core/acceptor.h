/* One listening socket on one loop: accepts in batches and hands over to conn. */
#ifndef ACCEPTOR_H
#define ACCEPTOR_H

#include "service.h"

/* What is listened on. */
struct listening {
    int fd; /* stays the caller's */
    bool is_ip;
    bool shared;                       /* other loops wait on the same socket */
    size_t loops;                      /* of the service */
    int cpu;                           /* that the loop is bound to; -1: none */
    const _Atomic unsigned char *gone; /* of the endpoint; see sockets.h */
};

struct acceptor {
    struct loop_source source;
    struct enchufe_loop *at;
    struct timer pause; /* while the system lacks descriptors or memory */
    uint32_t events;    /* what is watched while not paused */
    bool guarded;       /* addresses are asked for */
    struct listening on;
    unsigned turn;         /* of the loop, when connections came last, */
    int batch;             /* and how many may be taken at once then */
    bool prefers;          /* connections that arrive on this loop's processor: */
    unsigned accepted;     /* and let in, since it was looked whether they come evenly, */
    uint64_t accepted_all; /* and by all loops of the service up to then */
};

/* Watches a listening socket. Returns 0 or -errno. */
int acceptor_start(struct acceptor *acceptor, struct enchufe_loop *at, const struct listening *on);

/* Accepts no more, at once. */
void acceptor_stop(struct acceptor *acceptor);

/* Whether those who may be in the middle of a connect are to be waited for: at an endpoint that was removed
 * (sockets_keep_out()), not where the whole server ends. */
bool acceptor_has_newcomers(const struct acceptor *acceptor);

/* Accepts no more. A socket that another generation serves goes on without us; of one that is gone what
 * is queued is accepted first, and then it is shut for all who share it: from then on clients are
 * refused rather than left waiting. */
void acceptor_drain(struct acceptor *acceptor);

#endif
