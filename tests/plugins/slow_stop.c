/* Waits in `stop` until somebody writes to the FIFO that its option `gate` names. Before that it takes all
 * descriptors that are left, with `hoards = yes`. Without a gate it does neither. */
#include <enchufe/plugin.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

struct slow_stop_settings {
    const char *gate;
    bool hoards;
};

struct slow_stop_service {
    int gate;
};

static const enchufe_option slow_stop_options[] = {
    { .name = "gate",
      .type = ENCHUFE_OPTION_STRING,
      .value = "",
      .offset = offsetof(struct slow_stop_settings, gate),
      .help = "the path of a FIFO" },
    { .name = "hoards",
      .type = ENCHUFE_OPTION_BOOL,
      .value = "no",
      .offset = offsetof(struct slow_stop_settings, hoards),
      .help = "it leaves no descriptor" },
    { .name = NULL },
};

static int slow_stop_start(enchufe_service *service)
{
    const struct slow_stop_settings *settings = enchufe_service_settings(service);
    struct slow_stop_service *state = enchufe_service_state(service);

    state->gate = -1;
    if (*settings->gate == '\0')
        return 0;
    state->gate = open(settings->gate, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    return state->gate < 0 ? -errno : 0;
}

static void slow_stop_stop(enchufe_service *service)
{
    const struct slow_stop_settings *settings = enchufe_service_settings(service);
    const struct slow_stop_service *state = enchufe_service_state(service);
    struct pollfd pollfd = { .fd = state->gate, .events = POLLIN };

    if (state->gate < 0)
        return;
    while (settings->hoards && open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        continue;
    enchufe_log(service, ENCHUFE_LOG_WARNING, "slow_stop waits");
    while (poll(&pollfd, 1, -1) < 0 && errno == EINTR)
        continue;
    close(state->gate);
}

static size_t slow_stop_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_write(conn, data, len);
    return len;
}

ENCHUFE_PLUGIN(.name = "slow_stop", .summary = "takes its time to stop",
               .options = slow_stop_options, .settings_size = sizeof(struct slow_stop_settings),
               .service_size = sizeof(struct slow_stop_service), .start = slow_stop_start,
               .stop = slow_stop_stop, .on_data = slow_stop_on_data);
