/* The tables of the server's own keys: name, type, range, default, help. */
#include "config_keys.h"
#include "config.h"
#include "config_sources.h"
#include "log.h"
#include <string.h>

#define GIB (INT64_C(1) << 30)

static const char *const auto_word[] = { "auto", NULL };
static const char *const pin_words[] = {
    [PIN_AUTO] = "auto",
    [PIN_YES] = "yes",
    [PIN_NO] = "no",
    [PIN_NO + 1] = NULL,
};
static const char *const sandbox_words[] = {
    [SANDBOX_YES] = "yes",
    [SANDBOX_STRICT] = "strict",
    [SANDBOX_NO] = "no",
    [SANDBOX_NO + 1] = NULL,
};
static const char *const never_word[] = { "never", NULL };
static const char *const none_word[] = { "none", NULL };
static const char *const unlimited_word[] = { "unlimited", NULL };

const enchufe_option config_server_table[] = {
    { .name = "plugin_dir",
      .type = ENCHUFE_OPTION_PATH,
      .offset = offsetof(struct server_config, plugin_dir),
      .help = "the folder of plugins that are given by name" },
    { .name = "include",
      .type = ENCHUFE_OPTION_STRING,
      .offset = offsetof(struct server_config, include),
      .min = 1,
      .max = INT64_MAX,
      .help = "a pattern of files with further services, such as services/*.ini" },
    { .name = "threads",
      .type = ENCHUFE_OPTION_INTEGER,
      .offset = offsetof(struct server_config, threads),
      .value = "auto",
      .min = 1,
      .max = 1024,
      .choices = auto_word,
      .help = "loops of each worker; auto: one for each processor" },
    { .name = "pin",
      .type = ENCHUFE_OPTION_ENUM,
      .offset = offsetof(struct server_config, pin),
      .value = "auto",
      .choices = pin_words,
      .help =
          "bind each loop to a processor; auto: if there is one loop for each, and one worker" },
    { .name = "user",
      .type = ENCHUFE_OPTION_STRING,
      .offset = offsetof(struct server_config, user),
      .min = 1,
      .max = 255,
      .help = "who the workers are" },
    { .name = "group",
      .type = ENCHUFE_OPTION_STRING,
      .offset = offsetof(struct server_config, group),
      .min = 1,
      .max = 255,
      .help = "the workers' group, where it is not the user's own" },
    { .name =
          "log", /* a string, so that a word can be told from a path; config.c makes it a path */
      .type = ENCHUFE_OPTION_STRING,
      .offset = offsetof(struct server_config, log),
      .value = "stderr",
      .min = 1,
      .max = INT64_MAX,
      .help = "stderr, syslog, or a file" },
    { .name = "log_level",
      .type = ENCHUFE_OPTION_ENUM,
      .offset = offsetof(struct server_config, log_level),
      .value = "info",
      .choices = log_level_words,
      .help = "how much is logged" },
    { .name = "log_format",
      .type = ENCHUFE_OPTION_ENUM,
      .offset = offsetof(struct server_config, log_format),
      .value = "text",
      .choices = log_format_words,
      .help = "how a line of the log looks" },
    { .name = "control",
      .type = ENCHUFE_OPTION_PATH,
      .offset = offsetof(struct server_config, control),
      .help = "the socket for status, reload and stop" },
    { .name = "watch",
      .type = ENCHUFE_OPTION_BOOL,
      .offset = offsetof(struct server_config, watch),
      .value = "no",
      .help = "reload by itself when a configuration or plugin file changes" },
    { .name = "start_timeout",
      .type = ENCHUFE_OPTION_DURATION,
      .offset = offsetof(struct server_config, start_timeout),
      .value = "30s",
      .choices = none_word,
      .help = "how long a worker may take until it serves" },
    { .name = "drain_timeout",
      .type = ENCHUFE_OPTION_DURATION,
      .offset = offsetof(struct server_config, drain_timeout),
      .value = "30s",
      .choices = none_word,
      .help = "how long open connections may go on when the server ends" },
    { .name = "stall_limit",
      .type = ENCHUFE_OPTION_DURATION,
      .offset = offsetof(struct server_config, stall_limit),
      .value = "2s",
      .min = 200,
      .max = INT64_MAX,
      .choices = never_word,
      .help = "how long a plugin may stay in one callback until its worker is replaced" },
    { .name = "max_connections",
      .type = ENCHUFE_OPTION_INTEGER,
      .offset = offsetof(struct server_config, max_connections),
      .value = "unlimited",
      .min = 1,
      .max = INT64_MAX,
      .choices = unlimited_word,
      .help = "connections of all services together" },
    { .name = "core_dumps",
      .type = ENCHUFE_OPTION_BOOL,
      .offset = offsetof(struct server_config, core_dumps),
      .value = "no",
      .help = "whether a worker that crashes leaves its memory on disk" },
    { .name = "require_sandbox",
      .type = ENCHUFE_OPTION_BOOL,
      .offset = offsetof(struct server_config, require_sandbox),
      .value = "no",
      .help = "do not serve where the kernel lacks a part of the sandbox" },
    { .name = NULL },
};

