/* Finds endpoints that are said twice. Sorted, so that thousands of services cost no square. */
#include "config_clash.h"
#include "config_file.h"

#include <stdlib.h>
#include <string.h>

static int compare_listens(const void *left, const void *right)
{
    const struct listen_config *a = *(const struct listen_config *const *)left;
    const struct listen_config *b = *(const struct listen_config *const *)right;

    if (a->endpoint.kind != b->endpoint.kind)
        return a->endpoint.kind < b->endpoint.kind ? -1 : 1;
    if (a->endpoint.address.port != b->endpoint.address.port)
        return a->endpoint.address.port < b->endpoint.address.port ? -1 : 1;
    int paths = strcmp(a->endpoint.path, b->endpoint.path);
    if (paths)
        return paths;
    int files = strcmp(a->place.file, b->place.file);
    if (files)
        return files;
    return (a->place.line > b->place.line) - (a->place.line < b->place.line);
}

static void report_clash(const struct listen_config *later, const struct listen_config *earlier,
                         struct report *report)
{
    char text[ENDPOINT_TEXT];

    endpoint_format(&later->endpoint, text);
    if (earlier->place.file == later->place.file)
        report_add(report, &later->place,
                   "%s is taken by [%s] in line %u; one endpoint, one service", text,
                   earlier->place.section, earlier->place.line);
    else
        report_add(report, &later->place, "%s is taken by [%s] in %s:%u; one endpoint, one service",
                   text, earlier->place.section, earlier->place.file, earlier->place.line);
}

/* Lines whose endpoints clash, each pair reported once: of two ranges every port may clash. */
struct clashes {
    struct clash {
        const struct listen_config *later, *earlier;
    } * items;
    size_t count;
};

static bool same_line(const struct listen_config *a, const struct listen_config *b)
{
    return a->place.line == b->place.line && a->place.file == b->place.file;
}

static bool was_said(const struct clashes *said, const struct clash *clash)
{
    for (size_t i = said->count; i-- > 0;)
        if (same_line(said->items[i].later, clash->later) &&
            same_line(said->items[i].earlier, clash->earlier))
            return true;
    return false;
}

static void add_clash(struct clashes *said, const struct clash *clash, struct report *report)
{
    if (was_said(said, clash))
        return;
    report_clash(clash->later, clash->earlier, report);
    struct clash *items = config_grow(said->items, said->count, sizeof *items);
    if (!items) /* then it is said again */
        return;
    said->items = items;
    items[said->count++] = *clash;
}

static bool may_clash(const struct endpoint *a, const struct endpoint *b)
{
    return a->kind == b->kind && a->address.port == b->address.port &&
           strcmp(a->path, b->path) == 0;
}

/* Sorted by kind, port and path, endpoints that may clash stand side by side. */
static void check_clashes(const struct listen_config *const *all, size_t count,
                          struct report *report)
{
    struct clashes said = { 0 };

    for (size_t i = 1; i < count; i++) {
        const struct endpoint *later = &all[i]->endpoint;

        for (size_t j = i; j-- > 0 && may_clash(&all[j]->endpoint, later);) {
            if (!endpoint_clashes(&all[j]->endpoint, later))
                continue;
            add_clash(&said, &(struct clash){ .later = all[i], .earlier = all[j] }, report);
            break;
        }
    }
    free(said.items);
}

void config_check_endpoints(struct config *config, struct report *report)
{
    const struct listen_config **all = calloc(config->endpoint_count + 1, sizeof *all);
    size_t count = 0;

    if (!all) {
        config->memory->failed = true;
        return;
    }
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *service = &config->services[i];

        for (size_t j = 0; j < service->listen_count; j++) {
            const struct endpoint *endpoint = &service->listens[j].endpoint;
            if (endpoint->kind == ENCHUFE_UNIX || endpoint->address.port)
                all[count++] = &service->listens[j];
        }
    }
    qsort(all, count, sizeof *all, compare_listens);
    check_clashes(all, count, report);
    free(all);
}
