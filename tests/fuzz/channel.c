/* Fuzzer of channel.c: what a worker, which may be a plugin gone wild, sends to the master. Whatever it is,
 * the text ends and no descriptor stays behind. */
#include "channel.h"
#include "fuzz.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 8

static int lowest_free(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

static bool send_raw(int end, const struct input *text, unsigned fds)
{
    union {
        struct cmsghdr align;
        unsigned char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = { .room = { 0 } };
    struct iovec part = { .iov_base = (void *)text->data, .iov_len = text->len };
    struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

    if (fds != 0) {
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(fds * sizeof(int));
        control.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(fds * sizeof(int)),
                                          .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS };
        for (unsigned i = 0; i < fds; i++)
            memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &end, sizeof end);
    }
    return sendmsg(end, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

static void check_packet(const struct channel_packet *packet, const struct input *text)
{
    size_t kept = text->len - 1 < CHANNEL_TEXT - 1 ? text->len - 1 : CHANNEL_TEXT - 1;

    CHECK((uint8_t)packet->type == text->data[0]);
    CHECK(strnlen(packet->text, CHANNEL_TEXT) <= kept);
    CHECK(memcmp(packet->text, text->data + 1, strlen(packet->text)) == 0);
    if (packet->fd >= 0) {
        CHECK(fcntl(packet->fd, F_GETFD) == FD_CLOEXEC);
        close(packet->fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .data = data, .len = size };
    int before = lowest_free(), ends[2], got;

    CHECK(channel_create(ends) == 0);
    while (in.len != 0) {
        unsigned kind = input_byte(&in);
        struct input text = input_part(&in, kind & 0x40 ? input_number(&in) : input_byte(&in));
        struct channel_packet packet;
        memset(&packet, 0x55, sizeof packet);
        if (!send_raw(ends[1], &text, kind & 7))
            continue;
        got = channel_receive(ends[0], &packet);
        CHECK(got == (text.len != 0));
        if (got == 1)
            check_packet(&packet, &text);
        CHECK(lowest_free() == (ends[0] > ends[1] ? ends[0] : ends[1]) + 1);
    }
    close(ends[0]);
    close(ends[1]);
    CHECK(lowest_free() == before);
    return 0;
}
