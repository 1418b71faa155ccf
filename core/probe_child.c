/* A child of the probe: forked, heard, and what became of it. What a plugin does to its exit status or its standard
 * output means nothing: only the word on the socket counts. */
#include "probe_child.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* For one service; opening one takes a millisecond or so. */
#define LIMIT_MS 3000

void probe_child_say(int fd, char type, size_t number, const char *text, size_t len)
{
    struct probe_packet packet = { .type = type, .number = (uint32_t)number };

    if (len > sizeof packet.text)
        len = sizeof packet.text;
    if (len != 0)
        memcpy(packet.text, text, len);
    (void)!send(fd, &packet, offsetof(struct probe_packet, text) + len, MSG_NOSIGNAL);
}

void probe_child_end_with_parent(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
}

static void enter_child(struct trace *trace, pid_t parent)
{
    struct rlimit no_core = { 0, 0 };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    probe_child_end_with_parent(parent);
    setpgid(0, 0); /* what a plugin forks goes with it */
    setrlimit(RLIMIT_CORE, &no_core);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    trace_thread(&trace->slots[trace->slot_count - 1]);
    trace_install(trace);
}

int probe_child_spawn(struct probe_child *child)
{
    int pair[2];

    *child =
        (struct probe_child){ .pid = -1, .parent = getpid(), .fd = -1, .trace = trace_create(0) };
    if (child->trace == NULL)
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        trace_destroy(child->trace);
        return -errno;
    }
    fflush(NULL);
    child->pid = fork();
    if (child->pid < 0) {
        int err = errno;
        close(pair[0]);
        close(pair[1]);
        trace_destroy(child->trace);
        return -err;
    }
    close(pair[child->pid == 0 ? 0 : 1]);
    child->fd = pair[child->pid == 0 ? 1 : 0];
    if (child->pid == 0)
        enter_child(child->trace, child->parent);
    return child->pid == 0 ? 0 : 1;
}

void probe_child_leave(const struct probe_child *child)
{
    probe_child_say(child->fd, 'd', 0, NULL, 0);
    /* No destructor of a plugin has a say in this. */
    _exit(0);
}

ssize_t probe_child_hear(const struct probe_child *child, struct probe_packet *packet)
{
    struct pollfd pollfd = { .fd = child->fd, .events = POLLIN };
    int n;

    do
        n = poll(&pollfd, 1, LIMIT_MS);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return -ETIMEDOUT;
    ssize_t len = recv(child->fd, packet, sizeof *packet - 1, 0);
    if (len > 0)
        ((char *)packet)[len] = '\0';
    return len > (ssize_t)offsetof(struct probe_packet, text) - 1 ? len : 0;
}

void probe_child_reap(struct probe_child *child, bool done, bool hung, char *words, size_t size)
{
    enum callback callback;
    int status = 0;

    trace_blame(child->trace, &callback);
    int caught = child->trace->signal;
    const char *where = callback == CALLBACK_check    ? "in its check"
                        : callback == CALLBACK_tables ? "while its tables were read"
                                                      : "while it was opened";
    const char *hint = callback == CALLBACK_tables
                           ? "; its options must end with { .name = NULL }, its counters with NULL"
                           : "";
    /* Also one that closed the socket and lives on. */
    kill(child->pid, SIGKILL);
    kill(-child->pid, SIGKILL);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    kill(-child->pid, SIGKILL);
    words[0] = '\0';
    if (hung)
        snprintf(words, size, "did not return within %d s %s", LIMIT_MS / 1000, where);
    else if (!done && caught == 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        snprintf(words, size,
                 "did not return %s: it was killed, or closed a descriptor of the server", where);
    else if (!done && (caught != 0 || WIFSIGNALED(status)))
        snprintf(words, size, "crashed %s (%s)%s", where,
                 trace_signal_name(caught != 0 ? caught : WTERMSIG(status)), hint);
    else if (!done)
        snprintf(words, size, "ended the process %s (exit status %d); a plugin has to return",
                 where, WEXITSTATUS(status));
    close(child->fd);
    trace_destroy(child->trace);
}
