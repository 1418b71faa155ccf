/* Names of hosts, users and groups. The system may take long to find one, where a name server does not
 * answer; the master, which has others to answer meanwhile, lets a child ask and then finds what the
 * child was told. */
#ifndef NAMES_H
#define NAMES_H

#include "address.h"
#include <stdbool.h>
#include <stdint.h>

#define NAMES_KEY 256
#define NAMES_ADDRESSES 64
#define NAMES_WORDS 128

enum name_kind { NAME_HOST = 'h', NAME_USER = 'u', NAME_GROUP = 'g' };

/* One answer. */
struct name {
    char kind; /* enum name_kind */
    char key[NAMES_KEY];
    bool found;
    bool silent;             /* nobody knows whether there is such a name */
    char wrong[NAMES_WORDS]; /* why it was not found; "" where there is nothing to say but that */
    uint32_t uid, gid;       /* of a user; a group has a gid */
    uint32_t count;          /* of a host's addresses */
    enchufe_address addresses[NAMES_ADDRESSES];
};

/* What a child was told; zeroed at first. */
struct names {
    struct name *items;
    size_t count;
    bool cut; /* it was given up before it was done */
};

/* Looks a name up: asks the system, which may block, unless names_use() has said otherwise. A user may be
 * a number, and a group. */
void names_look_up(enum name_kind kind, const char *key, struct name *name);

/* From now on only what these names hold is found, at once; NULL: the system is asked again. */
void names_use(const struct names *names);

/* In a child: every answer is sent to fd as well, as a `struct name`, and before it one that stands if no
 * other comes: that there was no answer in time. */
void names_tell(int fd);

/* Keeps an answer, in place of one to the same question. Returns 0, -ENOMEM, or -EINVAL: it is none. */
int names_keep(struct names *names, const void *answer, size_t len);

void names_free(struct names *names);

#endif
