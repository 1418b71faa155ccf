/* What a service's section names that it may touch. */
#include "config_access.h"
#include "config_file.h"
#include "value.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BLANKS " \t"

struct reader {
    struct config *config;
    struct service_config *service;
    const struct setting *setting;
    struct report *report;
};

static void add_connect(struct reader *reader, const struct endpoint *endpoint)
{
    struct service_config *service = reader->service;
    struct listen_config *connects =
        config_grow(service->connects, service->connect_count, sizeof *connects);

    if (connects == NULL) {
        reader->config->memory->failed = true;
        return;
    }
    service->connects = connects;
    connects[service->connect_count++] =
        (struct listen_config){ .endpoint = *endpoint, .place = reader->setting->place };
}

static void read_connect(struct reader *reader, const char *word, const char *folder)
{
    struct endpoint_list list = { 0 };
    char error[ENDPOINT_ERROR];

    if (endpoint_parse(word, folder, &list, error) != 0)
        report_add(reader->report, &reader->setting->place, "%s", error);
    for (size_t i = 0; i < list.count; i++) {
        if (list.items[i].kind != ENCHUFE_UNIX && list.items[i].address.port == 0)
            report_add(reader->report, &reader->setting->place,
                       "%s has port 0, which nobody can be reached at", word);
        add_connect(reader, &list.items[i]);
    }
    endpoint_list_free(&list);
}

static void add_path(struct reader *reader, const char *word, struct path_list *paths)
{
    const struct place *place = &reader->setting->place;
    const char *path = config_keep(reader->config->memory, value_path(place->file, word));
    struct named_path *items = config_grow(paths->items, paths->count, sizeof *items);
    struct stat st;

    if (items == NULL || path == NULL) {
        reader->config->memory->failed = true;
        return;
    }
    paths->items = items;
    if (stat(path, &st) != 0 && (errno == ENOENT || errno == ENOTDIR))
        report_add(reader->report, place,
                   "there is no \"%s\"; make it first, or name the folder that it will be in",
                   path);
    else
        items[paths->count++] = (struct named_path){ .path = path, .place = *place };
}

static struct path_list *paths_of(struct service_config *service, const char *key)
{
    if (strcmp(key, "read_paths") == 0)
        return &service->read_paths;
    return strcmp(key, "write_paths") == 0 ? &service->write_paths : NULL;
}

bool config_access_read(struct config *config, struct service_config *service,
                        const struct setting *setting, struct report *report)
{
    struct reader reader = { config, service, setting, report };
    struct path_list *paths = paths_of(service, setting->key);
    char *rest = NULL;

    if (paths == NULL && strcmp(setting->key, "connect") != 0)
        return false;
    char *words = strdup(setting->value), *folder = value_path(setting->place.file, NULL);
    if (words == NULL || folder == NULL)
        config->memory->failed = true;
    else if (setting->value[strspn(setting->value, BLANKS)] == '\0')
        report_add(report, &setting->place, "is empty; write %s, or remove the key",
                   paths != NULL ? "a path such as /srv/data"
                                 : "an endpoint such as tcp://192.0.2.1:443");
    else
        for (char *word = strtok_r(words, BLANKS, &rest); word != NULL;
             word = strtok_r(NULL, BLANKS, &rest)) {
            if (paths != NULL)
                add_path(&reader, word, paths);
            else
                read_connect(&reader, word, folder);
        }
    free(words);
    free(folder);
    return true;
}

void config_access_check(const struct config *config, struct report *report)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *service = &config->services[i];
        struct place place = service->place;

        place.key = "sandbox";
        if (service->limits.sandbox != SANDBOX_NO)
            continue;
        if (!service->limits.isolate)
            report_add(report, &place,
                       "no needs isolate = yes, since services of one process share its sandbox");
        if (config->server.require_sandbox)
            report_add(report, &place, "no contradicts require_sandbox = yes of [server]");
    }
}

void config_access_free(struct service_config *service)
{
    free(service->connects);
    free(service->read_paths.items);
    free(service->write_paths.items);
}
