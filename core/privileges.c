/* Looking up and becoming the user of the workers; capabilities.
 *
 * They are set by system calls of our own: all there is to say is two masks, which needs no library. */
#include "privileges.h"
#include "names.h"
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* nobody and its group, which no file belongs to: so the kernel calls whoever it cannot name. Not looked up,
 * since a system need not have the name. */
#define NOBODY 65534

/* `what` is user or group, and `list` what lists those there are. */
static int find(enum name_kind kind, const char *key, const char *what, const char *list,
                const struct place *place, struct name *name, struct report *report)
{
    names_look_up(kind, key, name);
    if (name->found)
        return 0;
    if (name->silent)
        report_add(report, place, "cannot look up %s \"%s\": %s", what, key, name->wrong);
    else
        report_add(report, place, "unknown %s \"%s\"; `getent %s` lists those there are", what, key,
                   list);
    return -EINVAL;
}

void privileges_default(struct identity *identity)
{
    *identity = (struct identity){ .uid = getuid(), .gid = getgid() };
    if (geteuid() == 0)
        *identity = (struct identity){ .change = true, .uid = NOBODY, .gid = NOBODY };
}

int privileges_find(const struct config *config, struct identity *identity, struct report *report)
{
    const struct server_config *server = &config->server;
    struct name name;

    privileges_default(identity);
    if (server->user == NULL && server->group == NULL)
        return 0;
    identity->change = true;
    if (server->user != NULL) {
        if (find(NAME_USER, server->user, "user", "passwd", &server->user_place, &name, report) !=
            0)
            return -EINVAL;
        identity->uid = name.uid;
        identity->gid = name.gid;
        identity->user = server->user;
    }
    if (server->group != NULL) {
        if (find(NAME_GROUP, server->group, "group", "group", &server->group_place, &name,
                 report) != 0)
            return -EINVAL;
        identity->gid = name.gid;
    }
    return 0;
}

int privileges_allow(const struct config *config, const struct identity *identity,
                     struct report *report)
{
    const struct server_config *server = &config->server;

    if (!identity->change || geteuid() == 0 ||
        (identity->uid == geteuid() && identity->gid == getegid()))
        return 0;
    report_add(report, server->user != NULL ? &server->user_place : &server->group_place,
               "only root can change who the server is: start it as root, or "
               "remove the key");
    return -EINVAL;
}

/* ---- capabilities ---- */

/* Capabilities 0 to 63, of which a kernel knows the first forty or so. */
#define CAPABILITY(number) (UINT64_C(1) << (number))
#define CAPABILITY_COUNT 64

struct capabilities {
    uint64_t effective, permitted, inheritable;
};

static int get_capabilities(struct capabilities *capabilities)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) != 0)
        return -errno;
    *capabilities = (struct capabilities){
        .effective = data[0].effective | (uint64_t)data[1].effective << 32,
        .permitted = data[0].permitted | (uint64_t)data[1].permitted << 32,
        .inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32,
    };
    return 0;
}

static int set_capabilities(const struct capabilities *capabilities)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    const struct __user_cap_data_struct data[2] = {
        { .effective = (uint32_t)capabilities->effective,
          .permitted = (uint32_t)capabilities->permitted,
          .inheritable = (uint32_t)capabilities->inheritable },
        { .effective = (uint32_t)(capabilities->effective >> 32),
          .permitted = (uint32_t)(capabilities->permitted >> 32),
          .inheritable = (uint32_t)(capabilities->inheritable >> 32) },
    };

    return syscall(SYS_capset, &header, data) != 0 ? -errno : 0;
}

/* What no program executed from here on can have. Needs CAP_SETPCAP; without it no_new_privs does as
 * much. */
static void limit_bounding_set(uint64_t keep)
{
    for (unsigned long i = 0; i < CAPABILITY_COUNT && prctl(PR_CAPBSET_READ, i) >= 0; i++)
        if ((keep & CAPABILITY(i)) == 0)
            prctl(PR_CAPBSET_DROP, i);
}

/* no_new_privs stays where a file's capabilities are what we live on: a new binary needs them again. */
void privileges_reduce(void)
{
    const uint64_t keep =
        CAPABILITY(CAP_NET_BIND_SERVICE) | CAPABILITY(CAP_NET_ADMIN) | /* ports; large buffers */
        CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID) | CAPABILITY(CAP_SETPCAP) | /* workers */
        CAPABILITY(CAP_KILL) |        /* to end them */
        CAPABILITY(CAP_DAC_OVERRIDE); /* files, logs and Unix sockets in folders of others */
    struct capabilities capabilities = { .effective = 0 };

    if (get_capabilities(&capabilities) != 0)
        return;
    limit_bounding_set(keep);
    capabilities.effective &= keep;
    capabilities.permitted &= keep;
    capabilities.inheritable &= keep;
    set_capabilities(&capabilities);
    if (geteuid() == 0 || capabilities.permitted == 0)
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int privileges_join_groups(const struct identity *identity)
{
    if (!identity->change)
        return 0;
    int failed = identity->user != NULL ? initgroups(identity->user, identity->gid)
                                        : setgroups(1, &identity->gid);
    if (failed || setresgid(identity->gid, identity->gid, identity->gid) != 0)
        return -errno;
    return 0;
}

int privileges_drop(const struct identity *identity)
{
    const struct capabilities none = { .effective = 0 };

    limit_bounding_set(0);
    if (identity->change && setresuid(identity->uid, identity->uid, identity->uid) != 0)
        return -errno;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    return set_capabilities(&none);
}
