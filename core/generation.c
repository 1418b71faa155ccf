/* Loading a configuration with all that it names. */
#include "generation.h"
#include "log.h"
#include "log_sink.h"
#include "sandbox.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- plugins ---- */

static struct plugin_file *find_seal(struct generation *generation, const char *path)
{
    for (size_t i = 0; i < generation->seal_count; i++)
        if (strcmp(generation->seals[i].path, path) == 0)
            return &generation->seals[i];
    return NULL;
}

char *generation_plugin_path(const struct generation *generation, size_t service)
{
    const struct service_config *config = &generation->config->services[service];

    return config->plugin != NULL
               ? plugin_file_path(generation->plugin_dir, config->plugin, config->plugin_is_path)
               : NULL;
}

/* Services of one plugin share its copy; what is wrong with it is told once for each that names it. */
static int seal_one(struct generation *generation, size_t index, struct report *report)
{
    const struct service_config *service = &generation->config->services[index];
    char error[PLUGIN_ERROR];
    char *path = generation_plugin_path(generation, index);

    if (path == NULL) {
        report_add(report, &service->plugin_place, "no memory to open the plugin");
        return -ENOMEM;
    }
    struct plugin_file *seal = find_seal(generation, path);
    if (seal == NULL) {
        seal = &generation->seals[generation->seal_count];
        int err = plugin_file_seal(seal, path, error);
        if (err != 0) {
            report_add(report, &service->plugin_place, "%s%s", error,
                       err == -ENOENT && !service->plugin_is_path
                           ? "; `enchufe plugins` lists those there are"
                           : "");
            plugin_file_close(seal);
            free(path);
            return err;
        }
        generation->seal_count++;
    }
    free(path);
    generation->files[index] = seal;
    return 0;
}

static void seal_plugins(struct generation *generation, struct report *report)
{
    for (size_t i = 0; i < generation->config->service_count; i++)
        if (generation->config->services[i].plugin != NULL)
            seal_one(generation, i, report);
}

/* ---- workers and loops ---- */

static void add_to_group(struct generation *generation, struct group *group, size_t service)
{
    group->services[group->service_count++] = service;
    generation->loops[service] = config_loops(&generation->config->services[service], group->loops);
}

/* Of a worker: its first, and the watchdog's at the end. */
#define OTHER_THREADS 2

/* Services share the worker `main`; each that is isolated has one of its own. */
static int plan_groups(struct generation *generation)
{
    const struct config *config = generation->config;
    size_t loops = (size_t)config->server.threads;

    if (loops == 0)
        loops = generation->cpus.count;
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < config->service_count; i++) {
            const struct service_limits *limits = &config->services[i].limits;
            if (limits->isolate != (pass == 1))
                continue;
            bool first = pass == 1 || generation->group_count == 0;
            struct group *group = &generation->groups[generation->group_count - !first];
            if (first) {
                group->services = calloc(config->service_count, sizeof *group->services);
                if (group->services == NULL)
                    return -ENOMEM;
                group->loops = pass == 1 && limits->threads != 0 ? (size_t)limits->threads : loops;
                generation->group_count++;
                generation->tasks += group->loops + OTHER_THREADS;
            }
            add_to_group(generation, group, i);
        }
    }
    return 0;
}

/* A loop that is bound to a processor which others use as well cannot get out of their way. */
static bool loops_own_processors(const struct generation *generation)
{
    return generation->group_count == 1 && generation->cpus.count > 1 &&
           generation->groups[0].loops == generation->cpus.count &&
           !cpus_rationed(&generation->cpus);
}

static void decide_pinning(struct generation *generation)
{
    int pin = generation->config->server.pin;

    generation->pinned = pin == PIN_YES || (pin == PIN_AUTO && loops_own_processors(generation));
}

static size_t most_loops(const struct generation *generation)
{
    size_t most = 1;

    for (size_t i = 0; i < generation->group_count; i++)
        if (generation->groups[i].loops > most)
            most = generation->groups[i].loops;
    return most;
}

/* ---- life ---- */

/* Asked whether it is required or not: what this makes in the master, its children enter. */
static void find_sandbox(const struct generation *generation, struct report *report)
{
    const struct config *config = generation->config;
    char text[SANDBOX_TEXT];
    bool lacking = *sandbox_lacking(config, &generation->identity, text) != '\0';

    if (config->server.require_sandbox && lacking)
        report_add(report, &config->server.sandbox_place,
                   "this system lacks a part of the sandbox: %s; use a newer kernel, allow what it "
                   "has, or remove the key",
                   text);
}

/* The number and the shadows are there already. */
static int read_all(struct generation *generation, const char *file, const char *plugin_dir,
                    struct report *report)
{
    generation->config = config_read(file, &generation->shadows, report);
    struct config *config = generation->config;
    if (config == NULL) {
        report_add(report, NULL, "no memory to read %s", file);
        return -EINVAL;
    }
    generation->plugin_dir = plugin_dir != NULL                  ? plugin_dir
                             : config->server.plugin_dir != NULL ? config->server.plugin_dir
                                                                 : plugin_default_dir();
    size_t room = config->service_count + 1;
    cpus_find(&generation->cpus);
    generation->seals = calloc(room, sizeof *generation->seals);
    generation->files = calloc(room, sizeof *generation->files);
    generation->loops = calloc(room, sizeof *generation->loops);
    generation->groups = calloc(room, sizeof *generation->groups);
    if (generation->seals == NULL || generation->files == NULL || generation->loops == NULL ||
        generation->groups == NULL || plan_groups(generation) != 0) {
        report_add(report, NULL, "no memory to read %s", file);
        return -EINVAL;
    }
    decide_pinning(generation);
    privileges_find(config, &generation->identity, report);
    find_sandbox(generation, report);
    seal_plugins(generation, report);
    return report->count != 0 ? -EINVAL : 0;
}

