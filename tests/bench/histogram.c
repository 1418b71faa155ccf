/* Latencies in a log-linear histogram. */
#include "histogram.h"

/* Values below HISTOGRAM_STEPS have a slot each; above, a slot spans 2^shift values. */
static unsigned slot_of(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    return (shift + 1) * HISTOGRAM_STEPS + (unsigned)(value >> shift) - HISTOGRAM_STEPS;
}

static uint64_t last_of(unsigned slot)
{
    if (slot < HISTOGRAM_STEPS)
        return slot;
    unsigned shift = slot / HISTOGRAM_STEPS - 1;
    uint64_t first = (uint64_t)(slot % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift;
    return first + ((UINT64_C(1) << shift) - 1);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->slots[slot_of(value)]++;
    if (value > histogram->max)
        histogram->max = value;
}

uint64_t histogram_quantile(const struct histogram *histogram, double part)
{
    uint64_t seen = 0;
    double wanted = part * (double)histogram->count;

    for (unsigned slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
        seen += histogram->slots[slot];
        if (seen == 0 || (double)seen < wanted)
            continue;
        uint64_t last = last_of(slot);
        return last < histogram->max ? last : histogram->max;
    }
    return histogram->max;
}
