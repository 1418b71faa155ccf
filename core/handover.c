/* Reading and writing what is handed over.
 *
 * The table is text: the control socket's descriptor or -1, and then a line for each endpoint of the
 * serving generation, `REAL-PORT CREATED-PATH SHARED FOREIGN FD[,FD...] SERVICE ENDPOINT`. The endpoint is as
 * configured, and last, because paths may have blanks. */
#include "handover.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_LISTEN_FD 3

/* Of inherited descriptors that are no sockets for us so many get a line each. */
#define USELESS_TOLD 10

static int number_from(const char *name)
{
    const char *text = getenv(name);
    char *end;
    long number = text != NULL ? strtol(text, &end, 10) : -1;

    if (text == NULL || *text == '\0' || *end != '\0' || number < 0 || number > INT32_MAX)
        number = -1;
    unsetenv(name);
    return (int)number;
}

static void close_on_exec(int fd, bool yes)
{
    fcntl(fd, F_SETFD, yes ? FD_CLOEXEC : 0);
}

/* Room for one more, zeroed, with its first descriptor. NULL without memory. */
static struct bound_endpoint *add(struct handover *handover, const char *service,
                                  const struct endpoint *configured, size_t fds)
{
    struct sockets *sockets = &handover->sockets;
    size_t count = sockets->count + 1;
    struct bound_endpoint *items = realloc(sockets->items, count * sizeof *items);
    struct listener *listener = calloc(1, sizeof *listener);
    struct listen_config *config = calloc(1, sizeof *config);

    if (items != NULL)
        sockets->items = items;
    if (items == NULL || listener == NULL || config == NULL ||
        (listener->fds = calloc(fds, sizeof *listener->fds)) == NULL ||
        (config->place.section = strdup(service)) == NULL) {
        free(listener != NULL ? listener->fds : NULL);
        free(listener);
        free(config);
        return NULL;
    }
    config->endpoint = *configured;
    listener->endpoint = *configured;
    listener->users = 1;
    items[sockets->count] = (struct bound_endpoint){ .listener = listener, .config = config };
    return &items[sockets->count++];
}

/* ---- from the service manager ---- */

static int describe(int fd, struct endpoint *endpoint)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address, size = sizeof(int);
    int type = 0, v6only = 1;

    *endpoint = (struct endpoint){ .kind = 0 };
    memset(&address, 0, sizeof address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
        return -errno;
    if (address.ss_family == AF_UNIX && type == SOCK_STREAM) {
        endpoint->kind = ENCHUFE_UNIX;
        memcpy(endpoint->path, (char *)&address + offsetof(struct sockaddr_un, sun_path),
               sizeof endpoint->path - 1);
        return 0;
    }
    if (address.ss_family != AF_INET && address.ss_family != AF_INET6)
        return -EAFNOSUPPORT;
    endpoint->kind = type == SOCK_DGRAM ? ENCHUFE_UDP : ENCHUFE_TCP;
    address_from_sockaddr(&endpoint->address, (struct sockaddr *)&address);
    size = sizeof v6only;
    if (address.ss_family == AF_INET6 &&
        getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &size) == 0 && !v6only) {
        static const uint8_t zero[16];
        endpoint->any = memcmp(endpoint->address.ip, zero, sizeof zero) == 0;
    }
    return 0;
}

