/* Finding how many tasks a user has, and setting a limit from there.
 *
 * The kernel counts by user, not by process, and tells the count to nobody; but it compares it with the
 * limit at each clone. So larger and larger limits are tried until one lets a process be started, in
 * about 100 us. */
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

/* Returns how many there are, or up to a quarter more; `most` where there is no room. From below, since a try
 * that succeeds has to wait for the child, behind all that want to run: so there is only one of these. */
static uint64_t count(struct rlimit limit, uint64_t most)
{
    uint64_t tasks = 1;

    while (!suffices(limit, tasks) && tasks < most) {
        tasks += tasks / 4 + 1;
        if (tasks > most)
            tasks = most;
    }
    return tasks;
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
