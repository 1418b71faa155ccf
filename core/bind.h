/* One socket for an endpoint. Which of them there are, and who has them, is sockets.h's. */
#ifndef BIND_H
#define BIND_H

#include "endpoint.h"
#include "report.h"
#include <sys/stat.h>

/* Binds the first socket of an endpoint, which fails where anybody else has it; the port that the system chose
 * for port 0 goes into the endpoint, which also becomes IPv4 where there is no IPv6. Returns it, or -errno. */
int bind_first(struct endpoint *endpoint);

/* Creates one that may be bound beside the first. Returns it, or -errno. */
int bind_another(struct endpoint *endpoint);

/* Whether an internet endpoint could be had if this server's own sockets were not in the way, which share it for
 * that moment. Not for UDP where those are read: datagrams would get lost. Returns 0 or -errno. */
int bind_try(const struct endpoint *endpoint);

/* Removes the file of a Unix socket that nobody listens on any more. Returns NULL, or what is in the way:
 * a static text that goes on behind the path. */
const char *bind_clear_stale(const char *path);

/* The rights of the file that a Unix socket was bound to, if it is still this one. Nobody can connect before
 * it listens, so until then nothing is too late. Returns 0 or -errno. */
int bind_set_access(const char *path, const struct stat *file, mode_t mode, gid_t gid);

/* Says why the endpoint cannot be had. */
void bind_report(struct report *report, const struct endpoint *endpoint, const struct place *place,
                 int err);

/* Whether an IPv4 address is broadcast on one of this host's networks now. */
bool bind_is_broadcast(const enchufe_address *address);

/* From here on the system drops who asks to be let in at a listening TCP socket (and asks again in a second, to be
 * refused then): what came between the last accept and the shutdown would be reset. Where the system allows that
 * to privileged processes only, and this is none, nothing changes. */
void bind_keep_out(int fd);

#endif