/* No default here: where the file says nothing, the plugin is asked (timeouts.h). */
#define TIMEOUT_ROW(field, standard, text)                                                         \
    { .name = #field "_timeout",                                                                   \
      .type = ENCHUFE_OPTION_DURATION,                                                             \
      .offset = offsetof(struct service_limits, timeouts.field),                                   \
      .choices = never_word,                                                                       \
      .help = text },

const enchufe_option config_service_table[] = {
    { .name = "isolate",
      .type = ENCHUFE_OPTION_BOOL,
      .offset = offsetof(struct service_limits, isolate),
      .value = "no",
      .help = "a process of its own" },
    { .name = "threads",
      .type = ENCHUFE_OPTION_INTEGER,
      .offset = offsetof(struct service_limits, threads),
      .value = "auto",
      .min = 1,
      .max = 1024,
      .choices = auto_word,
      .help = "loops that serve it; auto: all of its worker's" },
    { .name = "max_connections",
      .type = ENCHUFE_OPTION_INTEGER,
      .offset = offsetof(struct service_limits, max_connections),
      .value = "unlimited",
      .min = 1,
      .max = INT64_MAX,
      .choices = unlimited_word,
      .help = "connections open at once" },
    { .name = "max_connections_per_source",
      .type = ENCHUFE_OPTION_INTEGER,
      .offset = offsetof(struct service_limits, max_connections_per_source),
      .value = "unlimited",
      .min = 1,
      .max = INT64_MAX,
      .choices = unlimited_word,
      .help = "connections of one source open at once" },
    TIMEOUTS(TIMEOUT_ROW){ .name = "max_input",
                           .type = ENCHUFE_OPTION_SIZE,
                           .offset = offsetof(struct service_limits, max_input),
                           .min = 1,
                           .max = GIB,
                           .help = "bytes kept that the plugin could not use yet" },
    { .name = "max_output",
      .type = ENCHUFE_OPTION_SIZE,
      .offset = offsetof(struct service_limits, max_output),
      .value = "16m",
      .min = 4096,
      .max = GIB / 2,
      .help = "bytes queued for a client" },
    { .name = "backlog",
      .type = ENCHUFE_OPTION_INTEGER,
      .offset = offsetof(struct service_limits, backlog),
      .value = "4096",
      .min = 1,
      .max = 65535,
      .help = "connections that wait to be accepted" },
    { .name = "trust_source_ports",
      .type = ENCHUFE_OPTION_BOOL,
      .offset = offsetof(struct service_limits, trust_source_ports),
      .value = "no",
      .help =
          "answer datagrams from ports below 1024 and this server's own, multicast and broadcast" },
    { .name = "max_reply_ratio",
      .type = ENCHUFE_OPTION_INTEGER,
      .offset = offsetof(struct service_limits, max_reply_ratio),
      .min = 1,
      .max = 1000000,
      .choices = unlimited_word,
      .help = "how many times its own size a datagram may be answered with" },
    { .name = "sandbox",
      .type = ENCHUFE_OPTION_ENUM,
      .offset = offsetof(struct service_limits, sandbox),
      .value = "yes",
      .choices = sandbox_words,
      .help = "strict: a filter of system calls as well; no: it may touch all that its user may" },
    { .name = "max_memory",
      .type = ENCHUFE_OPTION_SIZE,
      .offset = offsetof(struct service_limits, max_memory),
      .value = "unlimited",
      .min = 16 << 20,
      .max = INT64_MAX,
      .choices = unlimited_word,
      .help = "memory of its worker" },
    { .name = "max_files",
      .type = ENCHUFE_OPTION_INTEGER,
      .offset = offsetof(struct service_limits, max_files),
      .value = "unlimited",
      .min = 64,
      .max = INT32_MAX,
      .choices = unlimited_word,
      .help = "descriptors of its worker" },
    { .name = "max_processes",
      .type = ENCHUFE_OPTION_INTEGER,
      .offset = offsetof(struct service_limits, max_processes),
      .value = "64",
      .min = 1,
      .max = INT32_MAX,
      .choices = unlimited_word,
      .help = "threads and processes that its worker may have beyond its loops" },
    { .name = NULL },
};

