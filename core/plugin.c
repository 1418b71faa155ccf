/* Opening a plugin: dlopen, ABI check, and a copy of the vtable in this server's size. */
#include "plugin.h"
#include "config_keys.h"
#include "framing.h"
#include "options.h"
#include "stats.h"
#include "trace.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More state than this for one connection or service is a mistake, not a plan. */
#define STATE_MAX ((size_t)64 << 20)

/* An early vtable of this major has at least its head and the data fields. */
#define VTABLE_MIN offsetof(enchufe_plugin, check)

static int refuse(const struct plugin *plugin, char error[PLUGIN_ERROR], const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const struct plugin *plugin, char error[PLUGIN_ERROR], const char *format, ...)
{
    va_list args;
    int n = snprintf(error, PLUGIN_ERROR, "plugin %s ", plugin->path);

    va_start(args, format);
    if (n > 0 && n < PLUGIN_ERROR)
        vsnprintf(error + n, (size_t)(PLUGIN_ERROR - n), format, args);
    va_end(args);
    return -EINVAL;
}

/* What to do about what the sandbox denies to the linker. */
static const char *advice(const char *reason)
{
    if (strstr(reason, "for relocation") != NULL)
        return "; build it with -fPIC, or say sandbox = no and isolate = yes";
    if (strstr(reason, "executable stack") != NULL)
        return "; link it with -z noexecstack, or say sandbox = no and isolate = yes";
    return "";
}

/* RTLD_NOW: a missing symbol is an error here, not a crash at the first call. RTLD_LOCAL: plugins do not
 * see each other. RTLD_NODELETE: see plugin_open(). */
static void *load(const struct plugin_file *file, bool from_path, char *reason, size_t size)
{
    char name[64];
    const char *shown;

    if (from_path)
        snprintf(name, sizeof name, "%s", "");
    else
        snprintf(name, sizeof name, "/proc/self/fd/%d", file->fd);
    void *handle = dlopen(from_path ? file->path : name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == NULL) {
        shown = dlerror();
        if (shown != NULL && strncmp(shown, name, strlen(name)) == 0 && shown[strlen(name)] == ':')
            shown += strlen(name) + 2; /* the number of a descriptor tells nobody anything */
        if (shown == NULL)
            shown = "unknown reason";
        snprintf(reason, size, "%s%s", shown, advice(shown));
    }
    return handle;
}

static int copy_tables(struct plugin *plugin, const enchufe_plugin *theirs,
                       char error[PLUGIN_ERROR])
{
    enchufe_plugin *v = &plugin->v;
    size_t size =
        theirs->option_size < sizeof(enchufe_option) ? theirs->option_size : sizeof(enchufe_option);
    size_t count = 0;

    if (v->options != NULL) {
        const char *row = (const char *)v->options;
        if (theirs->option_size < offsetof(enchufe_option, offset))
            return refuse(plugin, error, "has a damaged vtable: its option_size is %u",
                          theirs->option_size);
        while (((const enchufe_option *)(const void *)(row + count * theirs->option_size))->name)
            count++;
        plugin->options = calloc(count + 1, sizeof *plugin->options);
        if (plugin->options == NULL)
            return refuse(plugin, error, "cannot be opened: no memory");
        for (size_t i = 0; i < count; i++)
            memcpy(&plugin->options[i], row + i * theirs->option_size, size);
        v->options = plugin->options;
    }
    if (v->framing != NULL) {
        size = theirs->framing_size < sizeof plugin->framing ? theirs->framing_size
                                                             : sizeof plugin->framing;
        memcpy(&plugin->framing, v->framing, size);
        v->framing = &plugin->framing;
    }
    while (v->counters != NULL && v->counters[plugin->counter_count] != NULL)
        if (++plugin->counter_count > STATS_PLUGIN_COUNTERS)
            return refuse(plugin, error, "has more than %d counters", STATS_PLUGIN_COUNTERS);
    return 0;
}

static bool good_name(const char *name)
{
    return name != NULL && *name != '\0' && strlen(name) <= 48 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
               strlen(name);
}

