/* A plugin as a newer header of the same major version will make it: more fields at the end of the
 * vtable, of its options and of its framing. The server ignores what it does not know, and walks the
 * option table by the row size that the plugin states. */
#include <enchufe/plugin.h>
#include <string.h>

struct newer_option {
    enchufe_option option;
    const char *unit;
    uint64_t more[3];
};

struct newer_framing {
    enchufe_framing framing;
    uint64_t more[2];
};

struct newer_plugin {
    enchufe_plugin plugin;
    void (*serve)(enchufe_conn *conn);
    uint64_t more[16];
};

struct newer_settings {
    const char *before;
    const char *after;
};

static const struct newer_option newer_options[] = {
    { .option = { .name = "before",
                  .type = ENCHUFE_OPTION_STRING,
                  .value = "<",
                  .offset = offsetof(struct newer_settings, before),
                  .help = "stands before each line" },
      .unit = "text",
      .more = { 1, 2, 3 } },
    { .option = { .name = "after",
                  .type = ENCHUFE_OPTION_STRING,
                  .value = ">",
                  .offset = offsetof(struct newer_settings, after),
                  .help = "stands after each line" },
      .unit = "text",
      .more = { 1, 2, 3 } },
    { .option = { .name = NULL } },
};

static const struct newer_framing newer_framing = {
    .framing = { .type = ENCHUFE_FRAMING_LINE, .max = 1000 },
    .more = { 1, 2 },
};

static void newer_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    const struct newer_settings *settings = enchufe_conn_settings(conn);

    enchufe_write(conn, settings->before, strlen(settings->before));
    enchufe_write(conn, data, len);
    enchufe_write(conn, settings->after, strlen(settings->after));
}

ENCHUFE_EXTERN_C ENCHUFE_EXPORT const struct newer_plugin enchufe_plugin_entry;
const struct newer_plugin enchufe_plugin_entry = {
    .plugin = {
        .abi_major = ENCHUFE_ABI_MAJOR,
        .abi_minor = 99,
        .size = sizeof(struct newer_plugin),
        .option_size = sizeof(struct newer_option),
        .framing_size = sizeof(struct newer_framing),
        .name = "load_newer",
        .options = &newer_options[0].option,
        .settings_size = sizeof(struct newer_settings),
        .framing = &newer_framing.framing,
        .on_message = newer_on_message,
    },
    .more = { 1, 2, 3 },
};
