/* Limits, and the order in which a process's cage is closed. */
#include "sandbox.h"
#include "landlock.h"
#include "seccomp.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* Newer than Debian 12's headers. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

/* Where a service shares its worker, the largest limit counts: the process cannot tell them apart. */
static uint64_t largest(const struct config *config, const size_t *services, size_t count,
                        size_t offset)
{
    uint64_t most = 0;

    for (size_t i = 0; i < count; i++) {
        const char *limits = (const char *)&config->services[services[i]].limits;
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

static int limit(const struct config *config, const size_t *services, size_t count, size_t loops)
{
    uint64_t files = largest(config, services, count, offsetof(struct service_limits, max_files));
    uint64_t memory = largest(config, services, count, offsetof(struct service_limits, max_memory));
    int err = config->server.core_dumps ? 0 : lower(RLIMIT_CORE, 0);

    if (err == 0 && files != 0)
        err = lower(RLIMIT_NOFILE, files);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    if (err == 0 && memory != 0)
        err = lower(RLIMIT_DATA, memory + stacks(loops));
#else
    (void)memory, (void)stacks, (void)loops; /* their shadows are far larger than any limit */
#endif
    return err;
}

static struct seccomp_sockets named_sockets(const struct config *config, const size_t *services,
                                            size_t count)
{
    struct seccomp_sockets sockets = { .tcp = false };

    for (size_t i = 0; i < count; i++) {
        const struct service_config *service = &config->services[services[i]];
        for (size_t n = 0; n < service->connect_count; n++) {
            int kind = service->connects[n].endpoint.kind;
            sockets.tcp = sockets.tcp || kind == ENCHUFE_TCP;
            sockets.udp = sockets.udp || kind == ENCHUFE_UDP;
            sockets.local = sockets.local || kind == ENCHUFE_UNIX;
        }
    }
    return sockets;
}

const char *sandbox_lacking(char text[SANDBOX_TEXT])
{
    int abi = landlock_abi();
    const char *landlock = abi >= 6   ? ""
                           : abi >= 4 ? ", abstract sockets (Landlock 6)"
                           : abi >= 1 ? ", TCP ports (Landlock 4), abstract sockets (Landlock 6)"
                                      : ", files and TCP ports (Landlock)";

    snprintf(text, SANDBOX_TEXT, "%s%s", landlock,
             seccomp_is_there() ? "" : ", system calls (seccomp)");
    if (*text != '\0')
        memmove(text, text + 2, strlen(text + 2) + 1);
    return text;
}

/* One that has `sandbox = no` has its worker for itself. */
static bool is_wanted(const struct config *config, const size_t *services, size_t count)
{
    return count == 0 || config->services[services[0]].limits.sandbox;
}

static int enter(const struct config *config, const size_t *services, size_t count, size_t loops)
{
    struct seccomp_sockets sockets = named_sockets(config, services, count);
    int err = limit(config, services, count, loops);

    /* Nobody of the same user may look into this process, or trace it. */
    prctl(PR_SET_DUMPABLE, config->server.core_dumps ? 1 : 0);
    if (err != 0 || !is_wanted(config, services, count))
        return err;
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0); /* the filter does the same without it */
#endif
    err = landlock_enter(config, services, count);
    return err != 0 ? err : seccomp_enter(&sockets);
}

int sandbox_enter(const struct config *config, const size_t *services, size_t count, size_t loops,
                  const struct identity *identity, char error[SANDBOX_TEXT])
{
    int err = privileges_drop(identity);

    if (err != 0) {
        snprintf(
            error, SANDBOX_TEXT,
            "cannot become user %u and group %u: %s; say which they are with user and group of "
            "[server]",
            (unsigned)identity->uid, (unsigned)identity->gid, strerror(-err));
        return err;
    }
    err = enter(config, services, count, loops);
    if (err != 0)
        snprintf(error, SANDBOX_TEXT, "cannot put on the sandbox: %s", strerror(-err));
    return err;
}
