/* Pauses as the first bytes arrive, takes none of them, and resumes after `wait`: they come again. The
 * answers are `held LENGTH` for what was not taken, `LENGTH` for each part that was, and `end` after the
 * client's end, each with a newline. The connection stays open. With `wait = 0` it takes all at once. */
#include <enchufe/plugin.h>
#include <stdio.h>

struct holder_settings {
    uint64_t wait;
};

struct holder_conn {
    bool held;
};

static const enchufe_option holder_options[] = {
    { .name = "wait",
      .type = ENCHUFE_OPTION_DURATION,
      .value = "100ms",
      .offset = offsetof(struct holder_settings, wait),
      .help = "how long the first bytes are left" },
    { .name = NULL },
};

static size_t holder_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    const struct holder_settings *settings = enchufe_conn_settings(conn);
    struct holder_conn *state = enchufe_conn_state(conn);
    char text[64];
    bool hold = !state->held && settings->wait != 0;

    (void)data;
    int text_len = snprintf(text, sizeof text, hold ? "held %zu\n" : "%zu\n", len);
    enchufe_write(conn, text, (size_t)text_len);
    if (!hold)
        return len;
    state->held = true;
    enchufe_pause(conn);
    enchufe_timer_set(conn, settings->wait);
    return 0;
}

static void holder_on_timer(enchufe_conn *conn)
{
    enchufe_resume(conn);
}

static void holder_on_eof(enchufe_conn *conn)
{
    enchufe_write(conn, "end\n", 4);
}

static void holder_on_drain(enchufe_conn *conn)
{
    enchufe_close(conn);
}

ENCHUFE_PLUGIN(.name = "holder", .summary = "takes the first bytes later",
               .options = holder_options, .settings_size = sizeof(struct holder_settings),
               .conn_size = sizeof(struct holder_conn), .on_data = holder_on_data,
               .on_eof = holder_on_eof, .on_timer = holder_on_timer, .on_drain = holder_on_drain);
