/* Descriptors of the log, writing that never blocks, and the count of what was lost.
 *
 * Lines leave in one write, so that threads and processes need no lock (but for a terminal). Where only a part
 * of one was taken (a disk that became full within it) it is torn: it counts as lost, nothing more is written
 * until a newline ends what stands there, and only who holds the claim writes that newline. A torn line cannot
 * be taken back, because others append to the same file. */
#include "log_sink.h"
#include "channel.h"
#include <enchufe/plugin.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define SYSLOG_SOCKET "/dev/log"
/* For a terminal that another thread writes to, which takes microseconds. */
#define TERMINAL_TRIES 1000
/* Room in a pipe, where we may have so much: a thousand services that start say more at once than the
 * usual 64 KiB. */
#define PIPE_ROOM (1 << 20)

enum kind {
    KIND_SHARED,   /* an open file description that others use too, and that blocks them and us */
    KIND_FILE,     /* a regular file, or a description of our own that does not block */
    KIND_TERMINAL, /* the same, of a terminal */
    KIND_SOCKET,
    KIND_SYSLOG
};

/* Made by the master, shared with every worker. */
struct shared {
    _Atomic uint64_t lost;  /* and not reported */
    _Atomic uint64_t torn;  /* the inode of the file that ends within a line; 0: none */
    _Atomic pid_t claim;    /* the process that is about to report; 0: none */
    _Atomic pid_t terminal; /* the process that writes to the terminal; 0: none */
};

static struct shared unshared; /* until log_sink_open, and without memory */
static struct shared *shared = &unshared;

/* Datagrams, asked with MSG_DONTWAIT: the O_NONBLOCK of a pipe or an eventfd is shared by all, and a plugin could clear it. */
static int bell[2] = { -1, -1 }; /* heard by the master; rung by all */

/* What this process writes to. The descriptor's number stays when a file is reopened, so that a thread
 * within a write need not be waited for. */
static struct {
    _Atomic int fd;
    _Atomic int kind;
    _Atomic uint64_t inode;
    struct sockaddr_un syslog;
} sink = { .fd = STDERR_FILENO, .kind = KIND_SHARED };

/* ---- writing ---- */

/* Sent to the socket's path each time, so that a system's log that was restarted is found again. (The C
 * library's syslog() takes a lock, and blocks.) */
static ssize_t put_syslog(int fd, int level, const char *line, size_t len)
{
    static const int severities[] = { [ENCHUFE_LOG_ERROR] = LOG_ERR,
                                      [ENCHUFE_LOG_WARNING] = LOG_WARNING,
                                      [ENCHUFE_LOG_INFO] = LOG_INFO,
                                      [ENCHUFE_LOG_DEBUG] = LOG_DEBUG };
    char head[48];
    int n = snprintf(head, sizeof head, "<%d>enchufe[%d]: ", LOG_DAEMON | severities[level],
                     (int)getpid());
    struct iovec parts[] = { { .iov_base = head, .iov_len = (size_t)n },
                             { .iov_base = (void *)line, .iov_len = len - 1 } };
    struct msghdr message = { .msg_name = &sink.syslog,
                              .msg_namelen = sizeof sink.syslog,
                              .msg_iov = parts,
                              .msg_iovlen = 2 };

    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : (ssize_t)len;
}

/* Whether a write would not block. With an error it does not either. */
static bool is_writable(int fd)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLOUT };

    return poll(&pollfd, 1, 0) == 1;
}

