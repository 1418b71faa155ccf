/* Looking up and becoming the user of the workers. */
#include "privileges.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool as_number(const char *text, unsigned long *number)
{
    char *end;

    errno = 0;
    *number = strtoul(text, &end, 10);
    return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && *number < UINT32_MAX;
}

static int find_user(const char *name, struct identity *identity)
{
    unsigned long number;
    const struct passwd *entry = getpwnam(name);

    if (entry == NULL && as_number(name, &number))
        entry = getpwuid((uid_t)number);
    if (entry != NULL) {
        identity->uid = entry->pw_uid;
        identity->gid = entry->pw_gid;
        identity->user = name;
        return 0;
    }
    return -EINVAL;
}

static int find_group(const char *name, struct identity *identity)
{
    unsigned long number;
    const struct group *entry = getgrnam(name);

    if (entry != NULL)
        identity->gid = entry->gr_gid;
    else if (as_number(name, &number))
        identity->gid = (gid_t)number;
    else
        return -EINVAL;
    return 0;
}

int privileges_find(const struct config *config, struct identity *identity, struct report *report)
{
    const struct server_config *server = &config->server;
    *identity = (struct identity){ .uid = getuid(), .gid = getgid() };
    if (server->user == NULL && server->group == NULL)
        return 0;
    identity->change = true;
    if (server->user != NULL && find_user(server->user, identity) != 0) {
        report_add(report, &server->user_place,
                   "unknown user \"%s\"; `getent passwd` lists those there are", server->user);
        return -EINVAL;
    }
    if (server->group != NULL && find_group(server->group, identity) != 0) {
        report_add(report, &server->group_place,
                   "unknown group \"%s\"; `getent group` lists those there are", server->group);
        return -EINVAL;
    }
    if (geteuid() != 0 && (identity->uid != geteuid() || identity->gid != getegid())) {
        report_add(report, server->user != NULL ? &server->user_place : &server->group_place,
                   "only root can change who the server is: start it as root, or "
                   "remove the key");
        return -EINVAL;
    }
    return 0;
}

int privileges_drop(const struct identity *identity)
{
    if (!identity->change || geteuid() != 0)
        return 0;
    int failed = identity->user != NULL ? initgroups(identity->user, identity->gid)
                                        : setgroups(1, &identity->gid);
    if (failed || setresgid(identity->gid, identity->gid, identity->gid) != 0 ||
        setresuid(identity->uid, identity->uid, identity->uid) != 0)
        return -errno;
    return 0;
}
