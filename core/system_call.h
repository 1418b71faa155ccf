/* The system calls of the hot path, without the C library's wrappers. In a process with threads these make
 * the calling thread cancellable around each call that may block, which costs two locked instructions;
 * no thread of ours is ever cancelled. They return what the wrappers return, with errno. */
#ifndef SYSTEM_CALL_H
#define SYSTEM_CALL_H

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A sanitizer has to see what is read and written. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SYSTEM_CALL_WRAPPED 1
#else
#define SYSTEM_CALL_WRAPPED 0
#endif

static inline ssize_t system_recv(int fd, void *data, size_t size)
{
    return SYSTEM_CALL_WRAPPED ? recv(fd, data, size, 0)
                               : syscall(SYS_recvfrom, fd, data, size, 0, NULL, NULL);
}

static inline ssize_t system_send(int fd, const void *data, size_t len)
{
    return SYSTEM_CALL_WRAPPED ? send(fd, data, len, MSG_NOSIGNAL)
                               : syscall(SYS_sendto, fd, data, len, MSG_NOSIGNAL, NULL, 0);
}

static inline int system_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout)
{
    return SYSTEM_CALL_WRAPPED
               ? epoll_wait(epoll, events, count, timeout)
               : (int)syscall(SYS_epoll_pwait, epoll, events, count, timeout, NULL, 0);
}

static inline int system_recvmmsg(int fd, struct mmsghdr *headers, unsigned count)
{
    return SYSTEM_CALL_WRAPPED ? recvmmsg(fd, headers, count, 0, NULL)
                               : (int)syscall(SYS_recvmmsg, fd, headers, count, 0, NULL);
}

static inline int system_sendmmsg(int fd, struct mmsghdr *headers, unsigned count)
{
    return SYSTEM_CALL_WRAPPED ? sendmmsg(fd, headers, count, 0)
                               : (int)syscall(SYS_sendmmsg, fd, headers, count, 0);
}

static inline int system_accept(int fd, struct sockaddr *address, socklen_t *len)
{
    return SYSTEM_CALL_WRAPPED
               ? accept4(fd, address, len, SOCK_NONBLOCK | SOCK_CLOEXEC)
               : (int)syscall(SYS_accept4, fd, address, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static inline int system_close(int fd)
{
    return SYSTEM_CALL_WRAPPED ? close(fd) : (int)syscall(SYS_close, fd);
}

#endif
