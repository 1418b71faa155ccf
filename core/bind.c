/* Sockets of the system: created, their options set, bound. */
#include "bind.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <unistd.h>

/* An output queue in the system that a client which never reads can fill; left alone it grows to
 * megabytes. The system doubles it for its own bookkeeping. */
#define SEND_BUFFER (256 << 10)

/* What a burst of datagrams may pile up while the loop is busy elsewhere; capped by net.core.rmem_max
 * unless we may go beyond. */
#define DATAGRAM_BUFFER (4 << 20)

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

static int create(struct endpoint *endpoint)
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
int bind_first(struct endpoint *endpoint)
{
    struct sockaddr_storage address;
    int fd = create(endpoint);

    if (fd < 0)
        return fd;
    socklen_t len = endpoint_to_sockaddr(endpoint, &address);
    if (bind(fd, (struct sockaddr *)&address, len) != 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    if (endpoint->kind == ENCHUFE_UNIX)
        return fd;
    set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    len = sizeof address;
    if (endpoint->address.port == 0 && getsockname(fd, (struct sockaddr *)&address, &len) == 0) {
        enchufe_address real;
        address_from_sockaddr(&real, (struct sockaddr *)&address);
        endpoint->address.port = real.port;
    }
    return fd;
}

int bind_another(struct endpoint *endpoint)
{
    int fd = create(endpoint);

    if (fd >= 0)
        set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    return fd;
}

int bind_try(const struct endpoint *endpoint)
{
    struct endpoint tried = *endpoint;
    struct sockaddr_storage address;
    int fd = bind_another(&tried);

    if (fd < 0)
        return fd;
    socklen_t len = endpoint_to_sockaddr(&tried, &address);
    int err = bind(fd, (struct sockaddr *)&address, len) != 0 ? -errno : 0;
    close(fd);
    return err;
}

/* A socket's file stays behind when its server is killed; whether one lives is told by connecting. */
const char *bind_clear_stale(const char *path)
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

/* An owner may give a file to a group of his own, which needs no privilege that the master has given up: as
 * root it takes the group on for that one call. */
static int set_group(int fd, gid_t gid)
{
    gid_t before = (gid_t)setfsgid(gid);
    int err = fchownat(fd, "", (uid_t)-1, gid, AT_EMPTY_PATH) != 0 ? -errno : 0;

    setfsgid(before);
    return err;
}

/* By a descriptor, since whoever owns the folder may put a link to another file there at any moment. */
int bind_set_access(const char *path, const struct stat *file, mode_t mode, gid_t gid)
{
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), err = 0;
    char link[32];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        err = errno == ENOENT ? 0 : -errno;
    else if (st.st_dev == file->st_dev && st.st_ino == file->st_ino) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (st.st_gid != gid)
            err = set_group(fd, gid);
        if (err == 0 && (st.st_mode & ALLPERMS) != mode && chmod(link, mode) != 0)
            err = -errno;
    }
    if (fd >= 0)
        close(fd);
    return err;
}

void bind_report(struct report *report, const struct endpoint *endpoint, const struct place *place,
                 int err)
{
    char text[ENDPOINT_TEXT];
    const char *name = endpoint_format(endpoint, text);

    if (err == EADDRINUSE)
        report_add(report, place, "%s is in use by another program; `ss -lntup` shows which", name);
    else if (err == EACCES && endpoint->kind != ENCHUFE_UNIX)
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

/* To connect there, a socket would need SO_BROADCAST. Nothing is sent. */
bool bind_is_broadcast(const enchufe_address *address)
{
    struct sockaddr_storage to;
    socklen_t len = address_to_sockaddr(address, false, &to);
    int fd =
        address->family == ENCHUFE_FAMILY_IPV4 ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;

    if (fd < 0)
        return false;
    bool refused = connect(fd, (struct sockaddr *)&to, len) != 0 && errno == EACCES;
    close(fd);
    return refused;
}

void bind_keep_out(int fd)
{
    /* Accepted sockets inherit it, which means nothing to them. */
    static const struct sock_filter no_syn[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13), /* the flags of TCP's header */
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = { .len = sizeof no_syn / sizeof *no_syn,
                                  .filter = (struct sock_filter *)(uintptr_t)no_syn };

    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}
