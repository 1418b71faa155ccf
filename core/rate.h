/* Rates as people write them (`100/s burst 200`), and the bucket of tokens that holds somebody to one. */
#ifndef RATE_H
#define RATE_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_MAX 1000000

/* `count` events each `period` milliseconds, `burst` of them at once. count 0: no limit. */
struct rate {
    uint32_t count, period, burst; /* count and burst: 1 to RATE_MAX */
};

/* `100/s`, `30/m`, `5/h`, with ` burst 200` behind it or else as many as count; strictly. Returns 0, or
 * -EINVAL with a sentence in error that says what would be right. */
#define RATE_ERROR 256
int rate_parse(const char *text, struct rate *out, char error[RATE_ERROR]);

/* A bucket of tokens, as the time at which it will be full again, in units of a millisecond / count: a token
 * is `period` such units, exactly, so that nothing is rounded and nothing drifts. 0, and any time past, is a
 * full one. Nothing overflows for the first 500 years of the clock. */
typedef uint64_t rate_bucket;

/* Takes a token at `now` (milliseconds of a clock that never goes backward); false where there is none, and
 * then nothing changes. A millisecond is one moment: what falls due within it is there, so that a small burst
 * loses nothing to the clock's steps. A `now` that is a little behind an earlier one is harmless. */
static inline bool rate_take(const struct rate *rate, rate_bucket *full_at, uint64_t now)
{
    uint64_t start = now * rate->count;
    uint64_t next = (*full_at > start ? *full_at : start) + rate->period;

    if (next - start >= (uint64_t)rate->burst * rate->period + rate->count)
        return false;
    *full_at = next;
    return true;
}

/* Puts back a token that was taken. */
static inline void rate_give_back(const struct rate *rate, rate_bucket *full_at)
{
    *full_at -= *full_at < rate->period ? *full_at : rate->period;
}

#endif
