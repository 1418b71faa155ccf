/* Resource limits of a process, from what the sections of its services say. */
#include "rlimits.h"
#include "tasks.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

/* Where the system has no limit: what it usually is. */
#define STACK (8u << 20)

/* Where a service shares its worker, the largest limit counts: the process cannot tell them apart. */
static uint64_t largest(const struct rlimits_setup *setup, size_t offset)
{
    uint64_t most = 0;

    for (size_t i = 0; i < setup->service_count; i++) {
        const char *limits = (const char *)&setup->config->services[setup->services[i]].limits;
        uint64_t limit;
        memcpy(&limit, limits + offset, sizeof limit);
        if (limit == 0)
            return 0;
        if (limit > most)
            most = limit;
    }
    return most;
}

/* Never more than there is. */
static int lower(__rlimit_resource_t resource, rlim_t wanted)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) != 0)
        return -errno;
    if (wanted < limit.rlim_max)
        limit.rlim_max = wanted;
    if (limit.rlim_cur > limit.rlim_max)
        limit.rlim_cur = limit.rlim_max;
    return setrlimit(resource, &limit) != 0 ? -errno : 0;
}

/* Stacks count as written memory in their whole length, and are not the services'. */
static rlim_t stacks(size_t loops)
{
    pthread_attr_t attr;
    size_t size = 0;

    if (pthread_attr_init(&attr) != 0)
        return 0;
    pthread_attr_getstacksize(&attr, &size);
    pthread_attr_destroy(&attr);
    return (rlim_t)size * loops;
}

/* What the other workers start counts too, and the next generation of them has to fit beside this one. */
static int limit_tasks(const struct rlimits_setup *setup)
{
    uint64_t processes = largest(setup, offsetof(struct service_limits, max_processes));

    return processes != 0 ? tasks_limit(processes + 2 * setup->tasks) : 0;
}

/* That of the main thread, which runs the first loop, grows as it is used: without a limit, a recursion that does not
 * end takes all memory. Other threads' have a size. */
static int limit_stack(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_STACK, &limit) != 0)
        return -errno;
    if (limit.rlim_cur != RLIM_INFINITY)
        return 0;
    limit.rlim_cur = STACK;
    return setrlimit(RLIMIT_STACK, &limit) != 0 ? -errno : 0;
}

int rlimits_enter(const struct rlimits_setup *setup)
{
    uint64_t files = largest(setup, offsetof(struct service_limits, max_files));
    uint64_t memory = largest(setup, offsetof(struct service_limits, max_memory));
    int err = setup->config->server.core_dumps ? 0 : lower(RLIMIT_CORE, 0);

    if (err == 0)
        err = limit_stack();
    if (err == 0)
        err = limit_tasks(setup);
    if (err == 0 && files != 0)
        err = lower(RLIMIT_NOFILE, files);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    if (err == 0 && memory != 0)
        err = lower(RLIMIT_DATA, memory + stacks(setup->loops));
#else
    (void)memory, (void)stacks; /* their shadows are far larger than any limit */
#endif
    return err;
}
