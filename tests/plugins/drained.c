/* Sends back what it receives, and a `#` each time that its output has drained. */
#include <enchufe/plugin.h>

static size_t drained_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_write(conn, data, len);
    return len;
}

static void drained_on_drained(enchufe_conn *conn)
{
    enchufe_write(conn, "#", 1);
}

ENCHUFE_PLUGIN(.name = "drained", .on_data = drained_on_data, .on_drained = drained_on_drained);
