/* Forgot the row that ends its option table: the server reads on, into what lies behind it. */
#include <enchufe/plugin.h>

struct settings {
    int64_t number;
};

static const struct {
    enchufe_option rows[1];
    uintptr_t beyond[64];
} table = {
    .rows = { { .name = "number",
                .type = ENCHUFE_OPTION_INTEGER,
                .offset = offsetof(struct settings, number),
                .help = "any" } },
    .beyond = { 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16 },
};

static size_t load_no_end_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn;
    (void)data;
    return len;
}

ENCHUFE_PLUGIN(.name = "load_no_end", .summary = "its option table has no end",
               .options = table.rows, .settings_size = sizeof(struct settings),
               .on_data = load_no_end_on_data);
