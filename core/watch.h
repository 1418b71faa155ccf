/* `watch = yes`: notices that files have changed, by whichever means (written, moved over, deleted, made
 * new), and says so when they have been quiet for half a second. */
#ifndef WATCH_H
#define WATCH_H

#include "generation.h"
#include "loop.h"

struct watch;

/* changed is called from the loop. Returns NULL with errno set. */
struct watch *watch_create(struct loop *loop, void (*changed)(void *context), void *context);

/* Watches the files of a generation from now on, in place of others: the configuration, everything that
 * its `include` may find, and the plugins in use. */
void watch_generation(struct watch *watch, const struct generation *generation);

/* In a process forked from the master. NULL is allowed. */
void watch_forked(struct watch *watch);

/* NULL is allowed. */
void watch_free(struct watch *watch);

#endif
