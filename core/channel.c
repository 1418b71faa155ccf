/* Messages between the master and a worker. */
#include "channel.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEND_TRIES 100

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

union control {
    struct cmsghdr align;
    unsigned char room[CMSG_SPACE(sizeof(int))];
};

int channel_create(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0 ? -errno : 0;
}

void channel_refuse_descriptors(int end)
{
    (void)setsockopt(end, SOL_SOCKET, SO_PASSRIGHTS, &(int){ 0 }, sizeof(int));
}

int channel_send(int end, enum channel_message type, const char *text, int fd)
{
    char letter = (char)type;
    size_t len = text != NULL ? strnlen(text, CHANNEL_TEXT - 1) : 0;
    struct iovec parts[] = { { .iov_base = &letter, .iov_len = 1 },
                             { .iov_base = (void *)(text != NULL ? text : ""), .iov_len = len } };
    union control control = { .room = { 0 } };
    struct msghdr header = { .msg_iov = parts, .msg_iovlen = 2 };
    ssize_t n = -1;

    if (fd >= 0) {
        header.msg_control = &control;
        header.msg_controllen = sizeof control;
        control.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd),
                                          .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(&control.align), &fd, sizeof fd);
    }
    /* Nobody says it again: where the system has no memory for the moment, it is asked again. */
    for (int tries = 0; tries < SEND_TRIES; tries++) {
        n = sendmsg(end, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0 || (errno != EINTR && errno != ENOBUFS && errno != ENOMEM))
            break;
    }
    return n < 0 ? -errno : 0;
}

int channel_receive(int end, struct channel_packet *packet)
{
    struct iovec parts[] = { { .iov_base = &packet->type, .iov_len = 1 },
                             { .iov_base = packet->text, .iov_len = sizeof packet->text - 1 } };
    union control control;
    /* Room for one descriptor and no padding, in which the system would find room for a second. */
    struct msghdr header = { .msg_iov = parts,
                             .msg_iovlen = 2,
                             .msg_control = &control,
                             .msg_controllen = CMSG_LEN(sizeof(int)) };
    ssize_t n;

    packet->fd = -1;
    do
        n = recvmsg(end, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ECONNRESET ? 0 : -errno;
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(&packet->fd, CMSG_DATA(c), sizeof packet->fd);
    if (n > 0) {
        packet->text[n - 1] = '\0';
        return 1;
    }
    /* The end, or a message of no byte from a plugin gone wild, which may bring a descriptor too. */
    if (packet->fd >= 0)
        close(packet->fd);
    return 0;
}
