/* One empty network namespace for all workers of this server.
 *
 * A socket belongs to the network that it was made in, and connections to that of their listener: what the
 * master hands down goes on at full speed, and whatever socket a plugin makes finds no way out, by whatever
 * protocol and whatever call. Only CAP_SYS_ADMIN makes such a namespace, and enters it. The master does not
 * hold that, so it is made in a user namespace, which gives every capability inside and none outside.
 *
 * There is one, and not one for each worker: making one takes a millisecond and the kernel some work when it
 * goes, and only who is root can name the users in it to those who enter later. A child makes it and goes;
 * descriptors hold it. */
#include "namespaces.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    bool asked, closed;
    int user, net; /* -1: there is none */
} empty = { .user = -1, .net = -1 };

/* For files of /proc, which take what they are given in one piece or not at all. */
static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

    if (fd < 0)
        return -errno;
    if (write(fd, text, strlen(text)) < 0)
        err = -errno;
    close(fd);
    return err;
}

/* ---- in the child ---- */

/* Makes both, and either says so and waits to be killed, or ends. Inside, nobody makes user namespaces of his
 * own, in which a plugin would have every capability; where /proc/sys cannot be written, they stay allowed, and
 * the word says that. */
static _Noreturn void make(int fd, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        _exit(1);
    bool closed = write_file("/proc/sys/user/max_user_namespaces", "0") == 0;
    prctl(PR_SET_DUMPABLE,
          1); /* or its files in /proc were root's, where the program has capabilities */
    if (send(fd, closed ? "c" : "o", 1, MSG_NOSIGNAL) != 1)
        _exit(1);
    for (;;)
        pause();
}

/* ---- in the master ---- */

/* Root has the right to name everybody: users and groups are then inside who they are outside. User 0 is left
 * out: nobody is root there, and only CAP_SETFCAP could name it. */
static int map_all(const char *own, const char *path, unsigned lowest)
{
    char text[4000];
    unsigned first, outside, count;
    size_t len = 0;
    FILE *file = fopen(own, "re");

    if (file == NULL)
        return -errno;
    while (fscanf(file, "%u %u %u", &first, &outside, &count) == 3) {
        unsigned skipped = first < lowest ? lowest - first : 0;
        if (len > sizeof text - 40) {
            fclose(file);
            return -E2BIG; /* who is left out would be another inside */
        }
        if (count > skipped)
            len += (size_t)snprintf(text + len, sizeof text - len, "%u %u %u\n", first + skipped,
                                    first + skipped, count - skipped);
    }
    fclose(file);
    return len != 0 ? write_file(path, text) : -EINVAL;
}

/* Who has no rights can name only himself, and only where groups cannot be given up any more. */
static int map_one(const char *path, unsigned id)
{
    char text[40];

    snprintf(text, sizeof text, "%u %u 1\n", id, id);
    return write_file(path, text);
}

static int map_ids(pid_t child)
{
    char users[40], groups[40], set_groups[40];
    bool root = geteuid() == 0;
    int err = 0;

    snprintf(users, sizeof users, "/proc/%d/uid_map", (int)child);
    snprintf(groups, sizeof groups, "/proc/%d/gid_map", (int)child);
    snprintf(set_groups, sizeof set_groups, "/proc/%d/setgroups", (int)child);
    if (!root)
        err = write_file(set_groups, "deny");
    if (err == 0)
        err = root ? map_all("/proc/self/uid_map", users, 1) : map_one(users, geteuid());
    if (err == 0)
        err = root ? map_all("/proc/self/gid_map", groups, 0) : map_one(groups, getegid());
    return err;
}

static int open_both(pid_t child)
{
    char path[40];

    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)child);
    int user = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)child);
    int net = user >= 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (net < 0) {
        int err = errno;
        if (user >= 0)
            close(user);
        return -err;
    }
    empty.user = user;
    empty.net = net;
    return 0;
}

/* Returns whether the child has made them. */
static bool hear(int fd)
{
    char word;
    ssize_t len;

    do
        len = recv(fd, &word, 1, 0);
    while (len < 0 && errno == EINTR);
    empty.closed = len == 1 && word == 'c';
    return len == 1;
}

static void create(void)
{
    pid_t parent = getpid();
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return;
    pid_t child = fork();
    if (child == 0)
        make(pair[1], parent);
    close(pair[1]);
    if (child > 0) {
        if (hear(pair[0]) && map_ids(child) == 0)
            open_both(child);
        kill(child, SIGKILL);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    close(pair[0]);
}

bool namespaces_are_there(void)
{
    if (!empty.asked)
        create();
    empty.asked = true;
    return empty.net >= 0;
}

bool namespaces_are_closed(void)
{
    return empty.closed;
}

void namespaces_forget(void)
{
    if (empty.net >= 0) {
        close(empty.user);
        close(empty.net);
    }
    empty.user = empty.net = -1;
}

void namespaces_keep(struct descriptors *kept)
{
    descriptors_keep(kept, empty.user);
    descriptors_keep(kept, empty.net);
}

int namespaces_enter(void)
{
    if (setns(empty.user, CLONE_NEWUSER) != 0 || setns(empty.net, CLONE_NEWNET) != 0)
        return -errno;
    namespaces_forget();
    return 0;
}
