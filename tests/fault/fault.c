/* A library for LD_PRELOAD that makes one call of the system fail.
 *
 *   FAULT="FUNCTION N PROCESS"  the N-th call of FUNCTION fails, in that process: 0 is the one that was started
 *                               and 1, 2, ... are those that it forks, in order. N 0: none fails, all are counted
 *   FAULT_FILE=PATH             a file of struct notes: what was counted, and whether the call came
 *
 * A failing call does nothing, and sets an errno that the manual lists for it. Calls that cannot fail are left
 * alone: those on an eventfd, a timerfd or a signalfd (but for EINTR, which reading may give), setting flags
 * of a descriptor. The notes are shared memory, so that what a process did is known however it ended. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 9
#define DESCRIPTORS 1024

/* FUNCTION(name, errno) */
#define FUNCTIONS(FUNCTION)                                                                        \
    FUNCTION(malloc, ENOMEM)                                                                       \
    FUNCTION(calloc, ENOMEM)                                                                       \
    FUNCTION(realloc, ENOMEM)                                                                      \
    FUNCTION(accept4, EMFILE)                                                                      \
    FUNCTION(aligned_alloc, ENOMEM)                                                                \
    FUNCTION(bind, EADDRINUSE)                                                                     \
    FUNCTION(connect, ECONNREFUSED)                                                                \
    FUNCTION(dup2, EBADF)                                                                          \
    FUNCTION(dup, EMFILE)                                                                          \
    FUNCTION(epoll_create1, EMFILE)                                                                \
    FUNCTION(epoll_ctl, ENOSPC)                                                                    \
    FUNCTION(epoll_wait, EINTR)                                                                    \
    FUNCTION(eventfd, EMFILE)                                                                      \
    FUNCTION(fcntl, EMFILE)                                                                        \
    FUNCTION(fdopen, ENOMEM)                                                                       \
    FUNCTION(fork, EAGAIN)                                                                         \
    FUNCTION(fopen, EMFILE)                                                                        \
    FUNCTION(fstat, EIO)                                                                           \
    FUNCTION(getrandom, ENOSYS)                                                                    \
    FUNCTION(getsockname, ENOBUFS)                                                                 \
    FUNCTION(getsockopt, ENOBUFS)                                                                  \
    FUNCTION(inotify_add_watch, ENOSPC)                                                            \
    FUNCTION(inotify_init1, EMFILE)                                                                \
    FUNCTION(listen, EADDRINUSE)                                                                   \
    FUNCTION(landlock_add_rule, ENOMEM)                                                            \
    FUNCTION(landlock_create_ruleset, EMFILE)                                                      \
    FUNCTION(landlock_restrict_self, E2BIG)                                                        \
    FUNCTION(memfd_create, ENFILE)                                                                 \
    FUNCTION(mmap, ENOMEM)                                                                         \
    FUNCTION(open, ENFILE)                                                                         \
    FUNCTION(open_memstream, ENOMEM)                                                               \
    FUNCTION(pipe2, EMFILE)                                                                        \
    FUNCTION(poll, EINTR)                                                                          \
    FUNCTION(prctl, EPERM)                                                                         \
    FUNCTION(pread, EIO)                                                                           \
    FUNCTION(pthread_create, EAGAIN)                                                               \
    FUNCTION(read, EIO)                                                                            \
    FUNCTION(recv, ENOMEM)                                                                         \
    FUNCTION(recvmmsg, ENOMEM)                                                                     \
    FUNCTION(recvmsg, ENOMEM)                                                                      \
    FUNCTION(send, ENOBUFS)                                                                        \
    FUNCTION(seccomp, ENOMEM)                                                                      \
    FUNCTION(sendfile, ENOMEM)                                                                     \
    FUNCTION(sendmmsg, ENOBUFS)                                                                    \
    FUNCTION(sendmsg, ENOBUFS)                                                                     \
    FUNCTION(sendto, ENOBUFS)                                                                      \
    FUNCTION(setns, EPERM)                                                                         \
    FUNCTION(setresgid, EPERM)                                                                     \
    FUNCTION(setresuid, EAGAIN)                                                                    \
    FUNCTION(setrlimit, EPERM)                                                                     \
    FUNCTION(setsockopt, ENOMEM)                                                                   \
    FUNCTION(shutdown, ENOTCONN)                                                                   \
    FUNCTION(sigaltstack, ENOMEM)                                                                  \
    FUNCTION(signalfd, EMFILE)                                                                     \
    FUNCTION(socket, EMFILE)                                                                       \
    FUNCTION(socketpair, EMFILE)                                                                   \
    FUNCTION(stat, EACCES)                                                                         \
    FUNCTION(timerfd_create, EMFILE)                                                               \
    FUNCTION(unlink, EACCES)                                                                       \
    FUNCTION(unshare, EPERM)                                                                       \
    FUNCTION(waitpid, EINTR)                                                                       \
    FUNCTION(write, ENOSPC)

