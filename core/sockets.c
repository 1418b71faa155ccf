/* Which sockets a generation has: taken over, bound, opened, closed. */
#include "sockets.h"
#include "bind.h"
#include "sockets_find.h"
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A killed predecessor's workers may take a moment to be gone. For all endpoints together, and at the start
 * only: while it serves, the master waits for nothing. */
#define RETRY_MS 20
#define RETRIES 50

void sockets_own_path(struct listener *listener)
{
    listener->created_path = lstat(listener->endpoint.path, &listener->path_file) == 0;
}

/* Returns the socket, or a negative errno; then wrong, if set, says more. */
static int try_first(struct endpoint *endpoint, const char **wrong)
{
    *wrong = endpoint->kind == ENCHUFE_UNIX ? bind_clear_stale(endpoint->path) : NULL;
    return *wrong != NULL ? -EADDRINUSE : bind_first(endpoint);
}

/* The first socket shows whether the endpoint can be had at all. */
static int bind_listener(struct listener *listener, unsigned *retries, const struct place *place,
                         struct report *report)
{
    const char *wrong;
    int fd;

    while ((fd = try_first(&listener->endpoint, &wrong)) == -EADDRINUSE && *retries > 0) {
        --*retries;
        nanosleep(&(struct timespec){ .tv_nsec = RETRY_MS * 1000000L }, NULL);
    }
    if (fd < 0 && wrong != NULL)
        report_add(report, place, "%s %s", listener->endpoint.path, wrong);
    else if (fd < 0)
        bind_report(report, &listener->endpoint, place, -fd);
    if (fd < 0)
        return fd;
    listener->fds[listener->fd_count++] = fd;
    listener->bound = 1;
    if (listener->endpoint.kind == ENCHUFE_UNIX)
        sockets_own_path(listener);
    return 0;
}

/* A socket for each loop. Those behind the first are bound only as the generation opens: bound earlier,
 * the system would hand them datagrams that nobody reads if the generation does not come up. */
static int grow(struct listener *listener, size_t count, const struct place *place,
                struct report *report)
{
    int *fds;

    if (listener->shared || listener->fd_count >= count)
        return 0;
    fds = realloc(listener->fds, count * sizeof *fds);
    if (fds == NULL)
        return -ENOMEM;
    listener->fds = fds;
    while (listener->fd_count < count) {
        int fd = bind_another(&listener->endpoint);
        if (fd < 0) {
            bind_report(report, &listener->endpoint, place, -fd);
            return fd;
        }
        listener->fds[listener->fd_count++] = fd;
    }
    return 0;
}

/* ---- from one generation to the next ---- */

/* One that has no descriptor yet. NULL without memory. */
static struct listener *create_listener(const struct endpoint *endpoint)
{
    struct listener *listener = calloc(1, sizeof *listener);

    if (listener == NULL || (listener->fds = calloc(1, sizeof *listener->fds)) == NULL) {
        free(listener);
        return NULL;
    }
    listener->endpoint = *endpoint;
    listener->shared = endpoint->kind == ENCHUFE_UNIX;
    return listener;
}

/* What binding a configuration needs. */
struct binding {
    struct sockets *sockets;
    const struct sockets_before *before;
    size_t where[2]; /* of sockets_find(), in what serves and in what waits */
    unsigned retries;
    struct report *report;
};

/* What a generation has that will be gone by then is waited for. What another program has is told now.
 * Returns 0 or -errno. */
static int bind_later(struct binding *binding, struct listener *listener, const struct place *place)
{
    const struct endpoint *endpoint = &listener->endpoint;
    const struct listener *drains = sockets_find_clash(binding->before->draining, endpoint);
    const struct listener *waits = sockets_find_clash(binding->before->waiting, endpoint);
    int err = 0;

    listener->late = drains != NULL || waits != NULL;
    if (!listener->late || endpoint->kind == ENCHUFE_UNIX)
        return 0;
    if (drains == NULL || (endpoint->kind == ENCHUFE_TCP && !drains->foreign))
        err = bind_try(endpoint);
    if (err != 0)
        bind_report(binding->report, endpoint, place, -err);
    return err;
}

static int add_endpoint(struct binding *binding, const struct listen_config *listen, size_t service,
                        size_t loops)
{
    const struct sockets_before *before = binding->before;
    struct sockets *sockets = binding->sockets;
    struct listener *listener = sockets_find(before->serving, sockets, listen, &binding->where[0]);
    int err = 0;

    if (listener == NULL)
        listener = sockets_find(before->waiting, sockets, listen, &binding->where[1]);
    if (listener == NULL) {
        listener = create_listener(&listen->endpoint);
        if (listener == NULL)
            return -ENOMEM;
        err = bind_later(binding, listener, &listen->place);
        if (listen->endpoint.kind != ENCHUFE_UNIX && !listener->late)
            err = bind_listener(listener, &binding->retries, &listen->place, binding->report);
    }
    listener->users++;
    listener->unopened++;
    sockets->items[sockets->count++] =
        (struct bound_endpoint){ .listener = listener, .config = listen, .service = service };
    return err != 0 || listener->late ? err
                                      : grow(listener, loops, &listen->place, binding->report);
}

