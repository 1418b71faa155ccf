/* The control socket, on the master's loop. A client that is silent, slow or sends junk costs one of a few
 * places for a few seconds, and nobody else anything. Those that wait for a reload may wait long, and have
 * only half of the places. */
#include "control.h"
#include "container.h"
#include "control_socket.h"
#include "log.h"
#include "status.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CLIENTS_MAX 64
#define RELOADS_MAX 32
#define PATIENCE_MS 5000
#define REST_MS 100
#define LINE_MAX_LENGTH 64

struct client {
    struct loop_source source;
    struct control *control;
    struct client *next;
    struct timer patience;
    struct loop_task end; /* freed at the end of the turn */
    struct reload_waiter waiter;
    enum { FOR_NOTHING, FOR_RELOAD, FOR_UPGRADE } waiting;
    bool stays; /* asked to stop: its stream ends with the server */
    char line[LINE_MAX_LENGTH];
    size_t line_len;
    char *answer;
    size_t answer_len, answer_sent;
};

struct control {
    struct loop_source source;
    struct loop *loop;
    struct rollover *rollover;
    struct control_orders orders;
    struct timer resting;
    bool given; /* another server's: no longer ours, or not yet */
    struct client *clients;
    size_t client_count;
    uint64_t opened_at;
    char path[CONTROL_PATH];
};

/* ---- one client ---- */

static void client_free(struct loop_task *task)
{
    struct client *client = CONTAINER_OF(task, struct client, end);
    struct control *control = client->control;

    for (struct client **link = &control->clients; *link != NULL; link = &(*link)->next)
        if (*link == client) {
            *link = client->next;
            break;
        }
    control->client_count--;
    if (client->waiting == FOR_RELOAD)
        rollover_forget(control->rollover, &client->waiter);
    if (client->waiting == FOR_UPGRADE)
        control->orders.forget_upgrade(control->orders.context, &client->waiter);
    timer_cancel(&control->loop->timers, &client->patience);
    loop_watch(control->loop, &client->source, 0);
    /* A child of ours may hold a copy: the client must see the end all the same. */
    shutdown(client->source.fd, SHUT_RDWR);
    close(client->source.fd);
    free(client->answer);
    free(client);
}

static void client_end(struct client *client)
{
    loop_defer(client->control->loop, &client->end);
}

static void impatient(struct timer *timer)
{
    client_end(CONTAINER_OF(timer, struct client, patience));
}

static void send_answer(struct client *client)
{
    while (client->answer_sent < client->answer_len) {
        ssize_t n = send(client->source.fd, client->answer + client->answer_sent,
                         client->answer_len - client->answer_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            loop_watch(client->control->loop, &client->source, EPOLLOUT);
            return;
        }
        if (n <= 0) {
            client_end(client);
            return;
        }
        client->answer_sent += (size_t)n;
    }
    if (client->stays)
        loop_watch(client->control->loop, &client->source, EPOLLPRI);
    else
        client_end(client);
}

static void reply(struct client *client, bool good, void (*print)(FILE *out, struct client *client),
                  const char *text)
{
    FILE *out = open_memstream(&client->answer, &client->answer_len);

    if (out == NULL) {
        client_end(client);
        return;
    }
    fputs(good ? "ok\n" : "failed\n", out);
    if (print != NULL)
        print(out, client);
    else
        fputs(text, out);
    fclose(out);
    if (!client->stays)
        loop_timer(client->control->loop, &client->patience, clock_ms() + PATIENCE_MS);
    send_answer(client);
}

static void print_status(FILE *out, struct client *client)
{
    const struct control *control = client->control;

    status_print(out, control->rollover, control->orders.predecessor,
                 clock_ms() - control->opened_at);
}

static void print_status_json(FILE *out, struct client *client)
{
    const struct control *control = client->control;

    status_print_json(out, control->rollover, control->orders.predecessor,
                      clock_ms() - control->opened_at);
}

static void order_done(struct reload_waiter *waiter, bool good, const char *text)
{
    struct client *client = CONTAINER_OF(waiter, struct client, waiter);

    client->waiting = FOR_NOTHING;
    reply(client, good, NULL, text);
}

static size_t count_reloads(const struct control *control)
{
    size_t count = 0;

    for (const struct client *client = control->clients; client != NULL; client = client->next)
        count += client->waiting == FOR_RELOAD;
    return count;
}

static void reload(struct client *client)
{
    struct control *control = client->control;

    if (count_reloads(control) >= RELOADS_MAX) {
        reply(client, false, NULL,
              "too many wait for a reload already; `enchufe status` shows what they wait for\n");
        return;
    }
    client->waiting = FOR_RELOAD;
    client->waiter.done = order_done;
    rollover_reload(control->rollover, &client->waiter);
}

static void obey(struct client *client)
{
    struct control *control = client->control;

    timer_cancel(&control->loop->timers, &client->patience);
    loop_watch(control->loop, &client->source, EPOLLPRI); /* its end only */
    if (strcmp(client->line, "status") == 0) {
        reply(client, true, print_status, NULL);
    } else if (strcmp(client->line, "status json") == 0) {
        reply(client, true, print_status_json, NULL);
    } else if (strcmp(client->line, "reload") == 0) {
        reload(client);
    } else if (strcmp(client->line, "upgrade") == 0) {
        client->waiting = FOR_UPGRADE;
        client->waiter.done = order_done;
        control->orders.upgrade(control->orders.context, &client->waiter);
    } else if (strcmp(client->line, "stop") == 0) {
        client->stays = true;
        reply(client, true, NULL, "");
        control->orders.stop(control->orders.context, false);
    } else {
        reply(client, false, NULL,
              "unknown command: status, status json, reload, upgrade or stop\n");
    }
}

