/* The status of the server, as text and as JSON, from what master and workers share. */
#include "status.h"
#include "value.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct view {
    FILE *out;
    const struct rollover *rollover;
    const struct generation *generation; /* the one that is shown */
    bool first;                          /* JSON: no comma yet */
};

/* ---- small things ---- */

/* `850ms`, `12.3s`, `5m12s`, `3h12m`, `9d3h`. */
static const char *age(uint64_t ms, char text[32])
{
    uint64_t s = ms / 1000;

    if (ms < 1000)
        snprintf(text, 32, "%" PRIu64 "ms", ms);
    else if (s < 60)
        snprintf(text, 32, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
    else if (s < 3600)
        snprintf(text, 32, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, 32, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(text, 32, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
    return text;
}

/* At most six characters: `999999`, `1.2M`, `340G`. */
static const char *amount(uint64_t n, char text[32])
{
    static const char units[] = " kMGTPE";
    size_t unit = 0;
    double value = (double)n;

    if (n < 1000000) {
        snprintf(text, 32, "%" PRIu64, n);
        return text;
    }
    while (value >= 1000 && unit + 2 < sizeof units) {
        value /= 1000;
        unit++;
    }
    snprintf(text, 32,
             value < 10    ? "%.2f%c"
             : value < 100 ? "%.1f%c"
                           : "%.0f%c",
             value, units[unit]);
    return text;
}

static void json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

/* A copy of what a worker wrote, which may be anything. */
static const char *plugin_text(const char *shared, char text[STATS_PLUGIN_NAME])
{
    memcpy(text, shared, STATS_PLUGIN_NAME - 1);
    text[STATS_PLUGIN_NAME - 1] = '\0';
    return text;
}

/* What a service did in all generations, and how many connections it has now. */
struct sums {
    struct stats stats;
    uint64_t dropped;
    uint64_t now;
    const char *service;
};

static void add_generation(void *context, const struct generation_view *view)
{
    struct sums *sums = context;
    const struct generation *generation = view->generation;

    for (size_t i = 0; i < generation->config->service_count; i++) {
        struct stats stats;
        if (strcmp(generation->config->services[i].name, sums->service) != 0)
            continue;
        stats_sum(generation->counters, i, &stats);
        stats_merge(&sums->stats, &stats);
        sums->now += stats.opened - stats.closed;
        if (strcmp(view->state, "serving") == 0)
            sums->dropped = sockets_dropped(&generation->sockets, i);
    }
}

static void sum_up(const struct rollover *rollover, const char *service, struct sums *sums)
{
    memset(sums, 0, sizeof *sums);
    sums->service = service;
    rollover_history(rollover, service, &sums->stats);
    rollover_each(rollover, add_generation, sums);
}

/* ---- text ---- */

static void print_worker(void *context, const struct worker_view *worker)
{
    FILE *out = ((struct view *)context)->out;
    char text[32];

    fprintf(out, "  worker %-20.20s ", worker->name);
    if (worker->pid != 0)
        fprintf(out, "pid %-8d up %-8s", (int)worker->pid, age(worker->age_ms, text));
    else
        fprintf(out, "waits %-8s to start", age(worker->wait_ms, text));
    fprintf(out, " restarts %u%s\n", worker->restarts, worker->quarantined ? " (quarantine)" : "");
    if (*worker->last_crash != '\0')
        fprintf(out, "    last crash: %.60s\n", worker->last_crash);
}

static void print_generation(void *context, const struct generation_view *view)
{
    FILE *out = ((struct view *)context)->out;
    char text[32];

    if (view->supervisor == NULL) {
        fprintf(out, "generation %u waiting, for %s, until the one before has drained\n",
                view->generation->number, age(view->age_ms, text));
        return;
    }
    fprintf(out, "generation %u %s, up %s", view->generation->number, view->state,
            age(view->age_ms, text));
    if (view->left_ms >= 0)
        fprintf(out, ", at most %s left", age((uint64_t)view->left_ms, text));
    fputc('\n', out);
    supervisor_each(view->supervisor, print_worker, context);
}

static void print_reasons(FILE *out, const struct stats *stats)
{
    int column = 0;

    for (int i = 1; i < REASON_COUNT; i++) {
        char text[64];
        if (stats->reasons[i] == 0)
            continue;
        int len =
            snprintf(text, sizeof text, "%s %" PRIu64, enchufe_reason_name(i), stats->reasons[i]);
        if (column == 0 || column + len + 2 > 78)
            column = fprintf(out, "%s  ended: ", column == 0 ? "" : "\n") - 1;
        else
            column += fprintf(out, ", ");
        column += fprintf(out, "%s", text);
    }
    if (column != 0)
        fputc('\n', out);
}

/* Datagrams that were not answered, to protect others. */
static void print_refusals(FILE *out, const struct stats *stats)
{
    char services[32], groups[32], ratio[32];

    if (stats->datagrams_refused + stats->datagrams_to_groups + stats->datagrams_over_ratio == 0)
        return;
    fprintf(out, "  not answered: %s to services, %s to groups, %s over the ratio\n",
            amount(stats->datagrams_refused, services), amount(stats->datagrams_to_groups, groups),
            amount(stats->datagrams_over_ratio, ratio));
}

/* The plugin's own. */
static void print_counters(FILE *out, const struct generation *generation, size_t index,
                           const struct stats *stats)
{
    for (size_t i = 0; i < STATS_PLUGIN_COUNTERS; i++) {
        const char *name = stats_counter_name(generation->counters, index, i);
        if (*name != '\0')
            fprintf(out, "  %s: %" PRIu64 "\n", name, (uint64_t)stats->plugin[i]);
    }
}

/* generation: the one that serves, or the one that drains for a service that was removed. */
static void print_service(const struct view *view, const struct generation *generation,
                          size_t index)
{
    FILE *out = view->out;
    bool removed = generation != view->generation;
    const struct service_config *service = &generation->config->services[index];
    char total[32], in[32], got[32], sent[32], text[ENDPOINT_TEXT], name[STATS_PLUGIN_NAME];
    char version[STATS_PLUGIN_NAME];
    struct sums sums;

    plugin_text(stats_plugin_version(generation->counters, index), version);
    sum_up(view->rollover, service->name, &sums);
    fprintf(out, "%-24.24s %7" PRIu64 " %9s %8" PRIu64 " %9s %9s\n", service->name, sums.now,
            amount(sums.stats.opened, total), stats_refused(&sums.stats),
            amount(sums.stats.bytes_in, in), amount(sums.stats.bytes_out, got));
    fprintf(out, "  plugin %s%s%s\n",
            plugin_text(stats_plugin_name(generation->counters, index), name),
            *version != '\0' ? " " : "", version);
    if (removed)
        fprintf(out, "  removed, drains in generation %u\n", generation->number);
    for (size_t i = 0; i < generation->sockets.count && !removed; i++)
        if (generation->sockets.items[i].service == index)
            fprintf(out, "  %s\n",
                    endpoint_format(&generation->sockets.items[i].listener->endpoint, text));
    if (sums.stats.datagrams_in != 0 || sums.dropped != 0)
        fprintf(out, "  datagrams: %s in, %s out, %" PRIu64 " unsent, %" PRIu64 " dropped\n",
                amount(sums.stats.datagrams_in, in), amount(sums.stats.datagrams_out, sent),
                (uint64_t)sums.stats.datagrams_unsent, sums.dropped);
    print_refusals(out, &sums.stats);
    if (sums.stats.datagrams_denied != 0 || sums.stats.datagrams_over_rate != 0)
        fprintf(out, "  datagrams refused: %" PRIu64 " denied, %" PRIu64 " over the rate\n",
                (uint64_t)sums.stats.datagrams_denied, (uint64_t)sums.stats.datagrams_over_rate);
    print_reasons(out, &sums.stats);
    print_counters(out, generation, index, &sums.stats);
}

static void find_serving(void *context, const struct generation_view *view)
{
    struct view *found = context;

    if (found->generation == NULL)
        found->generation = view->generation;
}

static bool has_service(const struct generation *generation, const char *name)
{
    for (size_t i = 0; i < generation->config->service_count; i++)
        if (strcmp(generation->config->services[i].name, name) == 0)
            return true;
    return false;
}

/* What a reload has removed counts as long as it has connections. */
static bool is_removed(const struct view *view, const struct generation_view *shown, size_t service)
{
    return strcmp(shown->state, "draining") == 0 &&
           !has_service(view->generation, shown->generation->config->services[service].name);
}

static void print_removed(void *context, const struct generation_view *shown)
{
    const struct view *view = context;

    for (size_t i = 0; i < shown->generation->config->service_count; i++)
        if (is_removed(view, shown, i))
            print_service(view, shown->generation, i);
}

static void print_reloads(FILE *out, const struct rollover *rollover)
{
    struct reload_view view;
    char text[32];

    rollover_reloads(rollover, &view);
    char *file = value_path("", view.file);
    fprintf(out, "file %s\n", file != NULL ? file : view.file);
    free(file);
    if (view.error != NULL)
        fprintf(out, "the last reload failed, %s ago:\n  %s\n", age(view.failed_ago, text),
                view.error);
}

void status_print(FILE *out, const struct rollover *rollover, const struct predecessor *predecessor,
                  uint64_t up_ms)
{
    struct view view = { .out = out, .rollover = rollover };
    char text[32];

    fprintf(out, "enchufe pid %d, up %s\n", (int)getpid(), age(up_ms, text));
    if (predecessor->pid != 0)
        fprintf(out, "the server before, pid %d, drains, for %s\n", (int)predecessor->pid,
                age(clock_ms() - predecessor->since, text));
    print_reloads(out, rollover);
    rollover_each(rollover, print_generation, &view);
    rollover_each(rollover, find_serving, &view);
    if (view.generation == NULL)
        return;
    fprintf(out, "\n%-24s %7s %9s %8s %9s %9s\n", "service", "now", "total", "refused", "bytes in",
            "bytes out");
    for (size_t i = 0; i < view.generation->config->service_count; i++)
        print_service(&view, view.generation, i);
    rollover_each(rollover, print_removed, &view);
}

/* ---- JSON ---- */

static void comma(struct view *view)
{
    if (!view->first)
        fputc(',', view->out);
    view->first = false;
}

static void json_worker(void *context, const struct worker_view *worker)
{
    struct view *view = context;
    const struct config *config = view->generation->config;

    comma(view);
    fputs("{\"name\":", view->out);
    json_string(view->out, worker->name);
    fprintf(view->out,
            ",\"pid\":%d,\"ready\":%s,\"age\":%.3f,\"wait\":%.3f,\"restarts\":%u,\"quarantine\":%s,"
            "\"loops\":%zu,\"last_crash\":",
            (int)worker->pid, worker->ready ? "true" : "false", (double)worker->age_ms / 1000,
            (double)worker->wait_ms / 1000, worker->restarts,
            worker->quarantined ? "true" : "false", worker->group->loops);
    json_string(view->out, worker->last_crash);
    fputs(",\"services\":[", view->out);
    for (size_t i = 0; i < worker->group->service_count; i++) {
        fputs(i == 0 ? "" : ",", view->out);
        json_string(view->out, config->services[worker->group->services[i]].name);
    }
    fputs("]}", view->out);
}

static void json_generation(void *context, const struct generation_view *shown)
{
    struct view *view = context;
    struct view inner = { .out = view->out, .generation = shown->generation, .first = true };

    comma(view);
    fprintf(view->out,
            "{\"number\":%u,\"state\":\"%s\",\"age\":%.3f,\"left\":", shown->generation->number,
            shown->state, (double)shown->age_ms / 1000);
    if (shown->left_ms >= 0)
        fprintf(view->out, "%.3f", (double)shown->left_ms / 1000);
    else
        fputs("null", view->out);
    fputs(",\"workers\":[", view->out);
    if (shown->supervisor != NULL)
        supervisor_each(shown->supervisor, json_worker, &inner);
    fputs("]}", view->out);
}

static void json_service(struct view *view, const struct generation *generation, size_t index)
{
    FILE *out = view->out;
    bool removed = generation != view->generation;
    const char *name = generation->config->services[index].name;
    struct sums sums;
    char text[ENDPOINT_TEXT], plugin[STATS_PLUGIN_NAME];
    bool first = true;

    sum_up(view->rollover, name, &sums);
    comma(view);
    fputs("{\"name\":", out);
    json_string(out, name);
    fputs(",\"plugin\":", out);
    json_string(out, plugin_text(stats_plugin_name(generation->counters, index), plugin));
    fputs(",\"version\":", out);
    json_string(out, plugin_text(stats_plugin_version(generation->counters, index), plugin));
    fprintf(out, ",\"removed\":%s,\"endpoints\":[", removed ? "true" : "false");
    for (size_t i = 0; i < generation->sockets.count; i++) {
        if (generation->sockets.items[i].service != index || removed)
            continue;
        fputs(first ? "" : ",", out);
        json_string(out, endpoint_format(&generation->sockets.items[i].listener->endpoint, text));
        first = false;
    }
    fprintf(out, "],\"now\":%" PRIu64, sums.now);
#define JSON_COUNTER(field, help)                                                                  \
    fprintf(out, ",\"" #field "\":%" PRIu64, (uint64_t)sums.stats.field);
    COUNTERS(JSON_COUNTER)
#undef JSON_COUNTER
    fprintf(out, ",\"datagrams_dropped\":%" PRIu64 ",\"ended\":{", sums.dropped);
    for (int i = 1; i < REASON_COUNT; i++)
        fprintf(out, "%s\"%s\":%" PRIu64, i == 1 ? "" : ",", enchufe_reason_name(i),
                (uint64_t)sums.stats.reasons[i]);
    fputs("},\"counters\":{", out);
    first = true;
    for (size_t i = 0; i < STATS_PLUGIN_COUNTERS; i++) {
        const char *counter = stats_counter_name(generation->counters, index, i);
        if (*counter == '\0')
            continue;
        fputs(first ? "" : ",", out);
        json_string(out, counter);
        fprintf(out, ":%" PRIu64, (uint64_t)sums.stats.plugin[i]);
        first = false;
    }
    fputs("}}", out);
}

static void json_removed(void *context, const struct generation_view *shown)
{
    struct view *view = context;

    for (size_t i = 0; i < shown->generation->config->service_count; i++)
        if (is_removed(view, shown, i))
            json_service(view, shown->generation, i);
}

static void json_reloads(FILE *out, const struct rollover *rollover)
{
    struct reload_view view;

    rollover_reloads(rollover, &view);
    char *file = value_path("", view.file);
    fputs(",\"file\":", out);
    json_string(out, file != NULL ? file : view.file);
    free(file);
    fputs(",\"failed_reload\":", out);
    if (view.error != NULL) {
        fprintf(out, "{\"ago\":%.3f,\"error\":", (double)view.failed_ago / 1000);
        json_string(out, view.error);
        fputs("}", out);
    } else {
        fputs("null", out);
    }
}

void status_print_json(FILE *out, const struct rollover *rollover,
                       const struct predecessor *predecessor, uint64_t up_ms)
{
    struct view view = { .out = out, .rollover = rollover, .first = true };

    fprintf(out, "{\"pid\":%d,\"up\":%.3f,\"predecessor\":", (int)getpid(), (double)up_ms / 1000);
    if (predecessor->pid != 0)
        fprintf(out, "{\"pid\":%d,\"draining\":%.3f}", (int)predecessor->pid,
                (double)(clock_ms() - predecessor->since) / 1000);
    else
        fputs("null", out);
    json_reloads(out, rollover);
    fputs(",\"generations\":[", out);
    rollover_each(rollover, json_generation, &view);
    fputs("],\"services\":[", out);
    rollover_each(rollover, find_serving, &view);
    view.first = true;
    for (size_t i = 0; view.generation != NULL && i < view.generation->config->service_count; i++)
        json_service(&view, view.generation, i);
    if (view.generation != NULL)
        rollover_each(rollover, json_removed, &view);
    fputs("]}\n", out);
}
