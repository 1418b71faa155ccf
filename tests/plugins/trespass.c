/* Tries what a service has no business to do. A line is a command, in some with a word behind it; the
 * answer is `done`, or the name of the error:
 *   open PATH    write PATH    list PATH    tcp PORT    udp PORT    unix PATH    abstract NAME
 *   mptcp PORT   fastopen PORT   datagram PORT   datagram6 PORT   sctp PORT   raw   nest
 *   reuse PORT CLIENT   fast open, from the socket of the connection that comes from the port CLIENT
 *   exec   execveat   fork   kill PID   group   queue PID   ptrace PID   peek PID
 *   nice PID   policy PID   param PID   attr PID   bind PID   ioprio PID
 *   nice-group GROUP   nice-user USER   ioprio-group GROUP   ioprio-user USER
 *   setuid   setgroups   capset   mount   chroot   unshare   keyctl   bpf   perf   uring   memfd
 *   map-wx   make-exec   exec-shared PATH   thread   abort
 *   eat          allocates and touches memory until it gets no more; the answer is how many MiB it had
 *   descriptors  opens until it gets no more; the answer is how many
 *   listeners    counts the sockets that it could accept from
 *   constructor  what the constructor got when it opened /etc/passwd, and its user */
#include "trespass_processes.h"
#include <enchufe/plugin.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct attempt {
    const char *name;
    long (*make)(const char *word); /* negative, with errno, where it was denied */
};

/* The system call itself is the matter: a wrapper may look at other things first. */
static long fail_or_close(long fd)
{
    if (fd >= 0)
        close((int)fd);
    return fd;
}

/* ---- files ---- */

static long try_open(const char *word)
{
    return fail_or_close(open(word, O_RDONLY | O_CLOEXEC));
}

static long try_write(const char *word)
{
    return fail_or_close(open(word, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static long try_list(const char *word)
{
    return fail_or_close(open(word, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

/* ---- sockets ---- */

static long try_internet(int type, int protocol, const char *word, int flags)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)number(word)),
                                   .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, protocol);
    long result = -1;

    if (fd < 0)
        return -1;
    if (flags != 0)
        result = sendto(fd, "x", 1, flags, (struct sockaddr *)&address, (socklen_t)sizeof address);
    else
        result = connect(fd, (struct sockaddr *)&address, sizeof address);
    int err = errno;
    close(fd);
    errno = err;
    return result;
}

static long try_tcp(const char *word)
{
    return try_internet(SOCK_STREAM, 0, word, 0);
}

static long try_fastopen(const char *word)
{
    return try_internet(SOCK_STREAM, 0, word, MSG_FASTOPEN);
}

static long try_mptcp(const char *word)
{
    return try_internet(SOCK_STREAM, 262, word, 0);
}

static long try_sctp(const char *word)
{
    return try_internet(SOCK_STREAM, IPPROTO_SCTP, word, 0);
}

/* To an address that is said with each datagram. */
static long try_datagram(const char *word)
{
    return try_internet(SOCK_DGRAM, 0, word, MSG_NOSIGNAL);
}

static long try_datagram6(const char *word)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6,
                                    .sin6_port = htons((uint16_t)number(word)),
                                    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    long result = sendto(fd, "x", 1, 0, (struct sockaddr *)&address, (socklen_t)sizeof address);
    int err = errno;
    close(fd);
    errno = err;
    return result;
}

/* The descriptor of the connection from that port, or -1. */
static int find_connection(uint16_t port)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in peer = { .sin_family = AF_UNSPEC };
        socklen_t len = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET &&
            ntohs(peer.sin_port) == port)
            return fd;
    }
    errno = ENOENT;
    return -1;
}

static long try_reuse(const char *word)
{
    const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)number(word)),
                                   .sin_addr = { htonl(INADDR_LOOPBACK) } };
    const char *client = strchr(word, ' ');
    int fd = find_connection((uint16_t)number(client != NULL ? client : ""));

    if (fd < 0 || connect(fd, &nobody, sizeof nobody) != 0)
        return -1;
    return sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, (socklen_t)sizeof address);
}

