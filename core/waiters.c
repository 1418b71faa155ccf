/* Lists of waiters. */
#include "waiters.h"
#include <stddef.h>

void waiters_answer(struct reload_waiter **waiters, bool good, const char *text)
{
    struct reload_waiter *waiter = *waiters;

    *waiters = NULL;
    while (waiter != NULL) {
        struct reload_waiter *next = waiter->next;
        waiter->done(waiter, good, text);
        waiter = next;
    }
}

void waiters_append(struct reload_waiter **waiters, struct reload_waiter **more)
{
    while (*waiters != NULL)
        waiters = &(*waiters)->next;
    *waiters = *more;
    *more = NULL;
}

bool waiters_forget(struct reload_waiter **waiters, const struct reload_waiter *waiter)
{
    for (; *waiters != NULL; waiters = &(*waiters)->next)
        if (*waiters == waiter) {
            *waiters = waiter->next;
            return true;
        }
    return false;
}
