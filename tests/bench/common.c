/* What the programs of the measure share. */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void die(const char *format, ...)
{
    int error = errno;
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (error != 0)
        fprintf(stderr, ": %s", strerror(error));
    fputc('\n', stderr);
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void *zeroed(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL)
        die("no memory");
    return memory;
}

uint64_t number(const char *what, const char *text, uint64_t min, uint64_t max)
{
    char *end;

    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value < min || value > max) {
        errno = 0;
        die("%s: %s is no number from %llu to %llu", what, text, (unsigned long long)min,
            (unsigned long long)max);
    }
    return value;
}

struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

uint16_t port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;

    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        die("getsockname");
    return ntohs(address.sin_port);
}
