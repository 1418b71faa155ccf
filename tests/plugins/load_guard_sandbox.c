/* Says that it is of ABI 1.0, and has an option named like a key that guards against plugins. */
#include <enchufe/plugin.h>

struct load_guard_settings {
    const char *sandbox;
};

static const enchufe_option load_guard_options[] = {
    { .name = "sandbox",
      .type = ENCHUFE_OPTION_STRING,
      .offset = offsetof(struct load_guard_settings, sandbox),
      .value = "",
      .help = "mine" },
    { .name = NULL },
};

static size_t load_guard_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data;
    return len;
}

ENCHUFE_EXTERN_C ENCHUFE_EXPORT const enchufe_plugin enchufe_plugin_entry;
const enchufe_plugin enchufe_plugin_entry = {
    .abi_major = ENCHUFE_ABI_MAJOR,
    .abi_minor = 0,
    .size = offsetof(enchufe_plugin, first_byte_timeout),
    .option_size = sizeof(enchufe_option),
    .framing_size = sizeof(enchufe_framing),
    .name = "load_guard",
    .options = load_guard_options,
    .settings_size = sizeof(struct load_guard_settings),
    .on_data = load_guard_on_data,
};
