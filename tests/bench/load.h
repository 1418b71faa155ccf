/* The load generator: what its modes share. Each mode drives a server in a closed loop and checks every byte of
 * its answers; `run` cuts the time into a warm-up and a window, and measures the window. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "histogram.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LOAD_PROCESSES 8

/* The mode's most silent second: an answer that takes longer fails the measure. */
#define LOAD_PATIENCE_MS 10000

struct load_options {
    uint16_t port;
    unsigned ports;       /* so many from `port` on; connection i uses port + i % ports */
    unsigned connections; /* of a stream, or sockets for datagrams */
    unsigned depth;       /* requests in flight on each */
    size_t size;          /* of a request of echo, or of a datagram */
    const char *protocol; /* echo, hola or ping */
    uint64_t warmup_ns, window_ns;
    uint64_t requests; /* not 0: so many, and no time */
    uint64_t pace_ns;  /* not 0: a request each, and not as fast as answers come */
    bool gso;          /* send datagrams in bursts, and receive them so */
    pid_t servers[LOAD_PROCESSES], helpers[LOAD_PROCESSES]; /* 0 ends them */
    int core;                                               /* -1: not pinned */
};

/* ---- the window ---- */

struct run {
    const struct load_options *options;
    bool counting;
    uint64_t begins, ends; /* the window; monotonic */
    uint64_t done, lost;   /* requests of the window */
    uint64_t bytes;
    struct histogram latencies;
    struct run_clocks *clocks;
};

void run_start(struct run *run, const struct load_options *options);

/* Called once a batch of events. Begins the window when its time has come. Returns false when it has ended. */
bool run_goes_on(struct run *run);

/* One whole answer of `bytes` came, `latency` after its request had left. */
static inline void run_answered(struct run *run, uint64_t latency, size_t bytes)
{
    run->done++;
    run->bytes += bytes;
    histogram_add(&run->latencies, latency);
}

/* Prints the window as one JSON object. */
void run_report(const struct run *run);

/* ---- the protocols ---- */

/* A protocol of a stream is two endless strings, of what is asked and of what must come back. Both repeat
 * after a period; a slice of up to SCRIPT_SLICE bytes can be taken from any place. */
#define SCRIPT_SLICE ((size_t)256 * 1024)

struct script {
    const char *ask, *answer;
    size_t ask_period, answer_period;
    size_t ask_size, answer_size; /* of one request */
    bool seeded;                  /* each connection may begin elsewhere */
};

/* The last one that was made is the one that holds. */
struct script script_make(const char *protocol, size_t size);

/* ---- the modes ---- */

void load_stream(struct run *run);
void load_short(struct run *run);
void load_datagram(struct run *run);
void load_hold(const struct load_options *options);

/* A stream connection to the server. `index` chooses the port. */
int load_connect(const struct load_options *options, unsigned index);

#endif
