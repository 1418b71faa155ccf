/* Tells each client the name of the thread that serves it. */
#include <enchufe/plugin.h>
#include <pthread.h>
#include <string.h>

static void thread_on_open(enchufe_conn *conn)
{
    char name[16] = "";

    pthread_getname_np(pthread_self(), name, sizeof name);
    enchufe_write(conn, name, strlen(name));
    enchufe_close(conn);
}

static size_t thread_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data;
    return len;
}

ENCHUFE_PLUGIN(.name = "thread", .summary = "tells which thread serves", .on_open = thread_on_open,
               .on_data = thread_on_data);
