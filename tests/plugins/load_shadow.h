/* What load_shadow and load_reserved_newer share: a plugin with options that have the names of keys which the
 * server has since ABI 1.1. Its vtable is that of 1.0. Answers anything with what its options say. */
#ifndef LOAD_SHADOW_H
#define LOAD_SHADOW_H

#include <enchufe/plugin.h>
#include <stdio.h>

struct load_shadow_settings {
    const char *session_timeout;
    enchufe_list read_paths;
};

static const enchufe_option load_shadow_options[] = {
    { .name = "session_timeout",
      .type = ENCHUFE_OPTION_STRING,
      .offset = offsetof(struct load_shadow_settings, session_timeout),
      .value = "little",
      .min = 1,
      .max = 40,
      .help = "how long it will remember" },
    { .name = "read_paths",
      .type = ENCHUFE_OPTION_LIST,
      .offset = offsetof(struct load_shadow_settings, read_paths),
      .help = "what it lets pass" },
    { .name = NULL },
};

static size_t load_shadow_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    const struct load_shadow_settings *settings = enchufe_conn_settings(conn);
    char text[256];
    int n = snprintf(text, sizeof text, "%s %zu\n", settings->session_timeout,
                     settings->read_paths.count);

    (void)data;
    enchufe_write(conn, text, (size_t)n);
    return len;
}

ENCHUFE_EXTERN_C ENCHUFE_EXPORT const enchufe_plugin enchufe_plugin_entry;
const enchufe_plugin enchufe_plugin_entry = {
    .abi_major = ENCHUFE_ABI_MAJOR,
    .abi_minor = LOAD_SHADOW_MINOR,
    .size = offsetof(enchufe_plugin, first_byte_timeout),
    .option_size = sizeof(enchufe_option),
    .framing_size = sizeof(enchufe_framing),
    .name = "load_shadow",
    .options = load_shadow_options,
    .settings_size = sizeof(struct load_shadow_settings),
    .on_data = load_shadow_on_data,
};

#endif
