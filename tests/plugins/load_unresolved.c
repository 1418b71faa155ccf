/* A plugin that calls a function nobody defines. Opened lazily it would load, and end the worker at
 * its first connection; so the server resolves everything when it opens a plugin. */
#include <enchufe/plugin.h>

extern size_t load_unresolved_missing_function(const void *data, size_t len);

static size_t load_unresolved_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn;
    return load_unresolved_missing_function(data, len);
}

ENCHUFE_PLUGIN(.name = "load_unresolved", .on_data = load_unresolved_on_data);
