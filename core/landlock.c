/* A Landlock domain: what every worker needs, and what its sections name.
 *
 * The system calls have no wrappers in the C library, and Debian 12's header ends at ABI 2: what is used
 * is declared here, after the kernel's own header. */
#include "landlock.h"
#include "log.h"
#include "log_sink.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT 2

#define FS_EXECUTE (1ULL << 0)
#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_REFER (1ULL << 13)
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define FS_RESOLVE_UNIX (1ULL << 16)
#define FS_FIRST ((1ULL << 13) - 1) /* those of ABI 1 */

#define NET_BIND_TCP (1ULL << 0)
#define NET_CONNECT_TCP (1ULL << 1)

#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

/* What makes sense for something that is no folder. */
#define FS_OF_FILES                                                                                \
    (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV | FS_RESOLVE_UNIX)

#define READING (FS_READ_FILE | FS_READ_DIR)
/* No EXECUTE anywhere: opening a library does not need it. Connecting is no writing. */
#define WRITING (~(FS_EXECUTE | FS_RESOLVE_UNIX))

struct ruleset_attr {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

struct path_beneath_attr {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

struct net_port_attr {
    uint64_t allowed_access;
    uint64_t port;
};

/* Asked once, by the master: a worker that could not ask must not take it for a kernel that has none. */
int landlock_abi(void)
{
    static long abi = -1;

    if (abi < 0)
        abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    if (abi < 0)
        abi = 0;
    return (int)abi;
}

/* Everything that this kernel can keep from us; what is not handled is free to all. */
static struct ruleset_attr handled(int abi)
{
    struct ruleset_attr attr = { .handled_access_fs = FS_FIRST };

