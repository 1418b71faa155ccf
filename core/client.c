/* The client of `enchufe call`: one socket, polled, with a limit to every wait. */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A stream does not say where a reply ends: so long a silence does. */
#define QUIET_MS 50
#define CHUNK 65536 /* more than any datagram */

bool client_is_stream(const struct client *client)
{
    return client->endpoints.items[0].kind != ENCHUFE_UDP;
}

int client_failed(const struct client *client, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "enchufe: %s: ", client->target);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return 1;
}

static int client_unanswered(const struct client *client)
{
    if (client->ended)
        return client_failed(client, "nothing answered: the server closed the connection");
    return client_failed(client, "nothing answered within %s", client->timeout_text);
}

static uint64_t client_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Prints at once, so that an interactive user sees it and nothing is lost where the call fails. */
static int client_print(struct client *client, const char *data, size_t len)
{
    if (len)
        client->last = data[len - 1];
    while (len) {
        ssize_t n = write(STDOUT_FILENO, data, len);
        if (n < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){ .fd = STDOUT_FILENO, .events = POLLOUT }, 1, -1);
        } else if (n < 0) {
            fprintf(stderr, "enchufe: standard output: %s\n", strerror(errno));
            return 1;
        } else {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int client_end_line(struct client *client)
{
    return client->last == '\n' ? 0 : client_print(client, "\n", 1);
}

/* ---------------------------------------------------------------------------------------------
 * Connecting
 */

/* Waits for a connection to be made. Returns 0 or an errno value. */
static int client_wait_connected(int fd, int timeout)
{
    struct pollfd wait = { .fd = fd, .events = POLLOUT };
    int error = 0;

    if (poll(&wait, 1, timeout) == 0)
        return ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof error }) != 0)
        return errno;
    return error;
}

/* Returns a non-blocking, connected socket or a negative errno value. */
static int client_open(const struct endpoint *endpoint, int timeout)
{
    struct sockaddr_storage address;
    socklen_t len = endpoint_to_sockaddr(endpoint, &address);
    int type = endpoint->kind == ENCHUFE_UDP ? SOCK_DGRAM : SOCK_STREAM;
    int error = 0;
    int fd = socket(address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, len) != 0)
        error = errno == EINPROGRESS ? client_wait_connected(fd, timeout) : errno;
    if (error) {
        close(fd);
        return -error;
    }
    return fd;
}

/* A name may have several addresses, and not each is served. */
int client_connect(struct client *client)
{
    int fd = -EADDRNOTAVAIL;

    if (client->fd >= 0)
        close(client->fd);
    while (fd < 0 && client->next < client->endpoints.count)
        fd = client_open(&client->endpoints.items[client->next++], (int)client->timeout);
    client->fd = fd;
    return fd < 0 ? client_failed(client, "%s", strerror(-fd)) : 0;
}

/* ---------------------------------------------------------------------------------------------
 * Streams
 */

static int client_receive(struct client *client)
{
    char data[CHUNK];
    ssize_t n = recv(client->fd, data, sizeof data, 0);

    if (n < 0)
        return errno == EAGAIN ? 0 : client_failed(client, "%s", strerror(errno));
    if (n == 0)
        client->ended = true;
    client->received += (uint64_t)n;
    return client_print(client, data, (size_t)n);
}

/* Where the server takes no more, what it said before still counts: receiving finds the end. */
static void client_send(struct client *client)
{
    ssize_t n = send(client->fd, client->out, client->out_len, MSG_NOSIGNAL);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0) {
        client->out_len = 0;
        client->input = -1;
        return;
    }
    client->out += n;
    client->out_len -= (size_t)n;
}

/* Reads more to send, into memory that lasts until that is sent. */
static int client_read_input(struct client *client)
{
    static char data[CHUNK];
    ssize_t n = read(client->input, data, sizeof data);

    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n < 0) {
        fprintf(stderr, "enchufe: standard input: %s\n", strerror(errno));
        return 1;
    }
    client->out = data;
    client->out_len = (size_t)n;
    if (n == 0) {
        client->input = -1;
        shutdown(client->fd, SHUT_WR);
    }
    return 0;
}

/* Waits up to `wait` milliseconds (-1: for ever) and does what can be done then. Returns 0 when
 * something was done, 1 when it failed, -1 when the time passed. */
static int client_turn(struct client *client, int wait)
{
    struct pollfd fds[] = {
        { .fd = client->fd, .events = (short)(client->out_len ? POLLIN | POLLOUT : POLLIN) },
        { .fd = client->out_len ? -1 : client->input, .events = POLLIN },
    };
    int status = 0;

    if (poll(fds, 2, wait) == 0)
        return -1;
    if (fds[0].revents & ~POLLOUT)
        status = client_receive(client);
    if (fds[0].revents & POLLOUT)
        client_send(client);
    if (status == 0 && fds[1].revents)
        status = client_read_input(client);
    return status;
}

/* Sends one message and prints the reply to it. */
static int client_stream_message(struct client *client, const char *message, size_t len)
{
    uint64_t before = client->received, deadline = client_now() + client->timeout;
    int status = 0;

    client->out = message;
    client->out_len = len;
    while (status == 0 && !client->ended) {
        uint64_t now = client_now();
        int left = now < deadline ? (int)(deadline - now) : 0;
        bool answered = client->received > before && client->out_len == 0;
        status = client_turn(client, answered ? QUIET_MS : left);
    }
    if (status == 1)
        return 1;
    if (client->received == before || (client->out_len && !client->ended))
        return client_unanswered(client);
    return client_end_line(client);
}

int client_copy(struct client *client)
{
    int status = 0;

    client->input = STDIN_FILENO;
    while (status == 0 && !client->ended) {
        /* Somebody who types may think as long as he likes. */
        bool typing = client->input >= 0 && client->out_len == 0;
        status = client_turn(client, typing ? -1 : (int)client->timeout);
    }
    if (status == 1)
        return 1;
    return client->received ? 0 : client_unanswered(client);
}

/* ---------------------------------------------------------------------------------------------
 * Datagrams
 */

/* Sends a datagram and waits for the next that comes. Returns its length or a negative errno value. */
static ssize_t client_ask(const struct client *client, const char *message, size_t len,
                          char reply[CHUNK])
{
    struct pollfd wait = { .fd = client->fd, .events = POLLIN };
    ssize_t n;

    if (send(client->fd, message, len, MSG_NOSIGNAL) < 0)
        return -errno;
    do {
        if (poll(&wait, 1, (int)client->timeout) == 0)
            return -ETIMEDOUT;
        n = recv(client->fd, reply, CHUNK, 0);
    } while (n < 0 && errno == EAGAIN); /* a broken datagram woke us */
    return n < 0 ? -errno : n;
}

static int client_datagram(struct client *client, const char *message, size_t len)
{
    char reply[CHUNK];
    ssize_t n = client_ask(client, message, len, reply);

    /* Connecting a UDP socket asks nobody, so the first message finds out whether an address of a
     * name is served. */
    while (n == -ECONNREFUSED && !client->received && client->next < client->endpoints.count) {
        if (client_connect(client))
            return 1;
        n = client_ask(client, message, len, reply);
    }
    if (n == -ETIMEDOUT)
        return client_unanswered(client);
    if (n < 0)
        return client_failed(client, "%s", strerror((int)-n));
    client->received++;
    client->last = '\0';
    return client_print(client, reply, (size_t)n) || client_end_line(client);
}

int client_message(struct client *client, const char *message, size_t len)
{
    return client_is_stream(client) ? client_stream_message(client, message, len)
                                    : client_datagram(client, message, len);
}