/* Binding a Unix socket leaves traces in the file system: last, and not where all is for nothing. */
static int bind_unix(struct binding *binding)
{
    struct sockets *sockets = binding->sockets;
    int err = 0;

    for (size_t i = 0; i < sockets->count && binding->report->count == 0; i++) {
        struct listener *listener = sockets->items[i].listener;
        if (listener->bound == 0 && !listener->late)
            err = bind_listener(listener, &binding->retries, &sockets->items[i].config->place,
                                binding->report);
    }
    return err;
}

/* What a worker could not find out itself: it may not ask the system. All that is there of a listener is
 * served, also where it is more than was asked for. */
static void note_for_workers(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++) {
        struct bound_endpoint *item = &sockets->items[i];
        const struct endpoint *endpoint = &item->listener->endpoint;
        item->fd_count = item->listener->fd_count;
        item->broadcast = endpoint->kind == ENCHUFE_UDP && !endpoint->any &&
                          bind_is_broadcast(&endpoint->address);
    }
}

/* Told before anything is applied. */
static int check_group(const struct service_config *service, struct report *report)
{
    const struct socket_access *access = &service->limits.socket;
    size_t i = 0;

    while (i < service->listen_count && service->listens[i].endpoint.kind != ENCHUFE_UNIX)
        i++;
    if (i == service->listen_count || access->group_place.line == 0 || geteuid() == 0 ||
        group_member(access->gid))
        return 0;
    report_add(report, &access->group_place,
               "only root can name a group that it does not belong to: start it as root, make its "
               "user a member, or remove the key");
    return -EPERM;
}

int sockets_bind(struct sockets *sockets, const struct config *config, const size_t *loops,
                 const struct sockets_before *before, struct report *report)
{
    bool first = before->serving == NULL || before->serving->count == 0;
    struct binding binding = {
        .sockets = sockets, .before = before, .retries = first ? RETRIES : 0, .report = report
    };
    size_t room = config->endpoint_count + 1;
    int err = 0, failed;

    *sockets = (struct sockets){ .items = calloc(room, sizeof *sockets->items), .unopened = true };
    void *gone = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sockets->items == NULL || gone == MAP_FAILED) {
        report_add(report, NULL, "no memory for the sockets");
        return -ENOMEM;
    }
    sockets->gone = gone;
    sockets->gone_size = room;
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *service = &config->services[i];
        if ((failed = check_group(service, report)) != 0)
            err = failed;
        for (size_t n = 0; n < service->listen_count; n++) {
            failed = add_endpoint(&binding, &service->listens[n], i, loops[i]);
            if (failed == -ENOMEM)
                report_add(report, &service->place, "no memory for the sockets");
            if (failed != 0)
                err = failed;
        }
    }
    if ((failed = bind_unix(&binding)) != 0)
        err = failed;
    note_for_workers(sockets);
    return err;
}

int sockets_bind_late(struct sockets *sockets, const size_t *loops, struct report *report)
{
    unsigned retries = 0;
    int err = 0;

    for (size_t i = 0; i < sockets->count; i++) {
        struct bound_endpoint *item = &sockets->items[i];
        if (!item->listener->late)
            continue;
        item->listener->late = false;
        int failed = bind_listener(item->listener, &retries, &item->config->place, report);
        if (failed == 0)
            failed = grow(item->listener, loops[item->service], &item->config->place, report);
        if (failed != 0)
            err = failed;
    }
    note_for_workers(sockets);
    return err;
}

/* ---- opening and closing ---- */

/* Up to what the generation serves: what lies beyond, another one that waits has added. */
static int bind_rest(struct listener *listener, size_t count)
{
    struct sockaddr_storage address;
    socklen_t len = endpoint_to_sockaddr(&listener->endpoint, &address);

    for (; listener->bound < count; listener->bound++)
        if (bind(listener->fds[listener->bound], (struct sockaddr *)&address, len) != 0)
            return -errno;
    return 0;
}

/* For one that listens already this only sets the backlog. */
static int listen_all(const struct listener *listener, int backlog)
{
    for (size_t i = 0; i < listener->bound && listener->endpoint.kind != ENCHUFE_UDP; i++)
        if (listen(listener->fds[i], backlog) != 0)
            return -errno;
    return 0;
}

/* It waits no longer to open, whatever becomes of it. */
static void settle(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count && sockets->unopened; i++)
        sockets->items[i].listener->unopened--;
    sockets->unopened = false;
}

