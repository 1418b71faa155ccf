/* Datagrams with numbers: each is awaited, checked, and followed by the next in its place. */
#include "load.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS 8
#define WINDOW 4
#define MESSAGE_MAX 512

/* After so many a socket makes place for one with another port, which the system gives to another loop. */
#define SOCKET_LIFE 200

struct pending {
    uint64_t id, sent_at; /* 0: none */
};

struct peer {
    struct watched watched;
    struct pending window[WINDOW];
    unsigned sent, waiting;
};

static struct peer peers[SOCKETS];
static size_t waiting_count;
static uint64_t last_id;

static size_t length_of(uint64_t id)
{
    return sizeof id + id * 7919 % (MESSAGE_MAX - sizeof id);
}

static bool may_send(void)
{
    return !load.ending || (load.datagrams < load.datagrams_wanted && load.lost == 0);
}

static void send_one(struct peer *peer, struct pending *place)
{
    unsigned char message[MESSAGE_MAX];

    *place = (struct pending){ .id = ++last_id, .sent_at = load_now() };
    load_fill(message, length_of(last_id), last_id);
    peer->sent++;
    peer->waiting++;
    waiting_count++;
    /* What an earlier one met (a refusal) is told by this call; then the datagram has not left. */
    if (send(peer->watched.fd, message, length_of(last_id), MSG_NOSIGNAL) < 0) {
        LOST(refused, last_id, strerror(errno));
        send(peer->watched.fd, message, length_of(last_id), MSG_NOSIGNAL);
    }
}

static void done(struct peer *peer, struct pending *place)
{
    place->sent_at = 0;
    peer->waiting--;
    waiting_count--;
}

static void ready(struct watched *watched, uint32_t events);

static void renew(struct peer *peer)
{
    if (peer->watched.fd >= 0)
        close(peer->watched.fd);
    *peer = (struct peer){ .watched = { .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
                                        .ready = ready } };
    if (peer->watched.fd < 0 ||
        connect(peer->watched.fd, (struct sockaddr *)&load.udp, sizeof load.udp) != 0)
        load_give_up("a datagram socket");
    load_watch(&peer->watched, EPOLL_CTL_ADD, EPOLLIN);
}

static void fill_window(struct peer *peer)
{
    if (peer->sent >= SOCKET_LIFE && peer->waiting == 0)
        renew(peer);
    for (size_t i = 0; i < WINDOW && peer->sent < SOCKET_LIFE && may_send(); i++)
        if (peer->window[i].sent_at == 0)
            send_one(peer, &peer->window[i]);
}

static void check(struct peer *peer, const unsigned char *got, size_t len)
{
    unsigned char sent[MESSAGE_MAX];

    for (size_t i = 0; i < WINDOW; i++) {
        struct pending *place = &peer->window[i];
        int key = -1;
        if (place->sent_at == 0 || len != length_of(place->id))
            continue;
        load_fill(sent, len, place->id);
        if (!load_matches(got, sent, len, &key))
            continue;
        load_answered(key, place->sent_at);
        done(peer, place);
        load.datagrams++;
        return;
    }
    LOST(wrong, 0, "is a datagram that nobody waits for");
}

static void ready(struct watched *watched, uint32_t events)
{
    struct peer *peer = (struct peer *)((char *)watched - offsetof(struct peer, watched));
    unsigned char got[MESSAGE_MAX + 1];
    ssize_t n = recv(watched->fd, got, sizeof got, MSG_DONTWAIT);

    (void)events;
    if (n >= 0)
        check(peer, got, (size_t)n);
    else if (errno == ECONNREFUSED)
        LOST(refused, last_id, "or one before it was refused");
    fill_window(peer);
}

void datagram_start(void)
{
    for (size_t i = 0; i < SOCKETS; i++) {
        peers[i].watched.fd = -1;
        renew(&peers[i]);
        fill_window(&peers[i]);
    }
}

size_t datagram_open(void)
{
    return waiting_count;
}

void datagram_check_deadlines(uint64_t now)
{
    if (load.udp.sin_port == 0)
        return;
    for (size_t p = 0; p < SOCKETS; p++) {
        for (size_t i = 0; i < WINDOW; i++) {
            struct pending *place = &peers[p].window[i];
            if (place->sent_at == 0 || now < place->sent_at + load.deadline_ms)
                continue;
            LOST(unanswered, place->id, "was not answered");
            done(&peers[p], place);
        }
        fill_window(&peers[p]);
    }
}
