/* What load_guard_allow and load_guard_sandbox share: a plugin that says that it is of ABI 1.0, and has an option named
 * like a key that guards against plugins. */
#ifndef LOAD_GUARD_H
#define LOAD_GUARD_H

#include <enchufe/plugin.h>

struct load_guard_settings {
    const char *key;
};

static const enchufe_option load_guard_options[] = {
    { .name = LOAD_GUARD_KEY,
      .type = ENCHUFE_OPTION_STRING,
      .offset = offsetof(struct load_guard_settings, key),
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

#endif
