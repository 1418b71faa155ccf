/* A flood at a fixed rate, whose losses are nobody's: connections that all come from one address, or datagrams
 * that come from every address of one network (a /24), as forged ones do. */
#include "load.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Connections open at once; a server that answers none of them gets no more. */
#define PLACES 4096

/* So many at once after a pause, that a machine that is busy elsewhere is not drowned behind it. */
#define BEHIND_MAX 2000

struct flood flood;

struct place {
    struct watched watched;
    bool said;
    struct place *next; /* of those that are free */
};

static struct place places[PLACES], *free_places;
static struct watched ticker, datagrams;
static uint64_t began, done;

/* ---- connections ---- */

static void end(struct place *place, uint64_t *count)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    ++*count;
    setsockopt(place->watched.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(place->watched.fd);
    place->next = free_places;
    free_places = place;
}

/* A byte that comes back tells that it was let in. */
static void ready(struct watched *watched, uint32_t events)
{
    struct place *place = (struct place *)((char *)watched - offsetof(struct place, watched));
    char byte = 'x';

    if (!place->said && events & EPOLLOUT) {
        place->said = true;
        if (send(watched->fd, &byte, 1, MSG_NOSIGNAL) < 0) {
            end(place, &flood.refused);
            return;
        }
        load_watch(watched, EPOLL_CTL_MOD, EPOLLIN);
    } else if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        end(place, recv(watched->fd, &byte, 1, 0) == 1 ? &flood.let_in : &flood.refused);
    }
}

static void begin(void)
{
    struct place *place = free_places;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        load_give_up("socket");
    free_places = place->next;
    *place = (struct place){ .watched = { .fd = fd, .ready = ready } };
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&flood.from, sizeof flood.from) != 0)
        load_give_up("bind");
    flood.begun++;
    if (connect(fd, (struct sockaddr *)&flood.tcp, sizeof flood.tcp) != 0 && errno != EINPROGRESS)
        end(place, &flood.refused);
    else
        load_watch(&place->watched, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

/* ---- datagrams ---- */

static void answered(struct watched *watched, uint32_t events)
{
    char bytes[64];

    (void)events;
    while (recv(watched->fd, bytes, sizeof bytes, MSG_DONTWAIT) >= 0)
        flood.answered++;
}

/* One socket has every address of this machine, and says with each datagram which. */
static void send_one(uint64_t id)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control = { .header = { .cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo)),
                              .cmsg_level = IPPROTO_IP,
                              .cmsg_type = IP_PKTINFO } };
    uint32_t network = ntohl(flood.from.sin_addr.s_addr) & 0xffffff00;
    struct in_pktinfo info = { .ipi_spec_dst = { htonl(network + 1 + (uint32_t)(id % 254)) } };
    struct iovec part = { .iov_base = &id, .iov_len = sizeof id };
    struct msghdr message = { .msg_name = &flood.udp,
                              .msg_namelen = sizeof flood.udp,
                              .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = sizeof control };

    memcpy(CMSG_DATA(&control.header), &info, sizeof info);
    if (sendmsg(datagrams.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        flood.sent++;
}

/* ---- both ---- */

static void tick(struct watched *watched, uint32_t events)
{
    uint64_t times, due = (load_now() - began) * flood.rate / 1000;

    (void)events;
    (void)!read(watched->fd, &times, sizeof times);
    if (due > done + BEHIND_MAX)
        done = due - BEHIND_MAX;
    for (; done < due; done++) {
        if (flood.tcp.sin_port != 0 && free_places != NULL)
            begin();
        if (flood.udp.sin_port != 0)
            send_one(done);
    }
}

void flood_start(void)
{
    const struct itimerspec each_ms = { .it_value = { .tv_nsec = 1000000 },
                                        .it_interval = { .tv_nsec = 1000000 } };

    for (size_t i = 0; i < PLACES; i++) {
        places[i].next = free_places;
        free_places = &places[i];
    }
    began = load_now();
    ticker = (struct watched){ .fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), .ready = tick };
    datagrams =
        (struct watched){ .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), .ready = answered };
    if (ticker.fd < 0 || datagrams.fd < 0 || timerfd_settime(ticker.fd, 0, &each_ms, NULL) != 0)
        load_give_up("a flood");
    load_watch(&ticker, EPOLL_CTL_ADD, EPOLLIN);
    load_watch(&datagrams, EPOLL_CTL_ADD, EPOLLIN);
}

void flood_end(void)
{
    flood.ms = load_now() - began;
    load_watch(&ticker, EPOLL_CTL_DEL, 0);
    usleep(200000); /* answers that are on their way */
    answered(&datagrams, 0);
}
