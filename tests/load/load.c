/* Opens connections and sends datagrams until its standard input ends, and reports every loss.
 *
 *     load [--tcp PORT] [--udp PORT] [--hold N] [--streams N] [--datagrams N] [--parallel N]
 *          [--deadline MS] [--key N]...
 *          [--rate N --from ADDRESS [--flood-tcp PORT] [--flood-udp PORT]]
 *
 * Prints `started` when everything was answered once, and at the end a line `streams=N ... broken=N`. It
 * goes on after the end of its input until --streams and --datagrams have been done. A line `pause` on its
 * input lets it finish what it began and answer `paused`; `go` begins again. Status 1: something was
 * lost; 2: it could not do its work. */
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_MS 50
#define SAID_MAX 20

struct load load = { .deadline_ms = 10000 };

uint64_t load_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void load_give_up(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

void load_lost(uint64_t *loss, const char *name, uint64_t id, const char *text)
{
    ++*loss;
    if (load.lost++ < SAID_MAX)
        fprintf(stderr, "load: %s: number %llu %s\n", name, (unsigned long long)id, text);
}

void load_answered(int key, uint64_t began)
{
    uint64_t took = load_now() - began;

    load.answers[key < 0 ? 0 : key]++;
    if (took > load.slowest_ms)
        load.slowest_ms = took;
}

void load_watch(struct watched *watched, int operation, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = watched };

    if (epoll_ctl(load.epoll, operation, watched->fd, &event) != 0)
        load_give_up("epoll_ctl");
}

void load_fill(unsigned char *bytes, size_t len, uint64_t id)
{
    uint64_t state = id * 0x9e3779b97f4a7c15u + 1;

    for (size_t i = 0; i < len; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes[i] = (unsigned char)state;
    }
    memcpy(bytes, &id, len < sizeof id ? len : sizeof id);
}

bool load_matches(const unsigned char *got, const unsigned char *sent, size_t len, int *key)
{
    for (size_t i = 0; *key < 0 && len != 0 && i < load.key_count; i++)
        if ((got[0] ^ sent[0]) == (int)load.keys[i])
            *key = (int)i;
    if (*key < 0)
        return len == 0;
    for (size_t i = 0; i < len; i++)
        if ((got[i] ^ sent[i]) != (int)load.keys[*key])
            return false;
    return true;
}

/* ---- the program ---- */

static void input_ready(struct watched *watched, uint32_t events)
{
    char bytes[64];

    (void)events;
    if (read(watched->fd, bytes, sizeof bytes) > 0)
        return;
    load_watch(watched, EPOLL_CTL_DEL, 0);
    load.ending = true;
}

static bool enough(void)
{
    return load.ending && (load.lost != 0 || (load.streams >= load.streams_wanted &&
                                              load.datagrams >= load.datagrams_wanted));
}

static void serve(void)
{
    struct epoll_event events[256];
    uint64_t next_sweep = 0;
    bool started = false;

    while (!enough() || stream_open() + datagram_open() != 0) {
        int n = epoll_wait(load.epoll, events, 256, SWEEP_MS);
        for (int i = 0; i < n; i++) {
            struct watched *watched = events[i].data.ptr;
            watched->ready(watched, events[i].events);
        }
        if (!started && (load.streams != 0 || load.tcp.sin_port == 0) &&
            (load.datagrams != 0 || load.udp.sin_port == 0)) {
            started = true;
            puts("started");
            fflush(stdout);
        }
        if (load_now() >= next_sweep) {
            next_sweep = load_now() + SWEEP_MS;
            stream_check_deadlines(load_now());
            if (load.udp.sin_port != 0)
                datagram_check_deadlines(load_now());
            held_ask_one();
        }
    }
}

static struct sockaddr_in local_port(const char *text)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)atoi(text)),
                                 .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static int report(void)
{
    printf("streams=%llu datagrams=%llu held=%llu slowest_ms=%llu",
           (unsigned long long)load.streams, (unsigned long long)load.datagrams,
           (unsigned long long)load.held, (unsigned long long)load.slowest_ms);
    for (size_t i = 0; i < load.key_count; i++)
        printf(" key%u=%llu", load.keys[i], (unsigned long long)load.answers[i]);
#define LOSS_PRINT(name) printf(" " #name "=%llu", (unsigned long long)load.name);
    LOSSES(LOSS_PRINT)
#undef LOSS_PRINT
    if (flood.rate != 0)
        printf(" begun=%llu let_in=%llu refused_flood=%llu sent=%llu answered=%llu ms=%llu",
               (unsigned long long)flood.begun, (unsigned long long)flood.let_in,
               (unsigned long long)flood.refused, (unsigned long long)flood.sent,
               (unsigned long long)flood.answered, (unsigned long long)flood.ms);
    putchar('\n');
    return load.lost != 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "tcp", 1, NULL, 't' },      { "udp", 1, NULL, 'u' },       { "hold", 1, NULL, 'h' },
        { "streams", 1, NULL, 's' },  { "datagrams", 1, NULL, 'd' }, { "parallel", 1, NULL, 'p' },
        { "deadline", 1, NULL, 'l' }, { "key", 1, NULL, 'k' },       { "rate", 1, NULL, 'r' },
        { "from", 1, NULL, 'f' },     { "flood-tcp", 1, NULL, 'T' }, { "flood-udp", 1, NULL, 'U' },
        { NULL, 0, NULL, 0 }
    };
    struct watched input = { .fd = STDIN_FILENO, .ready = input_ready };
    size_t hold = 0, parallel = 16;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 't':
            load.tcp = local_port(optarg);
            break;
        case 'u':
            load.udp = local_port(optarg);
            break;
        case 'h':
            hold = strtoul(optarg, NULL, 10);
            break;
        case 's':
            load.streams_wanted = strtoull(optarg, NULL, 10);
            break;
        case 'd':
            load.datagrams_wanted = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            parallel = strtoul(optarg, NULL, 10);
            break;
        case 'l':
            load.deadline_ms = strtoull(optarg, NULL, 10);
            break;
        case 'k':
            if (load.key_count < sizeof load.keys / sizeof *load.keys)
                load.keys[load.key_count++] = (unsigned)atoi(optarg);
            break;
        case 'r':
            flood.rate = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            flood.from.sin_family = AF_INET;
            if (inet_pton(AF_INET, optarg, &flood.from.sin_addr) != 1)
                return 2;
            break;
        case 'T':
            flood.tcp = local_port(optarg);
            break;
        case 'U':
            flood.udp = local_port(optarg);
            break;
        default:
            return 2;
        }
    }
    if (load.key_count == 0)
        load.key_count = 1; /* 0: an echo */
    signal(SIGPIPE, SIG_IGN);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    held_open(hold);
    load_watch(&input, EPOLL_CTL_ADD, EPOLLIN);
    if (load.tcp.sin_port != 0)
        stream_start(parallel);
    if (load.udp.sin_port != 0)
        datagram_start();
    if (flood.rate != 0)
        flood_start();
    serve();
    if (flood.rate != 0)
        flood_end();
    held_close();
    return report();
}