/* Returns 1 for one that is of no use, or else 0 or -errno. */
static int take_listen_fd(struct handover *handover, int fd, const char *name, bool tell)
{
    struct endpoint endpoint;
    int err = describe(fd, &endpoint);

    close_on_exec(fd, true);
    if (err != 0) {
        if (tell)
            log_event(ENCHUFE_LOG_WARNING, "an inherited socket is of no use", LOG_INT("fd", fd),
                      LOG_STR("name", name), LOG_STR("error", strerror(-err)));
        close(fd);
        return 1;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    struct bound_endpoint *bound = add(handover, name, &endpoint, 1);
    if (bound == NULL)
        return -ENOMEM;
    bound->listener->fds[0] = fd;
    bound->listener->fd_count = bound->listener->bound = 1;
    /* Whether the system lets us bind others beside it depends on who bound it: the loops share it. */
    bound->listener->shared = bound->listener->foreign = true;
    handover->named++;
    return 0;
}

static int take_listen_fds(struct handover *handover)
{
    int pid = number_from("LISTEN_PID"), count = number_from("LISTEN_FDS");
    const char *said = getenv("LISTEN_FDNAMES");
    char *names = strdup(said != NULL ? said : ""), *rest = names;
    int err = names != NULL ? 0 : -ENOMEM;
    unsigned useless = 0;

    unsetenv("LISTEN_FDNAMES");
    if (pid != getpid())
        count = 0;
    for (int i = 0; i < count && err >= 0; i++) {
        const char *name = strsep(&rest, ":");
        int fd = FIRST_LISTEN_FD + i;
        if (fcntl(fd, F_GETFD) < 0) {
            log_event(ENCHUFE_LOG_WARNING, "LISTEN_FDS promises more than there is",
                      LOG_INT("sockets", count), LOG_INT("found", i));
            break;
        }
        err = take_listen_fd(handover, fd, name != NULL ? name : "", useless < USELESS_TOLD);
        useless += err > 0;
    }
    if (useless > USELESS_TOLD)
        log_event(ENCHUFE_LOG_WARNING, "more inherited sockets are of no use",
                  LOG_NUM("count", useless - USELESS_TOLD));
    free(names);
    return err < 0 ? err : 0;
}

static bool same_address(const struct endpoint *a, const struct endpoint *b)
{
    if (a->kind != b->kind || a->any != b->any)
        return false;
    if (a->kind == ENCHUFE_UNIX)
        return strcmp(a->path, b->path) == 0;
    return a->address.family == b->address.family && a->address.scope == b->address.scope &&
           memcmp(a->address.ip, b->address.ip, sizeof a->address.ip) == 0;
}

/* Whether the service has an endpoint with that address and that port; where it was said. */
static const struct place *find_listen(const struct service_config *service,
                                       const struct endpoint *socket, unsigned port)
{
    for (size_t i = 0; i < service->listen_count; i++) {
        const struct endpoint *endpoint = &service->listens[i].endpoint;
        if (same_address(endpoint, socket) && endpoint->address.port == port)
            return &service->listens[i].place;
    }
    return NULL;
}

/* Another's endpoint with that address cannot be bound beside the inherited socket; and served from it,
 * clients would be answered by a service that the manager does not mean. Returns whether there is one. */
static bool tell_contradiction(const struct endpoint *socket, const struct config *config,
                               const char *named, struct report *report)
{
    char text[ENDPOINT_TEXT];

    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *other = &config->services[i];
        const struct place *place = find_listen(other, socket, socket->address.port);
        if (place == NULL)
            continue;
        report_add(report, place,
                   "%s is inherited as a socket of [%s]: its socket unit should say "
                   "FileDescriptorName=%s, or [%s] should listen there",
                   endpoint_format(socket, text), named, other->name, named);
        return true;
    }
    return false;
}

static void check_name(struct bound_endpoint *bound, const struct config *config,
                       struct report *report)
{
    struct listen_config *own = (struct listen_config *)bound->config; /* ours: add() made it */
    const struct endpoint *socket = &bound->listener->endpoint;
    const struct service_config *named = NULL;

    for (size_t i = 0; i < config->service_count && named == NULL; i++)
        if (strcmp(config->services[i].name, own->place.section) == 0)
            named = &config->services[i];
    if (named == NULL || find_listen(named, socket, socket->address.port) != NULL)
        return;
    if (!tell_contradiction(socket, config, named->name, report) &&
        find_listen(named, socket, 0) != NULL)
        own->endpoint.address.port = 0;
}

void handover_check_names(struct handover *handover, const struct config *config,
                          struct report *report)
{
    for (size_t i = 0; i < handover->named; i++)
        check_name(&handover->sockets.items[i], config, report);
}

/* ---- from the server before ---- */

/* Returns how many words were taken from the start of the line, which *rest is behind. */
static size_t split(char **rest, char *words[], size_t count)
{
    size_t n = 0;

    (*rest)[strcspn(*rest, "\n")] = '\0';
    while (n < count && *rest != NULL)
        words[n++] = strsep(rest, " ");
    return n;
}

static int take_fds(struct listener *listener, char *list)
{
    size_t count = 1;

    for (const char *c = list; *c != '\0'; c++)
        count += *c == ',';
    free(listener->fds);
    listener->fds = calloc(count, sizeof *listener->fds);
    if (listener->fds == NULL)
        return -ENOMEM;
    for (char *word; (word = strsep(&list, ",")) != NULL;) {
        listener->fds[listener->fd_count++] = atoi(word);
        close_on_exec(atoi(word), true);
    }
    listener->bound = listener->fd_count;
    return 0;
}

static int take_socket(struct handover *handover, size_t place, char *line)
{
    char *words[6], *rest = line;
    struct endpoint_list list = { .items = NULL };
    struct bound_endpoint *bound = NULL;
    char error[ENDPOINT_ERROR];
    int err = 0;

    if (split(&rest, words, 6) < 6 || rest == NULL)
        return 0;
    if (endpoint_parse(rest, "/", &list, error) == 0 && list.count == 1) {
        bound = add(handover, words[5], list.items, 1);
        err = bound != NULL ? take_fds(bound->listener, words[4]) : -ENOMEM;
    }
    endpoint_list_free(&list);
    if (bound == NULL)
        return err;
    bound->service = place;
    bound->listener->endpoint.address.port = (uint16_t)atoi(words[0]);
    if (atoi(words[1]) != 0)
        sockets_own_path(bound->listener);
    bound->listener->shared = atoi(words[2]) != 0;
    bound->listener->foreign = atoi(words[3]) != 0;
    return err;
}

