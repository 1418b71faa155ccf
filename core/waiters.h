/* Lists of those who wait for a change of the server. */
#ifndef WAITERS_H
#define WAITERS_H

#include <stdbool.h>

/* Somebody who waits for a reload or an upgrade; owned by the caller until done is called, once. */
struct reload_waiter {
    struct reload_waiter *next;
    /* text: `generation 2 serves` and what was not changed, or every error, a line each. */
    void (*done)(struct reload_waiter *waiter, bool good, const char *text);
};

/* Tells each of the list, which is empty then. */
void waiters_answer(struct reload_waiter **waiters, bool good, const char *text);

/* Moves all of `more` to the end of the list. */
void waiters_append(struct reload_waiter **waiters, struct reload_waiter **more);

/* Takes one out of the list. Returns whether it was there. */
bool waiters_forget(struct reload_waiter **waiters, const struct reload_waiter *waiter);

#endif
