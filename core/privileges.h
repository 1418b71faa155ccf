/* Who the server's workers are, and what rights its processes keep. */
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

/* Who workers are where nobody says it: who we are, but of root `nobody`. */
void privileges_default(struct identity *identity);

/* Looks the names up (user may be a number). Everything wrong goes to report. For a single-threaded
 * process. Returns 0 or -EINVAL. */
int privileges_find(const struct config *config, struct identity *identity, struct report *report);

/* Whether this process can become that user: to serve it must, to check a file for root it need not. Returns 0,
 * or -EINVAL where it reported. */
int privileges_allow(const struct config *config, const struct identity *identity,
                     struct report *report);

/* Takes on the user's groups, where identity->change says so: the first half, while the system can still be
 * asked which they are. Returns 0 or -errno. */
int privileges_join_groups(const struct identity *identity);

/* Becomes that user, for good, where identity->change says so, and gives up every capability and the way to
 * new ones. Returns 0 or -errno. */
int privileges_drop(const struct identity *identity);

/* Gives up what the master does not need, and leaves it to those it starts, a new binary among them. What
 * cannot be given up is kept. */
void privileges_reduce(void);

#endif
