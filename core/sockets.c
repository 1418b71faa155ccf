/* Binding and listening. */
#include "sockets.h"
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* An output queue in the system that a client which never reads can fill; left alone it grows to
 * megabytes. The system doubles it for its own bookkeeping. */
#define SEND_BUFFER (256 << 10)

/* What a burst of datagrams may pile up while the loop is busy elsewhere; capped by net.core.rmem_max
 * unless we may go beyond. */
#define DATAGRAM_BUFFER (4 << 20)

/* A killed predecessor's workers may take a moment to be gone. For all endpoints together, and at the start
 * only: while it serves, the master waits for nothing. */
#define RETRY_MS 20
#define RETRIES 50

static void set(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof value);
}

static void set_options(int fd, const struct endpoint *endpoint)
{
    if (endpoint->kind == ENCHUFE_UDP) {
        int size = DATAGRAM_BUFFER;
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
            set(fd, SOL_SOCKET, SO_RCVBUF, size);
        set(fd, SOL_SOCKET, SO_SNDBUF, DATAGRAM_BUFFER);
        return;
    }
    set(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
    if (endpoint->kind == ENCHUFE_UNIX)
        return;
    /* Accepted sockets inherit these, which saves the calls for each connection. */
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    /* A client whose machine is gone is noticed within four minutes, also without idle_timeout. */
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 120);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 30);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

static int create_socket(struct endpoint *endpoint)
{
    int type =
        (endpoint->kind == ENCHUFE_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    struct sockaddr_storage address;

    endpoint_to_sockaddr(endpoint, &address);
    int fd = socket(address.ss_family, type, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && endpoint->any && address.ss_family == AF_INET6) {
        /* A system without IPv6: every address is every IPv4 address. */
        endpoint->any = false;
        endpoint->address.family = ENCHUFE_FAMILY_IPV4;
        fd = socket(AF_INET, type, 0);
    } else if (fd >= 0 && address.ss_family == AF_INET6) {
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !endpoint->any);
    }
    if (fd < 0)
        return -errno;
    set_options(fd, endpoint);
    return fd;
}

/* The first socket of an endpoint is bound without SO_REUSEPORT: with it, a second server of the same
 * user would quietly get half of the connections. Set right after, it lets our own others in. */
