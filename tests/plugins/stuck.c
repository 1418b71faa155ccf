/* Does not return from on_data, or not soon. Each line is a command:
 *   loop   for ever, with the processor busy
 *   pause  for ever, asleep
 *   stop   until somebody lets the process go on: it stops itself
 *   N      N milliseconds
 * and what returns is answered with the line. `start_sleep = N` sleeps in start, `close_sleep = N` in each on_close; `end = stop` and
 * `end = loop_stop` never return from that. */
#include <enchufe/plugin.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct stuck_settings {
    uint64_t start_sleep, close_sleep;
    int end;
};

static const char *const stuck_ends[] = { "well", "stop", "loop_stop", NULL };

static const enchufe_option stuck_options[] = {
    { .name = "start_sleep",
      .type = ENCHUFE_OPTION_DURATION,
      .value = "0s",
      .offset = offsetof(struct stuck_settings, start_sleep),
      .help = "how long start takes" },
    { .name = "close_sleep",
      .type = ENCHUFE_OPTION_DURATION,
      .value = "0s",
      .offset = offsetof(struct stuck_settings, close_sleep),
      .help = "how long on_close takes" },
    { .name = "end",
      .type = ENCHUFE_OPTION_ENUM,
      .value = "well",
      .choices = stuck_ends,
      .offset = offsetof(struct stuck_settings, end),
      .help = "what never returns" },
    { .name = NULL },
};

static const enchufe_framing stuck_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 32 };

static void stuck_sleep(uint64_t ms)
{
    struct timespec time = { .tv_sec = (time_t)(ms / 1000),
                             .tv_nsec = (long)(ms % 1000) * 1000000 };
    nanosleep(&time, NULL);
}

/* Not inlined, so that a backtrace can be told to name it. */
__attribute__((noinline)) static void stuck_loop(void)
{
    volatile unsigned turns = 0;
    for (;;)
        turns++;
}

static int stuck_start(enchufe_service *service)
{
    const struct stuck_settings *settings = enchufe_service_settings(service);
    stuck_sleep(settings->start_sleep);
    return 0;
}

static void stuck_stop(enchufe_service *service)
{
    const struct stuck_settings *settings = enchufe_service_settings(service);
    if (settings->end == 1)
        stuck_loop();
}

static void stuck_loop_stop(enchufe_service *service, enchufe_loop *loop)
{
    const struct stuck_settings *settings = enchufe_service_settings(service);
    (void)loop;
    while (settings->end == 2)
        pause();
}

static void stuck_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    char line[33] = "";

    memcpy(line, data, len);
    if (strcmp(line, "loop") == 0)
        stuck_loop();
    while (strcmp(line, "pause") == 0)
        pause();
    if (strcmp(line, "stop") == 0)
        raise(
            SIGSTOP); /* by this thread: another could take what is for all, while this one leaves */
    stuck_sleep(strtoull(line, NULL, 10));
    line[len++] = '\n';
    enchufe_write(conn, line, len);
}

static void stuck_on_close(enchufe_conn *conn, int reason)
{
    const struct stuck_settings *settings = enchufe_service_settings(enchufe_conn_service(conn));
    (void)reason;
    stuck_sleep(settings->close_sleep);
}

ENCHUFE_PLUGIN(.name = "stuck", .summary = "does not return when told so", .options = stuck_options,
               .settings_size = sizeof(struct stuck_settings), .framing = &stuck_framing,
               .start = stuck_start, .stop = stuck_stop, .loop_stop = stuck_loop_stop,
               .on_message = stuck_on_message, .on_close = stuck_on_close);
