/* Watching files with inotify. Folders are watched, because a file that is replaced by a rename is another
 * file; the names in them tell whether an event is about one of ours. */
#include "watch.h"
#include "container.h"
#include "log.h"
#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTLE_MS 500
#define LINKS_MAX 40 /* on the way to a file, as the system allows */
#define EVENTS (IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MOVE_SELF)

/* A file that is ours, or a pattern of such. Watched is the folder that it lies in; while that one is
 * missing, the nearest one above it, for the next folder on the way. */
struct entry {
    int folder; /* inotify's number, which other entries may have too; -1: none can be watched */
    char *path; /* owned */
    size_t last,
        next;   /* where the names begin: of the file, and of what is to appear in `folder` */
    bool exact; /* no pattern */
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

/* ---- folders ---- */

/* Where the part of a path begins that is, or is before, the one that ends at `end`. */
static size_t part_before(const char *path, size_t end)
{
    while (end > 0 && path[end - 1] == '/')
        end--;
    while (end > 0 && path[end - 1] != '/')
        end--;
    return end;
}

/* The path up to there, without the slash at its end. */
static const char *cut(const char *path, size_t len, char out[PATH_MAX])
{
    while (len > 1 && path[len - 1] == '/')
        len--;
    snprintf(out, PATH_MAX, "%.*s", len != 0 ? (int)len : 1, len != 0 ? path : ".");
    return out;
}

/* Watches the deepest folder that is there. One that comes just before the folder above it is watched would
 * be missed: hence a second look. */
static void arm(const struct watch *watch, struct entry *entry)
{
    const char *path = entry->path;
    char folder[PATH_MAX];
    struct stat st;

    for (int tries = 0; tries < 3; tries++) {
        size_t at = entry->last;
        while ((entry->folder = inotify_add_watch(watch->source.fd, cut(path, at, folder),
                                                  EVENTS | IN_ONLYDIR)) < 0 &&
               at > 0 && part_before(path, at) != at)
            at = part_before(path, at);
        entry->next = at;
        if (entry->folder < 0)
            log_event(ENCHUFE_LOG_WARNING, "cannot watch a file", LOG_STR("path", path),
                      LOG_STR("error", strerror(errno)));
        if (entry->folder < 0 || at == entry->last)
            return;
        size_t end = at + strcspn(path + at, "/");
        if (stat(cut(path, end, folder), &st) != 0)
            return;
    }
}

/* Returns whether it is there only now. */
static bool add_entry(struct watch *watch, const char *path, bool exact)
{
    for (size_t i = 0; i < watch->count; i++)
        if (strcmp(watch->entries[i].path, path) == 0)
            return false;
    struct entry *entries = realloc(watch->entries, (watch->count + 1) * sizeof *entries);
    if (entries != NULL)
        watch->entries = entries;
    char *copy = entries != NULL ? strdup(path) : NULL;
    if (copy == NULL)
        return false; /* without memory its changes are not noticed */
    struct entry *entry = &entries[watch->count++];
    *entry =
        (struct entry){ .path = copy, .last = part_before(copy, strlen(copy)), .exact = exact };
    arm(watch, entry);
    return true;
}

/* Where the first part of a path that is a symbolic link ends; 0: none is, or the way ends before. */
static size_t find_link(const char *path, char target[PATH_MAX])
{
    char part[PATH_MAX];
    size_t end;

    for (size_t at = strspn(path, "/"); path[at] != '\0'; at = end + strspn(path + end, "/")) {
        end = at + strcspn(path + at, "/");
        snprintf(part, sizeof part, "%.*s", (int)end, path);
        ssize_t len = readlink(part, target, PATH_MAX - 1);
        target[len > 0 ? len : 0] = '\0';
        if (len > 0)
            return end;
        if (errno != EINVAL)
            return 0;
    }
    return 0;
}

/* Each link on the way may be exchanged, be it the file or a folder: it is watched like a file, and in the end
 * what all of them lead to. */
static void add_links(struct watch *watch, const char *path, bool exact)
{
    char way[PATH_MAX], link[PATH_MAX], target[PATH_MAX], next[PATH_MAX];
    int links;
    size_t end;

    snprintf(way, sizeof way, "%s", path);
    for (links = 0; links < LINKS_MAX && (end = find_link(way, target)) != 0; links++) {
        size_t folder = *target == '/' ? 0 : part_before(way, end);
        add_entry(watch, cut(way, end, link), true);
        if (snprintf(next, sizeof next, "%.*s%s%s", (int)folder, way, target, way + end) >=
            (int)sizeof next)
            return;
        memcpy(way, next, sizeof way);
    }
    if (links != 0)
        add_entry(watch, way, exact);
}

static void add(struct watch *watch, const char *path, bool exact)
{
    if (add_entry(watch, path, exact))
        add_links(watch, path, exact);
}

/* The folder tells of files that come and go; where those lead that are links is for each to tell. */
static void add_pattern(struct watch *watch, const char *pattern)
{
    glob_t found;

    add(watch, pattern, false);
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        add_links(watch, found.gl_pathv[i], true);
    globfree(&found);
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
        if (entries[i].folder >= 0 && !has_folder(watch, entries[i].folder))
            inotify_rm_watch(watch->source.fd, entries[i].folder);
        free(entries[i].path);
    }
    free(entries);
}

