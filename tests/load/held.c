/* Connections that are held open: blocking, since they say little. */
#include "load.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int *held; /* -1: broken */
static size_t held_count, asked;

static void broken(size_t i, const char *text)
{
    LOST(broken, i, text);
    close(held[i]);
    held[i] = -1;
}

static void ask(size_t i)
{
    unsigned char message[64], got[sizeof message];
    int key = -1;

    load_fill(message, sizeof message, ((uint64_t)1 << 60) + asked++);
    if (held[i] < 0)
        return;
    if (send(held[i], message, sizeof message, MSG_NOSIGNAL) != sizeof message ||
        recv(held[i], got, sizeof got, MSG_WAITALL) != sizeof got)
        broken(i, "does not answer any more");
    else if (!load_matches(got, message, sizeof got, &key))
        broken(i, "got other bytes");
}

void held_open(size_t count)
{
    struct timeval limit = { .tv_sec = (time_t)(load.deadline_ms / 1000),
                             .tv_usec = (suseconds_t)(load.deadline_ms % 1000 * 1000) };

    held = calloc(count + 1, sizeof *held);
    if (held == NULL)
        load_give_up("calloc");
    for (size_t i = 0; i < count; i++) {
        held[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(held[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (connect(held[i], (struct sockaddr *)&load.tcp, sizeof load.tcp) != 0)
            load_give_up("cannot open the connections to hold");
        held_count++;
        ask(i);
    }
}

void held_ask_one(void)
{
    if (held_count != 0)
        ask(asked % held_count);
}

/* Each must answer once more, and end as it should. */
void held_close(void)
{
    char byte;

    for (size_t i = 0; i < held_count; i++) {
        ask(i);
        if (held[i] < 0)
            continue;
        shutdown(held[i], SHUT_WR);
        if (recv(held[i], &byte, 1, 0) != 0)
            broken(i, "does not end");
        else
            load.held++;
        if (held[i] >= 0)
            close(held[i]);
    }
    free(held);
}
