/* Counts on_open and on_close: there is exactly one of the second for each of the first, however the
 * connection ends. The line `stats` prints both counts, `close` and `abort` end the connection; any
 * other is passed over. As it stops it logs the counts, and how many connections there were at most.
 * With `slow = TIME` the first on_open takes that long, so that a test can do things behind its back. */
#include <enchufe/plugin.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct lifecycle_settings {
    uint64_t slow;
};

struct lifecycle_service {
    atomic_uint opened, closed, twice, now, most;
};

struct lifecycle_conn {
    unsigned opened, closed;
};

static const enchufe_option lifecycle_options[] = {
    { .name = "slow",
      .type = ENCHUFE_OPTION_DURATION,
      .value = "0",
      .offset = offsetof(struct lifecycle_settings, slow),
      .help = "how long the first on_open takes" },
    { .name = NULL },
};

static const enchufe_framing lifecycle_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 100 };

static struct lifecycle_service *lifecycle_of(const enchufe_conn *conn)
{
    return enchufe_service_state(enchufe_conn_service(conn));
}

static void lifecycle_stop(enchufe_service *service)
{
    struct lifecycle_service *state = enchufe_service_state(service);

    enchufe_log(service, ENCHUFE_LOG_INFO, "lifecycle opened=%u closed=%u twice=%u most=%u",
                atomic_load(&state->opened), atomic_load(&state->closed),
                atomic_load(&state->twice), atomic_load(&state->most));
}

static void lifecycle_count_in(struct lifecycle_service *service)
{
    unsigned now = atomic_fetch_add(&service->now, 1) + 1, most = atomic_load(&service->most);

    while (now > most && !atomic_compare_exchange_weak(&service->most, &most, now))
        continue;
}

static void lifecycle_on_open(enchufe_conn *conn)
{
    const struct lifecycle_settings *settings = enchufe_conn_settings(conn);
    struct lifecycle_conn *state = enchufe_conn_state(conn);
    if (++state->opened != 1)
        atomic_fetch_add(&lifecycle_of(conn)->twice, 1);
    lifecycle_count_in(lifecycle_of(conn));
    if (atomic_fetch_add(&lifecycle_of(conn)->opened, 1) == 0 && settings->slow != 0) {
        struct timespec time = { .tv_sec = (time_t)(settings->slow / 1000),
                                 .tv_nsec = (long)(settings->slow % 1000) * 1000000 };
        enchufe_conn_log(conn, ENCHUFE_LOG_INFO, "lifecycle opens slowly");
        nanosleep(&time, NULL);
    }
}

static void lifecycle_on_close(enchufe_conn *conn, int reason)
{
    struct lifecycle_conn *state = enchufe_conn_state(conn);
    (void)reason;
    if (++state->closed != 1 || state->opened != 1)
        atomic_fetch_add(&lifecycle_of(conn)->twice, 1);
    atomic_fetch_add(&lifecycle_of(conn)->closed, 1);
    atomic_fetch_sub(&lifecycle_of(conn)->now, 1);
}

static void lifecycle_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    struct lifecycle_service *service = lifecycle_of(conn);
    char text[100];

    (void)len;
    if (strcmp(data, "close") == 0)
        enchufe_close(conn);
    if (strcmp(data, "abort") == 0)
        enchufe_abort(conn);
    if (strcmp(data, "stats") == 0) {
        int text_len = snprintf(text, sizeof text, "opened=%u closed=%u twice=%u\n",
                                atomic_load(&service->opened), atomic_load(&service->closed),
                                atomic_load(&service->twice));
        enchufe_write(conn, text, (size_t)text_len);
    }
}

ENCHUFE_PLUGIN(.name = "lifecycle", .summary = "counts opens and closes",
               .options = lifecycle_options, .settings_size = sizeof(struct lifecycle_settings),
               .service_size = sizeof(struct lifecycle_service),
               .conn_size = sizeof(struct lifecycle_conn), .framing = &lifecycle_framing,
               .stop = lifecycle_stop, .on_open = lifecycle_on_open,
               .on_message = lifecycle_on_message, .on_close = lifecycle_on_close);
