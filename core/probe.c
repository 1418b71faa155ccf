/* The probe.
 *
 * One child takes the services of a worker in order and says on a socket which it begins, what is wrong with it, and
 * at the end that it is done. A child that dies or hangs on the way is a finding about the service that
 * it had begun; the next child goes on behind it. */
#include "probe.h"
#include "config_keys.h"
#include "descriptors.h"
#include "namespaces.h"
#include "probe_child.h"
#include "sandbox.h"
#include "service.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- in the child ---- */

static void close_others(int fd, const struct config *config, struct plugin_file *const *files)
{
    struct descriptors kept = { .fds = NULL };

    descriptors_keep(&kept, fd);
    namespaces_keep(&kept);
    for (size_t i = 0; i < config->service_count; i++)
        if (files[i] != NULL)
            descriptors_keep(&kept, files[i]->fd);
    descriptors_close_others(&kept);
}

static void say_lines(int fd, const struct report *report)
{
    char text[sizeof((struct probe_packet *)NULL)->text];

    for (size_t i = 0; i < report->count; i++) {
        const struct report_line *line = &report->lines[i];
        int n = snprintf(text, sizeof text, "%s%c%s", line->file != NULL ? line->file : "", '\0',
                         line->text);
        probe_child_say(fd, 'e', line->line, text,
                        n < (int)sizeof text ? (size_t)n : sizeof text - 1);
    }
}

static void say_shadow(int fd, const char *section, const char *key)
{
    char text[sizeof((struct probe_packet *)NULL)->text];
    int n = snprintf(text, sizeof text, "%s%c%s", section, '\0', key);

    if (n < (int)sizeof text)
        probe_child_say(fd, 's', 0, text, (size_t)n);
}

static void say_shadows(int fd, const struct config_shadows *shadows)
{
    for (size_t i = 0; i < shadows->count; i++)
        say_shadow(fd, shadows->items[i].section, shadows->items[i].key);
}

static void find_shadows(int fd, const struct enchufe_service *service)
{
    for (const char *const *key = config_service_keys(); *key != NULL; key++)
        if (plugin_shadow(&service->plugin, *key) != NULL)
            say_shadow(fd, service->config->name, *key);
}

/* Told here, where the plugin would only see that it may not. */
static void check_paths(const struct enchufe_service *service, struct report *report)
{
    const enchufe_option *option = service->plugin.v.options;

    for (; service->configured && option != NULL && option->name != NULL; option++) {
        struct place place = service->config->place;
        if (option->type != ENCHUFE_OPTION_PATH)
            continue;
        const char *path = *(char *const *)((char *)service->settings + option->offset);
        if (path == NULL || access(path, R_OK) != 0)
            continue; /* it will be made, or is the plugin's to complain of */
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0)
            close(fd);
        if (fd >= 0 || errno != EACCES)
            continue;
        place.key = option->name;
        for (size_t i = 0; i < service->config->setting_count; i++)
            if (strcmp(service->config->settings[i].key, option->name) == 0)
                place = service->config->settings[i].place;
        report_add(
            report, &place,
            "the sandbox keeps the service from %s; name it, or the folder that it is in, in "
            "read_paths or write_paths",
            path);
    }
}

static void probe_one(int fd, const struct config *config, size_t index,
                      const struct plugin_file *file)
{
    struct report report = { .lines = NULL };
    struct enchufe_service service;

    service_init(&service, &config->services[index], (uint32_t)index, file, false, &report);
    find_shadows(fd, &service);
    check_paths(&service, &report);
    service_check(&service, &report);
    service_free(&service);
    say_lines(fd, &report);
    report_free(&report);
}

/* Which services one child opens: those that will share a process, from the first on. Returns how many. */
static size_t plan(const struct config *config, size_t first, size_t *services)
{
    size_t count = 0;

    services[count++] = first;
    for (size_t i = first + 1; i < config->service_count; i++)
        if (!config->services[first].limits.isolate && !config->services[i].limits.isolate)
            services[count++] = i;
    return count;
}

static void probe_from(const struct probe_child *child, const struct config *config,
                       struct plugin_file *const *files, const struct identity *identity,
                       size_t first)
{
    int fd = child->fd;
    size_t *services = calloc(config->service_count, sizeof *services);
    char error[1 + SANDBOX_TEXT];

    if (services == NULL)
        _exit(1);
    size_t count = plan(config, first, services);
    error[0] = '\0'; /* no file */
    const struct rlimits_setup limits = {
        .config = config, .services = services, .service_count = count, .loops = 1
    };
    if (sandbox_enter(&limits, identity, error + 1) != 0) {
        probe_child_say(fd, 'e', 0, error, strlen(error + 1) + 1);
        return;
    }
    probe_child_end_with_parent(child->parent);
    for (size_t i = 0; i < count; i++) {
        const struct plugin_file *file = files[services[i]];
        if (file == NULL || file->fd < 0)
            continue;
        probe_child_say(fd, 'b', services[i], NULL, 0);
        probe_one(fd, config, services[i], file);
    }
    free(services);
}

/* ---- in the parent ---- */

