/* Who the server's workers are. */
#ifndef PRIVILEGES_H
#define PRIVILEGES_H

#include "config.h"
#include <sys/types.h>

/* What `user` and `group` of [server] come to. */
struct identity {
    bool change;
    uid_t uid;
    gid_t gid;
    const char *user; /* for initgroups(); NULL where only a number is known */
};

/* Looks the names up (user may be a number). Everything wrong goes to report. For a single-threaded
 * process. Returns 0 or -EINVAL. */
int privileges_find(const struct config *config, struct identity *identity, struct report *report);

/* Becomes that user, for good. Returns 0 or -errno. */
int privileges_drop(const struct identity *identity);

#endif
