/* `watch = yes`: notices that files have changed, by whichever means (written, moved over, deleted, made
 * new), and says so when they have been quiet for half a second. */
#ifndef WATCH_H
#define WATCH_H

#include "generation.h"
#include "loop.h"

struct watch;

/* changed is called from the loop. Returns NULL with errno set. */
struct watch *watch_create(struct loop *loop, void (*changed)(void *context), void *context);

/* Watches from now on, in place of others, the files of the generation that serves and those of the last
 * attempt at another (NULL: there was none since), so that mending what was wrong with it is noticed. Files
 * of a generation: the configuration, everything that its `include` may find, and the plugins it names,
 * whether they are there or not. */
void watch_generations(struct watch *watch, const struct generation *serving,
                       const struct generation *attempt);

/* NULL is allowed. */
void watch_free(struct watch *watch);

#endif