enum function {
#define FUNCTION(name, error) CALL_##name,
    FUNCTIONS(FUNCTION)
#undef FUNCTION
        COUNT
};

static const char *const names[] = {
#define FUNCTION(name, error) #name,
    FUNCTIONS(FUNCTION)
#undef FUNCTION
};

static const int errors[] = {
#define FUNCTION(name, error) error,
    FUNCTIONS(FUNCTION)
#undef FUNCTION
};

struct notes {
    _Atomic unsigned forked; /* processes so far */
    _Atomic unsigned came;   /* the call that was to fail */
    _Atomic unsigned calls[PROCESSES][COUNT];
};

static struct notes *notes; /* NULL: not armed */
static int target = -1;     /* enum function */
static unsigned number, target_process, process;
static unsigned char special[DESCRIPTORS]; /* eventfd, timerfd, signalfd */

/* ---- deciding ---- */

static bool fails(enum function function)
{
    if (notes == NULL || process >= PROCESSES)
        return false;
    unsigned call = atomic_fetch_add(&notes->calls[process][function], 1) + 1;
    if ((int)function != target || process != target_process || call != number)
        return false;
    atomic_store(&notes->came, 1);
    errno = errors[function];
    return true;
}

__attribute__((constructor)) static void arm(void)
{
    const char *text = getenv("FAULT"), *path = getenv("FAULT_FILE");
    char name[32];

    if (text == NULL || path == NULL ||
        sscanf(text, "%31s %u %u", name, &number, &target_process) != 3)
        return;
    for (int i = 0; i < COUNT; i++)
        if (strcmp(names[i], name) == 0)
            target = i;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *memory = fd < 0 || target < 0
                       ? MAP_FAILED
                       : mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "fault: cannot fail %s with %s\n", text, path);
        _exit(3);
    }
    close(fd);
    notes = memory;
}

static void *real(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);

    if (function == NULL)
        abort();
    return function;
}

#define REAL(name) ((__typeof__(&name))real(#name))

/* A descriptor that tells only of events; returns it. */
static int note_special(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        special[fd] = 1;
    return fd;
}

static bool is_special(int fd)
{
    char path[64], link[64];

    if (fd < 0 || fd >= DESCRIPTORS || !special[fd])
        return false;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(path, link, sizeof link - 1);
    return len > 10 && memcmp(link, "anon_inode", 10) == 0;
}

/* ---- memory: these may be called before anything else ---- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size)
{
    return fails(CALL_malloc) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(CALL_calloc) ? NULL : __libc_calloc(count, size);
}

extern void *__libc_memalign(size_t alignment, size_t size);

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails(CALL_aligned_alloc) ? NULL : __libc_memalign(alignment, size);
}

void *realloc(void *memory, size_t size)
{
    return fails(CALL_realloc) ? NULL : __libc_realloc(memory, size);
}

/* ---- processes ---- */

