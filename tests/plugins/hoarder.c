/* Consumes nothing. What the server keeps for it is bounded by max_input. */
#include <enchufe/plugin.h>

static size_t hoarder_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data, (void)len;
    return 0;
}

ENCHUFE_PLUGIN(.name = "hoarder", .summary = "consumes nothing", .on_data = hoarder_on_data);
