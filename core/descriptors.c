/* Closing what is not kept: the gaps in a sorted list. */
#include "descriptors.h"
#include "log_sink.h"
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

void descriptors_keep(struct descriptors *kept, int fd)
{
    if (fd < 0 || kept->failed)
        return;
    if (kept->count == kept->room) {
        size_t room = kept->room != 0 ? 2 * kept->room : 64;
        int *fds = realloc(kept->fds, room * sizeof *fds);
        kept->failed = fds == NULL;
        if (fds == NULL)
            return;
        kept->fds = fds;
        kept->room = room;
    }
    kept->fds[kept->count++] = fd;
}

static int compare(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

void descriptors_close_others(struct descriptors *kept)
{
    int next = STDERR_FILENO + 1;

    descriptors_keep(kept, log_sink_fd());
    descriptors_keep(kept, log_sink_ringer());
    descriptors_keep(kept, INT_MAX); /* behind the last */
    if (!kept->failed)
        qsort(kept->fds, kept->count, sizeof *kept->fds, compare);
    for (size_t i = 0; i < kept->count && !kept->failed; i++) {
        if (kept->fds[i] > next)
            close_range((unsigned)next, (unsigned)kept->fds[i] - 1, 0);
        if (kept->fds[i] >= next)
            next = kept->fds[i] < INT_MAX ? kept->fds[i] + 1 : INT_MAX;
    }
    free(kept->fds);
    *kept = (struct descriptors){ .fds = NULL };
}
