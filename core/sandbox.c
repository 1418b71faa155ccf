/* Which parts of the sandbox a process needs, and the order in which they are put on. */
#include "sandbox.h"
#include "landlock.h"
#include "seccomp.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

/* Newer than Debian 12's headers. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

static struct seccomp_sockets named_sockets(const struct rlimits_setup *setup)
{
    struct seccomp_sockets sockets = { .tcp = false };

    for (size_t i = 0; i < setup->service_count; i++) {
        const struct service_config *service = &setup->config->services[setup->services[i]];
        for (size_t n = 0; n < service->connect_count; n++) {
            int kind = service->connects[n].endpoint.kind;
            sockets.tcp = sockets.tcp || kind == ENCHUFE_TCP;
            sockets.udp = sockets.udp || kind == ENCHUFE_UDP;
            sockets.local = sockets.local || kind == ENCHUFE_UNIX;
        }
    }
    return sockets;
}

/* Where Landlock sees all that it should, a filter of system calls adds little, and costs each of them
 * something. Linux 6.12 has this one, and PR_SET_MDWE. */
#define LANDLOCK_ENOUGH 6

/* Where `yes` means the filter too. Of root's tasks the kernel counts none, so it can start any number. */
static bool needs_filter(const struct identity *identity)
{
    return landlock_abi() < LANDLOCK_ENOUGH || identity->uid == 0;
}

static bool any_says(const struct config *config, enum sandbox level)
{
    for (size_t i = 0; i < config->service_count; i++)
        if (config->services[i].limits.sandbox == (int)level)
            return true;
    return false;
}

enum sandbox_filter sandbox_filter(const struct config *config, const struct identity *identity)
{
    if (needs_filter(identity))
        return SANDBOX_FILTER_ALL;
    return any_says(config, SANDBOX_STRICT) ? SANDBOX_FILTER_STRICT : SANDBOX_FILTER_NONE;
}

const char *sandbox_lacking(const struct config *config, const struct identity *identity,
                            char text[SANDBOX_TEXT])
{
    int abi = landlock_abi();
    const char *landlock = abi >= 6   ? ""
                           : abi >= 4 ? ", abstract sockets (Landlock 6)"
                           : abi >= 1 ? ", TCP ports (Landlock 4), abstract sockets (Landlock 6)"
                                      : ", files and TCP ports (Landlock)";
    bool filter = sandbox_filter(config, identity) != SANDBOX_FILTER_NONE;

    snprintf(text, SANDBOX_TEXT, "%s%s", landlock,
             filter && !seccomp_is_there() ? ", system calls (seccomp)" : "");
    if (*text != '\0')
        memmove(text, text + 2, strlen(text + 2) + 1);
    return text;
}

/* One that has `sandbox = no` has its worker for itself; one strict service makes its whole worker strict.
 * A plugin that is only described runs once, and pays the filter gladly. */
static enum sandbox level_of(const struct rlimits_setup *setup, const struct identity *identity)
{
    enum sandbox level = setup->service_count == 0 ? SANDBOX_STRICT : SANDBOX_YES;

    for (size_t i = 0; i < setup->service_count; i++) {
        int said = setup->config->services[setup->services[i]].limits.sandbox;
        if (said == SANDBOX_NO)
            return SANDBOX_NO;
        if (said == SANDBOX_STRICT)
            level = SANDBOX_STRICT;
    }
    return needs_filter(identity) ? SANDBOX_STRICT : level;
}

static int enter(const struct rlimits_setup *setup, const struct identity *identity)
{
    struct seccomp_sockets sockets = named_sockets(setup);
    enum sandbox level = level_of(setup, identity);
    int err = rlimits_enter(setup);

    /* Nobody of the same user may look into this process, or trace it. */
    prctl(PR_SET_DUMPABLE, setup->config->server.core_dumps ? 1 : 0);
    if (err != 0 || level == SANDBOX_NO)
        return err;
    prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0); /* older: the filter does the same */
    err = landlock_enter(setup->config, setup->services, setup->service_count);
    return err == 0 && level == SANDBOX_STRICT ? seccomp_enter(&sockets) : err;
}

int sandbox_enter(const struct rlimits_setup *setup, const struct identity *identity,
                  char error[SANDBOX_TEXT])
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
    err = enter(setup, identity);
    if (err != 0)
        snprintf(error, SANDBOX_TEXT, "cannot put on the sandbox: %s", strerror(-err));
    return err;
}
