/* Says that it consumed more than it got. The server cannot go on with such a connection. */
#include <enchufe/plugin.h>

static size_t contract_breaker_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_write(conn, data, len);
    return len + 1;
}

ENCHUFE_PLUGIN(.name = "contract_breaker", .summary = "returns more than it got",
               .on_data = contract_breaker_on_data);