/* Without a group of the configuration, the one that the file had at first. */
static int set_access(const struct bound_endpoint *bound, const struct socket_access *access,
                      struct report *report)
{
    const struct listener *listener = bound->listener;
    bool grouped = access->group_place.line != 0;
    int mode = access->mode >= 0 ? access->mode : grouped ? 0660 : 0666;

    if (!listener->created_path)
        return 0;
    int err = bind_set_access(listener->endpoint.path, &listener->path_file, (mode_t)mode,
                              grouped ? access->gid : listener->path_file.st_gid);
    if (err != 0)
        report_add(report, &bound->config->place, "cannot set the mode or group of %s: %s",
                   listener->endpoint.path, strerror(-err));
    return err;
}

int sockets_open(struct sockets *sockets, const struct config *config, struct report *report)
{
    int err = 0;

    settle(sockets);
    for (size_t i = 0; i < sockets->count; i++) {
        const struct bound_endpoint *bound = &sockets->items[i];
        const struct service_limits *limits = &config->services[bound->service].limits;
        if (set_access(bound, &limits->socket, report) != 0) {
            err = -EINVAL;
            continue;
        }
        int failed = bind_rest(bound->listener, bound->fd_count);
        if (failed == 0)
            failed = listen_all(bound->listener, (int)limits->backlog);
        if (failed != 0) {
            bind_report(report, &bound->listener->endpoint, &bound->config->place, -failed);
            err = -EINVAL;
        }
    }
    return err;
}

void sockets_retire(struct sockets *sockets, bool all)
{
    for (size_t i = 0; i < sockets->count; i++)
        if (!sockets->items[i].listener->foreign && (all || sockets->items[i].listener->users == 1))
            sockets->gone[i] = all ? SOCKETS_SERVER_ENDS : SOCKETS_REMOVED;
}

void sockets_retire_list(struct sockets *sockets, const char *list)
{
    char *end;

    for (unsigned long i; (i = strtoul(list, &end, 10)), end != list; list = end)
        if (i < sockets->count && !sockets->items[i].listener->foreign)
            sockets->gone[i] = SOCKETS_REMOVED;
}

void sockets_keep_out(const struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++) {
        const struct listener *listener = sockets->items[i].listener;
        for (size_t k = 0; sockets->gone[i] != SOCKETS_STAY && k < listener->fd_count; k++)
            if (listener->endpoint.kind == ENCHUFE_TCP)
                bind_keep_out(listener->fds[k]);
    }
}

void sockets_give(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        sockets->items[i].listener->created_path = false;
}

void sockets_keep(const struct sockets *sockets, size_t service, struct descriptors *kept)
{
    for (size_t i = 0; i < sockets->count; i++)
        for (size_t n = 0; n < sockets->items[i].fd_count && sockets->items[i].service == service;
             n++)
            descriptors_keep(kept, sockets->items[i].listener->fds[n]);
}

static void close_listener(struct listener *listener)
{
    struct stat st;

    /* Another server may have put one of its own there. */
    if (listener->created_path && lstat(listener->endpoint.path, &st) == 0 &&
        st.st_dev == listener->path_file.st_dev && st.st_ino == listener->path_file.st_ino)
        unlink(listener->endpoint.path);
    for (size_t n = 0; n < listener->fd_count; n++)
        close(listener->fds[n]);
    free(listener->fds);
    free(listener);
}

/* What a generation that never opened added, unless another one waits to open it. */
static void shrink(struct listener *listener)
{
    while (listener->unopened == 0 && listener->fd_count > listener->bound)
        close(listener->fds[--listener->fd_count]);
}

void sockets_close(struct sockets *sockets)
{
    settle(sockets);
    for (size_t i = 0; i < sockets->count; i++) {
        struct listener *listener = sockets->items[i].listener;
        if (--listener->users == 0)
            close_listener(listener);
        else
            shrink(listener);
    }
    if (sockets->gone != NULL)
        munmap((void *)sockets->gone, sockets->gone_size);
    free(sockets->items);
    *sockets = (struct sockets){ .items = NULL };
}

uint64_t sockets_dropped(const struct sockets *sockets, size_t service)
{
    uint64_t dropped = 0;

    for (size_t i = 0; i < sockets->count; i++) {
        const struct listener *listener = sockets->items[i].listener;
        if (sockets->items[i].service != service || listener->endpoint.kind != ENCHUFE_UDP)
            continue;
        for (size_t n = 0; n < listener->fd_count; n++) {
            uint32_t info[SK_MEMINFO_VARS];
            socklen_t len = sizeof info;
            if (getsockopt(listener->fds[n], SOL_SOCKET, SO_MEMINFO, info, &len) == 0)
                dropped += info[SK_MEMINFO_DROPS];
        }
    }
    return dropped;
}
