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

/* What a server is called that another has replaced. */
static const char replaced_name[NAME] = "enchufe-before";

struct servers {
    char name[NAME]; /* as we are called */
    pid_t first;     /* the one that we have started */
    bool ending;     /* they were told to */
};

/* alive: a zombie is not meant. */
static bool is_called(long pid, const char name[NAME], bool alive)
{
    char path[64], line[256] = "";

    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    (void)!fgets(line, sizeof line, file);
    fclose(file);
    char *start = strchr(line, '('), *end = strrchr(line, ')');
    if (start == NULL || end == NULL || (alive && strncmp(end, ") Z", 3) == 0))
        return false;
    *end = '\0';
    return strcmp(start + 1, name) == 0;
}

/* Returns 0 where there is none, and -1 where it cannot be known. */
static pid_t find_child(pid_t parent, const char name[NAME], bool alive)
{
    char path[64];
    pid_t found = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *children = fopen(path, "re");
    if (children == NULL)
        return -1;
    for (long pid; found == 0 && fscanf(children, "%ld", &pid) == 1;)
        if (is_called(pid, name, alive))
            found = (pid_t)pid;
    fclose(children);
    return found;
}

/* A server is a child of ours that is called as we are. After an upgrade it is a child of the server before,
 * which has left it to us when that has ended. What plugins have left to us is not meant. Without /proc it is the
 * first one only. */
static pid_t find_server(const struct servers *servers, bool alive)
{
    pid_t server = find_child(1, servers->name, alive);

    if (server < 0)
        return servers->first;
    pid_t before = server == 0 ? find_child(1, replaced_name, alive) : 0;
    if (before > 0)
        server = find_child(before, servers->name, alive);
    /* The one before may have ended since the first look, and have left it to us. */
    if (before > 0 && server <= 0)
        server = find_child(1, servers->name, alive);
    return server > 0 ? server : before;
}

/* Returns whether there are processes left. */
static bool reap(const struct servers *servers, int *status)
{
    int ended;
    pid_t pid, server = find_server(servers, false);

    while ((pid = waitpid(-1, &ended, WNOHANG)) > 0)
        if (pid == server)
            *status = ended;
    return pid == 0 || errno != ECHILD;
}

/* The server before drains already, and would take TERM for impatience: it gets only what is. */
static void pass_on(struct servers *servers, int signal)
{
    pid_t server = find_server(servers, true), before = find_child(1, replaced_name, true);
    bool both = signal == SIGINT || signal == SIGQUIT || signal == SIGUSR1 ||
                (signal == SIGTERM && servers->ending);

    servers->ending = servers->ending || signal == SIGTERM;
    if (server > 0)
        kill(server, signal);
    if (both && before > 0 && before != server)
        kill(before, signal);
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

void init_replaced(void)
{
    prctl(PR_SET_NAME, replaced_name);
}

void init_if_first(void)
{
    struct servers servers = { .name = "" };
    sigset_t all, before;
    int signal, status = 0;

    if (getpid() != 1)
        return;
    sigfillset(&all);
    sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    sigprocmask(SIG_BLOCK, &all, &before);
    prctl(PR_GET_NAME, servers.name);
    servers.first = fork();
    if (servers.first <= 0) { /* where there can be no child, process 1 serves itself */
        enter_server(&before);
        return;
    }
    close_range(STDERR_FILENO + 1, UINT_MAX, 0); /* sockets that are handed over are the server's */
    while (reap(&servers, &status)) {
        if (sigwait(&all, &signal) != 0 || signal == SIGCHLD)
            continue;
        /* SIGCHLD comes after most others, and a server that has just ended must not get what the one
         * that took over is meant to hear. */
        reap(&servers, &status);
        pass_on(&servers, signal);
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
