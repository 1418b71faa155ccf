/* Binding and listening. */
#include "sockets.h"
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* An output queue in the system that a client which never reads can fill; left alone it grows to
 * megabytes. The system doubles it for its own bookkeeping. */
#define SEND_BUFFER (256 << 10)

/* What a burst of datagrams may pile up while the loop is busy elsewhere; capped by net.core.rmem_max
 * unless we may go beyond. */
#define DATAGRAM_BUFFER (4 << 20)

/* A killed predecessor's workers may take a moment to be gone. For all endpoints together. */
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
static const char *clear_stale_path(const char *path)
{
    struct endpoint endpoint = { .kind = ENCHUFE_UNIX };
    struct sockaddr_storage address;
    struct stat st;

    if (lstat(path, &st) != 0)
        return NULL; /* bind will say what else may be wrong */
    if (!S_ISSOCK(st.st_mode))
        return "exists and is not a socket; choose another path, or remove it";
    memcpy(endpoint.path, path, strlen(path) + 1);
    socklen_t len = endpoint_to_sockaddr(&endpoint, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    bool refused = connect(fd, (struct sockaddr *)&address, len) != 0 && errno == ECONNREFUSED;
    close(fd);
    if (!refused)
        return "is in use: another server listens there";
    unlink(path);
    return NULL;
}

static void report_bind(struct report *report, const struct bound_endpoint *bound, int err)
{
    char text[ENDPOINT_TEXT];
    const char *name = endpoint_format(&bound->endpoint, text);
    const struct place *place = &bound->config->place;

    if (err == EADDRINUSE)
        report_add(report, place, "%s is in use by another program; `ss -lntup` shows which", name);
    else if (err == EACCES && bound->endpoint.kind != ENCHUFE_UNIX)
        report_add(report, place,
                   "%s needs a privilege: use a port from 1024 on, start as root, or "
                   "give the server CAP_NET_BIND_SERVICE",
                   name);
    else if (err == EADDRNOTAVAIL)
        report_add(report, place,
                   "%s: this machine has no such address; `ip address` lists those "
                   "that it has",
                   name);
    else if (err == EMFILE)
        report_add(report, place, "%s: no descriptors are left; raise the limit (ulimit -n)", name);
    else
        report_add(report, place, "cannot bind %s: %s", name, strerror(err));
}

static int bind_first(struct bound_endpoint *bound, unsigned *retries)
{
    for (;;) {
        int fd = bind_one(&bound->endpoint, true);
        if (fd != -EADDRINUSE || bound->endpoint.kind == ENCHUFE_UNIX || *retries == 0)
            return fd;
        --*retries;
        nanosleep(&(struct timespec){ .tv_nsec = RETRY_MS * 1000000L }, NULL);
    }
}

static int bind_endpoint(struct bound_endpoint *bound, size_t count, unsigned *retries,
                         struct report *report)
{
    const char *wrong;

    bound->fds = calloc(count, sizeof *bound->fds);
    if (bound->fds == NULL)
        return -ENOMEM;
    if (bound->endpoint.kind == ENCHUFE_UNIX &&
        (wrong = clear_stale_path(bound->endpoint.path)) != NULL) {
        report_add(report, &bound->config->place, "%s %s", bound->endpoint.path, wrong);
        return -EADDRINUSE;
    }
    for (size_t i = 0; i < count; i++) {
        int fd = i == 0 ? bind_first(bound, retries) : bind_one(&bound->endpoint, false);
        if (fd < 0) {
            report_bind(report, bound, -fd);
            return fd;
        }
        bound->fds[bound->fd_count++] = fd;
    }
    bound->created_path = bound->endpoint.kind == ENCHUFE_UNIX;
    return 0;
}

int sockets_bind(struct sockets *sockets, const struct config *config, const size_t *loops,
                 struct report *report)
{
    unsigned retries = RETRIES;
    int err = 0;

    *sockets =
        (struct sockets){ .items = calloc(config->endpoint_count + 1, sizeof *sockets->items) };
    if (sockets->items == NULL)
        return -ENOMEM;
    for (size_t s = 0; s < config->service_count; s++) {
        const struct service_config *service = &config->services[s];
        for (size_t i = 0; i < service->listen_count; i++) {
            struct bound_endpoint *bound = &sockets->items[sockets->count++];
            *bound = (struct bound_endpoint){ .endpoint = service->listens[i].endpoint,
                                              .config = &service->listens[i],
                                              .service = s };
            size_t count = bound->endpoint.kind == ENCHUFE_UNIX ? 1 : loops[s];
            if (bind_endpoint(bound, count, &retries, report) != 0)
                err = -EINVAL;
        }
    }
    return err;
}

int sockets_listen(struct sockets *sockets, const struct config *config, struct report *report)
{
    int err = 0;

    for (size_t i = 0; i < sockets->count; i++) {
        struct bound_endpoint *bound = &sockets->items[i];
        int backlog = (int)config->services[bound->service].limits.backlog;
        for (size_t n = 0; n < bound->fd_count && bound->endpoint.kind != ENCHUFE_UDP; n++)
            if (listen(bound->fds[n], backlog) != 0) {
                report_bind(report, bound, errno);
                err = -EINVAL;
                break;
            }
    }
    return err;
}

void sockets_close(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++) {
        struct bound_endpoint *bound = &sockets->items[i];
        if (bound->created_path)
            unlink(bound->endpoint.path);
        for (size_t n = 0; n < bound->fd_count; n++)
            close(bound->fds[n]);
        free(bound->fds);
    }
    free(sockets->items);
    *sockets = (struct sockets){ .items = NULL };
}

uint64_t sockets_dropped(const struct sockets *sockets, size_t service)
{
    uint64_t dropped = 0;

    for (size_t i = 0; i < sockets->count; i++) {
        const struct bound_endpoint *bound = &sockets->items[i];
        for (size_t n = 0; n < bound->fd_count && bound->service == service; n++) {
            uint32_t info[SK_MEMINFO_VARS];
            socklen_t len = sizeof info;
            if (bound->endpoint.kind == ENCHUFE_UDP &&
                getsockopt(bound->fds[n], SOL_SOCKET, SO_MEMINFO, info, &len) == 0)
                dropped += info[SK_MEMINFO_DROPS];
        }
    }
    return dropped;
}
