/* The client's side of the control socket. */
#include "control.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define COMMAND_MAX 64

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int err = errno;
    close(fd);
    return -err;
}

int control_call(const char *path, const char *command)
{
    char *line = NULL, order[COMMAND_MAX];
    size_t size = 0;
    ssize_t len;
    int fd = connect_to(path);

    if (fd < 0) {
        fprintf(stderr, "enchufe: no server answers at %s: %s (--control names another socket)\n",
                path, strerror(-fd));
        return 1;
    }
    FILE *stream = fdopen(fd, "r+");
    if (stream == NULL) {
        close(fd);
        return 1;
    }
    /* A server that lets nobody in may have closed already. */
    if (snprintf(order, sizeof order, "%s\n", command) < (int)sizeof order)
        (void)!send(fd, order, strlen(order), MSG_NOSIGNAL);
    len = getline(&line, &size, stream);
    bool answered = len > 0, good = answered && strcmp(line, "ok\n") == 0;
    while (answered && (len = getline(&line, &size, stream)) > 0)
        fwrite(line, 1, (size_t)len, good ? stdout : stderr);
    if (!answered)
        fprintf(stderr, "enchufe: the server at %s did not answer: is it another user's?\n", path);
    free(line);
    fclose(stream);
    return good ? 0 : 1;
}
