/* A plugin whose constructor hides: it closes every descriptor, leaves its process group and never
 * returns. It says its pid on standard error before. */
#include <enchufe/plugin.h>
#include <stdio.h>
#include <unistd.h>

__attribute__((constructor)) static void load_escape_constructor(void)
{
    dprintf(STDERR_FILENO, "load_escape pid=%d\n", (int)getpid());
    setpgid(0, getpgid(getppid()));
    closefrom(STDIN_FILENO);
    for (;;)
        pause();
}

static size_t load_escape_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data;
    return len;
}

ENCHUFE_PLUGIN(.name = "load_escape", .on_data = load_escape_on_data);
