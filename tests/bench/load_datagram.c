/* Load of datagrams: N sockets, each with an address of its own and D datagrams in flight. As many as were
 * answered are sent again at once, in one call: sendmmsg, or with --gso one burst that the system cuts. */
#include "common.h"
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define BATCH 64
#define SLOT 65536u

/* What is not answered for so long is lost. */
#define PATIENCE_NS 200000000u

struct flight {
    uint64_t number, sent_at; /* number 0: nothing in flight here */
};

struct sender {
    int fd;
    unsigned in_flight;
    uint64_t last;   /* the number of the last datagram; the first is 1 */
    uint64_t active; /* when something moved here */
    struct flight *flights;
};

struct datagrams {
    struct run *run;
    const struct load_options *options;
    struct script script;
    struct sender *senders;
    int epoll;
    uint64_t next_look; /* for losses */
    char *output, *input;
};

/* The number, then a part of the pattern that depends on it. */
static void fill(const struct datagrams *load, char *data, uint64_t number)
{
    memcpy(data, &number, sizeof number);
    memcpy(data + sizeof number, load->script.ask + number % load->script.ask_period,
           load->options->size - sizeof number);
}

static void send_each(const struct datagrams *load, const struct sender *sender, unsigned count)
{
    struct mmsghdr headers[BATCH];
    struct iovec parts[BATCH];
    size_t size = load->options->size;

    for (unsigned i = 0; i < count; i++) {
        parts[i] = (struct iovec){ .iov_base = load->output + i * size, .iov_len = size };
        headers[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
    }
    for (unsigned sent = 0; sent < count;) {
        int n = sendmmsg(sender->fd, headers + sent, count - sent, 0);
        if (n > 0)
            sent += (unsigned)n;
        else if (errno != EAGAIN)
            die("sendmmsg");
    }
}

static void send_burst(const struct datagrams *load, const struct sender *sender, unsigned count)
{
    struct iovec part = { .iov_base = load->output, .iov_len = count * load->options->size };
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(uint16_t))];
    } control = { .align = { .cmsg_level = SOL_UDP,
                             .cmsg_type = UDP_SEGMENT,
                             .cmsg_len = CMSG_LEN(sizeof(uint16_t)) } };
    struct msghdr header = { .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control.space };
    uint16_t segment = (uint16_t)load->options->size;

    memcpy(CMSG_DATA(&control.align), &segment, sizeof segment);
    while (sendmsg(sender->fd, &header, 0) < 0)
        if (errno != EAGAIN)
            die("sendmsg with UDP_SEGMENT");
}

/* At most BATCH, and at most what one burst may hold. */
static unsigned send_some(struct datagrams *load, struct sender *sender, unsigned count)
{
    size_t size = load->options->size, most = (SLOT - 1024) / size;
    uint64_t now = now_ns();

    if (count > BATCH)
        count = BATCH;
    if (load->options->gso && count > most)
        count = (unsigned)most;
    for (unsigned i = 0; i < count; i++) {
        uint64_t number = ++sender->last;
        fill(load, load->output + i * size, number);
        sender->flights[number % load->options->depth] =
            (struct flight){ .number = number, .sent_at = now };
    }
    sender->in_flight += count;
    sender->active = now;
    if (load->options->gso)
        send_burst(load, sender, count);
    else
        send_each(load, sender, count);
    return count;
}

static void fill_flights(struct datagrams *load, struct sender *sender)
{
    while (sender->in_flight < load->options->depth)
        send_some(load, sender, load->options->depth - sender->in_flight);
}

/* What comes after it was written off as lost is passed over; what comes twice is an error. */
static void take(struct datagrams *load, struct sender *sender, const char *data, size_t len,
                 uint64_t now)
{
    uint64_t number;

    errno = 0;
    if (len != load->options->size)
        die("an answer of %zu bytes to %zu", len, load->options->size);
    memcpy(&number, data, sizeof number);
    if (number == 0 || number > sender->last)
        die("an answer to what was not sent");
    if (memcmp(data + sizeof number, load->script.ask + number % load->script.ask_period,
               len - sizeof number) != 0)
        die("a wrong byte in a datagram");
    struct flight *flight = &sender->flights[number % load->options->depth];
    if (flight->number != number)
        return;
    run_answered(load->run, now - flight->sent_at, len);
    flight->number = 0;
    sender->in_flight--;
    sender->active = now;
}