static long try_raw(const char *word)
{
    (void)word;
    return fail_or_close(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
}

static long try_udp(const char *word)
{
    return try_internet(SOCK_DGRAM, 0, word, 0);
}

static long try_local(const char *path, size_t skip)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    snprintf(address.sun_path + skip, sizeof address.sun_path - skip, "%s", path);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + skip + strlen(path));
    long result = connect(fd, (struct sockaddr *)&address, len + (skip == 0));
    int err = errno;
    close(fd);
    errno = err;
    return result;
}

static long try_unix(const char *word)
{
    return try_local(word, 0);
}

static long try_abstract(const char *word)
{
    return try_local(word, 1);
}

/* ---- the system ---- */

static long try_setuid(const char *word)
{
    (void)word;
    return syscall(SYS_setuid, 0);
}

static long try_setgroups(const char *word)
{
    (void)word;
    return syscall(SYS_setgroups, 0, NULL);
}

static long try_capset(const char *word)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    const struct __user_cap_data_struct data[2] = { { .effective = 1, .permitted = 1 } };

    (void)word;
    return syscall(SYS_capset, &header, data);
}

static long try_mount(const char *word)
{
    (void)word;
    return mount("none", "/tmp", "tmpfs", 0, NULL);
}

static long try_chroot(const char *word)
{
    (void)word;
    return chroot("/proc/self");
}

static long try_unshare(const char *word)
{
    (void)word;
    return unshare(CLONE_NEWUSER);
}

/* The same from a process with one thread, where the kernel has nothing else against it. */
static long try_nest(const char *word)
{
    int status = 0;
    pid_t child = fork();

    (void)word;
    if (child < 0)
        return -1;
    if (child == 0)
        _exit(unshare(CLONE_NEWUSER) != 0 ? errno : 0);
    waitpid(child, &status, 0);
    errno = WEXITSTATUS(status);
    return errno != 0 ? -1 : 0;
}

static long try_keyctl(const char *word)
{
    (void)word;
    return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1);
}

static long try_bpf(const char *word)
{
    (void)word;
    return syscall(SYS_bpf, 0, NULL, 0);
}

static long try_perf(const char *word)
{
    (void)word;
    return syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0);
}

/* What can be asked of a ring, the plugin `ring` tries. */
static long try_uring(const char *word)
{
    char params[120] = { 0 };

    (void)word;
    return fail_or_close(syscall(SYS_io_uring_setup, 8, params));
}

/* ---- memory ---- */

static long fail_or_unmap(void *memory)
{
    if (memory == MAP_FAILED)
        return -1;
    munmap(memory, 4096);
    return 0;
}

static long try_map_wx(const char *word)
{
    (void)word;
    return fail_or_unmap(
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static long try_make_exec(const char *word)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)word;
    if (memory == MAP_FAILED)
        return -1;
    long result = mprotect(memory, 4096, PROT_READ | PROT_EXEC);
    int err = errno;
    munmap(memory, 4096);
    errno = err;
    return result;
}

