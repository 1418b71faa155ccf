/* Connections that are held open, for what idle ones cost: prints `open N`; each line on standard input asks
 * once on every connection and prints `checked N`; the end of standard input closes them. */
#include "common.h"
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Whole, or the measure ends: nobody is lost by a reload or by idleness. */
static void ask(const struct script *script, int fd, unsigned index)
{
    static char input[SCRIPT_SLICE];
    size_t got = 0;

    if (send(fd, script->ask, script->ask_size, MSG_NOSIGNAL) != (ssize_t)script->ask_size)
        die("send on connection %u", index);
    while (got < script->answer_size) {
        ssize_t n = recv(fd, input, script->answer_size - got, 0);
        if (n == 0)
            errno = 0;
        if (n <= 0)
            die("connection %u ended", index);
        if (memcmp(input, script->answer + got, (size_t)n) != 0)
            die("a wrong byte on connection %u", index);
        got += (size_t)n;
    }
}

void load_hold(const struct load_options *options)
{
    struct script script = script_make(options->protocol, options->size);
    struct timeval patience = { .tv_sec = LOAD_PATIENCE_MS / 1000 };
    int *fds = zeroed(options->connections, sizeof *fds);
    char line[16];

    for (unsigned i = 0; i < options->connections; i++) {
        fds[i] = load_connect(options, i);
        setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ask(&script, fds[i], i);
    }
    printf("open %u\n", options->connections);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        for (unsigned i = 0; i < options->connections; i++)
            ask(&script, fds[i], i);
        printf("checked %u\n", options->connections);
        fflush(stdout);
    }
    struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    for (unsigned i = 0; i < options->connections; i++) {
        setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fds[i]);
    }
    free(fds);
}
