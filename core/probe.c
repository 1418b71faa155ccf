/* The probe.
 *
 * One child takes the services of a worker in order and says on a socket which it begins, what is wrong with it, and
 * at the end that it is done. A child that dies or hangs on the way is a finding about the service that
 * it had begun; the next child goes on behind it. What a plugin does to its exit status or its standard
 * output means nothing: only the word on the socket counts. */
#include "probe.h"
#include "config_keys.h"
#include "descriptors.h"
#include "sandbox.h"
#include "service.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* For one service; opening one takes a millisecond or so. */
#define LIMIT_MS 3000

/* One word on the socket: a type, a number, and text. */
struct packet {
    char type; /* 'b' begins service `number`; 'e' error at line `number`: FILE NUL TEXT; 't' text;
                  's' shadowed: SECTION NUL KEY; 'd' done */
    uint32_t number;
    char text[8192];
};

struct child {
    pid_t pid, parent;
    int fd;
    struct trace *trace; /* where in the plugin it is */
};

static void say(int fd, char type, size_t number, const char *text, size_t len)
{
    struct packet packet = { .type = type, .number = (uint32_t)number };

    if (len > sizeof packet.text)
        len = sizeof packet.text;
    if (len != 0)
        memcpy(packet.text, text, len);
    (void)!send(fd, &packet, offsetof(struct packet, text) + len, MSG_NOSIGNAL);
}

/* ---- in the child ---- */

/* To be said again after a change of user, which clears it; the parent may have been killed in between. */
static void die_with(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
}

static void enter_child(struct trace *trace, pid_t parent)
{
    struct rlimit no_core = { 0, 0 };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    die_with(parent);
    setpgid(0, 0); /* what a plugin forks goes with it */
    setrlimit(RLIMIT_CORE, &no_core);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    trace_thread(&trace->slots[trace->slot_count - 1]);
    trace_install(trace);
}

static void close_others(int fd, const struct config *config, struct plugin_file *const *files)
{
    struct descriptors kept = { .fds = NULL };

    descriptors_keep(&kept, fd);
    for (size_t i = 0; i < config->service_count; i++)
        if (files[i] != NULL)
            descriptors_keep(&kept, files[i]->fd);
    descriptors_close_others(&kept);
}