static void add_error(struct report *report, struct probe_packet *packet)
{
    const char *file = packet->text;
    const char *text = memchr(file, '\0', sizeof packet->text - 1);

    if (text != NULL)
        report_add_line(report, *file != '\0' ? file : NULL, packet->number, text + 1);
}

static void add_shadow(struct config_shadows *shadows, struct probe_packet *packet,
                       struct report *report)
{
    const char *section = packet->text;
    const char *key = memchr(section, '\0', sizeof packet->text - 1);

    if (key != NULL && config_shadows_add(shadows, section, key + 1) != 0)
        report_add(report, NULL, "no memory to read the configuration");
}

/* What else a child may say. */
static void take(struct probe_packet *packet, struct config_shadows *shadows, struct report *report)
{
    if (packet->type == 'e')
        add_error(report, packet);
    else if (packet->type == 's')
        add_shadow(shadows, packet, report);
}

/* Code of a plugin runs in the child and can say what it likes: no guard is taken away by that, and what is
 * added to the shadows has an end. */
static bool may_say(const struct config *config, const struct probe_packet *packet)
{
    const char *section = packet->text;
    const char *key = memchr(section, '\0', sizeof packet->text - 1);

    if (packet->type != 's')
        return true;
    for (size_t i = 0; key != NULL && i < config->service_count; i++)
        if (strcmp(config->services[i].name, section) == 0)
            return config_key_may_be_shadowed(key + 1);
    return false;
}

/* The first service from `first` on that shares its process. */
static ssize_t next_shared(const struct config *config, size_t first)
{
    while (first < config->service_count && config->services[first].limits.isolate)
        first++;
    return (ssize_t)first;
}

/* One child, from service `first` on. Returns the service to go on with, or a negative errno. */
static ssize_t probe_some(const struct config *config, struct plugin_file *const *files,
                          const struct identity *identity, size_t first,
                          struct config_shadows *shadows, struct report *report)
{
    struct probe_child child;
    struct probe_packet packet;
    char words[PLUGIN_ERROR];
    ssize_t current = (ssize_t)first - 1, len;
    bool done = false;

    int err = probe_child_spawn(&child);
    if (err < 0)
        return err;
    if (err == 0) {
        close_others(child.fd, config, files);
        probe_from(&child, config, files, identity, first);
        probe_child_leave(&child);
    }
    while (!done && (len = probe_child_hear(&child, &packet)) > 0) {
        if (packet.type == 'b' && packet.number < config->service_count &&
            files[packet.number] != NULL)
            current = (ssize_t)packet.number;
        else if (may_say(config, &packet))
            take(&packet, shadows, report);
        done = packet.type == 'd';
    }
    probe_child_reap(&child, done, !done && len == -ETIMEDOUT, words, sizeof words);
    if (done)
        return (ssize_t)config->service_count;
    if (current < (ssize_t)first)
        return -ECHILD; /* it died before it opened anything */
    report_add(report, &config->services[current].plugin_place, "plugin %s %s",
               files[current]->path, words);
    return next_shared(config, (size_t)current + 1);
}

int probe_services(const struct config *config, struct plugin_file *const *files,
                   const struct identity *identity, struct config_shadows *shadows,
                   struct report *report)
{
    size_t before = report->count;
    ssize_t next = next_shared(config, 0);

    /* Those that share a process do so here too, so that each meets what it will meet there. */
    while (next >= 0 && (size_t)next < config->service_count)
        next = probe_some(config, files, identity, (size_t)next, shadows, report);
    for (size_t i = 0; next >= 0 && i < config->service_count; i++)
        if (config->services[i].limits.isolate)
            next = probe_some(config, files, identity, i, shadows, report);
    if (next < 0)
        report_add(report, NULL, "cannot probe the plugins: %s", strerror((int)-next));
    return report->count != before ? -EINVAL : 0;
}

pid_t probe_begin(const struct config *config, struct plugin_file *const *files,
                  const struct identity *identity, int *fd)
{
    struct report report = { .lines = NULL };
    struct config_shadows shadows = { .items = NULL };
    pid_t parent = getpid();
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        probe_child_end_with_parent(parent);
        close_others(pair[1], config, files);
        probe_services(config, files, identity, &shadows, &report);
        say_shadows(pair[1], &shadows);
        say_lines(pair[1], &report);
        probe_child_say(pair[1], 'd', 0, NULL, 0);
        _exit(0);
    }
    int err = errno;
    close(pair[1]);
    *fd = pair[0];
    if (pid < 0)
        close(pair[0]);
    return pid < 0 ? -err : pid;
}

bool probe_continue(pid_t child, int fd, struct config_shadows *shadows, struct report *report)
{
    struct probe_packet packet;
    ssize_t len;
    bool done = false;

    while (!done && (len = recv(fd, &packet, sizeof packet - 1, MSG_DONTWAIT)) > 0) {
        ((char *)&packet)[len] = '\0';
        take(&packet, shadows, report);
        done = packet.type == 'd';
    }
    if (!done && len < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (!done)
        report_add(report, NULL, "the probe of the plugins ended unexpectedly");
    probe_abandon(child, fd);
    return true;
}

void probe_abandon(pid_t child, int fd)
{
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    close(fd);
}
