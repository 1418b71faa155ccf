/* What the programs of the measure share: dying with a word, time, sockets of 127.0.0.0/8. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* Ends the program with status 1 and a line on standard error; with errno's text where that is set. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Nanoseconds of the monotonic clock. */
uint64_t now_ns(void);

/* calloc that dies. */
void *zeroed(size_t count, size_t size);

/* A number from min to max, or death that names what it was for. */
uint64_t number(const char *what, const char *text, uint64_t min, uint64_t max);

/* 127.0.0.1 with this port. */
struct sockaddr_in loopback(uint16_t port);

/* The port that a socket has. */
uint16_t port_of(int fd);

#endif
