/* What `enchufe plugins` shows of a plugin, found out by a child. */
#include "options.h"
#include "plugin.h"
#include "probe.h"
#include "probe_child.h"
#include "sandbox.h"
#include "timeouts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
        probe_child_say(fd, 'e', 0, error, strlen(error));
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
    for (size_t at = 0; at < size; at += sizeof((struct probe_packet *)NULL)->text)
        probe_child_say(fd, 't', 0, text + at, size - at);
    free(text);
    plugin_free(&plugin);
}

int probe_describe(const struct plugin_file *file, bool options, char error[PLUGIN_ERROR])
{
    struct probe_child child;
    struct probe_packet packet;
    char words[PLUGIN_ERROR];
    ssize_t len = 0;
    bool done = false;

    error[0] = '\0';
    int err = probe_child_spawn(&child);
    if (err == 0) {
        const struct config nothing = { .file = NULL };
        const struct rlimits_setup limits = { .config = &nothing, .loops = 1 };
        struct identity identity;
        privileges_default(&identity);
        int refused = sandbox_enter(&limits, &identity, error);
        probe_child_end_with_parent(child.parent);
        if (refused == 0)
            describe(child.fd, file, options);
        else
            probe_child_say(child.fd, 'e', 0, error, strlen(error));
        probe_child_leave(&child);
    }
    if (err < 0) {
        snprintf(error, PLUGIN_ERROR, "cannot probe plugin %s: %s", file->path, strerror(-err));
        return err;
    }
    while (!done && (len = probe_child_hear(&child, &packet)) > 0) {
        if (packet.type == 't')
            fwrite(packet.text, 1, (size_t)len - offsetof(struct probe_packet, text), stdout);
        else if (packet.type == 'e')
            snprintf(error, PLUGIN_ERROR, "%.*s", PLUGIN_ERROR - 1, packet.text);
        done = packet.type == 'd';
    }
    probe_child_reap(&child, done, !done && len == -ETIMEDOUT, words, sizeof words);
    if (words[0] != '\0')
        snprintf(error, PLUGIN_ERROR, "plugin %s %.300s", file->path, words);
    return error[0] != '\0' ? -EINVAL : 0;
}
