/* Echoes; when the server leaves, it says `bye` and closes. */
#include <enchufe/plugin.h>

static size_t drain_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_write(conn, data, len);
    return len;
}

static void drain_on_drain(enchufe_conn *conn)
{
    enchufe_write(conn, "bye\n", 4);
    enchufe_close(conn);
}

ENCHUFE_PLUGIN(.name = "drain", .summary = "says goodbye", .on_data = drain_on_data,
               .on_drain = drain_on_drain);
