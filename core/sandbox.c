/* Which parts of the sandbox a process needs, and the order in which they are put on. */
#include "sandbox.h"
#include "landlock.h"
#include "namespaces.h"
#include "seccomp.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Newer than Debian 12's headers. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

static void add_named(struct seccomp_sockets *sockets, const struct service_config *service)
{
    for (size_t n = 0; n < service->connect_count; n++) {
        int kind = service->connects[n].endpoint.kind;
        sockets->tcp = sockets->tcp || kind == ENCHUFE_TCP;
        sockets->udp = sockets->udp || kind == ENCHUFE_UDP;
        sockets->local = sockets->local || kind == ENCHUFE_UNIX;
    }
}

static struct seccomp_sockets named_sockets(const struct rlimits_setup *setup)
{
    struct seccomp_sockets sockets = { .tcp = false };

    for (size_t i = 0; i < setup->service_count; i++)
        add_named(&sockets, &setup->config->services[setup->services[i]]);
    return sockets;
}

/* ---- the network ---- */

/* ThreadSanitizer has a thread in every process, and only one without others can enter a user namespace. */
#ifdef __SANITIZE_THREAD__
#define CAN_ENTER false
#else
#define CAN_ENTER true
#endif

/* A Unix socket with a path is found in any network. Root's workers have the filter, which makes none. */
static bool needs_no_network(const struct seccomp_sockets *named, const struct identity *identity)
{
    return CAN_ENTER && !named->tcp && !named->udp && identity->uid != 0;
}

/* Whether any worker that a configuration plans is one that should have an empty network. */
static bool any_needs_no_network(const struct config *config, const struct identity *identity)
{
    struct seccomp_sockets shared = { .tcp = false };
    bool any_shares = false;

    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *service = &config->services[i];
        struct seccomp_sockets own = { .tcp = false };
        any_shares = any_shares || !service->limits.isolate;
        add_named(service->limits.isolate ? &own : &shared, service);
        if (service->limits.isolate && service->limits.sandbox != SANDBOX_NO &&
            needs_no_network(&own, identity))
            return true;
    }
    return any_shares && needs_no_network(&shared, identity);
}

static bool lacks_network(const struct config *config, const struct identity *identity)
{
    return any_needs_no_network(config, identity) && !namespaces_are_there();
}

/* ---- the filter ---- */

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
    if (needs_filter(identity) || lacks_network(config, identity) ||
        (any_needs_no_network(config, identity) && !namespaces_are_closed()))
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

    snprintf(text, SANDBOX_TEXT, "%s%s%s", landlock,
             lacks_network(config, identity) ? ", an empty network (user namespaces)" : "",
             filter && !seccomp_is_there() ? ", system calls (seccomp)" : "");
    if (*text != '\0')
        memmove(text, text + 2, strlen(text + 2) + 1);
    return text;
}

/* ---- all of it ---- */

/* What one process puts on. */
struct plan {
    enum sandbox level;
    struct seccomp_sockets sockets;
    bool empty_network;
};

/* One that has `sandbox = no` has its worker for itself; one strict service makes its whole worker strict.
 * A plugin that is only described runs once, and pays the filter gladly. */
static struct plan make_plan(const struct rlimits_setup *setup, const struct identity *identity)
{
    struct plan plan = { .level = setup->service_count == 0 ? SANDBOX_STRICT : SANDBOX_YES,
                         .sockets = named_sockets(setup) };

    for (size_t i = 0; i < setup->service_count; i++) {
        int said = setup->config->services[setup->services[i]].limits.sandbox;
        if (said == SANDBOX_NO) {
            plan.level = SANDBOX_NO;
            return plan;
        }
        if (said == SANDBOX_STRICT)
            plan.level = SANDBOX_STRICT;
    }
    bool empty = setup->service_count != 0 && needs_no_network(&plan.sockets, identity);
    plan.empty_network = empty && namespaces_are_there();
    if (needs_filter(identity) || empty != plan.empty_network ||
        (empty && !namespaces_are_closed()))
        plan.level = SANDBOX_STRICT;
    return plan;
}

static int enter(const struct rlimits_setup *setup, const struct plan *plan)
{
    int err = rlimits_enter(setup);

    /* Nobody of the same user may look into this process, or trace it. */
    prctl(PR_SET_DUMPABLE, setup->config->server.core_dumps ? 1 : 0);
    if (err != 0 || plan->level == SANDBOX_NO)
        return err;
    prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0); /* older: the filter does the same */
    err = landlock_enter(setup->config, setup->services, setup->service_count);
    return err == 0 && plan->level == SANDBOX_STRICT ? seccomp_enter(&plan->sockets) : err;
}

int sandbox_enter(const struct rlimits_setup *setup, const struct identity *identity,
                  char error[SANDBOX_TEXT])
{
    const struct plan plan = make_plan(setup, identity);
    struct identity wanted = *identity;

    /* Asked here, since root has another number in the namespace. */
    wanted.change = wanted.change && geteuid() == 0;
    int err = privileges_join_groups(&wanted);
    if (!plan.empty_network)
        namespaces_forget();
    if (err == 0 && plan.empty_network && (err = namespaces_enter()) != 0) {
        snprintf(error, SANDBOX_TEXT, "cannot leave the network: %s", strerror(-err));
        return err;
    }
    if (err == 0)
        err = privileges_drop(&wanted);
    if (err != 0) {
        snprintf(
            error, SANDBOX_TEXT,
            "cannot become user %u and group %u: %s; say which they are with user and group of "
            "[server]",
            (unsigned)identity->uid, (unsigned)identity->gid, strerror(-err));
        return err;
    }
    err = enter(setup, &plan);
    if (err != 0)
        snprintf(error, SANDBOX_TEXT, "cannot put on the sandbox: %s", strerror(-err));
    return err;
}