int generation_read(struct generation *generation, const char *file, const char *plugin_dir,
                    struct report *report)
{
    *generation = (struct generation){ .config = NULL };
    return read_all(generation, file, plugin_dir, report);
}

bool generation_read_again(struct generation *generation, const char *file, const char *plugin_dir,
                           struct report *report)
{
    struct generation again = { .number = generation->number,
                                .shadows = generation->shadows,
                                .shadows_used = generation->shadows.count };

    if (generation->shadows.count == generation->shadows_used)
        return false;
    generation->shadows = (struct config_shadows){ .items = NULL };
    generation_free(generation);
    *generation = again;
    report_free(report);
    read_all(generation, file, plugin_dir, report);
    return true;
}

void generation_note_shadows(const struct generation *generation, struct report *notes)
{
    for (size_t i = 0; i < generation->config->service_count; i++) {
        const struct service_config *service = &generation->config->services[i];
        struct place place = service->plugin_place;
        for (size_t k = 0; k < generation->shadows.count; k++) {
            const struct config_shadow *shadow = &generation->shadows.items[k];
            if (strcmp(shadow->section, service->name) == 0)
                report_add(
                    notes, &place,
                    "has an option \"%s\" from before the server had a key of this name: here it "
                    "means the option, and the server's key cannot be set",
                    shadow->key);
        }
    }
}

int generation_bind(struct generation *generation, const struct sockets_before *before,
                    struct report *report)
{
    const struct config *config = generation->config;

    if (config == NULL || generation->loops == NULL)
        return -EINVAL;
    privileges_allow(config, &generation->identity, report);
    sockets_bind(&generation->sockets, config, generation->loops, before, report);
    generation->counters = stats_create(config->service_count + 1, most_loops(generation));
    if (generation->counters == NULL)
        report_add(report, NULL, "no memory for the counters");
    return report->count != 0 ? -EINVAL : 0;
}

int generation_bind_late(struct generation *generation, struct report *report)
{
    return sockets_bind_late(&generation->sockets, generation->loops, report) != 0 ? -EINVAL : 0;
}

void generation_check_log(const struct generation *generation, struct report *report)
{
    int err = report->count == 0 ? log_sink_check(generation->config->server.log) : 0;

    if (err != 0)
        report_add(report, &generation->config->server.log_place, "cannot open %s: %s",
                   generation->config->server.log, strerror(-err));
}

void generation_log_ready(const struct generation *generation)
{
    char text[ENDPOINT_TEXT];

    for (size_t i = 0; i < generation->sockets.count; i++) {
        const struct bound_endpoint *bound = &generation->sockets.items[i];
        log_event(ENCHUFE_LOG_INFO, "listening",
                  LOG_STR("service", generation->config->services[bound->service].name),
                  LOG_STR("endpoint", endpoint_format(&bound->listener->endpoint, text)));
    }
    for (size_t i = 0; i < generation->shadows.count; i++)
        log_event(ENCHUFE_LOG_INFO, "a key of the server means the plugin's option",
                  LOG_STR("service", generation->shadows.items[i].section),
                  LOG_STR("key", generation->shadows.items[i].key));
    log_event(ENCHUFE_LOG_INFO, "ready", LOG_NUM("generation", generation->number),
              LOG_NUM("services", generation->config->service_count),
              LOG_NUM("endpoints", generation->sockets.count),
              LOG_NUM("workers", generation->group_count), LOG_NUM("pid", getpid()));
}

void generation_log_served(const struct generation *generation)
{
    for (size_t i = 0; i < generation->config->service_count; i++) {
        struct stats sum;
        stats_sum(generation->counters, i, &sum);
        log_event(
            ENCHUFE_LOG_INFO, "served", LOG_STR("service", generation->config->services[i].name),
            LOG_NUM("generation", generation->number), LOG_NUM("opened", sum.opened),
            LOG_NUM("closed", sum.closed), LOG_NUM("refused", stats_refused(&sum)),
            LOG_NUM("bytes_in", sum.bytes_in), LOG_NUM("bytes_out", sum.bytes_out),
            LOG_NUM("datagrams_in", sum.datagrams_in), LOG_NUM("datagrams_out", sum.datagrams_out),
            LOG_NUM("datagrams_unsent", sum.datagrams_unsent),
            LOG_NUM("datagrams_refused", sum.datagrams_refused),
            LOG_NUM("datagrams_to_groups", sum.datagrams_to_groups),
            LOG_NUM("datagrams_over_ratio", sum.datagrams_over_ratio),
            LOG_NUM("datagrams_dropped", sockets_dropped(&generation->sockets, i)));
    }
}

void generation_free(struct generation *generation)
{
    sockets_close(&generation->sockets);
    if (generation->counters != NULL)
        stats_destroy(generation->counters);
    for (size_t i = 0; i < generation->seal_count; i++)
        plugin_file_close(&generation->seals[i]);
    for (size_t i = 0; i < generation->group_count; i++)
        free(generation->groups[i].services);
    free(generation->seals);
    free(generation->files);
    free(generation->loops);
    free(generation->groups);
    config_shadows_free(&generation->shadows);
    if (generation->config != NULL)
        config_free(generation->config);
    *generation = (struct generation){ .config = NULL };
}
