/* A client that opens connections and sends datagrams as fast as it can, and counts every loss.
 * load.c runs it, stream.c opens connections, datagram.c sends datagrams, held.c keeps connections open, flood.c
 * sends more than anybody should. */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A watched socket; part of the struct it belongs to. */
struct watched {
    int fd;
    void (*ready)(struct watched *watched, uint32_t events);
};

/* What may be lost, and its name in the report. */
#define LOSSES(LOSS)                                                                               \
    LOSS(refused)    /* nobody listened */                                                         \
    LOSS(reset)      /* the server, or whoever was in its place, reset a connection */             \
    LOSS(cut)        /* a connection ended before its answer did */                                \
    LOSS(wrong)      /* other bytes than those of one version's answer */                          \
    LOSS(hung)       /* not answered within the deadline */                                        \
    LOSS(unanswered) /* a datagram, within the deadline */                                         \
    LOSS(broken)     /* a connection that was held open */

struct load {
    int epoll;
    struct sockaddr_in tcp, udp; /* port 0: none */
    uint64_t deadline_ms;        /* of an answer */
    uint64_t streams_wanted, datagrams_wanted;
    bool ending;      /* no more is begun */
    unsigned keys[4]; /* what versions of the plugin exclusive-or their answers with */
    size_t key_count;
    /* the report */
    uint64_t streams, datagrams, held;
    uint64_t answers[4]; /* by key */
    uint64_t slowest_ms; /* of what was answered */
    uint64_t lost;       /* in all */
#define LOSS_FIELD(name) uint64_t name;
    LOSSES(LOSS_FIELD)
#undef LOSS_FIELD
};

extern struct load load;

uint64_t load_now(void);

/* Prints `what` and ends with status 2: the trouble is this program's, not the server's. */
_Noreturn void load_give_up(const char *what);

/* Counts one more in *loss and says so on standard error. */
void load_lost(uint64_t *loss, const char *name, uint64_t id, const char *text);
#define LOST(name, id, text) load_lost(&load.name, #name, id, text)

/* Notes an answer, and how long it took. */
void load_answered(int key, uint64_t began);

void load_watch(struct watched *watched, int operation, uint32_t events);

/* The bytes of message `id`, different in every message. */
void load_fill(unsigned char *bytes, size_t len, uint64_t id);

/* Compares an answer: *key is -1 or the index of the version that the bytes before came from. Returns
 * whether all of it is of one version. */
bool load_matches(const unsigned char *got, const unsigned char *sent, size_t len, int *key);

/* One connection after the other in each of `parallel` places, until load.ending. */
void stream_start(size_t parallel);
size_t stream_open(void);
void stream_check_deadlines(uint64_t now);

/* Datagrams on several sockets, each with few unanswered ones, so that no queue of the system overflows. */
void datagram_start(void);
size_t datagram_open(void);
void datagram_check_deadlines(uint64_t now);

/* A flood, where rate is not 0. */
struct flood {
    struct sockaddr_in tcp, udp, from; /* port 0: none */
    uint64_t rate;                     /* a second */
    /* the report */
    uint64_t begun, let_in, refused; /* connections */
    uint64_t sent, answered;         /* datagrams */
    uint64_t ms;                     /* how long it lasted */
};

extern struct flood flood;

void flood_start(void);
void flood_end(void);

/* Connections that stay: asked at the beginning, now and then, and at the end. */
void held_open(size_t count);
void held_ask_one(void);
void held_close(void);

#endif
