/* Finding how many tasks a user has, and setting a limit from there.
 *
 * The kernel counts by user, not by process, and tells the count to nobody; but it compares it with the
 * limit at each clone. So limits are tried, in about 100 us, until the smallest one is found that lets a
 * process be started. Others' tasks may come and go meanwhile: what is found was true at some moment of
 * the search. */
#include "tasks.h"
#include <errno.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* As many as Linux can have. */
#define TASKS_MAX (UINT64_C(1) << 22)

/* Whether a process could be started under that limit. It shares the memory, which makes it cheap. */
static bool suffices(struct rlimit limit, uint64_t tasks)
{
    limit.rlim_cur = tasks;
    if (setrlimit(RLIMIT_NPROC, &limit) != 0)
        return false;
    pid_t child = vfork();
    if (child == 0)
        _exit(0);
    if (child < 0)
        return false;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    return true;
}

/* Returns how many there are, or `most` where that is not enough for one more. */
static uint64_t count(struct rlimit limit, uint64_t most)
{
    uint64_t few = 0, enough = 1;

    while (!suffices(limit, enough)) {
        if (enough == most)
            return most;
        few = enough;
        enough = enough < most / 2 ? 2 * enough : most;
    }
    while (enough - few > 1) {
        uint64_t middle = few + (enough - few) / 2;
        if (suffices(limit, middle))
            enough = middle;
        else
            few = middle;
    }
    return few;
}

int tasks_limit(uint64_t more)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NPROC, &limit) != 0)
        return -errno;
    uint64_t most = limit.rlim_max < TASKS_MAX ? limit.rlim_max : TASKS_MAX;
    uint64_t now = most != 0 ? count(limit, most) : 0;
    if (now < most && more < most && 2 * now + more < most)
        limit.rlim_cur = limit.rlim_max = 2 * now + more;
    return setrlimit(RLIMIT_NPROC, &limit) != 0 ? -errno : 0;
}
