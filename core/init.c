/* Process 1: waits, and passes on. */
#include "init.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME 16 /* of a process, with its end */

static bool has_name(long pid, const char name[NAME])
{
    char path[64], other[NAME] = "";

    snprintf(path, sizeof path, "/proc/%ld/comm", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    if (fgets(other, sizeof other, file) != NULL)
        other[strcspn(other, "\n")] = '\0';
    fclose(file);
    return strcmp(other, name) == 0;
}

/* A server is a child of ours that is called as we are; after an upgrade it is one that the server before
 * has left to us. What plugins have left to us is not meant. Without /proc it is the first one only. */
static pid_t find_server(pid_t first)
{
    char name[NAME] = "";
    FILE *children = fopen("/proc/self/task/1/children", "re");
    pid_t found = 0;

    if (children == NULL)
        return first;
    prctl(PR_GET_NAME, name);
    for (long pid; found == 0 && fscanf(children, "%ld", &pid) == 1;)
        if (has_name(pid, name))
            found = (pid_t)pid;
    fclose(children);
    return found;
}

/* Returns whether there are processes left. */
static bool reap(pid_t first, int *status)
{
    int ended;
    pid_t pid, server = find_server(first); /* a zombie still has its name */

    while ((pid = waitpid(-1, &ended, WNOHANG)) > 0)
        if (pid == server)
            *status = ended;
    return pid == 0 || errno != ECHILD;
}

/* Podman and the like mean process 1; its child is what they get. */
static void rename_pid(const char *variable)
{
    const char *pid = getenv(variable);
    char own[16];

    if (pid == NULL || strcmp(pid, "1") != 0)
        return;
    snprintf(own, sizeof own, "%d", (int)getpid());
    setenv(variable, own, 1);
}

static void enter_server(const sigset_t *signals)
{
    sigprocmask(SIG_SETMASK, signals, NULL);
    rename_pid("LISTEN_PID");
    rename_pid("WATCHDOG_PID");
}

void init_if_first(void)
{
    sigset_t all, before;
    int signal, status = 0;

    if (getpid() != 1)
        return;
    sigfillset(&all);
    sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t first = fork();
    if (first <= 0) { /* where there can be no child, process 1 serves itself */
        enter_server(&before);
        return;
    }
    close_range(STDERR_FILENO + 1, UINT_MAX, 0); /* sockets that are handed over are the server's */
    while (reap(first, &status)) {
        if (sigwait(&all, &signal) != 0 || signal == SIGCHLD)
            continue;
        /* SIGCHLD comes after most others, and a server that has just ended must not get what the one
         * that took over is meant to hear. */
        reap(first, &status);
        pid_t server = find_server(first);
        if (server > 0)
            kill(server, signal);
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
