/* One child that opens plugins, and its socket to the parent. */
#ifndef PROBE_CHILD_H
#define PROBE_CHILD_H

#include "trace.h"
#include <stdbool.h>
#include <sys/types.h>

/* One word on the socket: a type, a number, and text. */
struct probe_packet {
    char type; /* 'b' begins service `number`; 'e' error at line `number`: FILE NUL TEXT; 't' text;
                  's' shadowed: SECTION NUL KEY; 'd' done */
    uint32_t number;
    char text[8192];
};

struct probe_child {
    pid_t pid, parent;
    int fd;
    struct trace *trace; /* where in the plugin it is */
};

/* Sends a word; of a text that is longer than a packet its beginning. text may be NULL with len 0. */
void probe_child_say(int fd, char type, size_t number, const char *text, size_t len);

/* Ends this process when the parent ends. To be said again after a change of user, which clears it; the parent may
 * have been killed in between. */
void probe_child_end_with_parent(pid_t parent);

/* Returns 1 in the parent; 0 in the child, which answers on child->fd and ends with probe_child_leave(); or
 * -errno. */
int probe_child_spawn(struct probe_child *child);

/* Says that all is done, and ends the process. */
void probe_child_leave(const struct probe_child *child);

/* The next word of the child. Returns its length, 0 at its end, -ETIMEDOUT after three seconds of silence. */
ssize_t probe_child_hear(const struct probe_child *child, struct probe_packet *packet);

/* Ends the child, and says in words what became of it; words is "" where it was done. hung: it was silent for too
 * long. */
void probe_child_reap(struct probe_child *child, bool done, bool hung, char *words, size_t size);

#endif
