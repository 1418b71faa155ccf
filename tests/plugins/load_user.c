/* Says on standard error as which user and group its constructor and its check run. */
#include <enchufe/plugin.h>
#include <stdio.h>
#include <unistd.h>

static void load_user_say(const char *where)
{
    dprintf(STDERR_FILENO, "load_user %s uid=%d gid=%d\n", where, (int)geteuid(), (int)getegid());
}

__attribute__((constructor)) static void load_user_constructor(void)
{
    load_user_say("constructor");
}

static int load_user_check(enchufe_service *service)
{
    (void)service;
    load_user_say("check");
    return 0;
}

static size_t load_user_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data;
    return len;
}

ENCHUFE_PLUGIN(.name = "load_user", .check = load_user_check, .on_data = load_user_on_data);
