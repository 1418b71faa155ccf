/* The configuration: what the sections mean. Reads [server], the files that it includes,
 * [defaults] and then each service; goes on after an error, so that one run shows them all. */
#include "config.h"
#include "config_access.h"
#include "config_clash.h"
#include "config_file.h"
#include "config_folders.h"
#include "config_keys.h"
#include "config_sources.h"
#include "value.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BLANKS " \t"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

/* ---------------------------------------------------------- [server] and what it includes */

static struct place said_at(const struct section *section, const char *key,
                            const struct place *otherwise)
{
    for (size_t i = 0; section && i < section->count; i++)
        if (strcmp(section->settings[i].key, key) == 0)
            return section->settings[i].place;
    return *otherwise;
}

static void read_server(struct config *config, const struct sections *sections,
                        struct report *report)
{
    const struct section *section = config_file_find(sections, "server");
    const struct place nowhere = { .file = config->file, .section = "server" };
    struct server_config *server = &config->server;

    if (options_parse(&config->memory->server, config_server_table, server,
                      section ? section->settings : NULL, section ? section->count : 0,
                      section ? &section->place : &nowhere, NULL, report) == -ENOMEM)
        config->memory->failed = true;
    server->user_place = said_at(section, "user", &nowhere);
    server->group_place = said_at(section, "group", &nowhere);
    server->log_place = said_at(section, "log", &nowhere);
    server->control_place = said_at(section, "control", &nowhere);
    server->sandbox_place = said_at(section, "require_sandbox", &nowhere);
    if (server->log && strcmp(server->log, "stderr") == 0)
        server->log = NULL;
    else if (server->log && strcmp(server->log, "syslog") != 0)
        server->log = config_keep(config->memory, value_path(config->file, server->log));
}

/* The pattern as glob() wants it: behind the file's directory, which is no pattern itself. */
static char *include_pattern(const char *file, const char *include)
{
    const char *slash = strrchr(file, '/');
    size_t dir = slash && *include != '/' ? (size_t)(slash - file) + 1 : 0;
    char *pattern = malloc(2 * dir + strlen(include) + 1), *end = pattern;

    if (!pattern)
        return NULL;
    for (size_t i = 0; i < dir; i++) {
        if (strchr("*?[\\", file[i]))
            *end++ = '\\';
        *end++ = file[i];
    }
    strcpy(end, include);
    return pattern;
}

/* A folder that is not there holds no files, which is fine. */
static int stop_glob(const char *path, int error)
{
    (void)path;
    return error != ENOENT && error != ENOTDIR;
}

/* `include = *.ini` also finds the file that says so. */
static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The files in the order of their names. */
static void read_included(struct config *config, struct sections *sections, struct report *report)
{
    char *pattern = include_pattern(config->file, config->server.include);
    const struct place nowhere = { .file = config->file, .section = "server", .key = "include" };
    const struct place place = said_at(config_file_find(sections, "server"), "include", &nowhere);
    glob_t found = { 0 };
    int error = pattern ? glob(pattern, 0, stop_glob, &found) : GLOB_NOSPACE;

    if (error == GLOB_NOSPACE)
        config->memory->failed = true;
    else if (error == GLOB_ABORTED)
        report_add(report, &place, "a folder of \"%s\" cannot be read; check its permissions",
                   config->server.include);
    else if (error == GLOB_NOMATCH && !strpbrk(config->server.include, "*?["))
        report_add(report, &place, "there is no file \"%s\"", config->server.include);
    for (size_t i = 0; !error && i < found.gl_pathc; i++)
        if (!is_same_file(config->file, found.gl_pathv[i]))
            config_file_read(sections, found.gl_pathv[i], true, config->memory, report);
    globfree(&found);
    free(pattern);
}

/* ------------------------------------------------------------------ one service */

/* What reading a service needs. */
struct builder {
    struct config *config;
    struct service_config *service;
    const struct config_shadows *shadows;
    struct report *report;
};

static void read_plugin(struct builder *builder, const struct setting *setting)
{
    struct service_config *service = builder->service;
    const char *value = setting->value;

    if (service->plugin_place.line) {
        report_add(builder->report, &setting->place,
                   "said twice, first in line %u; it takes one value", service->plugin_place.line);
        return;
    }
    service->plugin_place = setting->place;
    service->plugin_is_path = strchr(value, '/') != NULL;
    if (service->plugin_is_path)
        service->plugin =
            config_keep(builder->config->memory, value_path(setting->place.file, value));
    else if (*value && !value[strspn(value, LETTERS)])
        service->plugin = value;
    else if (*value)
        report_add(builder->report, &setting->place,
                   "\"%s\" is no plugin; write a name such as echo, or a path with a / in it",
                   value);
    else
        report_add(builder->report, &setting->place, "is empty; write a plugin's name or path");
}

