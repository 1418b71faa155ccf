/* The limit: servers that do nothing but wait, receive and send, as fast as we know how. */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include "reply.h"
#include <stdint.h>

/* Serves streams on `threads` threads, each pinned to a core of its own if there is more than one. Prints the
 * port. Never returns. */
void bare_stream(unsigned threads, bool hola) __attribute__((noreturn));

/* Serves datagrams; `gso`: whole bursts in one piece. Prints the port. Never returns. */
void bare_datagram(bool gso) __attribute__((noreturn));

/* Says that the port is open. */
void bare_listens(uint16_t port);

#endif
