/* Answers every request of one byte with the time at which it was handled, 8 bytes of CLOCK_MONOTONIC in
 * nanoseconds, after it kept the loop for as long as its option `takes` says. With `once`, all that is there at once is
 * one request. */
#include <enchufe/plugin.h>
#include <stdbool.h>
#include <time.h>

struct stamp_settings {
    uint64_t takes;
    bool once;
};

static const enchufe_option stamp_options[] = {
    { .name = "takes",
      .type = ENCHUFE_OPTION_DURATION,
      .offset = offsetof(struct stamp_settings, takes),
      .value = "0ms",
      .help = "how long each request keeps the loop" },
    { .name = "once",
      .type = ENCHUFE_OPTION_BOOL,
      .offset = offsetof(struct stamp_settings, once),
      .value = "no",
      .help = "one answer to all that is there" },
    { .name = NULL },
};

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static size_t stamp_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    const struct stamp_settings *settings = enchufe_service_settings(enchufe_conn_service(conn));
    uint64_t at = now();

    (void)data;
    while (now() < at + settings->takes * 1000000)
        continue;
    for (size_t i = 0; i < (settings->once ? 1 : len); i++)
        enchufe_write(conn, &at, sizeof at);
    return len;
}

ENCHUFE_PLUGIN(.name = "stamp", .summary = "tells when it was asked", .options = stamp_options,
               .settings_size = sizeof(struct stamp_settings), .on_data = stamp_on_data);
