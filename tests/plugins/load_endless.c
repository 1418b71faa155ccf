/* A plugin whose constructor never returns: the server must stop waiting for it. */
#include <enchufe/plugin.h>
#include <unistd.h>

__attribute__((constructor)) static void load_endless_constructor(void)
{
    for (;;)
        pause();
}

static size_t load_endless_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data;
    return len;
}

ENCHUFE_PLUGIN(.name = "load_endless", .on_data = load_endless_on_data);
