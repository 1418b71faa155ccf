/* The waits between the starts of a worker. */
#include "backoff.h"

#define FIRST_MS 100
#define DOUBLED_MS 5000
#define MAX_MS 30000
#define HEALTHY_MS 60000

uint64_t backoff_next(struct backoff *backoff, uint64_t lived_ms, bool answered)
{
    uint64_t delay = FIRST_MS;

    if (lived_ms >= HEALTHY_MS)
        backoff->failures = 0;
    else if (answered && backoff->failures > 1)
        backoff->failures = 1;
    if (backoff->failures++ == 0)
        return 0;
    if (answered)
        return lived_ms < FIRST_MS ? FIRST_MS - lived_ms : 0;
    for (unsigned i = 2; i < backoff->failures && delay < DOUBLED_MS; i++)
        delay *= 2;
    return delay < DOUBLED_MS ? delay : MAX_MS;
}