static void client_ready(struct loop_source *source, uint32_t events)
{
    struct client *client = CONTAINER_OF(source, struct client, source);
    size_t room = sizeof client->line - 1 - client->line_len;

    if (client->end.queued)
        return;
    if (source->events & EPOLLOUT) {
        send_answer(client);
        return;
    }
    if (!(source->events & EPOLLIN)) {
        if (events & (EPOLLHUP | EPOLLERR))
            client_end(client);
        return;
    }
    ssize_t n = recv(source->fd, client->line + client->line_len, room, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        client_end(client);
        return;
    }
    client->line_len += (size_t)n;
    client->line[client->line_len] = '\0';
    char *end = strchr(client->line, '\n');
    if (end != NULL || strlen(client->line) < client->line_len ||
        client->line_len == sizeof client->line - 1) {
        if (end != NULL)
            *end = '\0';
        obey(client);
    }
}

/* ---- the socket ---- */

/* The first of those that have not said what they want goes: they must keep nobody out. */
static bool make_room(struct control *control)
{
    struct client *silent = NULL;

    for (struct client *client = control->clients; client != NULL; client = client->next)
        if (!client->waiting && client->answer == NULL)
            silent = client; /* the newest stand first */
    if (silent != NULL)
        client_end(silent);
    return silent != NULL;
}

/* Without descriptors the client stays queued, and asking again at once would take a whole processor. */
static void rest(struct control *control)
{
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
        return;
    if (loop_timer(control->loop, &control->resting, clock_ms() + REST_MS) == 0)
        loop_watch(control->loop, &control->source, 0);
}

/* Where the system has no room to watch it, later. */
static void listen_for_clients(struct control *control)
{
    if (loop_watch(control->loop, &control->source, EPOLLIN) != 0)
        loop_timer(control->loop, &control->resting, clock_ms() + REST_MS);
}

static void rested(struct timer *timer)
{
    struct control *control = CONTAINER_OF(timer, struct control, resting);

    if (!control->given)
        listen_for_clients(control);
}

static const char busy[] = "failed\ntoo many talk to the server already; try again\n";

static void control_ready(struct loop_source *source, uint32_t events)
{
    struct control *control = CONTAINER_OF(source, struct control, source);
    int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    if (fd < 0) {
        rest(control);
        return;
    }
    bool allowed = control_socket_allows(fd);
    bool room = allowed && (control->client_count < CLIENTS_MAX || make_room(control));
    struct client *client = room ? calloc(1, sizeof *client) : NULL;
    if (client == NULL) {
        if (allowed)
            (void)!send(fd, busy, sizeof busy - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(fd);
        return;
    }
    client->source = (struct loop_source){ .fd = fd, .ready = client_ready };
    client->control = control;
    client->patience.fire = impatient;
    client->end.run = client_free;
    client->next = control->clients;
    control->clients = client;
    control->client_count++;
    if (loop_timer(control->loop, &client->patience, clock_ms() + PATIENCE_MS) != 0 ||
        loop_watch(control->loop, &client->source, EPOLLIN) != 0)
        client_end(client);
}

struct control *control_open(const char *path, int inherited, struct loop *loop,
                             const struct control_orders *orders)
{
    struct control *control = calloc(1, sizeof *control);
    const char *where = path != NULL ? path : control_default_path(), *wrong = NULL;

    if (control == NULL) {
        log_event(path != NULL ? ENCHUFE_LOG_ERROR : ENCHUFE_LOG_WARNING, "no control socket",
                  LOG_STR("path", where), LOG_STR("error", strerror(ENOMEM)));
        return NULL;
    }
    *control = (struct control){ .source = { .fd = -1, .ready = control_ready },
                                 .loop = loop,
                                 .orders = *orders,
                                 .resting = { .fire = rested },
                                 .given = inherited >= 0,
                                 .opened_at = clock_ms() };
    if (inherited >= 0)
        control_socket_adopt(control->path, control->source.fd = inherited);
    else
        wrong = control_socket_open(where, control->path, &control->source.fd);
    if (wrong != NULL) {
        log_event(path != NULL ? ENCHUFE_LOG_ERROR : ENCHUFE_LOG_WARNING, "no control socket",
                  LOG_STR("path", where), LOG_STR("error", wrong),
                  LOG_STR("advice",
                          path != NULL
                              ? "name a path in [server] control where a socket can be made and no "
                                "other server listens, or end that one with `enchufe stop`"
                              : "write control = PATH into [server]: until then `enchufe stop`, "
                                "`status` and the like do not reach this server, but another one "
                                "that has the path"));
        free(control);
        return NULL;
    }
    return control;
}

const char *control_path(const struct control *control)
{
    return control != NULL ? control->path : NULL;
}

int control_fd(const struct control *control)
{
    return control != NULL ? control->source.fd : -1;
}

void control_give(struct control *control)
{
    if (control == NULL)
        return;
    control->given = true;
    loop_watch(control->loop, &control->source, 0);
}

void control_serve(struct control *control, struct rollover *rollover)
{
    if (control == NULL)
        return;
    control->rollover = rollover;
    if (!control->given)
        listen_for_clients(control);
}

void control_take(struct control *control)
{
    if (control == NULL || !control->given)
        return;
    control->given = false;
    listen_for_clients(control);
}

void control_close(struct control *control)
{
    if (control == NULL)
        return;
    while (control->clients != NULL)
        client_free(&control->clients->end);
    timer_cancel(&control->loop->timers, &control->resting);
    loop_watch(control->loop, &control->source, 0);
    close(control->source.fd);
    if (!control->given)
        unlink(control->path);
    free(control);
}
