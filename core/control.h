/* The control socket: `enchufe status`, `reload` and `stop` talk to the master here.
 *
 * A client sends one line, `status`, `status json`, `reload` or `stop`; the answer is a line `ok` or
 * `failed`, then text for people (or JSON), then the end of the stream. Only the server's own user and
 * root are answered. */
#ifndef CONTROL_H
#define CONTROL_H

#include "rollover.h"

struct control;

/* Where the socket is unless the configuration says: /run/enchufe.sock for root, otherwise
 * $XDG_RUNTIME_DIR/enchufe.sock or /tmp/enchufe-UID.sock. Returns a static string. */
const char *control_default_path(void);

/* Opens the socket at path, or with NULL at the default one; what is in the way of the default is worth a
 * warning only (a second server runs), of a path that was said too. stop is called for `stop`. Returns
 * NULL where there is no socket, which every function here takes. */
struct control *control_open(const char *path, struct loop *loop,
                             void (*stop)(void *context, bool at_once), void *context);

/* Answers from now on. */
void control_serve(struct control *control, struct rollover *rollover);

/* In a process forked from the master: closes its copies, so that clients see the end of an answer. */
void control_forked(struct control *control);

/* Closes it with its clients, and removes its file. */
void control_close(struct control *control);

/* The client's side: sends command, prints the answer on standard output (or, where it failed, standard
 * error). Returns the exit status: 0, or 1. */
int control_call(const char *path, const char *command);

#endif
