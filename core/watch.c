/* Watching files with inotify. Folders are watched, because a file that is replaced by a rename is another
 * file; the names in them tell whether an event is about one of ours. */
#include "watch.h"
#include "container.h"
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTLE_MS 500
#define EVENTS (IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)

/* Names in one folder that are ours. */
struct entry {
    int folder;       /* inotify's number; one folder may have several entries */
    char *path;       /* owned */
    const char *name; /* its last part: a name, or a pattern of names */
    bool exact;       /* no pattern */
};

struct watch {
    struct loop_source source;
    struct loop *loop;
    struct timer settle;
    void (*changed)(void *context);
    void *context;
    struct entry *entries;
    size_t count;
};

static void add(struct watch *watch, const char *path, bool exact)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        snprintf(folder, sizeof folder, ".");
    else
        snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    struct entry *entries = realloc(watch->entries, (watch->count + 1) * sizeof *entries);
    if (entries == NULL)
        return;
    watch->entries = entries;
    /* A folder that is not there cannot be watched; that it comes is not noticed. */
    int number = inotify_add_watch(watch->source.fd, folder, EVENTS | IN_MASK_ADD);
    char *copy = strdup(path);
    if (number < 0 || copy == NULL) {
        free(copy);
        return;
    }
    entries[watch->count++] = (struct entry){ .folder = number,
                                              .path = copy,
                                              .name = copy + (slash != NULL ? slash + 1 - path : 0),
                                              .exact = exact };
}

static bool has_folder(const struct watch *watch, int folder)
{
    for (size_t i = 0; i < watch->count; i++)
        if (watch->entries[i].folder == folder)
            return true;
    return false;
}

/* Folders that are still watched keep their number, and with it the events that were not read yet. */
static void forget(const struct watch *watch, struct entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!has_folder(watch, entries[i].folder))
            inotify_rm_watch(watch->source.fd, entries[i].folder);
        free(entries[i].path);
    }
    free(entries);
}

void watch_generation(struct watch *watch, const struct generation *generation)
{
    const struct config *config = generation->config;
    const char *include = config->server.include, *slash = strrchr(config->file, '/');
    struct entry *before = watch->entries;
    size_t count = watch->count;
    char path[PATH_MAX];

    watch->entries = NULL;
    watch->count = 0;
    add(watch, config->file, true);
    if (include != NULL && (*include == '/' || slash == NULL))
        add(watch, include, false);
    else if (include != NULL && snprintf(path, sizeof path, "%.*s/%s", (int)(slash - config->file),
                                         config->file, include) < (int)sizeof path)
        add(watch, path, false);
    for (size_t i = 0; i < generation->seal_count; i++)
        add(watch, generation->seals[i].path, true);
    forget(watch, before, count);
}

/* A file that was only just created is not written yet, and an event will tell when it is; a link is. */
static bool is_whole(const struct entry *entry, const struct inotify_event *event)
{
    char path[PATH_MAX];
    struct stat st;

    if (!(event->mask & IN_CREATE))
        return true;
    snprintf(path, sizeof path, "%.*s%s", (int)(entry->name - entry->path), entry->path,
             event->name);
    return lstat(path, &st) == 0 && (S_ISLNK(st.st_mode) || st.st_nlink > 1);
}

static bool is_ours(const struct watch *watch, const struct inotify_event *event)
{
    for (size_t i = 0; i < watch->count; i++) {
        const struct entry *entry = &watch->entries[i];
        if (entry->folder == event->wd && event->len != 0 &&
            (entry->exact ? strcmp(entry->name, event->name) == 0
                          : fnmatch(entry->name, event->name, FNM_PERIOD) == 0) &&
            is_whole(entry, event))
            return true;
    }
    return false;
}

static void settled(struct timer *timer)
{
    struct watch *watch = CONTAINER_OF(timer, struct watch, settle);

    watch->changed(watch->context);
}

static void ready(struct loop_source *source, uint32_t events)
{
    struct watch *watch = CONTAINER_OF(source, struct watch, source);
    _Alignas(struct inotify_event) char buffer[8192];
    bool ours = false;
    ssize_t len;

    (void)events;
    while ((len = read(source->fd, buffer, sizeof buffer)) > 0)
        for (ssize_t at = 0; at < len;) {
            const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
            ours = ours || (event->mask & IN_Q_OVERFLOW) != 0 || is_ours(watch, event);
            at += (ssize_t)(sizeof *event + event->len);
        }
    if (ours)
        loop_timer(watch->loop, &watch->settle, clock_ms() + SETTLE_MS);
}

struct watch *watch_create(struct loop *loop, void (*changed)(void *context), void *context)
{
    struct watch *watch = calloc(1, sizeof *watch);

    if (watch == NULL)
        return NULL;
    *watch =
        (struct watch){ .source = { .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .ready = ready },
                        .loop = loop,
                        .settle = { .fire = settled },
                        .changed = changed,
                        .context = context };
    int err = watch->source.fd < 0 ? -errno : loop_watch(loop, &watch->source, EPOLLIN);
    if (err != 0) {
        if (watch->source.fd >= 0)
            close(watch->source.fd);
        free(watch);
        errno = -err;
        return NULL;
    }
    return watch;
}

void watch_forked(struct watch *watch)
{
    if (watch != NULL)
        close(watch->source.fd);
}

void watch_free(struct watch *watch)
{
    if (watch == NULL)
        return;
    size_t count = watch->count;
    watch->count = 0;
    forget(watch, watch->entries, count);
    timer_cancel(&watch->loop->timers, &watch->settle);
    loop_watch(watch->loop, &watch->source, 0);
    close(watch->source.fd);
    free(watch);
}
