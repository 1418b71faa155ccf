/* The control socket as a file: where it is, how it is bound, whom it answers. */
#ifndef CONTROL_SOCKET_H
#define CONTROL_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#define CONTROL_PATH sizeof((struct sockaddr_un *)NULL)->sun_path

/* Binds it at path, and listens; own gets the path, *fd the socket. Returns NULL, or what is wrong with the
 * path: a sentence without its subject. */
const char *control_socket_open(const char *path, char own[CONTROL_PATH], int *fd);

/* The path of a socket that was handed over is its own; own is zeroed. */
void control_socket_adopt(char own[CONTROL_PATH], int fd);

/* Whether the peer is the server's own user, or root. */
bool control_socket_allows(int fd);

#endif