/* Up to its last step an upgrade is the other server's: when that one is killed, so are we. The system does it,
 * because nobody here reads a pipe while plugins are probed. */
static void end_with_the_other(int ready)
{
    struct pollfd pipe = { .fd = ready };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&pipe, 1, 0) == 1 && (pipe.revents & POLLERR))
        _exit(1); /* it was killed before that */
}

static int take_table(struct handover *handover)
{
    int fd = number_from(HANDOVER_SOCKETS), err = 0;
    char *line = NULL;
    size_t size = 0;

    handover->ready = number_from(HANDOVER_READY);
    handover->before = number_from(HANDOVER_BEFORE);
    if (handover->ready >= 0) {
        close_on_exec(handover->ready, true);
        end_with_the_other(handover->ready);
    }
    FILE *table = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (table == NULL)
        return 0;
    rewind(table);
    if (getline(&line, &size, table) > 0 && (handover->control = atoi(line)) >= 0)
        close_on_exec(handover->control, true);
    for (size_t place = 0; err == 0 && getline(&line, &size, table) > 0; place++)
        err = take_socket(handover, place, line);
    free(line);
    fclose(table);
    return err;
}

int handover_take(struct handover *handover)
{
    *handover = (struct handover){ .control = -1, .ready = -1, .before = -1 };
    int err = take_listen_fds(handover);

    return err != 0 ? err : take_table(handover);
}

void handover_fail(const struct handover *handover, struct report *report)
{
    FILE *out = handover->ready >= 0 ? fdopen(dup(handover->ready), "w") : NULL;

    if (out == NULL)
        return;
    report_print(report, out);
    fclose(out);
}

/* Those that only the handover itself still uses; `service` is their place with the server before. */
static void tell_unused(const struct handover *handover, FILE *out)
{
    char text[ENDPOINT_TEXT];

    for (size_t i = 0; i < handover->sockets.count; i++) {
        const struct bound_endpoint *bound = &handover->sockets.items[i];
        if (bound->listener->users != 1)
            continue;
        log_event(ENCHUFE_LOG_WARNING, "an inherited socket is not used",
                  LOG_STR("service", bound->config->place.section),
                  LOG_STR("endpoint", endpoint_format(&bound->listener->endpoint, text)),
                  LOG_STR("why", i < handover->named ? "no service listens there" : NULL));
        fprintf(out, " %zu", bound->service);
    }
}

void handover_end(struct handover *handover, bool good)
{
    char *word = NULL;
    size_t len = 0;
    FILE *out = good ? open_memstream(&word, &len) : NULL;

    if (out != NULL) {
        fputs(HANDOVER_WORD, out);
        tell_unused(handover, out);
        fputc('\n', out);
        fclose(out);
    }
    if (out == NULL)
        sockets_give(&handover->sockets);
    for (size_t i = 0; i < handover->sockets.count; i++) {
        const struct listen_config *config = handover->sockets.items[i].config;
        free((void *)config->place.section);
        free((void *)config);
    }
    sockets_close(&handover->sockets);
    if (word != NULL && handover->ready >= 0) {
        prctl(PR_SET_PDEATHSIG, 0);
        (void)!write(handover->ready, word, len);
        close(handover->ready);
        handover->ready = -1;
    }
    free(word);
}

/* ---- to the server after ---- */

int handover_make(const struct sockets *sockets, const struct config *config, int control)
{
    int fd = memfd_create("enchufe-handover", 0);
    FILE *table = fd >= 0 ? fdopen(dup(fd), "w") : NULL;
    char text[ENDPOINT_TEXT];

    if (table == NULL) {
        int err = errno;
        if (fd >= 0)
            close(fd);
        return -err;
    }
    fprintf(table, "%d\n", control);
    if (control >= 0)
        close_on_exec(control, false);
    for (size_t i = 0; i < sockets->count; i++) {
        const struct bound_endpoint *bound = &sockets->items[i];
        const struct listener *listener = bound->listener;
        fprintf(table, "%u %d %d %d ", listener->endpoint.address.port, listener->created_path,
                listener->shared, listener->foreign);
        for (size_t n = 0; n < listener->bound; n++) {
            fprintf(table, "%s%d", n != 0 ? "," : "", listener->fds[n]);
            close_on_exec(listener->fds[n], false);
        }
        fprintf(table, " %s %s\n", config->services[bound->service].name,
                endpoint_format(&bound->config->endpoint, text));
    }
    int failed = fclose(table);
    if (failed) {
        close(fd);
        return -EIO;
    }
    return fd;
}
