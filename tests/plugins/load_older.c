/* A plugin as an older header would have made it: its vtable ends after on_data. The server must take
 * every later field as absent, and read nothing beyond the size that the plugin states. */
#include <enchufe/plugin.h>

/* The first fields of enchufe_plugin, exactly; written out here because that is what an old binary
 * has in it, whatever the header says today. */
struct older_plugin {
    uint16_t abi_major, abi_minor;
    uint32_t size;
    uint32_t option_size;
    uint32_t framing_size;
    const char *name;
    const char *version;
    const char *summary;
    const enchufe_option *options;
    size_t settings_size;
    size_t service_size;
    size_t loop_size;
    size_t conn_size;
    const enchufe_framing *framing;
    const char *const *counters;
    uint64_t flags;
    int (*check)(enchufe_service *service);
    int (*start)(enchufe_service *service);
    void (*stop)(enchufe_service *service);
    int (*loop_start)(enchufe_service *service, enchufe_loop *loop);
    void (*loop_stop)(enchufe_service *service, enchufe_loop *loop);
    void (*on_open)(enchufe_conn *conn);
    size_t (*on_data)(enchufe_conn *conn, const void *data, size_t len);
};

static size_t load_older_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_write(conn, data, len);
    return len;
}

/* What follows the vtable in memory is no part of it: a server that looks there jumps into this. */
struct older_object {
    struct older_plugin plugin;
    uintptr_t beyond[32];
};

ENCHUFE_EXTERN_C ENCHUFE_EXPORT const struct older_object enchufe_plugin_entry;
const struct older_object enchufe_plugin_entry = {
    .plugin = {
        .abi_major = ENCHUFE_ABI_MAJOR,
        .abi_minor = 0,
        .size = sizeof(struct older_plugin),
        .option_size = sizeof(enchufe_option),
        .framing_size = sizeof(enchufe_framing),
        .name = "load_older",
        .version = "0.9",
        .on_data = load_older_on_data,
    },
    .beyond = { 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10 },
};
