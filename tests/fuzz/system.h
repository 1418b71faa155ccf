/* In place of the system for connections: a clock that only the fuzzer moves, and sockets (real ones, below)
 * that take and give less than they could, or fail, as the input says. */
#ifndef FUZZ_SYSTEM_H
#define FUZZ_SYSTEM_H

#include "fuzz.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static struct {
    struct input faults; /* a byte for each call; at its end all go well */
    uint64_t now;        /* milliseconds */
    int timer;           /* an eventfd that the loop takes for a timerfd */
    uint64_t armed;      /* 0: not */
} fake = { .timer = -1 };

int clock_gettime(clockid_t clock, struct timespec *t)
{
    if (clock != CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, clock, t);
    *t = (struct timespec){ .tv_sec = (time_t)(fake.now / 1000),
                            .tv_nsec = (long)(fake.now % 1000) * 1000000 };
    return 0;
}

int timerfd_create(clockid_t clock, int flags)
{
    (void)clock, (void)flags;
    fake.armed = 0;
    return fake.timer = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before)
{
    CHECK(fd == fake.timer && flags == TFD_TIMER_ABSTIME && before == NULL);
    fake.armed =
        (uint64_t)when->it_value.tv_sec * 1000 + (uint64_t)when->it_value.tv_nsec / 1000000;
    return 0;
}

static void fake_advance(uint64_t ms)
{
    fake.now += ms;
    if (fake.armed == 0 || fake.now < fake.armed)
        return;
    fake.armed = 0;
    CHECK(write(fake.timer, &(uint64_t){ 1 }, sizeof(uint64_t)) == sizeof(uint64_t));
}

/* Returns how many of len bytes may move now, or -1 with errno set. */
static ssize_t fake_limit(size_t len, int hard)
{
    unsigned fault = input_byte(&fake.faults);

    if (fault < 96)
        return (ssize_t)len;
    if (fault < 200)
        return (ssize_t)(len < fault - 95 ? len : fault - 95);
    errno = fault < 230   ? EAGAIN
            : fault < 240 ? EINTR
            : fault < 246 ? ECONNRESET
            : fault < 250 ? hard
            : fault < 253 ? ETIMEDOUT
                          : EIO;
    return -1;
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    ssize_t limit = fake_limit(len, ENOBUFS);

    CHECK(len != 0 && flags & MSG_NOSIGNAL);
    return limit < 0 ? -1
                     : syscall(SYS_sendto, fd, data, (size_t)limit, flags | MSG_DONTWAIT, NULL, 0);
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    ssize_t limit = fake_limit(size, ENOMEM);

    return limit < 0
               ? -1
               : syscall(SYS_recvfrom, fd, data, (size_t)limit, flags | MSG_DONTWAIT, NULL, NULL);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (operation == EPOLL_CTL_MOD && input_byte(&fake.faults) > 253) {
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

#endif
