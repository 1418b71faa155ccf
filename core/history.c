/* Sums over generations that are gone. */
#include "history.h"
#include <stdlib.h>
#include <string.h>

/* How many names are remembered beside those of the generation that was added last. */
#define HISTORY_MAX 256

/* Those of the generation that was added last come first. */
struct past {
    struct past *next;
    char *service;
    struct stats sum;
};

/* Where the link to it is. */
static struct past **find(struct history *history, const char *service)
{
    struct past **link = &history->first;

    while (*link != NULL && strcmp((*link)->service, service) != 0)
        link = &(*link)->next;
    return link;
}

/* Takes it out of the list, or makes it; NULL without memory. */
static struct past *take(struct history *history, const char *service)
{
    struct past **link = find(history, service), *past = *link;

    if (past != NULL) {
        *link = past->next;
        return past;
    }
    past = aligned_alloc(_Alignof(struct past), sizeof *past);
    if (past == NULL)
        return NULL;
    memset(past, 0, sizeof *past);
    past->service = strdup(service);
    if (past->service == NULL) {
        free(past);
        return NULL;
    }
    return past;
}

static void free_list(struct past *past)
{
    while (past != NULL) {
        struct past *next = past->next;
        free(past->service);
        free(past);
        past = next;
    }
}

/* Names that a file does not have any more go with time. */
static void forget_oldest(struct history *history, size_t kept)
{
    struct past **link = &history->first;

    for (size_t i = 0; i < kept && *link != NULL; i++)
        link = &(*link)->next;
    free_list(*link);
    *link = NULL;
}

void history_add(struct history *history, const struct generation *generation)
{
    size_t count = generation->config->service_count;

    for (size_t i = count; i-- > 0;) { /* so that a search, in the order of the file, is short */
        struct past *past = take(history, generation->config->services[i].name);
        struct stats sum;
        if (past == NULL)
            continue;
        stats_sum(generation->counters, i, &sum);
        stats_merge(&past->sum, &sum);
        past->next = history->first;
        history->first = past;
    }
    forget_oldest(history, count + HISTORY_MAX);
}

void history_of(const struct history *history, const char *service, struct stats *sum)
{
    const struct past *past = *find((struct history *)history, service);

    if (past != NULL)
        memcpy(sum, &past->sum, sizeof *sum);
    else
        memset(sum, 0, sizeof *sum);
}

void history_free(struct history *history)
{
    free_list(history->first);
    history->first = NULL;
}
