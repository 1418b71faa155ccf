/* Misbehaves, many clients at a time, and tells how it went.
 *
 *     abuse MODE --tcp PORT [--count N] [--parallel N] [--size BYTES] [--deadline MS]
 *
 * MODE is drip, deaf, halfclose, reset or fragments. Clients that stay (drip, deaf) are opened all at once;
 * then it prints `opened`. At the end it prints `done=N refused=N ... latest_ms=N`. The status is 0
 * unless it could not do its work. */
#include "abuse.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 20

/* Ended connections keep their port for a minute: so many addresses of this machine take turns. */
#define SOURCES 50

/* So many connects wait for the server at a time. */
#define CONNECTING_MAX 256

/* So little that a client that does not read fills its side soon. */
#define RECEIVE_BUFFER 4096

struct abuse abuse = { .count = 1, .parallel = 64, .deadline_ms = 60000 };

static const struct mode *const modes[] = { &mode_drip, &mode_deaf, &mode_halfclose, &mode_reset,
                                            &mode_fragments };
static const struct mode *mode;
static struct client *clients;
static uint64_t places, connecting;

uint64_t abuse_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "abuse: %s: %s\n", what, strerror(errno));
    exit(2);
}

unsigned char abuse_byte(const struct client *client, size_t i)
{
    return i + 1 == abuse.size ? '\n'
                               : (unsigned char)('a' + (client->id * 31 + i * 7 + (i >> 8)) % 26);
}

void abuse_watch(struct client *client, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = client };

    if (epoll_ctl(abuse.epoll, EPOLL_CTL_MOD, client->fd, &event) != 0)
        give_up("epoll_ctl");
}

void abuse_end(struct client *client, uint64_t *counter, bool reset)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    if (reset)
        setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(client->fd);
    connecting -= !client->connected;
    client->fd = -1;
    abuse.open--;
    ++*counter;
}

void abuse_failed(struct client *client)
{
    abuse_end(client, errno == ECONNREFUSED ? &abuse.refused : &abuse.reset, true);
}

bool abuse_send(struct client *client, size_t max)
{
    unsigned char bytes[16384];
    size_t len = max < sizeof bytes ? max : sizeof bytes;

    if (len > abuse.size - client->sent)
        len = abuse.size - client->sent;
    for (size_t i = 0; i < len; i++)
        bytes[i] = abuse_byte(client, client->sent + i);
    ssize_t n = send(client->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
        client->sent += (size_t)n;
    return n >= 0 || errno == EAGAIN;
}

ssize_t abuse_receive(struct client *client)
{
    unsigned char bytes[16384];
    ssize_t n = recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (n < 0 && errno != EAGAIN)
        abuse_failed(client);
    for (ssize_t i = 0; i < n; i++) {
        if (client->got >= client->sent || bytes[i] != abuse_byte(client, client->got)) {
            abuse_end(client, &abuse.wrong, true);
            return -1;
        }
        client->got++;
    }
    return n;
}

static void begin(struct client *client)
{
    struct sockaddr_in from = { .sin_family = AF_INET };
    int on = 1, size = RECEIVE_BUFFER;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        give_up("socket");
    *client = (struct client){ .fd = fd, .id = abuse.begun++, .began = abuse_now() };
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 512 + (uint32_t)(client->id % SOURCES));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (!mode->comes_and_goes)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0)
        give_up("bind");
    if (connect(fd, (struct sockaddr *)&abuse.to, sizeof abuse.to) != 0 && errno != EINPROGRESS)
        give_up("connect");
    struct epoll_event event = { .events = mode->events | EPOLLOUT, .data.ptr = client };
    if (epoll_ctl(abuse.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        give_up("epoll_ctl");
    abuse.open++;
    connecting++;
}

static void begin_more(void)
{
    for (uint64_t i = 0; i < places && abuse.begun < abuse.count && connecting < CONNECTING_MAX;
         i++)
        if (clients[i].fd < 0)
            begin(&clients[i]);
}

static void ready(struct client *client, uint32_t events)
{
    if (client->fd < 0)
        return;
    if (!client->connected && events & EPOLLOUT) {
        client->connected = true;
        connecting--;
        if (!mode->comes_and_goes)
            abuse_watch(client, mode->events);
        client->began = abuse_now();
    }
    mode->ready(client, events);
}

static void tick(uint64_t now)
{
    for (uint64_t i = 0; i < places; i++) {
        struct client *client = &clients[i];
        if (client->fd >= 0 && now >= client->began + abuse.deadline_ms)
            abuse_end(client, &abuse.hung, true);
        else if (client->fd >= 0 && client->connected && mode->tick != NULL)
            mode->tick(client, now);
    }
}

static void run(void)
{
    struct epoll_event events[256];
    uint64_t next = 0;
    bool told = false;

    while (abuse.begun < abuse.count || abuse.open != 0) {
        begin_more();
        int n = epoll_wait(abuse.epoll, events, 256, TICK_MS);
        for (int i = 0; i < n; i++)
            ready(events[i].data.ptr, events[i].events);
        uint64_t now = abuse_now();
        if (now >= next) {
            tick(now);
            next = abuse_now() + TICK_MS;
        }
        if (!told && abuse.begun == abuse.count && connecting == 0) {
            told = true;
            puts("opened");
            fflush(stdout);
        }
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        { "tcp", 1, NULL, 't' },  { "count", 1, NULL, 'c' },    { "parallel", 1, NULL, 'p' },
        { "size", 1, NULL, 's' }, { "deadline", 1, NULL, 'd' }, { NULL, 0, NULL, 0 }
    };
    int c;

    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i]->name, argv[1]) == 0)
            mode = modes[i];
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        uint64_t value = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;
        if (c == 't')
            abuse.to.sin_port = htons((uint16_t)value);
        else if (c == 'c')
            abuse.count = value;
        else if (c == 'p')
            abuse.parallel = value;
        else if (c == 's')
            abuse.size = value;
        else if (c == 'd')
            abuse.deadline_ms = value;
        else
            exit(2);
    }
    if (mode == NULL || abuse.to.sin_port == 0) {
        fputs("usage: abuse MODE --tcp PORT [--count N] ...\n", stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    abuse.to =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    read_options(argc, argv);
    if (abuse.size == 0)
        abuse.size = mode->default_size;
    signal(SIGPIPE, SIG_IGN);
    places = mode->comes_and_goes && abuse.parallel < abuse.count ? abuse.parallel : abuse.count;
    clients = calloc(places + 1, sizeof *clients);
    abuse.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (clients == NULL || abuse.epoll < 0)
        give_up("no memory");
    for (uint64_t i = 0; i < places; i++)
        clients[i].fd = -1;
    run();
#define COUNT_PRINT(name) printf(#name "=%llu ", (unsigned long long)abuse.name);
    COUNTS(COUNT_PRINT)
    putchar('\n');
    free(clients);
    return 0;
}
