/* The limit for datagrams: up to 64 in one recvmmsg, answered in one sendmmsg; with `gso` bursts come and leave
 * in one piece each (UDP_GRO, UDP_SEGMENT). */
#include "bare.h"
#include "common.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define BATCH 64
#define SLOT 65536u
#define SLOT_PLAIN 2048u

static struct mmsghdr headers[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in peers[BATCH];
static char controls[BATCH][CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));

static void prepare(char *memory, size_t slot, bool gso)
{
    for (unsigned i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){ .iov_base = memory + i * slot, .iov_len = slot };
        headers[i].msg_hdr = (struct msghdr){ .msg_name = &peers[i],
                                              .msg_namelen = sizeof peers[i],
                                              .msg_iov = &parts[i],
                                              .msg_iovlen = 1,
                                              .msg_control = gso ? controls[i] : NULL,
                                              .msg_controllen = gso ? sizeof controls[i] : 0 };
    }
}

/* A burst leaves cut as it came; UDP_GRO tells an int, UDP_SEGMENT takes 16 bits. */
static void answer_burst(struct msghdr *header)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(header);
    int segment;

    if (c == NULL || c->cmsg_type != UDP_GRO) {
        header->msg_control = NULL;
        header->msg_controllen = 0;
        return;
    }
    memcpy(&segment, CMSG_DATA(c), sizeof segment);
    uint16_t size = (uint16_t)segment;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(c), &size, sizeof size);
    header->msg_controllen = CMSG_SPACE(sizeof size);
}

static void serve_batch(int fd, size_t slot, bool gso)
{
    int n = recvmmsg(fd, headers, BATCH, MSG_DONTWAIT, NULL);

    for (int i = 0; i < n; i++) {
        parts[i].iov_len = headers[i].msg_len;
        if (gso)
            answer_burst(&headers[i].msg_hdr);
    }
    for (int sent = 0; sent < n;) {
        int done = sendmmsg(fd, headers + sent, (unsigned)(n - sent), 0);
        sent += done > 0 ? done : 1; /* what cannot be sent is lost */
    }
    for (int i = 0; i < n; i++) {
        parts[i].iov_len = slot;
        if (gso) {
            headers[i].msg_hdr.msg_control = controls[i];
            headers[i].msg_hdr.msg_controllen = sizeof controls[i];
        }
    }
}

void bare_datagram(bool gso)
{
    struct sockaddr_in address = loopback(0);
    int size = 4 << 20, on = 1, epoll = epoll_create1(EPOLL_CLOEXEC);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    size_t slot = gso ? SLOT : SLOT_PLAIN;
    struct epoll_event event = { .events = EPOLLIN };

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("datagram socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (gso && setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on) != 0)
        die("UDP_GRO");
    prepare(zeroed(BATCH, slot), slot, gso);
    bare_listens(port_of(fd));
    for (;;)
        if (epoll_wait(epoll, &event, 1, -1) > 0)
            serve_batch(fd, slot, gso);
}
