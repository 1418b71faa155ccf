/* Services: from a section and a plugin to something that can be called. */
#include "service.h"
#include "amplification.h"
#include "config_keys.h"
#include "framing.h"
#include "log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Kept input of a connection where neither the section nor a framing says more. */
#define MAX_INPUT_DEFAULT ((size_t)64 << 10)

/* Zero bytes are memory too: state that a plugin never asked for is still a valid pointer. */
static void *zeroed(size_t size)
{
    return calloc(1, size != 0 ? size : 1);
}

/* A framed service must be able to keep one whole message; max_input, where said, lowers the longest. */
static void set_max_input(struct enchufe_service *service)
{
    const enchufe_framing *framing = service->plugin.v.framing;
    size_t said = service->config->limits.max_input;

    service->timeouts = timeouts_resolve(&service->config->limits.timeouts, &service->plugin.v);
    service->max_output = service->config->limits.max_output;
    service->awaits = service->timeouts.first_byte != 0 || service->timeouts.message != 0;
    service->max_input = said != 0 ? said : MAX_INPUT_DEFAULT;
    if (framing == NULL)
        return;
    size_t extra = framing_overhead(framing) - framing->max;
    if (said == 0 && service->max_input < framing->max + extra)
        service->max_input = framing->max + extra;
    service->max_message = framing->max;
    if (said != 0 && said < framing->max)
        service->max_message = said;
    if (service->max_input < service->max_message + extra)
        service->max_input = service->max_message + extra;
}

/* The section has the last word, then the plugin. */
static void set_reply_ratio(struct enchufe_service *service)
{
    int64_t said = service->config->limits.max_reply_ratio;
    uint32_t declared = service->plugin.v.max_reply_ratio;

    if (said == RATIO_OF_PLUGIN)
        service->max_reply_ratio = declared != 0 ? declared : AMPLIFICATION_RATIO;
    else
        service->max_reply_ratio = said != 0 ? (uint32_t)said : ENCHUFE_RATIO_UNLIMITED;
}

int service_init(struct enchufe_service *service, const struct service_config *config,
                 uint32_t index, const struct plugin_file *file, bool from_path,
                 struct report *report)
{
    char error[PLUGIN_ERROR];

    *service = (struct enchufe_service){ .name = config->name, .index = index, .config = config };
    refusals_init(&service->refusals, service->name);
    trace_enter(index, CALLBACK_open);
    int err = plugin_open(&service->plugin, file, from_path, error);
    trace_leave();
    if (err != 0) {
        report_add(report, &config->plugin_place, "%s", error);
        return err;
    }
    service->settings = zeroed(service->plugin.v.settings_size);
    service->state = zeroed(service->plugin.v.service_size);
    if (service->settings == NULL || service->state == NULL) {
        report_add(report, &config->place, "no memory for the settings of %s", config->name);
        return -ENOMEM;
    }
    static const enchufe_option no_options[] = { { .name = NULL } };
    const enchufe_option *table =
        service->plugin.v.options != NULL ? service->plugin.v.options : no_options;
    set_max_input(service);
    set_reply_ratio(service);
    err = options_parse(&service->options, table, service->settings, config->settings,
                        config->setting_count, &config->place, config_service_keys(), report);
    service->configured = err == 0;
    return err;
}

static void check_endpoints(const struct enchufe_service *service, struct report *report)
{
    const enchufe_plugin *v = &service->plugin.v;

    for (size_t i = 0; i < service->config->listen_count; i++) {
        const struct listen_config *listen = &service->config->listens[i];
        char text[ENDPOINT_TEXT];
        bool udp = listen->endpoint.kind == ENCHUFE_UDP;
        bool able = udp ? v->on_datagram != NULL : v->on_data != NULL || v->on_message != NULL;
        if (able)
            continue;
        report_add(report, &listen->place, "plugin %s cannot serve %s: it handles %s", v->name,
                   endpoint_format(&listen->endpoint, text),
                   udp ? "streams (tcp://, unix://) only" : "datagrams (udp://) only");
    }
}

