/* Waiting for another process that is no child of ours. */
#include "predecessor.h"
#include "container.h"
#include "log.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <unistd.h>

static void gone(struct loop_source *source, uint32_t events)
{
    struct predecessor *predecessor = CONTAINER_OF(source, struct predecessor, source);

    (void)events;
    log_event(ENCHUFE_LOG_INFO, "the server before has gone", LOG_INT("pid", predecessor->pid));
    predecessor_end(predecessor);
}

void predecessor_watch(struct predecessor *predecessor, struct loop *loop, pid_t pid)
{
    *predecessor = (struct predecessor){ .loop = loop, .source = { .fd = -1, .ready = gone } };
    if (pid <= 0)
        return;
    predecessor->source.fd = pidfd_open(pid, 0);
    predecessor->pid = pid;
    if (predecessor->source.fd >= 0 && loop_watch(loop, &predecessor->source, EPOLLIN) == 0)
        return;
    log_event(ENCHUFE_LOG_WARNING, "cannot watch the server before", LOG_INT("pid", pid),
              LOG_STR("error", strerror(errno)));
    predecessor_end(predecessor);
}

void predecessor_drains(struct predecessor *predecessor)
{
    predecessor->since = clock_ms();
}

void predecessor_end(struct predecessor *predecessor)
{
    if (predecessor->source.fd >= 0) {
        loop_watch(predecessor->loop, &predecessor->source, 0);
        close(predecessor->source.fd);
    }
    predecessor->source.fd = -1;
    predecessor->pid = 0;
}