static size_t segment_of(struct msghdr *header, size_t len)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int segment;
            memcpy(&segment, CMSG_DATA(c), sizeof segment);
            return (size_t)segment;
        }
    }
    return len;
}

static void receive(struct datagrams *load, struct sender *sender)
{
    static struct mmsghdr headers[BATCH];
    static struct iovec parts[BATCH];
    static char controls[BATCH][CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));

    for (unsigned i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){ .iov_base = load->input + (size_t)i * SLOT, .iov_len = SLOT };
        headers[i].msg_hdr =
            (struct msghdr){ .msg_iov = &parts[i],
                             .msg_iovlen = 1,
                             .msg_control = load->options->gso ? controls[i] : NULL,
                             .msg_controllen = load->options->gso ? sizeof controls[i] : 0 };
    }
    int n = recvmmsg(sender->fd, headers, BATCH, MSG_DONTWAIT, NULL);
    if (n < 0 && errno != EAGAIN)
        die("recvmmsg");
    uint64_t now = now_ns();
    for (int i = 0; i < n; i++) {
        size_t len = headers[i].msg_len, segment = segment_of(&headers[i].msg_hdr, len);
        for (size_t at = 0; at < len; at += segment)
            take(load, sender, (char *)parts[i].iov_base + at,
                 len - at < segment ? len - at : segment, now);
    }
    fill_flights(load, sender);
}

static void look_for_losses(struct datagrams *load)
{
    uint64_t now = now_ns();

    if (now < load->next_look)
        return;
    load->next_look = now + PATIENCE_NS / 2;
    for (unsigned i = 0; i < load->options->connections; i++) {
        struct sender *sender = &load->senders[i];
        if (sender->in_flight == 0 || now - sender->active < PATIENCE_NS)
            continue;
        load->run->lost += sender->in_flight;
        sender->in_flight = 0;
        memset(sender->flights, 0, load->options->depth * sizeof *sender->flights);
        fill_flights(load, sender);
    }
}

static void open_sender(const struct datagrams *load, unsigned index)
{
    struct sender *sender = &load->senders[index];
    const struct load_options *options = load->options;
    struct sockaddr_in to = loopback(options->port), from = loopback(0);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = sender };
    int size = 4 << 20, on = 1;

    from.sin_addr.s_addr = htonl((INADDR_LOOPBACK & 0xff000000u) | (1 + index));
    sender->flights = zeroed(options->depth, sizeof *sender->flights);
    sender->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sender->fd < 0)
        die("socket %u", index);
    setsockopt(sender->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (options->gso && setsockopt(sender->fd, SOL_UDP, UDP_GRO, &on, sizeof on) != 0)
        die("UDP_GRO");
    if (bind(sender->fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(sender->fd, (struct sockaddr *)&to, sizeof to) != 0 ||
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, sender->fd, &event) != 0)
        die("datagram socket %u", index);
}

void load_datagram(struct run *run)
{
    const struct load_options *options = run->options;
    static struct datagrams load; /* until the program ends */
    struct epoll_event events[EVENTS];

    errno = 0;
    if (options->size < 16 || options->size > 60000)
        die("a datagram has 16 to 60000 bytes here");
    load = (struct datagrams){ .run = run,
                               .options = options,
                               .script = script_make("echo", options->size),
                               .senders = zeroed(options->connections, sizeof *load.senders),
                               .epoll = epoll_create1(EPOLL_CLOEXEC),
                               .output = zeroed(BATCH, SLOT),
                               .input = zeroed(BATCH, SLOT) };
    for (unsigned i = 0; i < options->connections; i++)
        open_sender(&load, i);
    run_start(run, options);
    for (unsigned i = 0; i < options->connections; i++)
        fill_flights(&load, &load.senders[i]);
    do {
        int n = epoll_wait(load.epoll, events, EVENTS, 100);
        for (int i = 0; i < n; i++)
            receive(&load, events[i].data.ptr);
        look_for_losses(&load);
    } while (run_goes_on(run));
}