static void add_listen(struct builder *builder, const struct endpoint *endpoint,
                       const struct place *place)
{
    struct service_config *service = builder->service;
    struct listen_config *listens =
        config_grow(service->listens, service->listen_count, sizeof *listens);

    if (!listens) {
        builder->config->memory->failed = true;
        return;
    }
    service->listens = listens;
    listens[service->listen_count++] =
        (struct listen_config){ .endpoint = *endpoint, .place = *place };
    builder->config->endpoint_count++;
}

static void read_endpoint(struct builder *builder, const char *text, const char *base,
                          const struct place *place)
{
    struct endpoint_list list = { 0 };
    char error[ENDPOINT_ERROR];

    if (endpoint_parse(text, base, &list, error))
        report_add(builder->report, place, "%s", error);
    for (size_t i = 0; i < list.count; i++)
        add_listen(builder, &list.items[i], place);
    endpoint_list_free(&list);
}

static void read_listen(struct builder *builder, const struct setting *setting)
{
    char *words = strdup(setting->value), *rest = NULL;
    char *base = value_path(setting->place.file, NULL);

    if (!words || !base)
        builder->config->memory->failed = true;
    else if (!setting->value[strspn(setting->value, BLANKS)])
        report_add(builder->report, &setting->place,
                   "is empty; write an endpoint such as tcp://127.0.0.1:8000");
    else
        for (char *word = strtok_r(words, BLANKS, &rest); word;
             word = strtok_r(NULL, BLANKS, &rest))
            read_endpoint(builder, word, base, &setting->place);
    free(words);
    free(base);
}

/* What the section says by a key that is the plugin's there is gone from it, before anybody takes it for the
 * server's. */
static void take_shadowed(struct builder *builder, struct section *section)
{
    struct service_config *service = builder->service;
    size_t count = 0;

    for (size_t i = 0; i < section->count; i++) {
        struct setting *setting = &section->settings[i];

        if (config_shadows_has(builder->shadows, section->name, setting->key))
            service->settings[service->setting_count++] = *setting;
        else
            section->settings[count++] = *setting;
    }
    section->count = count;
}

/* Puts each setting where it belongs: the section's own keys are read; what the server's table knows
 * goes to known; the rest is the plugin's. Returns how many are known. */
static size_t sort_settings(struct builder *builder, const struct section *section,
                            struct setting *known)
{
    struct service_config *service = builder->service;
    size_t count = 0;

    for (size_t i = 0; i < section->count; i++) {
        const struct setting *setting = &section->settings[i];

        if (strcmp(setting->key, "plugin") == 0)
            read_plugin(builder, setting);
        else if (strcmp(setting->key, "listen") == 0)
            read_listen(builder, setting);
        else if (config_access_read(builder->config, service, setting, builder->report))
            continue;
        else if (options_find(config_service_table, setting->key))
            known[count++] = *setting;
        else if (config_sources_knows(setting->key))
            continue; /* config_sources_read() takes them all together */
        else
            service->settings[service->setting_count++] = *setting;
    }
    return count;
}

/* Without a plugin nobody will look at the plugin's keys, among which `plugn` may be. */
static void report_misspelt(const struct builder *builder)
{
    const struct service_config *service = builder->service;

    for (size_t i = 0; i < service->setting_count; i++)
        if (options_nearest(service->settings[i].key, config_service_keys()))
            options_report_unknown(NULL, &service->settings[i], config_service_keys(),
                                   builder->report);
}

static bool says_listen(const struct section *section)
{
    for (size_t i = 0; i < section->count; i++)
        if (strcmp(section->settings[i].key, "listen") == 0)
            return true;
    return false;
}

/* A key that is missing because it is misspelt is one mistake, and told once: here, so that a plugin is
 * not asked for it as well. Returns whether there is such a one. */
static bool report_misspelling_of(const struct builder *builder, const char *wanted)
{
    struct service_config *service = builder->service;

    for (size_t i = 0; i < service->setting_count; i++) {
        const char *near = options_nearest(service->settings[i].key, config_service_keys());

        if (!near || strcmp(near, wanted) != 0)
            continue;
        options_report_unknown(NULL, &service->settings[i], config_service_keys(), builder->report);
        service->setting_count--;
        memmove(&service->settings[i], &service->settings[i + 1],
                (service->setting_count - i) * sizeof *service->settings);
        return true;
    }
    return false;
}

static void report_missing(const struct builder *builder, const struct section *section)
{
    struct place place = section->place;

    if (section->count == 0) {
        report_add(builder->report, &place, "is empty: a service needs plugin and listen");
        return;
    }
    bool no_plugin = !builder->service->plugin_place.line;
    place.key = "plugin";
    if (no_plugin && !report_misspelling_of(builder, "plugin")) {
        static const char *const special[] = { "server", "defaults", NULL };
        const char *near = options_nearest(place.section, special);

        if (near)
            report_add(builder->report, &place,
                       "is missing; write plugin = NAME, or [%s] if that is meant", near);
        else
            report_add(builder->report, &place, "is missing; write plugin = NAME");
    }
    place.key = "listen";
    if (!says_listen(section) && !report_misspelling_of(builder, "listen"))
        report_add(builder->report, &place, "is missing; write listen = tcp://HOST:PORT");
    if (no_plugin)
        report_misspelt(builder);
}

