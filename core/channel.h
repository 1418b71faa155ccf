/* The line between the master and one worker: small messages on a socket pair. Its end tells each that
 * the other is gone. */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <stddef.h>

enum channel_message {
    /* to the worker */
    CHANNEL_ACCEPT = 'a', /* the sockets are open: serve */
    CHANNEL_DRAIN = 'd',  /* accept no more, and end when the last connection has */
    CHANNEL_QUIT = 'q',   /* end now */
    CHANNEL_LOG = 'l',    /* log to the descriptor that comes along */
    /* to the master */
    CHANNEL_PREPARED = 'p', /* services and loops are started, and wait for CHANNEL_ACCEPT */
    CHANNEL_READY = 'r',    /* every loop accepts */
    CHANNEL_DEAF = 'e',     /* after CHANNEL_DRAIN: no loop accepts any more */
    CHANNEL_FAILED = 'f',   /* the worker cannot start; the text says why */
};

#define CHANNEL_TEXT 4096

struct channel_packet {
    char type; /* enum channel_message */
    char text[CHANNEL_TEXT];
    int fd; /* the receiver's now; -1: none came along */
};

/* Both ends, close-on-exec. Returns 0 or -errno. */
int channel_create(int ends[2]);

/* From now on nothing that comes to that end, of this or another socket pair, brings a descriptor along: to close one may
 * take as long as its sender chose (SO_LINGER, socket(7)). Where the kernel cannot refuse them (before 6.16), nothing. */
void channel_refuse_descriptors(int end);

/* text may be NULL, fd -1. Never blocks. Returns 0 or -errno. */
int channel_send(int end, enum channel_message type, const char *text, int fd);

/* Takes the next message. Never blocks. Returns 1, 0 at the other's end, or -errno (-EAGAIN: none). */
int channel_receive(int end, struct channel_packet *packet);

#endif