/* What each service says itself; config.c reads them. */
#define OWN_KEYS 5

const char *const *config_service_keys(void)
{
    static const char *keys[sizeof config_service_table / sizeof *config_service_table + OWN_KEYS +
                            6] = { "plugin", "listen", "connect", "read_paths", "write_paths" };
    size_t count = OWN_KEYS;

    if (keys[count] != NULL)
        return keys;
    for (size_t i = 0; config_service_table[i].name; i++)
        keys[count++] = config_service_table[i].name;
    for (size_t i = 0; config_source_keys[i]; i++)
        keys[count++] = config_source_keys[i];
    return keys;
}

/* Those that came after 1.0. Who adds a key adds it here as well, with ENCHUFE_ABI_MINOR as the release will
 * have it: otherwise plugins that were built before and have such an option are refused. */
static const struct {
    const char *key;
    unsigned since;
    bool
        guards; /* the server, its other services or other hosts against the plugin or its clients */
} newer_keys[] = {
    { "connect", 1, false },
    { "read_paths", 1, false },
    { "write_paths", 1, false },
    { "max_connections_per_source", 1, true },
    { "first_byte_timeout", 1, false },
    { "message_timeout", 1, false },
    { "session_timeout", 1, false },
    { "max_reply_ratio", 1, true },
    { "sandbox", 1, true },
    { "max_memory", 1, true },
    { "max_files", 1, true },
    { "max_processes", 1, true },
    { "rate_per_source", 1, true },
    { "source_prefix", 1, true },
    { "allow", 1, true },
    { "deny", 1, true },
    { "socket_mode", 1, true },
    { "socket_group", 1, true },
};

unsigned config_key_since(const char *key)
{
    for (size_t i = 0; i < sizeof newer_keys / sizeof *newer_keys; i++)
        if (strcmp(newer_keys[i].key, key) == 0)
            return newer_keys[i].since;
    return 0;
}

bool config_key_may_be_shadowed(const char *key)
{
    for (size_t i = 0; i < sizeof newer_keys / sizeof *newer_keys; i++)
        if (strcmp(newer_keys[i].key, key) == 0)
            return !newer_keys[i].guards;
    return false;
}

bool config_is_own_key(const char *key)
{
    const char *const *keys = config_service_keys();

    for (size_t i = 0; i < OWN_KEYS; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}
