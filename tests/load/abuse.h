/* Clients that do what no client should, many at a time.
 * abuse.c runs them, abuse_hold.c has those that stay until the server closes them, abuse_round.c those
 * that come and go. */
#ifndef ABUSE_H
#define ABUSE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is counted, and its name in the report. */
#define COUNTS(COUNT)                                                                              \
    COUNT(done)        /* clients that ended as they should */                                     \
    COUNT(refused)     /* nobody listened */                                                       \
    COUNT(reset)       /* the server reset the connection */                                       \
    COUNT(cut)         /* a connection ended before its answer did */                              \
    COUNT(wrong)       /* other bytes than an echo's */                                            \
    COUNT(hung)        /* not over within the deadline */                                          \
    COUNT(earliest_ms) /* of abuse_hold.c: from the first byte to the end */                       \
    COUNT(latest_ms)

struct client {
    int fd; /* -1: none */
    uint64_t id;
    uint64_t began; /* connected and about to send, or for a client that has not: the connect */
    uint64_t next;  /* when it sends again */
    size_t sent, got;
    bool connected;
};

struct abuse {
    int epoll;
    struct sockaddr_in to;
    uint64_t count;    /* clients in all */
    uint64_t parallel; /* of those that come and go: at a time */
    uint64_t size;     /* bytes that each sends */
    uint64_t deadline_ms;
    uint64_t begun, open;
#define COUNT_FIELD(name) uint64_t name;
    COUNTS(COUNT_FIELD)
#undef COUNT_FIELD
};

extern struct abuse abuse;

/* One way to misbehave. The functions get a client that is open. */
struct mode {
    const char *name;
    uint32_t events; /* what is watched from the connect on */
    uint64_t default_size;
    bool comes_and_goes;
    /* The socket is ready. */
    void (*ready)(struct client *client, uint32_t events);
    /* Every few milliseconds; NULL: nothing to do then. */
    void (*tick)(struct client *client, uint64_t now);
};

/* In abuse_hold.c: one byte a second; sends and never reads. In abuse_round.c: ends its side and reads its
 * answer; resets while the server writes; sends each byte by itself. */
extern const struct mode mode_drip, mode_deaf, mode_halfclose, mode_reset, mode_fragments;

uint64_t abuse_now(void);

/* Byte i of what client `id` sends. A newline ends it, so that a service of lines answers. */
unsigned char abuse_byte(const struct client *client, size_t i);

/* Sends what is left, up to `max` bytes. Returns false after an error: the server has ended it. */
bool abuse_send(struct client *client, size_t max);

/* Receives once and compares with what was sent. Returns the bytes, 0 at the end, or -1: nothing now, or an
 * error, which is counted and ends the client. */
ssize_t abuse_receive(struct client *client);

/* The client's end by the error that errno tells. */
void abuse_failed(struct client *client);

/* The client's end; counter says as what. With reset, the server gets a reset. */
void abuse_end(struct client *client, uint64_t *counter, bool reset);

void abuse_watch(struct client *client, uint32_t events);

#endif
