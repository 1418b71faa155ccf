/* Sums over generations that are gone. */
#include "history.h"
#include <stdlib.h>
#include <string.h>

struct past {
    struct past *next;
    char *service;
    struct stats sum;
};

static struct past *find(const struct history *history, const char *service)
{
    for (struct past *past = history->first; past != NULL; past = past->next)
        if (strcmp(past->service, service) == 0)
            return past;
    return NULL;
}

/* NULL without memory. */
static struct past *find_or_add(struct history *history, const char *service)
{
    struct past *past = find(history, service);

    if (past != NULL)
        return past;
    past = aligned_alloc(_Alignof(struct past), sizeof *past);
    if (past == NULL)
        return NULL;
    memset(past, 0, sizeof *past);
    past->service = strdup(service);
    if (past->service == NULL) {
        free(past);
        return NULL;
    }
    past->next = history->first;
    history->first = past;
    return past;
}

void history_add(struct history *history, const struct generation *generation)
{
    for (size_t i = 0; i < generation->config->service_count; i++) {
        struct past *past = find_or_add(history, generation->config->services[i].name);
        struct stats sum;
        if (past == NULL)
            continue;
        stats_sum(generation->counters, i, &sum);
        stats_merge(&past->sum, &sum);
    }
}

void history_of(const struct history *history, const char *service, struct stats *sum)
{
    const struct past *past = find(history, service);

    if (past != NULL)
        memcpy(sum, &past->sum, sizeof *sum);
    else
        memset(sum, 0, sizeof *sum);
}

void history_free(struct history *history)
{
    struct past *next;

    for (struct past *past = history->first; past != NULL; past = next) {
        next = past->next;
        free(past->service);
        free(past);
    }
    history->first = NULL;
}