static long try_exec_shared(const char *word)
{
    int fd = open(word, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return -1;
    long result = fail_or_unmap(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
    int err = errno;
    close(fd);
    errno = err;
    return result;
}

static long try_memfd(const char *word)
{
    (void)word;
    return fail_or_close(memfd_create("code", MFD_CLOEXEC));
}

static long eat(void)
{
    const size_t step = (size_t)1 << 20;
    long had = 0;
    void **last = NULL;

    for (void **piece; had < 1024 && (piece = malloc(step)) != NULL; had++) {
        memset(piece, 1, step);
        *piece = last;
        last = piece;
    }
    while (last != NULL) {
        void **before = *last;
        free(last);
        last = before;
    }
    return had;
}

/* They stay open until the worker ends. */
static long open_descriptors(void)
{
    long had = 0;

    while (had < 1000000 && open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        had++;
    return had;
}

static long count_listeners(void)
{
    long count = 0;

    for (int fd = 0; fd < 1024; fd++) {
        int listens = 0;
        socklen_t len = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens != 0)
            count++;
    }
    return count;
}

/* ---- the plugin ---- */

static const struct attempt attempts[] = {
    { "open", try_open },
    { "write", try_write },
    { "list", try_list },
    { "tcp", try_tcp },
    { "fastopen", try_fastopen },
    { "mptcp", try_mptcp },
    { "udp", try_udp },
    { "datagram", try_datagram },
    { "datagram6", try_datagram6 },
    { "sctp", try_sctp },
    { "raw", try_raw },
    { "reuse", try_reuse },
    { "unix", try_unix },
    { "abstract", try_abstract },
    { "exec", try_exec },
    { "execveat", try_execveat },
    { "fork", try_fork },
    { "kill", try_kill },
    { "group", try_group },
    { "queue", try_queue },
    { "ptrace", try_ptrace },
    { "peek", try_peek },
    { "nice", try_nice },
    { "policy", try_policy },
    { "param", try_param },
    { "attr", try_attr },
    { "bind", try_bind },
    { "ioprio", try_ioprio },
    { "nice-group", try_nice_group },
    { "nice-user", try_nice_user },
    { "ioprio-group", try_ioprio_group },
    { "ioprio-user", try_ioprio_user },
    { "thread", try_thread },
    { "abort", try_abort },
    { "setuid", try_setuid },
    { "setgroups", try_setgroups },
    { "capset", try_capset },
    { "mount", try_mount },
    { "chroot", try_chroot },
    { "unshare", try_unshare },
    { "nest", try_nest },
    { "keyctl", try_keyctl },
    { "bpf", try_bpf },
    { "perf", try_perf },
    { "uring", try_uring },
    { "map-wx", try_map_wx },
    { "make-exec", try_make_exec },
    { "exec-shared", try_exec_shared },
    { "memfd", try_memfd },
};

static int constructor_error;
static unsigned constructor_user;

__attribute__((constructor)) static void trespass_early(void)
{
    constructor_error = try_open("/etc/passwd") < 0 ? errno : 0;
    constructor_user = getuid();
}

static const char *outcome(int err)
{
    const char *name = err != 0 ? strerrorname_np(err) : "done";

    return name != NULL ? name : "unknown";
}

static void carry_out(const char *command, const char *word, char *answer, size_t size)
{
    snprintf(answer, size, "what?\n");
    if (strcmp(command, "eat") == 0)
        snprintf(answer, size, "%ld\n", eat());
    else if (strcmp(command, "descriptors") == 0)
        snprintf(answer, size, "%ld\n", open_descriptors());
    else if (strcmp(command, "listeners") == 0)
        snprintf(answer, size, "%ld\n", count_listeners());
    else if (strcmp(command, "constructor") == 0)
        snprintf(answer, size, "%s %u\n", outcome(constructor_error), constructor_user);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        if (strcmp(command, attempts[i].name) == 0)
            snprintf(answer, size, "%s\n", outcome(attempts[i].make(word) < 0 ? errno : 0));
}

static const enchufe_framing lines = { .type = ENCHUFE_FRAMING_LINE, .max = 400 };

static void trespass_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    char line[401], answer[64];

    memcpy(line, data, len);
    line[len] = '\0';
    char *word = strchr(line, ' ');
    if (word != NULL)
        *word++ = '\0';
    carry_out(line, word != NULL ? word : "", answer, sizeof answer);
    enchufe_write(conn, answer, strlen(answer));
}

ENCHUFE_PLUGIN(.name = "trespass", .summary = "tries what it must not", .framing = &lines,
               .on_message = trespass_on_message);