static ssize_t put(int level, const char *line, size_t len)
{
    int fd = atomic_load_explicit(&sink.fd, memory_order_relaxed);

    switch ((enum kind)atomic_load_explicit(&sink.kind, memory_order_relaxed)) {
    case KIND_FILE:
    case KIND_TERMINAL:
        return write(fd, line, len);
    case KIND_SOCKET:
        return send(fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case KIND_SYSLOG:
        return put_syslog(fd, level, line, len);
    case KIND_SHARED:
        break;
    }
    if (is_writable(fd))
        return write(fd, line, len);
    errno = EAGAIN;
    return -1;
}

static bool is_torn(void)
{
    uint64_t torn = atomic_load_explicit(&shared->torn, memory_order_relaxed);

    return torn != 0 && torn == atomic_load_explicit(&sink.inode, memory_order_relaxed);
}

static bool hold(_Atomic pid_t *what)
{
    pid_t holder = 0, me = getpid();

    if (atomic_compare_exchange_strong(what, &holder, me))
        return true;
    /* A worker that was killed while it held. */
    return kill(holder, 0) != 0 && errno == ESRCH &&
           atomic_compare_exchange_strong(what, &holder, me);
}

/* A terminal tears lines all the time when it is slow, and answers EAGAIN where two write at once. Who
 * holds it does not wait, so that it is not held for long. */
static bool hold_terminal(void)
{
    for (int i = 0; i < TERMINAL_TRIES; i++) {
        if (hold(&shared->terminal))
            return true;
        sched_yield();
    }
    return false;
}

static uint64_t count_lines(const char *text, size_t len)
{
    uint64_t count = 0;

    for (size_t i = 0; i < len; i++)
        count += text[i] == '\n';
    return count;
}

/* Returns how many of the lines are not there. One that lacks nothing but its newline is. */
static uint64_t put_free_lines(int level, const char *text, size_t len)
{
    uint64_t inode = sink.inode;
    ssize_t n;

    if (is_torn())
        return count_lines(text, len);
    do
        n = put(level, text, len);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)len)
        return 0;
    size_t taken = n > 0 ? (size_t)n : 0;
    if (taken != 0 && text[taken - 1] != '\n') {
        shared->torn = inode;
        taken += text[taken] == '\n';
    }
    return count_lines(text + taken, len - taken);
}

static uint64_t put_lines(int level, const char *text, size_t len)
{
    if (atomic_load_explicit(&sink.kind, memory_order_relaxed) != KIND_TERMINAL)
        return put_free_lines(level, text, len);
    if (!hold_terminal())
        return count_lines(text, len);
    uint64_t lost = put_free_lines(level, text, len);
    shared->terminal = 0;
    return lost;
}

static void ring(void)
{
    (void)!send(bell[1], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void log_sink_write(int level, const char *text, size_t len)
{
    uint64_t lost = put_lines(level, text, len);

    if (lost != 0)
        atomic_fetch_add(&shared->lost, lost);
    if (lost != 0 || is_torn())
        ring();
}

/* ---- what was lost ---- */

uint64_t log_sink_lost(void)
{
    return atomic_load_explicit(&shared->lost, memory_order_relaxed);
}

bool log_sink_in_trouble(void)
{
    return log_sink_lost() != 0 || is_torn();
}

/* Returns whether no torn line is at the end any more. The file may have been emptied meanwhile. */
static bool end_torn_line(void)
{
    struct stat status;

    if (!is_torn())
        return true;
    bool empty = fstat(sink.fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0;
    if (!empty && put(ENCHUFE_LOG_WARNING, "\n", 1) != 1)
        return false;
    shared->torn = 0;
    return true;
}

uint64_t log_sink_claim(void)
{
    uint64_t lost;

    if (!hold(&shared->claim))
        return 0;
    if (end_torn_line() && (lost = shared->lost) != 0)
        return lost;
    shared->claim = 0;
    return 0;
}

void log_sink_report(int level, const char *line, size_t len, uint64_t count)
{
    /* What is lost meanwhile is left for the next report. */
    if (put_lines(level, line, len) == 0)
        atomic_fetch_sub(&shared->lost, count);
    shared->claim = 0;
}

/* ---- opening ---- */

static void forget(int fd)
{
    if (fd > STDERR_FILENO)
        close(fd);
}

int log_sink_open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);

    return fd < 0 ? -errno : fd;
}

static int open_syslog(void)
{
    const char *path = getenv("ENCHUFE_SYSLOG_SOCKET");

    sink.syslog = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (path == NULL || *path == '\0')
        path = SYSLOG_SOCKET;
    if (strlen(path) >= sizeof sink.syslog.sun_path)
        return -ENAMETOOLONG;
    strcpy(sink.syslog.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int log_sink_find_syslog(const char **path)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;

    *path = sink.syslog.sun_path;
    if (fd < 0 || connect(fd, (struct sockaddr *)&sink.syslog, sizeof sink.syslog) != 0)
        err = -errno;
    forget(fd);
    return err;
}

/* Others share the description of standard error (the shell, say) and would be surprised if it no longer
 * blocked: we open our own. A regular file does not block, and has a position that is shared with what
 * else writes to standard error, sanitizers for example. */
static int open_stderr(enum kind *kind)
{
    struct stat status;

    if (fstat(STDERR_FILENO, &status) != 0)
        return -errno;
    *kind = S_ISSOCK(status.st_mode) ? KIND_SOCKET : KIND_FILE;
    if (S_ISREG(status.st_mode) || S_ISSOCK(status.st_mode))
        return STDERR_FILENO;
    if (S_ISFIFO(status.st_mode))
        fcntl(STDERR_FILENO, F_SETPIPE_SZ, PIPE_ROOM);
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    *kind = KIND_SHARED;
    return STDERR_FILENO;
}

static void note_inode(int fd)
{
    struct stat status;

    sink.inode = fstat(fd, &status) == 0 ? status.st_ino : 0;
}

/* Whether the server before us left a file that ends within a line. */
static bool ends_torn(const char *path)
{
    struct stat status;
    char last = '\n';
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0)
        return false;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0)
        (void)!pread(fd, &last, 1, status.st_size - 1);
    close(fd);
    return last != '\n';
}

