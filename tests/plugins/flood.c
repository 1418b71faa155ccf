/* Writes without looking at what enchufe_write() returns, until it fails: what a careless plugin
 * does. The section's max_output ends it, and the server's memory stays bounded. */
#include <enchufe/plugin.h>

static size_t flood_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    static const char zeros[4096];
    int result = 0;

    (void)data;
    while (result >= 0)
        result = enchufe_write(conn, zeros, sizeof zeros);
    enchufe_conn_log(conn, ENCHUFE_LOG_INFO, "flood ended with %d, then %d", result,
                     enchufe_write(conn, zeros, sizeof zeros));
    return len;
}

ENCHUFE_PLUGIN(.name = "flood", .summary = "writes without end", .on_data = flood_on_data);
