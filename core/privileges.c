/* Looking up and becoming the user of the workers. */
#include "privileges.h"
#include "names.h"
#include <errno.h>
#include <grp.h>
#include <unistd.h>

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

int privileges_find(const struct config *config, struct identity *identity, struct report *report)
{
    const struct server_config *server = &config->server;
    struct name name;

    *identity = (struct identity){ .uid = getuid(), .gid = getgid() };
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
