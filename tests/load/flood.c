/* A flood at a fixed rate, whose losses are nobody's: connections that all come from one address, or datagrams
 * that come from every address of one network (a /24), as forged ones do. */
#include "load.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Connections open at once; a server that answers none of them gets no more. */
#define PLACES 4096

/* So many at once after a pause, that a machine that is busy elsewhere is not drowned behind it. */
#define BEHIND_MAX 2000

/* A connection is looked at so long after it was begun: by then most are refused, and one call tells. Watching
 * each would cost this machine as much again as the server's refusal. */
#define AGE_US 20000

/* Short, so that what is begun in one go holds up nobody else's. */
#define TICK_NS 250000

struct flood flood;

struct place {
    int fd;
    bool asked;
    uint64_t since; /* when it was begun, or looked at */
};

static struct place places[PLACES]; /* a ring, oldest first */
static size_t first_place, place_count;
static struct watched ticker, datagrams;
static uint64_t began, done; /* in microseconds; of what was due */

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- connections ---- */

static void keep(struct place place)
{
    places[(first_place + place_count++) % PLACES] = place;
}

static void begin(uint64_t now)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        load_give_up("socket");
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&flood.from, sizeof flood.from) != 0)
        load_give_up("bind");
    flood.begun++;
    if (connect(fd, (struct sockaddr *)&flood.tcp, sizeof flood.tcp) == 0 || errno == EINPROGRESS) {
        keep((struct place){ .fd = fd, .since = now });
        return;
    }
    flood.refused++;
    close(fd);
}

/* Leaves nothing in TIME_WAIT, as whoever floods would not. */
static void end_let_in(int fd)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    flood.let_in++;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

/* Who is not refused by now is asked for a byte, which tells that it was let in. */
static void look_at(struct place place, uint64_t now)
{
    char byte = 'x';
    ssize_t got = recv(place.fd, &byte, 1, 0);

    if (got == 1) {
        end_let_in(place.fd);
    } else if (got < 0 && errno == EAGAIN) {
        place.asked = place.asked || send(place.fd, &byte, 1, MSG_NOSIGNAL) == 1;
        place.since = now;
        keep(place);
    } else {
        flood.refused++;
        close(place.fd);
    }
}

static void look_at_old_ones(uint64_t now)
{
    while (place_count != 0 && places[first_place].since + AGE_US <= now) {
        struct place place = places[first_place];
        first_place = (first_place + 1) % PLACES;
        place_count--;
        look_at(place, now);
    }
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
    uint64_t times, now = now_us(), due = (now - began) * flood.rate / 1000000;

    (void)events;
    (void)!read(watched->fd, &times, sizeof times);
    look_at_old_ones(now);
    if (due > done + BEHIND_MAX)
        done = due - BEHIND_MAX;
    for (; done < due; done++) {
        if (flood.tcp.sin_port != 0 && place_count < PLACES)
            begin(now);
        if (flood.udp.sin_port != 0)
            send_one(done);
    }
}

void flood_start(void)
{
    const struct itimerspec each_tick = { .it_value = { .tv_nsec = TICK_NS },
                                          .it_interval = { .tv_nsec = TICK_NS } };

    began = now_us();
    ticker = (struct watched){ .fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), .ready = tick };
    datagrams =
        (struct watched){ .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), .ready = answered };
    if (ticker.fd < 0 || datagrams.fd < 0 || timerfd_settime(ticker.fd, 0, &each_tick, NULL) != 0)
        load_give_up("a flood");
    load_watch(&ticker, EPOLL_CTL_ADD, EPOLLIN);
    load_watch(&datagrams, EPOLL_CTL_ADD, EPOLLIN);
}

void flood_end(void)
{
    flood.ms = (now_us() - began) / 1000;
    load_watch(&ticker, EPOLL_CTL_DEL, 0);
    usleep(200000); /* answers that are on their way */
    answered(&datagrams, 0);
}