static int bind_one(struct endpoint *endpoint, bool first)
{
    struct sockaddr_storage address;
    int fd = create_socket(endpoint);

    if (fd < 0)
        return fd;
    socklen_t len = endpoint_to_sockaddr(endpoint, &address);
    if (!first)
        set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (bind(fd, (struct sockaddr *)&address, len) != 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    if (first && endpoint->kind != ENCHUFE_UNIX) {
        set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
        len = sizeof address;
        if (endpoint->address.port == 0 &&
            getsockname(fd, (struct sockaddr *)&address, &len) == 0) {
            enchufe_address real;
            address_from_sockaddr(&real, (struct sockaddr *)&address);
            endpoint->address.port = real.port;
        }
    }
    return fd;
}

/* A socket's file stays behind when its server is killed; whether one lives is told by connecting. */
const char *sockets_clear_stale(const char *path)
{
    struct endpoint endpoint = { .kind = ENCHUFE_UNIX };
    struct sockaddr_storage address;
    struct stat st;

    if (lstat(path, &st) != 0)
        return NULL; /* binding will say what else may be wrong */
    if (!S_ISSOCK(st.st_mode))
        return "exists and is not a socket; choose another path, or remove it";
    memcpy(endpoint.path, path, strlen(path) + 1);
    socklen_t len = endpoint_to_sockaddr(&endpoint, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    int err = connect(fd, (struct sockaddr *)&address, len) != 0 ? errno : 0;
    close(fd);
    if (err == EPROTOTYPE)
        return "is a datagram socket of another program";
    if (err == EACCES)
        return "cannot be looked at: permission denied";
    if (err != ECONNREFUSED)
        return "is in use: another server listens there";
    unlink(path);
    return NULL;
}

static void report_bind(struct report *report, const struct listener *listener,
                        const struct place *place, int err)
{
    char text[ENDPOINT_TEXT];
    const char *name = endpoint_format(&listener->endpoint, text);

    if (err == EADDRINUSE)
        report_add(report, place, "%s is in use by another program; `ss -lntup` shows which", name);
    else if (err == EACCES && listener->endpoint.kind != ENCHUFE_UNIX)
        report_add(report, place,
                   "%s needs a privilege: use a port from 1024 on, start as root, or "
                   "give the server CAP_NET_BIND_SERVICE",
                   name);
    else if (err == EADDRNOTAVAIL)
        report_add(report, place,
                   "%s: this machine has no such address; `ip address` lists those that it has",
                   name);
    else if (err == EMFILE)
        report_add(report, place, "%s: no descriptors are left; raise the limit (ulimit -n)", name);
    else
        report_add(report, place, "cannot bind %s: %s", name, strerror(err));
}

void sockets_own_path(struct listener *listener)
{
    struct stat st = { 0 };

    listener->created_path = lstat(listener->endpoint.path, &st) == 0;
    listener->path_dev = st.st_dev;
    listener->path_ino = st.st_ino;
}

/* Returns the socket, or a negative errno; then wrong, if set, says more. */
static int try_first(struct endpoint *endpoint, const char **wrong)
{
    *wrong = endpoint->kind == ENCHUFE_UNIX ? sockets_clear_stale(endpoint->path) : NULL;
    return *wrong != NULL ? -EADDRINUSE : bind_one(endpoint, true);
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
        report_bind(report, listener, place, -fd);
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
        int fd = create_socket(&listener->endpoint);
        if (fd < 0) {
            report_bind(report, listener, place, -fd);
            return fd;
        }
        set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
        listener->fds[listener->fd_count++] = fd;
    }
    return 0;
}

/* ---- from one generation to the next ---- */

/* Port 0 is the same endpoint only in the same service; which of several is told by their order. A port
 * that is said is the same as one that the system chose before. */
static bool same_endpoint(const struct bound_endpoint *before, const char *service_before,
                          const struct listen_config *now, const char *service_now)
{
    const struct endpoint *a = &before->config->endpoint, *b = &now->endpoint;
    uint16_t port =
        b->address.port != 0 ? before->listener->endpoint.address.port : a->address.port;

    if (a->kind != b->kind || a->any != b->any)
        return false;
    if (a->kind == ENCHUFE_UNIX)
        return strcmp(a->path, b->path) == 0;
    return a->address.family == b->address.family && port == b->address.port &&
           a->address.scope == b->address.scope &&
           memcmp(a->address.ip, b->address.ip, sizeof a->address.ip) == 0 &&
           (port != 0 || strcmp(service_before, service_now) == 0);
}

static bool taken(const struct sockets *sockets, const struct listener *listener)
{
    for (size_t i = 0; i < sockets->count; i++)
        if (sockets->items[i].listener == listener)
            return true;
    return false;
}

/* The listener that the previous generation has for the endpoint, or NULL. `where` is how far the
 * search came last time: files change little, so the next is mostly found at once. */
static struct listener *inherit(const struct sockets *previous, const struct sockets *sockets,
                                const struct listen_config *listen, size_t *where)
{
    for (size_t n = 0; previous != NULL && n < previous->count; n++) {
        size_t i = (*where + n) % previous->count;
        const struct bound_endpoint *before = &previous->items[i];
        if (!same_endpoint(before, before->config->place.section, listen, listen->place.section) ||
            (before->config->endpoint.address.port == 0 && taken(sockets, before->listener)))
            continue;
        *where = i + 1;
        return before->listener;
    }
    return NULL;
}

static int add_endpoint(struct sockets *sockets, const struct listen_config *listen, size_t service,
                        struct listener *listener, unsigned *retries, struct report *report)
{
    struct bound_endpoint *bound = &sockets->items[sockets->count];
    int err = 0;

    if (listener == NULL) {
        listener = calloc(1, sizeof *listener);
        if (listener == NULL || (listener->fds = calloc(1, sizeof *listener->fds)) == NULL) {
            free(listener);
            return -ENOMEM;
        }
        listener->endpoint = listen->endpoint;
        listener->shared = listen->endpoint.kind == ENCHUFE_UNIX;
        if (listen->endpoint.kind != ENCHUFE_UNIX)
            err = bind_listener(listener, retries, &listen->place, report);
    }
    listener->users++;
    *bound = (struct bound_endpoint){ .listener = listener, .config = listen, .service = service };
    sockets->count++;
    return err;
}

static int bind_service(struct sockets *sockets, const struct config *config, size_t service,
                        size_t loops, const struct sockets *previous, size_t *where,
                        unsigned *retries, struct report *report)
{
    const struct service_config *section = &config->services[service];
    int err = 0;

    for (size_t i = 0; i < section->listen_count; i++) {
        const struct listen_config *listen = &section->listens[i];
        struct listener *listener = inherit(previous, sockets, listen, where);
        int failed = add_endpoint(sockets, listen, service, listener, retries, report);
        if (failed == -ENOMEM)
            return failed;
        if (failed == 0)
            failed =
                grow(sockets->items[sockets->count - 1].listener, loops, &listen->place, report);
        if (failed != 0)
            err = failed;
    }
    return err;
}

/* Binding a Unix socket leaves traces in the file system: last, and not where all is for nothing. */
static int bind_unix(struct sockets *sockets, unsigned *retries, struct report *report)
{
    int err = 0;

    for (size_t i = 0; i < sockets->count && report->count == 0; i++) {
        struct listener *listener = sockets->items[i].listener;
        if (listener->bound == 0)
            err = bind_listener(listener, retries, &sockets->items[i].config->place, report);
    }
    return err;
}

int sockets_bind(struct sockets *sockets, const struct config *config, const size_t *loops,
                 const struct sockets *previous, struct report *report)
{
    unsigned retries = previous == NULL || previous->count == 0 ? RETRIES : 0;
    size_t room = config->endpoint_count + 1, where = 0;
    int err = 0;

    *sockets = (struct sockets){ .items = calloc(room, sizeof *sockets->items) };
    void *gone = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sockets->items == NULL || gone == MAP_FAILED) {
        report_add(report, NULL, "no memory for the sockets");
        return -ENOMEM;
    }
    sockets->gone = gone;
    sockets->gone_size = room;
    for (size_t i = 0; i < config->service_count; i++) {
        int failed = bind_service(sockets, config, i, loops[i], previous, &where, &retries, report);
        if (failed != 0)
            err = failed;
    }
    int failed = bind_unix(sockets, &retries, report);
    for (size_t i = 0; i < sockets->count; i++)
        sockets->items[i].fd_count = sockets->items[i].listener->fd_count;
    return failed != 0 ? failed : err;
}

