/* Latencies in a log-linear histogram: 64 steps for each power of two, so that a quantile is told within
 * 1.6 % whatever its size, and recording one costs an add. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 6
#define HISTOGRAM_STEPS (1u << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_SLOTS ((64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS)

/* Zeroed is empty. */
struct histogram {
    uint64_t count, max;
    uint64_t slots[HISTOGRAM_SLOTS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* The value that this part (0 to 1) of all values does not pass; 0 where there is none. Never below the
 * true one, and at most 1/64 above it. */
uint64_t histogram_quantile(const struct histogram *histogram, double part);

#endif
