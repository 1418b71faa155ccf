/* A plugin whose constructor ends the process with status 0, which looks like success to anybody
 * who only asks how the process ended. */
#include <enchufe/plugin.h>
#include <stdlib.h>

__attribute__((constructor)) static void load_exit_constructor(void)
{
    exit(0);
}

static size_t load_exit_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data;
    return len;
}

ENCHUFE_PLUGIN(.name = "load_exit", .on_data = load_exit_on_data);