/* ---- opening and closing ---- */

static int bind_rest(struct listener *listener)
{
    struct sockaddr_storage address;
    socklen_t len = endpoint_to_sockaddr(&listener->endpoint, &address);

    for (; listener->bound < listener->fd_count; listener->bound++)
        if (bind(listener->fds[listener->bound], (struct sockaddr *)&address, len) != 0)
            return -errno;
    return 0;
}

/* For one that listens already this only sets the backlog. */
static int listen_all(const struct listener *listener, int backlog)
{
    for (size_t i = 0; i < listener->fd_count && listener->endpoint.kind != ENCHUFE_UDP; i++)
        if (listen(listener->fds[i], backlog) != 0)
            return -errno;
    return 0;
}

int sockets_open(struct sockets *sockets, const struct config *config, struct report *report)
{
    int err = 0;

    for (size_t i = 0; i < sockets->count; i++) {
        const struct bound_endpoint *bound = &sockets->items[i];
        int backlog = (int)config->services[bound->service].limits.backlog;
        int failed = bind_rest(bound->listener);
        if (failed == 0)
            failed = listen_all(bound->listener, backlog);
        if (failed != 0) {
            report_bind(report, bound->listener, &bound->config->place, -failed);
            err = -EINVAL;
        }
    }
    return err;
}

void sockets_retire(struct sockets *sockets, bool all)
{
    for (size_t i = 0; i < sockets->count; i++)
        if (!sockets->items[i].listener->foreign && (all || sockets->items[i].listener->users == 1))
            sockets->gone[i] = 1;
}

void sockets_retire_list(struct sockets *sockets, const char *list)
{
    char *end;

    for (unsigned long i; (i = strtoul(list, &end, 10)), end != list; list = end)
        if (i < sockets->count && !sockets->items[i].listener->foreign)
            sockets->gone[i] = 1;
}

void sockets_give(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        sockets->items[i].listener->created_path = false;
}

void sockets_close_others(const struct sockets *sockets, const struct sockets *keep)
{
    for (size_t i = 0; i < sockets->count; i++) {
        const struct listener *listener = sockets->items[i].listener;
        for (size_t n = 0; n < listener->fd_count && !taken(keep, listener); n++)
            close(listener->fds[n]);
    }
}

static bool among(size_t service, const size_t *services, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (services[i] == service)
            return true;
    return false;
}

void sockets_close_unserved(const struct sockets *sockets, const size_t *services, size_t count)
{
    for (size_t i = 0; i < sockets->count; i++) {
        const struct listener *listener = sockets->items[i].listener;
        for (size_t n = 0; n < listener->fd_count; n++)
            if (!among(sockets->items[i].service, services, count))
                close(listener->fds[n]);
    }
}

static void close_listener(struct listener *listener)
{
    struct stat st;

    /* Another server may have put one of its own there. */
    if (listener->created_path && lstat(listener->endpoint.path, &st) == 0 &&
        st.st_dev == listener->path_dev && st.st_ino == listener->path_ino)
        unlink(listener->endpoint.path);
    for (size_t n = 0; n < listener->fd_count; n++)
        close(listener->fds[n]);
    free(listener->fds);
    free(listener);
}

/* What a generation that never opened added. */
static void shrink(struct listener *listener)
{
    while (listener->fd_count > listener->bound)
        close(listener->fds[--listener->fd_count]);
}

void sockets_close(struct sockets *sockets)
{
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
