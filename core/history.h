/* What services did in generations that are gone, by the services' names. */
#ifndef HISTORY_H
#define HISTORY_H

#include "generation.h"

struct history {
    struct past *first; /* one for each name */
};

/* Adds the counters of a generation that ends. Without memory they are forgotten, and so are, in time, those
 * of services that no generation has any more. */
void history_add(struct history *history, const struct generation *generation);

/* The sums of a service; zeros for one that is unknown. */
void history_of(const struct history *history, const char *service, struct stats *sum);

void history_free(struct history *history);

#endif