static void add_generation(struct watch *watch, const struct generation *generation)
{
    const struct config *config = generation->config;
    const char *include = config->server.include, *slash = strrchr(config->file, '/');
    char path[PATH_MAX];

    add(watch, config->file, true);
    if (include != NULL && (*include == '/' || slash == NULL))
        add_pattern(watch, include);
    else if (include != NULL && snprintf(path, sizeof path, "%.*s/%s", (int)(slash - config->file),
                                         config->file, include) < (int)sizeof path)
        add_pattern(watch, path);
    for (size_t i = 0; i < config->service_count; i++) {
        char *plugin = generation_plugin_path(generation, i);
        if (plugin != NULL)
            add(watch, plugin, true);
        free(plugin);
    }
}

void watch_generations(struct watch *watch, const struct generation *serving,
                       const struct generation *attempt)
{
    struct entry *before = watch->entries;
    size_t count = watch->count;

    watch->entries = NULL;
    watch->count = 0;
    add_generation(watch, serving);
    if (attempt != NULL && attempt->config != NULL)
        add_generation(watch, attempt);
    forget(watch, before, count);
}

/* ---- events ---- */

/* A file that was only just created is not written yet, and an event will tell when it is; a link is. */
static bool is_whole(const struct entry *entry, const struct inotify_event *event)
{
    char path[PATH_MAX];
    struct stat st;

    if (!(event->mask & IN_CREATE))
        return true;
    snprintf(path, sizeof path, "%.*s%s", (int)entry->last, entry->path, event->name);
    return lstat(path, &st) == 0 && (S_ISLNK(st.st_mode) || st.st_nlink > 1);
}

/* A folder on the way to the file has come. The file may have come with it. */
static bool came_closer(const struct watch *watch, struct entry *entry)
{
    struct stat st;

    arm(watch, entry);
    return !entry->exact || lstat(entry->path, &st) == 0;
}

static bool concerns(const struct watch *watch, struct entry *entry,
                     const struct inotify_event *event)
{
    const char *name = entry->path + entry->next;
    size_t len = strcspn(name, "/");

    if (event->mask & (IN_IGNORED | IN_MOVE_SELF)) { /* the folder itself is gone */
        arm(watch, entry);
        return true;
    }
    if (event->len == 0)
        return false;
    if (entry->next != entry->last)
        return strncmp(name, event->name, len) == 0 && event->name[len] == '\0' &&
               came_closer(watch, entry);
    return (entry->exact ? strcmp(name, event->name) == 0
                         : fnmatch(name, event->name, FNM_PERIOD) == 0) &&
           is_whole(entry, event);
}

static bool is_ours(struct watch *watch, const struct inotify_event *event)
{
    bool ours = false;

    for (size_t i = 0; i < watch->count; i++)
        if (watch->entries[i].folder == event->wd && concerns(watch, &watch->entries[i], event))
            ours = true;
    if ((event->mask & IN_MOVE_SELF) && !has_folder(watch, event->wd))
        inotify_rm_watch(watch->source.fd, event->wd);
    return ours;
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
            ours = is_ours(watch, event) || (event->mask & IN_Q_OVERFLOW) != 0 || ours;
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
