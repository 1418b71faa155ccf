/* The control socket: `enchufe status`, `reload` and `stop` talk to the master here.
 *
 * A client sends one line, `status`, `status json`, `reload`, `upgrade` or `stop`; the answer is a line `ok` or
 * `failed`, then text for people (or JSON), then the end of the stream. Only the server's own user and
 * root are answered. */
#ifndef CONTROL_H
#define CONTROL_H

#include "predecessor.h"
#include "rollover.h"

struct control;

/* Where the socket is unless the configuration says: /run/enchufe.sock for root, otherwise
 * $XDG_RUNTIME_DIR/enchufe.sock or /tmp/enchufe-UID.sock. Returns a static string. */
const char *control_default_path(void);

/* What the master does for it, each with context. */
struct control_orders {
    void (*stop)(void *context, bool at_once);
    /* done is called once; forget: the waiter's client is gone. */
    void (*upgrade)(void *context, struct reload_waiter *waiter);
    void (*forget_upgrade)(void *context, struct reload_waiter *waiter);
    void *context;
    const struct predecessor *predecessor; /* for the status */
};

/* Opens the socket at path, or with NULL at the default one; what is in the way of the default is worth a
 * line of the log only (a second server runs), at a path that was said an error. inherited is a socket that
 * was handed over, or -1. Returns NULL where there is no socket, which every function here takes. */
struct control *control_open(const char *path, int inherited, struct loop *loop,
                             const struct control_orders *orders);

/* Answers from now on; with a socket that was handed over only after control_take(), because until then the
 * server before still answers. */
void control_serve(struct control *control, struct rollover *rollover);

/* The server before is done with the socket. */
void control_take(struct control *control);

/* Where it is; NULL without a socket. */
const char *control_path(const struct control *control);

/* Its descriptor, to be handed over; -1 without a socket. */
int control_fd(const struct control *control);

/* Another server has the socket now: its clients are answered to the end, no new ones are heard, and its
 * file stays. */
void control_give(struct control *control);

/* Closes it with its clients, and removes its file. */
void control_close(struct control *control);

/* The client's side: sends command, prints the answer on standard output (or, where it failed, standard
 * error). Returns the exit status: 0, or 1. */
int control_call(const char *path, const char *command);

#endif