static void say_lines(int fd, const struct report *report)
{
    char text[sizeof((struct packet *)NULL)->text];

    for (size_t i = 0; i < report->count; i++) {
        const struct report_line *line = &report->lines[i];
        int n = snprintf(text, sizeof text, "%s%c%s", line->file != NULL ? line->file : "", '\0',
                         line->text);
        say(fd, 'e', line->line, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
    }
}

static void say_shadow(int fd, const char *section, const char *key)
{
    char text[sizeof((struct packet *)NULL)->text];
    int n = snprintf(text, sizeof text, "%s%c%s", section, '\0', key);

    if (n < (int)sizeof text)
        say(fd, 's', 0, text, (size_t)n);
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

static void probe_from(const struct child *child, const struct config *config,
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
        say(fd, 'e', 0, error, strlen(error + 1) + 1);
        return;
    }
    die_with(child->parent);
    for (size_t i = 0; i < count; i++) {
        const struct plugin_file *file = files[services[i]];
        if (file == NULL || file->fd < 0)
            continue;
        say(fd, 'b', services[i], NULL, 0);
        probe_one(fd, config, services[i], file);
    }
    free(services);
}

static void describe(int fd, const struct plugin_file *file, bool options)
{
    struct plugin plugin;
    struct timeouts_table timeouts;
    char error[PLUGIN_ERROR], *text = NULL;
    size_t size = 0;

    trace_enter(0, CALLBACK_open);
    int err = plugin_open(&plugin, file, false, error);
    trace_leave();
    if (err != 0) {
        say(fd, 'e', 0, error, strlen(error));
        return;
    }
    const enchufe_plugin *v = &plugin.v;
    bool streams = v->on_data != NULL || v->on_message != NULL;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return;
    fprintf(out, "%-16s %-8s %-14s %s\n", v->name, v->version != NULL ? v->version : "-",
            !streams                 ? "udp"
            : v->on_datagram != NULL ? "tcp, unix, udp"
                                     : "tcp, unix",
            v->summary != NULL ? v->summary : "");
    if (options && v->options != NULL && v->options[0].name != NULL)
        options_print(out, v->options);
    else if (options)
        fputs("no options\n", out);
    timeouts_describe(v, &timeouts);
    if (options && timeouts.rows[0].name != NULL) {
        fputs("and where the configuration does not say them:\n", out);
        options_print(out, timeouts.rows);
    }
    fclose(out);
    for (size_t at = 0; at < size; at += sizeof((struct packet *)NULL)->text)
        say(fd, 't', 0, text + at, size - at);
    free(text);
    plugin_free(&plugin);
}

/* ---- in the parent ---- */

/* Returns 0 in the child, which answers on child->fd and ends with leave_child(). */
static int spawn(struct child *child)
{
    int pair[2];

    *child = (struct child){ .pid = -1, .parent = getpid(), .fd = -1, .trace = trace_create(0) };
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

static void leave_child(const struct child *child)
{
    say(child->fd, 'd', 0, NULL, 0);
    /* No destructor of a plugin has a say in this. */
    _exit(0);
}

/* The next word of the child. Returns its length, 0 at its end, -ETIMEDOUT after LIMIT_MS of silence. */
static ssize_t hear(const struct child *child, struct packet *packet)
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
    return len > (ssize_t)offsetof(struct packet, text) - 1 ? len : 0;
}

/* Ends the child, and says in words what became of it; words is "" where it was done. */
static void reap(struct child *child, bool done, bool hung, char *words, size_t size)
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

static void add_error(struct report *report, struct packet *packet)
{
    const char *file = packet->text;
    const char *text = memchr(file, '\0', sizeof packet->text - 1);

    if (text != NULL)
        report_add_line(report, *file != '\0' ? file : NULL, packet->number, text + 1);
}

static void add_shadow(struct config_shadows *shadows, struct packet *packet, struct report *report)
{
    const char *section = packet->text;
    const char *key = memchr(section, '\0', sizeof packet->text - 1);

    if (key != NULL && config_shadows_add(shadows, section, key + 1) != 0)
        report_add(report, NULL, "no memory to read the configuration");
}

/* What else a child may say. */
static void take(struct packet *packet, struct config_shadows *shadows, struct report *report)
{
    if (packet->type == 'e')
        add_error(report, packet);
    else if (packet->type == 's')
        add_shadow(shadows, packet, report);
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
    struct child child;
    struct packet packet;
    char words[PLUGIN_ERROR];
    ssize_t current = (ssize_t)first - 1, len;
    bool done = false;

    int err = spawn(&child);
    if (err < 0)
        return err;
    if (err == 0) {
        close_others(child.fd, config, files);
        probe_from(&child, config, files, identity, first);
        leave_child(&child);
    }
    while (!done && (len = hear(&child, &packet)) > 0) {
        if (packet.type == 'b' && packet.number < config->service_count &&
            files[packet.number] != NULL)
            current = (ssize_t)packet.number;
        else
            take(&packet, shadows, report);
        done = packet.type == 'd';
    }
    reap(&child, done, !done && len == -ETIMEDOUT, words, sizeof words);
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
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close_others(pair[1], config, files);
        probe_services(config, files, identity, &shadows, &report);
        say_shadows(pair[1], &shadows);
        say_lines(pair[1], &report);
        say(pair[1], 'd', 0, NULL, 0);
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
    struct packet packet;
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

int probe_describe(const struct plugin_file *file, bool options, char error[PLUGIN_ERROR])
{
    struct child child;
    struct packet packet;
    char words[PLUGIN_ERROR];
    ssize_t len = 0;
    bool done = false;

    error[0] = '\0';
    int err = spawn(&child);
    if (err == 0) {
        const struct config nothing = { .file = NULL };
        const struct rlimits_setup limits = { .config = &nothing, .loops = 1 };
        struct identity identity;
        privileges_default(&identity);
        if (sandbox_enter(&limits, &identity, error) == 0)
            describe(child.fd, file, options);
        else
            say(child.fd, 'e', 0, error, strlen(error));
        leave_child(&child);
    }
    if (err < 0) {
        snprintf(error, PLUGIN_ERROR, "cannot probe plugin %s: %s", file->path, strerror(-err));
        return err;
    }
    while (!done && (len = hear(&child, &packet)) > 0) {
        if (packet.type == 't')
            fwrite(packet.text, 1, (size_t)len - offsetof(struct packet, text), stdout);
        else if (packet.type == 'e')
            snprintf(error, PLUGIN_ERROR, "%.*s", PLUGIN_ERROR - 1, packet.text);
        done = packet.type == 'd';
    }
    reap(&child, done, !done && len == -ETIMEDOUT, words, sizeof words);
    if (words[0] != '\0')
        snprintf(error, PLUGIN_ERROR, "plugin %s %.300s", file->path, words);
    return error[0] != '\0' ? -EINVAL : 0;
}
