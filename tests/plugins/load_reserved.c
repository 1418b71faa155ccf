/* Has an option that no section could set, because the server has a key of that name. */
#include <enchufe/plugin.h>

struct settings {
    int64_t threads;
};

static const enchufe_option options[] = {
    { .name = "threads",
      .type = ENCHUFE_OPTION_INTEGER,
      .offset = offsetof(struct settings, threads),
      .value = "1",
      .help = "never set" },
    { .name = NULL },
};

static size_t load_reserved_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn;
    (void)data;
    return len;
}

ENCHUFE_PLUGIN(.name = "load_reserved", .summary = "has an option that the server keeps for itself",
               .options = options, .settings_size = sizeof(struct settings),
               .on_data = load_reserved_on_data);