pid_t fork(void)
{
    if (fails(CALL_fork))
        return -1;
    unsigned next = notes != NULL ? atomic_fetch_add(&notes->forked, 1) + 1 : 0;
    pid_t pid = REAL(fork)();
    if (pid == 0)
        process = next;
    return pid;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *arg)
{
    if (fails(CALL_pthread_create))
        return errors[CALL_pthread_create];
    return REAL(pthread_create)(thread, attributes, run, arg);
}

pid_t waitpid(pid_t pid, int *status, int options)
{
    bool can = !(options & WNOHANG); /* what does not wait is not interrupted */

    return can && fails(CALL_waitpid) ? -1 : REAL(waitpid)(pid, status, options);
}

/* ---- with arguments that vary ---- */

int open(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails(CALL_open) ? -1 : REAL(open)(path, flags, mode);
}

/* What the header makes of open() where it cannot see the flags. */
int __open_2(const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return fails(CALL_open) ? -1 : ((int (*)(const char *, int))real("open"))(path, flags);
}

int fcntl(int fd, int command, ...)
{
    va_list args;

    va_start(args, command);
    long arg = va_arg(args, long);
    va_end(args);
    bool can = command == F_DUPFD || command == F_DUPFD_CLOEXEC || command == F_ADD_SEALS;
    return can && fails(CALL_fcntl) ? -1 : REAL(fcntl)(fd, command, arg);
}

int prctl(int option, ...)
{
    unsigned long a[4];
    va_list args;

    va_start(args, option);
    for (int i = 0; i < 4; i++)
        a[i] = va_arg(args, unsigned long);
    va_end(args);
    bool can = option != PR_SET_NAME && option != PR_SET_PDEATHSIG;
    return can && fails(CALL_prctl) ? -1 : REAL(prctl)(option, a[0], a[1], a[2], a[3]);
}

/* ---- events ---- */

int eventfd(unsigned count, int flags)
{
    return fails(CALL_eventfd) ? -1 : note_special(REAL(eventfd)(count, flags));
}

int timerfd_create(clockid_t clock, int flags)
{
    return fails(CALL_timerfd_create) ? -1 : note_special(REAL(timerfd_create)(clock, flags));
}

int signalfd(int fd, const sigset_t *set, int flags)
{
    return fails(CALL_signalfd) ? -1 : note_special(REAL(signalfd)(fd, set, flags));
}

ssize_t read(int fd, void *data, size_t size)
{
    if (!fails(CALL_read))
        return REAL(read)(fd, data, size);
    if (is_special(fd))
        errno = EINTR;
    return -1;
}

ssize_t write(int fd, const void *data, size_t size)
{
    return !is_special(fd) && fails(CALL_write) ? -1 : REAL(write)(fd, data, size);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    /* What is taken away or changed needs no memory. */
    bool can = operation == EPOLL_CTL_ADD;

    return can && fails(CALL_epoll_ctl) ? -1 : REAL(epoll_ctl)(epoll, operation, fd, event);
}

/* The core's own way to some of the functions below (system_call.h), and what has no function. */
static int function_of(long call)
{
    switch (call) {
    case SYS_accept4:
        return CALL_accept4;
    case SYS_epoll_pwait:
        return CALL_epoll_wait;
    case SYS_landlock_add_rule:
        return CALL_landlock_add_rule;
    case SYS_landlock_create_ruleset:
        return CALL_landlock_create_ruleset;
    case SYS_landlock_restrict_self:
        return CALL_landlock_restrict_self;
    case SYS_recvfrom:
        return CALL_recv;
    case SYS_recvmmsg:
        return CALL_recvmmsg;
    case SYS_seccomp:
        return CALL_seccomp;
    case SYS_sendto:
        return CALL_send;
    case SYS_sendmmsg:
        return CALL_sendmmsg;
    default:
        return -1;
    }
}

