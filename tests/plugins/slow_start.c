/* Waits in `start` until somebody opens the FIFO that its option `gate` names. */
#include <enchufe/plugin.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct slow_start_settings {
    const char *gate;
};

static const enchufe_option slow_start_options[] = {
    { .name = "gate",
      .type = ENCHUFE_OPTION_STRING,
      .offset = offsetof(struct slow_start_settings, gate),
      .help = "the path of a FIFO" },
    { .name = NULL },
};

static int slow_start_start(enchufe_service *service)
{
    const struct slow_start_settings *settings = enchufe_service_settings(service);

    enchufe_log(service, ENCHUFE_LOG_WARNING, "slow_start waits");
    int fd = open(settings->gate, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static size_t slow_start_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_write(conn, data, len);
    return len;
}

ENCHUFE_PLUGIN(.name = "slow_start", .summary = "takes its time to start",
               .options = slow_start_options, .settings_size = sizeof(struct slow_start_settings),
               .start = slow_start_start, .on_data = slow_start_on_data);