const enchufe_option *plugin_shadow(const struct plugin *plugin, const char *key)
{
    if (config_key_since(key) <= plugin->v.abi_minor || !config_key_may_be_shadowed(key))
        return NULL;
    return options_find(plugin->v.options, key);
}

/* An option that no section can set, because the server takes the key for its own, and did when the plugin was
 * built: NULL where there is none. */
static const char *find_reserved(const struct plugin *plugin)
{
    for (const char *const *key = config_service_keys(); *key != NULL; key++)
        if (options_find(plugin->v.options, *key) != NULL && plugin_shadow(plugin, *key) == NULL)
            return *key;
    return NULL;
}

static int check_contract(struct plugin *plugin, char error[PLUGIN_ERROR])
{
    const enchufe_plugin *v = &plugin->v;
    char why[PLUGIN_ERROR / 2];
    const char *wrong;

    if (!good_name(v->name))
        return refuse(plugin, error, "has no good name: letters, digits, - and _, at most 48");
    if (v->flags != 0)
        return refuse(plugin, error, "asks for flags 0x%llx, which this server does not know",
                      (unsigned long long)v->flags);
    if (v->settings_size > STATE_MAX || v->service_size > STATE_MAX || v->loop_size > STATE_MAX ||
        v->conn_size > STATE_MAX)
        return refuse(plugin, error, "asks for more than %zu MiB of state", STATE_MAX >> 20);
    if (v->framing != NULL && (wrong = framing_check(v->framing)) != NULL)
        return refuse(plugin, error, "has a bad framing: %s", wrong);
    if (v->framing != NULL && v->on_message == NULL)
        return refuse(plugin, error, "has a framing, but no on_message");
    if (v->framing == NULL && v->on_message != NULL)
        return refuse(plugin, error, "has on_message, but no framing");
    if (v->framing != NULL && v->on_data != NULL)
        return refuse(plugin, error,
                      "has both on_data and a framing: on_message gets the messages");
    if (v->on_data == NULL && v->on_message == NULL && v->on_datagram == NULL)
        return refuse(plugin, error, "has none of on_data, on_message and on_datagram");
    if (v->options != NULL &&
        (wrong = options_check_table(v->options, v->settings_size, why, sizeof why)) != NULL)
        return refuse(plugin, error, "has a bad option table: %s", wrong);
    if ((wrong = find_reserved(plugin)) != NULL)
        return refuse(
            plugin, error,
            "has a bad option table: option \"%s\": the server has a key of this name, so "
            "no section could set it; choose another",
            wrong);
    return 0;
}

int plugin_open(struct plugin *plugin, const struct plugin_file *file, bool from_path,
                char error[PLUGIN_ERROR])
{
    char reason[PLUGIN_ERROR / 2];

    *plugin = (struct plugin){ .path = file->path };
    void *handle = load(file, from_path, reason, sizeof reason);
    if (handle == NULL)
        return refuse(plugin, error, "cannot be loaded: %s", reason);
    const enchufe_plugin *theirs = dlsym(handle, ENCHUFE_PLUGIN_SYMBOL);
    if (theirs == NULL)
        return refuse(plugin, error,
                      "is a shared object, but no plugin: it has no ENCHUFE_PLUGIN()");
    if (theirs->abi_major != ENCHUFE_ABI_MAJOR)
        return refuse(plugin, error,
                      "was built for ABI %u.%u and this server speaks %d.%d: build it again with "
                      "this server's headers",
                      theirs->abi_major, theirs->abi_minor, ENCHUFE_ABI_MAJOR, ENCHUFE_ABI_MINOR);
    if (theirs->size < VTABLE_MIN)
        return refuse(plugin, error, "has a damaged vtable: its size is %u", theirs->size);
    memcpy(&plugin->v, theirs, theirs->size < sizeof plugin->v ? theirs->size : sizeof plugin->v);
    trace_go_on(CALLBACK_tables);
    int err = copy_tables(plugin, theirs, error);
    if (err == 0)
        err = check_contract(plugin, error);
    if (err != 0)
        plugin_free(plugin);
    return err;
}

void plugin_free(struct plugin *plugin)
{
    free(plugin->options);
    plugin->options = NULL;
    plugin->v.options = NULL;
}