/* Where max_input is said, it lowers the longest message; one of a fixed length has no shorter one. */
static void check_max_input(const struct enchufe_service *service, struct report *report)
{
    const enchufe_framing *framing = service->plugin.v.framing;
    struct place place = service->config->place;

    if (framing == NULL || framing->type != ENCHUFE_FRAMING_FIXED ||
        service->max_message == framing->max)
        return;
    place.key = "max_input";
    report_add(report, &place, "plugin %s has messages of %zu bytes: say at least that much",
               service->plugin.v.name, framing->max);
}

void service_check(struct enchufe_service *service, struct report *report)
{
    const enchufe_plugin *v = &service->plugin.v;
    size_t before;

    if (service->settings == NULL)
        return; /* the plugin could not be opened */
    check_endpoints(service, report);
    check_max_input(service, report);
    if (!service->configured || v->check == NULL)
        return;
    before = report->count;
    service->report = report;
    trace_enter(service->index, CALLBACK_check);
    int refused = v->check(service);
    trace_leave();
    service->report = NULL;
    if (refused != 0 && report->count == before)
        report_add(report, &service->config->place,
                   "plugin %s refuses these options, and does not say why", v->name);
}

/* The most connections that there can be: each needs a descriptor. */
static size_t most_connections(const struct enchufe_service *service)
{
    int64_t own = service->config->limits.max_connections, all = service->server_max_connections;
    struct rlimit limit = { .rlim_cur = 0 };

    getrlimit(RLIMIT_NOFILE, &limit);
    size_t most = limit.rlim_cur;
    if (own != 0 && (size_t)own < most)
        most = (size_t)own;
    if (all != 0 && (size_t)all < most)
        most = (size_t)all;
    return most < SIZE_MAX / 2 ? most : SIZE_MAX / 2;
}

static bool listens(const struct enchufe_service *service, int kind)
{
    for (size_t i = 0; i < service->config->listen_count; i++)
        if (service->config->listens[i].endpoint.kind == kind)
            return true;
    return false;
}

int service_guard(struct enchufe_service *service)
{
    const struct service_limits *limits = &service->config->limits;
    int err = 0;

    if (listens(service, ENCHUFE_TCP))
        err = guard_streams(&service->streams, limits, most_connections(service));
    if (err == 0 && listens(service, ENCHUFE_UDP))
        err = guard_datagrams(&service->datagrams, limits);
    return err;
}

int service_start(struct enchufe_service *service)
{
    const enchufe_plugin *v = &service->plugin.v;

    for (size_t i = 0; i < service->plugin.counter_count; i++)
        snprintf(stats_counter_name(service->counters, service->index, i), STATS_COUNTER_NAME, "%s",
                 v->counters[i]);
    snprintf(stats_plugin_name(service->counters, service->index), STATS_PLUGIN_NAME, "%s",
             v->name);
    snprintf(stats_plugin_version(service->counters, service->index), STATS_PLUGIN_NAME, "%s",
             v->version != NULL ? v->version : "");
    if (v->start == NULL)
        return 0;
    trace_enter(service->index, CALLBACK_start);
    int err = v->start(service);
    trace_leave();
    return err > 0 ? -EINVAL : err;
}

void service_stop(struct enchufe_service *service)
{
    service_call(service, stop, service);
}

void service_free(struct enchufe_service *service)
{
    guard_free(&service->streams);
    guard_free(&service->datagrams);
    refusals_free(&service->refusals);
    options_free(&service->options);
    plugin_free(&service->plugin);
    free(service->settings);
    free(service->state);
    service->settings = service->state = NULL;
}

int service_loop_start(struct enchufe_service *service, struct enchufe_loop *at, struct loop *loop,
                       struct stats *stats)
{
    *at = (struct enchufe_loop){ .loop = loop, .service = service, .stats = stats };
    at->state = zeroed(service->plugin.v.loop_size);
    if (at->state == NULL)
        return -ENOMEM;
    share_init(&at->share, loop);
    if (service->plugin.v.loop_start == NULL)
        return 0;
    trace_enter(service->index, CALLBACK_loop_start);
    int err = service->plugin.v.loop_start(service, at);
    trace_leave();
    if (err != 0) {
        free(at->state);
        at->state = NULL;
        share_end(&at->share);
    }
    return err > 0 ? -EINVAL : err;
}

void service_loop_stop(struct enchufe_loop *at)
{
    refusals_end(&at->service->refusals, at->loop);
    service_call(at->service, loop_stop, at->service, at);
    free(at->state);
    at->state = NULL;
    share_end(&at->share);
}
