/* A plugin whose constructor crashes: the code that runs before anybody can look at the vtable. */
#include <enchufe/plugin.h>
#include <stdlib.h>

__attribute__((constructor)) static void load_crash_constructor(void)
{
    abort();
}

static size_t load_crash_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data;
    return len;
}

ENCHUFE_PLUGIN(.name = "load_crash", .on_data = load_crash_on_data);