static void read_service(struct builder *builder, struct section *section,
                         const struct service_limits *defaults)
{
    struct service_config *service = builder->service;
    struct options options = { .table = config_service_table, .values = &service->limits };
    struct setting *known = calloc(section->count + 1, sizeof *known);

    *service = (struct service_config){
        .name = section->name,
        .place = section->place,
        .limits = *defaults,
        .settings = calloc(section->count + 1, sizeof *service->settings),
    };
    if (known && service->settings) {
        take_shadowed(builder, section);
        size_t count = sort_settings(builder, section, known);
        if (options_apply(&options, known, count, NULL, builder->report) == -ENOMEM)
            builder->config->memory->failed = true;
        config_sources_read(&service->limits, section->settings, section->count,
                            builder->config->memory, builder->report);
        config_sources_check(service, section->settings, section->count, builder->report);
        if (!section->repeated)
            report_missing(builder, section);
    } else {
        builder->config->memory->failed = true;
    }
    options_free(&options);
    free(known);
}

/* ------------------------------------------------------------------ all services */

/* Some keys are said by each service itself: they are taken out, with an error, and the
 * others are read; first those that speak of sources, which then are out too. */
static void read_defaults(struct config *config, const struct sections *sections,
                          struct service_limits *defaults, struct report *report)
{
    struct section *section = config_file_find(sections, "defaults");
    const struct place nowhere = { .file = config->file, .section = "defaults" };
    struct options options;
    size_t count = 0;

    if (section)
        config_sources_read(defaults, section->settings, section->count, config->memory, report);
    for (size_t i = 0; section && i < section->count; i++) {
        struct setting *setting = &section->settings[i];

        if (config_is_own_key(setting->key))
            report_add(report, &setting->place, "belongs into each service's own section");
        else if (!config_sources_knows(setting->key))
            section->settings[count++] = *setting;
    }
    if (options_parse(&options, config_service_table, defaults, section ? section->settings : NULL,
                      count, section ? &section->place : &nowhere, config_source_keys,
                      report) == -ENOMEM)
        config->memory->failed = true;
    options_free(&options);
}

static void read_services(struct config *config, const struct sections *sections,
                          struct report *report)
{
    struct service_limits defaults = { .max_reply_ratio = RATIO_OF_PLUGIN,
                                       .socket = { .mode = -1 } };

    timeouts_unsaid(&defaults.timeouts);
    read_defaults(config, sections, &defaults, report);
    config->services = calloc(sections->services + 1, sizeof *config->services);
    if (!config->services) {
        config->memory->failed = true;
        return;
    }
    for (size_t i = 0; i < sections->count; i++) {
        struct builder builder = { .config = config,
                                   .service = &config->services[config->service_count],
                                   .shadows = sections->shadows,
                                   .report = report };

        if (config_is_reserved(sections->items[i].name))
            continue;
        config->service_count++;
        read_service(&builder, &sections->items[i], &defaults);
    }
}

/* ------------------------------------------------------------------ the whole */

static struct config *create(const char *file)
{
    struct config *config = calloc(1, sizeof *config);

    if (!config)
        return NULL;
    config->file = strdup(file);
    config->memory = calloc(1, sizeof *config->memory);
    if (config->file && config->memory)
        return config;
    config_free(config);
    return NULL;
}

struct config *config_read(const char *file, const struct config_shadows *shadows,
                           struct report *report)
{
    struct config *config = create(file);
    struct sections sections = { .shadows = shadows };

    if (!config)
        return NULL;
    int unreadable = config_file_read(&sections, file, false, config->memory, report);
    read_server(config, &sections, report);
    if (config->server.include)
        read_included(config, &sections, report);
    if (!unreadable && sections.services == 0)
        report_add(report, &(struct place){ .file = config->file },
                   "has no service; add a section such as [echo] with plugin and listen");
    read_services(config, &sections, report);
    config_check_endpoints(config, report);
    config_access_check(config, report);
    config_check_folders(config, report);
    config_file_free(&sections);
    if (config->memory->failed) {
        config_free(config);
        return NULL;
    }
    return config;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->service_count; i++) {
        free(config->services[i].listens);
        config_access_free(&config->services[i]);
        free(config->services[i].settings);
    }
    free(config->services);
    config_memory_free(config->memory);
    free(config->file);
    free(config);
}

size_t config_loops(const struct service_config *service, size_t loops)
{
    size_t wanted = (size_t)service->limits.threads;

    return wanted == 0 || wanted > loops ? loops : wanted;
}
