/* Reading and probing in the background.
 *
 * 1. A child reads the configuration, only to look up the names in it, and tells what it was told. That
 *    may take as long as a name server likes, but not longer than LIMIT_MS.
 * 2. This process reads it again, and finds the names in what the child said.
 * 3. Another child opens the plugins (probe.h). Where they shadow keys of the server, 2 and 3 again. */
#include "trial.h"
#include "container.h"
#include "descriptors.h"
#include "probe.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the system's resolver allows a name server that does not answer: twice 5 s. A bit more, so that
 * what it says itself is heard. */
#define LIMIT_MS 11000

/* The child's last word; its others are names. */
static const char done_word[] = "done";

static void end_child(struct trial *trial)
{
    timer_cancel(&trial->loop->timers, &trial->limit);
    loop_watch(trial->loop, &trial->source, 0);
    probe_abandon(trial->child, trial->source.fd);
    trial->child = 0;
}

static void finish(struct trial *trial)
{
    names_free(&trial->names);
    trial->done(trial->context);
}

/* ---- the plugins ---- */

static void probe(struct trial *trial);

static void probed(struct loop_source *source, uint32_t events)
{
    struct trial *trial = CONTAINER_OF(source, struct trial, source);

    (void)events;
    loop_watch(trial->loop, source, 0);
    if (!probe_continue(trial->child, source->fd, &trial->generation->shadows, trial->report)) {
        loop_watch(trial->loop, source, EPOLLIN);
        return;
    }
    trial->child = 0;
    names_use(&trial->names);
    bool again =
        generation_read_again(trial->generation, trial->file, trial->plugin_dir, trial->report);
    names_use(NULL);
    if (again)
        probe(trial);
    else
        finish(trial);
}

/* Also after the file was read again. */
static void probe(struct trial *trial)
{
    struct generation *generation = trial->generation;

    trial->source = (struct loop_source){ .fd = -1, .ready = probed };
    trial->child = generation->files != NULL ? probe_begin(generation->config, generation->files,
                                                           &generation->identity, &trial->source.fd)
                                             : 0;
    if (trial->child > 0 && loop_watch(trial->loop, &trial->source, EPOLLIN) == 0)
        return;
    if (trial->child > 0)
        end_child(trial);
    trial->child = 0;
    report_add(trial->report, NULL, "cannot probe the plugins: %s", strerror(errno));
    finish(trial);
}

/* ---- the configuration ---- */

static void read_file(struct trial *trial)
{
    unsigned number = trial->generation->number;

    names_use(&trial->names);
    generation_read(trial->generation, trial->file, trial->plugin_dir, trial->report);
    names_use(NULL);
    trial->generation->number = number;
    trial->read(trial->context);
    probe(trial);
}

static void give_up(struct trial *trial, const char *why)
{
    report_add(trial->report, NULL, "%s cannot be read: %s", trial->file, why);
    finish(trial);
}

static bool waits_for_name(const struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        if (names->items[i].silent)
            return true;
    return false;
}

static void too_late(struct timer *timer)
{
    struct trial *trial = CONTAINER_OF(timer, struct trial, limit);

    end_child(trial);
    trial->names.cut = true;
    if (waits_for_name(&trial->names))
        read_file(trial); /* which tells where the name stands that took so long */
    else
        give_up(trial, "its file system does not answer");
}

/* Returns 1 at the child's last word, 0 where more is to come, or a negative errno. */
static int hear(struct trial *trial)
{
    struct name name;
    ssize_t len;

    while ((len = recv(trial->source.fd, &name, sizeof name, MSG_DONTWAIT)) > 0) {
        if (len == (ssize_t)sizeof done_word)
            return 1;
        int err = names_keep(&trial->names, &name, (size_t)len);
        if (err != 0)
            return err;
    }
    return len == 0 ? -ECHILD : errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static void heard(struct loop_source *source, uint32_t events)
{
    struct trial *trial = CONTAINER_OF(source, struct trial, source);
    int err = hear(trial);

    (void)events;
    if (err == 0)
        return;
    end_child(trial);
    if (err > 0)
        read_file(trial);
    else
        give_up(trial, err == -ECHILD ? "who read it died" : strerror(-err));
}

static _Noreturn void look_up_names(const char *file, int fd, pid_t parent)
{
    struct report report = { .lines = NULL };
    struct identity identity;

    struct descriptors kept = { .fds = NULL };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    descriptors_keep(&kept, fd);
    descriptors_close_others(&kept);
    names_tell(fd);
    struct config *config = config_read(file, NULL, &report);
    if (config != NULL)
        privileges_find(config, &identity, &report);
    (void)!send(fd, done_word, sizeof done_word, MSG_NOSIGNAL);
    _exit(0);
}

void trial_begin(struct trial *trial, struct generation *generation, struct report *report)
{
    pid_t pid = -1, parent = getpid();
    int pair[2];

    trial->generation = generation;
    trial->report = report;
    trial->limit.fire = too_late;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        give_up(trial, strerror(errno));
        return;
    }
    pid = fork();
    if (pid == 0)
        look_up_names(trial->file, pair[1], parent);
    close(pair[1]);
    trial->source = (struct loop_source){ .fd = pair[0], .ready = heard };
    trial->child = pid;
    if (pid > 0 && loop_timer(trial->loop, &trial->limit, clock_ms() + LIMIT_MS) == 0 &&
        loop_watch(trial->loop, &trial->source, EPOLLIN) == 0)
        return;
    int err = errno;
    if (pid > 0)
        end_child(trial);
    else
        close(pair[0]);
    trial->child = 0;
    give_up(trial, strerror(err));
}

void trial_abandon(struct trial *trial)
{
    if (trial->child > 0)
        end_child(trial);
    names_free(&trial->names);
}
