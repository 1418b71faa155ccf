/* Executing the program again. */
#include "upgrade.h"
#include "container.h"
#include "handover.h"
#include "notify.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

/* A new server that has not said a word by then is taken for stuck. */
#define LIMIT_MS 30000

/* A list of every port there is fits. */
#define SAID_MAX ((size_t)1 << 20)

static void set_number(const char *name, int number)
{
    char text[16];

    snprintf(text, sizeof text, "%d", number);
    setenv(name, text, 1);
}

/* In the child: what is handed over must survive the exec in the child only, so the table is made here. */
static _Noreturn void execute(const struct upgrade *upgrade, const struct sockets *sockets,
                              const struct config *config, int control, int ready)
{
    sigset_t none;
    int table = handover_make(sockets, config, control);

    if (table < 0)
        _exit(127);
    fcntl(ready, F_SETFD, 0);
    set_number(HANDOVER_SOCKETS, table);
    set_number(HANDOVER_READY, ready);
    set_number(HANDOVER_BEFORE, (int)getppid());
    notify_restore_environment(getpid());
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(upgrade->program, upgrade->argv);
    dprintf(ready, "%s cannot be executed: %s\n", upgrade->program, strerror(errno));
    _exit(127);
}

static void end(struct upgrade *upgrade)
{
    timer_cancel(&upgrade->loop->timers, &upgrade->limit);
    loop_watch(upgrade->loop, &upgrade->pipe, 0);
    close(upgrade->pipe.fd);
    free(upgrade->said);
    upgrade->said = NULL;
    upgrade->said_len = 0;
    upgrade->pid = 0;
}

static void reap(pid_t pid, int *status)
{
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        continue;
}

/* What it said, as a whole: every error of its configuration is in it. */
static void tell_end(const struct upgrade *upgrade, int status, const char *why, FILE *out)
{
    if (why == NULL && WIFEXITED(status))
        fprintf(out, "the new server ended with status %d%s\n%s", WEXITSTATUS(status),
                upgrade->said_len != 0 ? ":" : "; its log says why",
                upgrade->said_len != 0 ? upgrade->said : "");
    else
        fprintf(out, "the new server %s\n", why != NULL ? why : "was killed");
}

static void fail(struct upgrade *upgrade, const char *why)
{
    char *text = NULL;
    size_t size = 0;
    pid_t pid = upgrade->pid;
    int status = 0;

    kill(pid, SIGKILL); /* it may have closed the pipe and live on */
    reap(pid, &status);
    FILE *out = open_memstream(&text, &size);
    if (out != NULL) {
        tell_end(upgrade, status, why, out);
        fclose(out);
    }
    end(upgrade);
    upgrade->done(upgrade->context, false, pid, text != NULL ? text : "no memory\n");
    free(text);
}

static void too_late(struct timer *timer)
{
    fail(CONTAINER_OF(timer, struct upgrade, limit), "did not come up in time");
}

/* Returns whether it can be kept: a program that talks without end is no server of ours. */
static bool keep(struct upgrade *upgrade, const char *chunk, size_t len)
{
    char *said = upgrade->said_len + len < SAID_MAX
                     ? realloc(upgrade->said, upgrade->said_len + len + 1)
                     : NULL;

    if (said == NULL)
        return false;
    memcpy(said + upgrade->said_len, chunk, len);
    upgrade->said = said;
    upgrade->said_len += len;
    said[upgrade->said_len] = '\0';
    return true;
}

static void heard(struct loop_source *source, uint32_t events)
{
    struct upgrade *upgrade = CONTAINER_OF(source, struct upgrade, pipe);
    char chunk[4096];
    ssize_t n = read(source->fd, chunk, sizeof chunk);
    pid_t pid = upgrade->pid;

    (void)events;
    if (n <= 0 || !keep(upgrade, chunk, (size_t)n)) {
        fail(upgrade, NULL);
        return;
    }
    /* Why it fails may come in parts up to its end; the list of sockets counts only as a whole. */
    if (strncmp(upgrade->said, HANDOVER_WORD, strlen(HANDOVER_WORD)) != 0 ||
        upgrade->said[upgrade->said_len - 1] != '\n')
        return;
    char *said = upgrade->said;
    upgrade->said = NULL;
    end(upgrade);
    upgrade->done(upgrade->context, true, pid, said + strlen(HANDOVER_WORD));
    free(said);
}

int upgrade_begin(struct upgrade *upgrade, const struct sockets *sockets,
                  const struct config *config, int control)
{
    int ends[2];

    if (upgrade->pid != 0)
        return -EALREADY;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        execute(upgrade, sockets, config, control, ends[1]);
    int err = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -err;
    }
    upgrade->pid = pid;
    upgrade->said_len = 0;
    upgrade->pipe = (struct loop_source){ .fd = ends[0], .ready = heard };
    upgrade->limit.fire = too_late;
    err = loop_timer(upgrade->loop, &upgrade->limit, clock_ms() + LIMIT_MS);
    if (err == 0)
        err = loop_watch(upgrade->loop, &upgrade->pipe, EPOLLIN);
    if (err != 0)
        upgrade_abandon(upgrade);
    return err;
}

void upgrade_abandon(struct upgrade *upgrade)
{
    int status;
    pid_t pid = upgrade->pid;

    if (pid == 0)
        return;
    kill(pid, SIGKILL);
    reap(pid, &status);
    end(upgrade);
}
