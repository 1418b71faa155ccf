/* Life and answers of an era; what happens to it is decided in rollover.c. */
#include "era.h"
#include <stdio.h>
#include <stdlib.h>

struct era *era_create(struct rollover *rollover, unsigned number)
{
    struct era *era = calloc(1, sizeof *era);

    if (era == NULL)
        return NULL;
    era->rollover = rollover;
    era->generation.number = number;
    return era;
}

void era_free(struct era *era)
{
    supervisor_free(era->supervisor);
    generation_free(&era->generation);
    report_free(&era->report);
    report_free(&era->notes);
    free(era);
}

void era_answer(struct era *era, bool good, const char *text, struct report *report)
{
    char *whole = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&whole, &size);

    if (out != NULL) {
        fputs(text, out);
        report_print(report, out);
        fclose(out);
    }
    waiters_answer(&era->waiters, good, whole != NULL ? whole : "no memory\n");
    free(whole);
}

struct generation_view era_view(const struct era *era, const char *state, uint64_t now)
{
    uint64_t deadline = era->supervisor != NULL ? supervisor_deadline(era->supervisor) : 0;

    return (struct generation_view){ .generation = &era->generation,
                                     .supervisor = era->supervisor,
                                     .state = era->supervisor != NULL ? state : "waiting",
                                     .age_ms = now - era->started_at,
                                     .left_ms = deadline == 0    ? -1
                                                : deadline > now ? (int64_t)(deadline - now)
                                                                 : 0 };
}
