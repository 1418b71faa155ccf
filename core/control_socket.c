/* The file of the control socket, and who may talk there. */
#include "control_socket.h"
#include "bind.h"
#include "control.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 64

const char *control_default_path(void)
{
    static char path[CONTROL_PATH];
    const char *dir = getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0)
        return "/run/enchufe.sock";
    if (dir == NULL || snprintf(path, sizeof path, "%s/enchufe.sock", dir) >= (int)sizeof path)
        snprintf(path, sizeof path, "/tmp/enchufe-%u.sock", (unsigned)geteuid());
    return path;
}

bool control_socket_allows(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static int bind_socket(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    mode_t before = umask(0177);
    int failed =
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, BACKLOG) != 0;
    int err = errno;
    umask(before);
    if (failed) {
        close(fd);
        return -err;
    }
    return fd;
}

const char *control_socket_open(const char *path, char own[CONTROL_PATH], int *fd)
{
    const char *wrong;

    if (strlen(path) >= CONTROL_PATH)
        return "is too long for a socket";
    if ((wrong = bind_clear_stale(path)) != NULL)
        return wrong;
    strcpy(own, path);
    *fd = bind_socket(path);
    return *fd < 0 ? strerror(-*fd) : NULL;
}

void control_socket_adopt(char own[CONTROL_PATH], int fd)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t len = sizeof address;

    if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        memcpy(own, address.sun_path, CONTROL_PATH - 1);
}
