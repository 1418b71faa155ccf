/* A client of one endpoint, for `enchufe call`: connects, sends, prints what comes back. Nothing of the
 * server is in it but endpoints.
 *
 * Functions that return an int return an exit status, and whoever returns 1 has printed the line that
 * says why. */
#ifndef CLIENT_H
#define CLIENT_H

#include "endpoint.h"

struct client {
    /* Set by the caller: */
    const char *target;             /* the endpoint as it was said */
    struct endpoint_list endpoints; /* its addresses */
    uint64_t timeout;               /* milliseconds, at most a day */
    const char *timeout_text;       /* as it was said */
    int fd, input;                  /* -1 */

    size_t next;     /* which address to try next */
    const char *out; /* of a stream: what is still to be sent; borrowed */
    size_t out_len;
    bool ended;        /* the server ended its side */
    uint64_t received; /* bytes of a stream, or datagrams */
    char last;         /* the byte printed last */
};

bool client_is_stream(const struct client *client);

/* Prints one line about the target. Returns 1. */
int client_failed(const struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Connects to the next address that takes it. */
int client_connect(struct client *client);

/* Sends one message, waits for the reply and prints it. The reply of a stream ends with a short
 * silence, that of a datagram is the next datagram. */
int client_message(struct client *client, const char *message, size_t len);

/* Of a stream: copies standard input to the server and the server to standard output, until the server
 * ends or, after the end of the input, says nothing for the timeout. */
int client_copy(struct client *client);

#endif