long syscall(long call, ...)
{
    int function = function_of(call);
    long a[6];
    va_list args;

    va_start(args, call);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (function >= 0 && fails((enum function)function))
        return -1;
    return REAL(syscall)(call, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- all the others ---- */

#define WRAP(type, bad, name, parameters, arguments)                                               \
    type name parameters                                                                           \
    {                                                                                              \
        return fails(CALL_##name) ? (bad) : REAL(name) arguments;                                  \
    }

WRAP(int, -1, accept4, (int fd, struct sockaddr *address, socklen_t *len, int flags),
     (fd, address, len, flags))
WRAP(int, -1, bind, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len))
WRAP(int, -1, connect, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len))
WRAP(int, -1, dup, (int fd), (fd))
WRAP(int, -1, dup2, (int from, int to), (from, to))
WRAP(int, -1, epoll_create1, (int flags), (flags))
WRAP(int, -1, epoll_wait, (int epoll, struct epoll_event *events, int count, int timeout),
     (epoll, events, count, timeout))
WRAP(FILE *, NULL, fdopen, (int fd, const char *mode), (fd, mode))
WRAP(FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode))
WRAP(int, -1, fstat, (int fd, struct stat *status), (fd, status))
WRAP(ssize_t, -1, getrandom, (void *data, size_t size, unsigned flags), (data, size, flags))
WRAP(int, -1, getsockname, (int fd, struct sockaddr *address, socklen_t *len), (fd, address, len))
WRAP(int, -1, getsockopt, (int fd, int level, int option, void *value, socklen_t *len),
     (fd, level, option, value, len))
WRAP(int, -1, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask))
WRAP(int, -1, inotify_init1, (int flags), (flags))
WRAP(int, -1, listen, (int fd, int backlog), (fd, backlog))
WRAP(int, -1, memfd_create, (const char *name, unsigned flags), (name, flags))
WRAP(void *, MAP_FAILED, mmap,
     (void *at, size_t size, int protection, int flags, int fd, off_t off),
     (at, size, protection, flags, fd, off))
WRAP(FILE *, NULL, open_memstream, (char **text, size_t *size), (text, size))
WRAP(int, -1, pipe2, (int ends[2], int flags), (ends, flags))
WRAP(int, -1, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
WRAP(ssize_t, -1, pread, (int fd, void *data, size_t size, off_t at), (fd, data, size, at))
WRAP(ssize_t, -1, recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))
WRAP(int, -1, recvmmsg,
     (int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout),
     (fd, messages, count, flags, timeout))
WRAP(ssize_t, -1, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP(ssize_t, -1, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
WRAP(ssize_t, -1, sendfile, (int out, int in, off_t *at, size_t size), (out, in, at, size))
WRAP(int, -1, sendmmsg, (int fd, struct mmsghdr *messages, unsigned count, int flags),
     (fd, messages, count, flags))
WRAP(ssize_t, -1, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(ssize_t, -1, sendto,
     (int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t len),
     (fd, data, size, flags, to, len))
WRAP(int, -1, setns, (int fd, int kind), (fd, kind))
WRAP(int, -1, setresgid, (gid_t real_id, gid_t effective, gid_t saved), (real_id, effective, saved))
WRAP(int, -1, setresuid, (uid_t real_id, uid_t effective, uid_t saved), (real_id, effective, saved))
WRAP(int, -1, setrlimit, (__rlimit_resource_t resource, const struct rlimit *limit),
     (resource, limit))
WRAP(int, -1, setsockopt, (int fd, int level, int option, const void *value, socklen_t len),
     (fd, level, option, value, len))
WRAP(int, -1, shutdown, (int fd, int how), (fd, how))
WRAP(int, -1, sigaltstack, (const stack_t *stack, stack_t *before), (stack, before))
WRAP(int, -1, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, -1, socketpair, (int domain, int type, int protocol, int ends[2]),
     (domain, type, protocol, ends))
WRAP(int, -1, stat, (const char *path, struct stat *status), (path, status))
WRAP(int, -1, unlink, (const char *path), (path))
WRAP(int, -1, unshare, (int flags), (flags))

/* What the tests read: the names, in the order of the counts. */
const char *fault_names(void);
const char *fault_names(void)
{
#define FUNCTION(name, error) #name " "
    return FUNCTIONS(FUNCTION);
#undef FUNCTION
}
