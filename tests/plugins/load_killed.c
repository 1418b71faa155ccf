/* A plugin whose constructor is killed, as the system does where there is no memory left. */
#include <enchufe/plugin.h>
#include <signal.h>

__attribute__((constructor)) static void load_killed_constructor(void)
{
    raise(SIGKILL);
}

static size_t load_killed_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data;
    return len;
}

ENCHUFE_PLUGIN(.name = "load_killed", .on_data = load_killed_on_data);