    if (abi >= 2)
        attr.handled_access_fs |= FS_REFER;
    if (abi >= 3)
        attr.handled_access_fs |= FS_TRUNCATE;
    if (abi >= 4)
        attr.handled_access_net = NET_BIND_TCP | NET_CONNECT_TCP;
    if (abi >= 5)
        attr.handled_access_fs |= FS_IOCTL_DEV;
    if (abi >= 6)
        attr.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
    if (abi >= 9)
        attr.handled_access_fs |= FS_RESOLVE_UNIX;
    return attr;
}

struct domain {
    struct ruleset_attr attr;
    int fd;
};

static int allow_path(const struct domain *domain, const char *path, uint64_t access)
{
    struct path_beneath_attr rule = { .allowed_access = access & domain->attr.handled_access_fs,
                                      .parent_fd = open(path, O_PATH | O_CLOEXEC) };
    struct stat st;
    int err = 0;

    if (rule.parent_fd < 0)
        return -errno;
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= FS_OF_FILES;
    if (syscall(SYS_landlock_add_rule, domain->fd, RULE_PATH_BENEATH, &rule, 0) != 0)
        err = -errno;
    close(rule.parent_fd);
    return err;
}

static int allow_port(const struct domain *domain, uint16_t port)
{
    struct net_port_attr rule = { .allowed_access = NET_CONNECT_TCP, .port = port };

    if (domain->attr.handled_access_net == 0)
        return 0;
    return syscall(SYS_landlock_add_rule, domain->fd, RULE_NET_PORT, &rule, 0) != 0 ? -errno : 0;
}

/* What a program cannot do without, and tells nobody anything. Systems differ in which of them exist. */
static void allow_basics(const struct domain *domain)
{
    static const struct {
        const char *path;
        uint64_t access;
    } basics[] = {
        /* Libraries that plugins link, and what the C library loads by itself. */
        { "/lib", READING },
        { "/lib32", READING },
        { "/lib64", READING },
        { "/usr/lib", READING },
        { "/usr/lib32", READING },
        { "/usr/lib64", READING },
        { "/usr/local/lib", READING },
        { "/etc/ld.so.cache", READING },
        { "/etc/ld.so.preload", READING },
        { "/etc/localtime", READING },
        { "/usr/share/zoneinfo", READING },
        { "/usr/share/locale", READING },
        /* What the allocator and sanitizers ask about the process and the machine. */
        { "/proc/self", READING },
        { "/proc/self/exe", READING },
        { "/proc/sys/vm/overcommit_memory", READING },
        { "/sys/devices/system/cpu", READING },
        { "/dev/null", READING | FS_WRITE_FILE },
        { "/dev/zero", READING | FS_WRITE_FILE },
        { "/dev/full", READING | FS_WRITE_FILE },
        { "/dev/random", READING },
        { "/dev/urandom", READING },
    };

    for (size_t i = 0; i < sizeof basics / sizeof *basics; i++)
        allow_path(domain, basics[i].path, basics[i].access);
}

/* Who may connect may look up where to. */
static void allow_names(const struct domain *domain)
{
    static const char *const files[] = { "/etc/resolv.conf",  "/etc/hosts",    "/etc/host.conf",
                                         "/etc/gai.conf",     "/etc/services", "/etc/protocols",
                                         "/etc/nsswitch.conf" };

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        allow_path(domain, files[i], READING);
}

/* To connect to a Unix socket. All of its folder, since whoever serves it makes the file anew when he starts
 * again. */
static int allow_socket(const struct domain *domain, const char *path)
{
    char real[PATH_MAX];

    if ((domain->attr.handled_access_fs & FS_RESOLVE_UNIX) == 0)
        return 0;
    if (realpath(path, real) == NULL)
        snprintf(real, sizeof real, "%s", path);
    char *end = strrchr(real, '/');
    if (end == NULL)
        return 0;
    end[end == real] = '\0';
    return allow_path(domain, real, FS_RESOLVE_UNIX);
}

static int allow_paths(const struct domain *domain, const struct service_config *service,
                       const struct path_list *paths, uint64_t access)
{
    for (size_t i = 0; i < paths->count; i++) {
        const char *path = paths->items[i].path;
        int err = allow_path(domain, path, access);
        if (err == -ENOENT || err == -EACCES || err == -ENOTDIR)
            log_event(ENCHUFE_LOG_WARNING, "path is out of reach",
                      LOG_STR("service", service->name), LOG_STR("path", path),
                      LOG_STR("error", strerror(-err)));
        else if (err != 0)
            return err;
    }
    return 0;
}

static int allow_service(const struct domain *domain, const struct service_config *service)
{
    int err = allow_paths(domain, service, &service->read_paths, READING);
    bool names = false;

    if (err == 0)
        err = allow_paths(domain, service, &service->write_paths, WRITING);
    for (size_t i = 0; i < service->connect_count && err == 0; i++) {
        const struct endpoint *endpoint = &service->connects[i].endpoint;
        if (endpoint->kind == ENCHUFE_TCP)
            err = allow_port(domain, endpoint->address.port);
        else if (endpoint->kind == ENCHUFE_UNIX)
            allow_socket(domain, endpoint->path); /* a folder that is not there has no sockets */
        names = names || endpoint->kind != ENCHUFE_UNIX;
    }
    if (names)
        allow_names(domain);
    return err;
}

int landlock_enter(const struct config *config, const size_t *services, size_t count)
{
    int abi = landlock_abi();
    struct domain domain = { .attr = handled(abi), .fd = -1 };
    int err = 0;

    if (abi == 0)
        return 0;
    domain.fd = (int)syscall(SYS_landlock_create_ruleset, &domain.attr, sizeof domain.attr, 0);
    if (domain.fd < 0)
        return -errno;
    fcntl(domain.fd, F_SETFD, FD_CLOEXEC);
    allow_basics(&domain);
    if (log_sink_syslog_path() != NULL)
        allow_socket(&domain, log_sink_syslog_path());
    for (size_t i = 0; i < count && err == 0; i++)
        err = allow_service(&domain, &config->services[services[i]]);
    if (err == 0 && syscall(SYS_landlock_restrict_self, domain.fd, 0) != 0)
        err = -errno;
    close(domain.fd);
    return err;
}
