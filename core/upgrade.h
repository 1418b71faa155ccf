/* A new binary without loss: the program is executed again with the sockets handed over; when the new one
 * says that it serves, this one drains and ends. If it does not come up, this one goes on. */
#ifndef UPGRADE_H
#define UPGRADE_H

#include "loop.h"
#include "sockets.h"
#include <sys/types.h>

struct upgrade {
    /* filled by the owner */
    struct loop *loop;
    const char *program; /* the path that is executed */
    char **argv;
    /* good: the new server, `pid`, serves; text is then the list of sockets that it does not want
     * (sockets_retire_list), else it says why not, in lines for people. */
    void (*done)(void *context, bool good, pid_t pid, const char *text);
    void *context;
    /* the upgrade's own, zeroed */
    pid_t pid;
    struct loop_source pipe;
    struct timer limit;
    char *said; /* by the new server */
    size_t said_len;
};

/* Executes the program with these sockets, and the control socket (-1: none). Returns 0, then done is
 * called once; -EALREADY while one is under way, or another negative errno. */
int upgrade_begin(struct upgrade *upgrade, const struct sockets *sockets,
                  const struct config *config, int control);

/* Ends one that is under way, without a word. */
void upgrade_abandon(struct upgrade *upgrade);

#endif