/* What a write can do besides failing: end us (a closed pipe, a limit on the size of files), or stop us
 * (a terminal, in the background). */
static void ignore_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
}

static void share(void)
{
    void *memory =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return;
    shared = memory;
    shared->lost = unshared.lost;
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, bell) != 0)
        return;
    channel_refuse_descriptors(bell[0]);
    if (shared->lost != 0)
        ring();
}

static bool names_file(const char *target)
{
    return target != NULL && strcmp(target, "syslog") != 0;
}

int log_sink_check(const char *target)
{
    int fd = names_file(target) ? log_sink_open_file(target) : STDERR_FILENO;

    if (fd >= 0)
        forget(fd);
    return fd < 0 ? fd : 0;
}

int log_sink_open(const char *target)
{
    enum kind kind = KIND_FILE;
    bool is_file = names_file(target);
    int fd = is_file          ? log_sink_open_file(target)
             : target == NULL ? open_stderr(&kind)
                              : open_syslog();

    if (fd < 0)
        return fd;
    if (target != NULL && !is_file)
        kind = KIND_SYSLOG;
    else if (kind == KIND_FILE && isatty(fd))
        kind = KIND_TERMINAL;
    bool first = shared == &unshared;
    if (first)
        share();
    ignore_signals();
    forget(sink.fd);
    sink.fd = fd;
    sink.kind = kind;
    note_inode(fd);
    /* Later, the last byte may be within a line that is just being written. */
    if (first && is_file && ends_torn(target)) {
        shared->torn = sink.inode;
        ring();
    }
    return 0;
}

void log_sink_number(void)
{
    int fd = sink.fd <= STDERR_FILENO ? fcntl(sink.fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;

    if (fd >= 0)
        sink.fd = fd;
}

void log_sink_follow(int fd)
{
    if (sink.fd > STDERR_FILENO)
        dup3(fd, sink.fd, O_CLOEXEC);
}

void log_sink_take(int fd)
{
    if (sink.fd <= STDERR_FILENO)
        sink.fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    else
        log_sink_follow(fd);
    sink.kind = isatty(fd) ? KIND_TERMINAL : KIND_FILE;
    note_inode(fd);
}

void log_sink_close(void)
{
    forget(sink.fd);
    sink.fd = STDERR_FILENO;
    sink.kind = KIND_SHARED;
    sink.inode = 0;
    if (shared != &unshared)
        munmap(shared, sizeof *shared);
    shared = &unshared;
    for (size_t i = 0; i < 2; i++) {
        forget(bell[i]);
        bell[i] = -1;
    }
}

int log_sink_fd(void)
{
    return sink.fd;
}

int log_sink_bell(void)
{
    return bell[0];
}

int log_sink_ringer(void)
{
    return bell[1];
}

bool log_sink_take_ring(void)
{
    char ring;

    return recv(bell[0], &ring, sizeof ring, MSG_DONTWAIT) >= 0;
}

bool log_sink_is_syslog(void)
{
    return atomic_load_explicit(&sink.kind, memory_order_relaxed) == KIND_SYSLOG;
}

const char *log_sink_syslog_path(void)
{
    return log_sink_is_syslog() ? sink.syslog.sun_path : NULL;
}
