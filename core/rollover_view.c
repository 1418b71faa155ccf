/* What others see of the generations. */
#include "rollover.h"
#include "rollover_state.h"

const struct generation *rollover_serving(const struct rollover *rollover)
{
    return rollover->serving != NULL ? &rollover->serving->generation : NULL;
}

void rollover_history(const struct rollover *rollover, const char *service, struct stats *sum)
{
    history_of(&rollover->history, service, sum);
}

void rollover_each(const struct rollover *rollover,
                   void (*see)(void *context, const struct generation_view *view), void *context)
{
    const struct era *all[] = { rollover->serving, rollover->draining, rollover->next };
    static const char *const states[] = { "serving", "draining", "starting" };
    uint64_t now = clock_ms();

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i] == NULL)
            continue;
        struct generation_view view = era_view(all[i], states[i], now);
        see(context, &view);
    }
}

void rollover_reloads(const struct rollover *rollover, struct reload_view *view)
{
    *view = (struct reload_view){ .file = rollover->setup.file,
                                  .error = rollover->failure,
                                  .failed_ago = clock_ms() - rollover->failed_at };
}
