/* Answers when the client has ended its side, and 700 ms late: with the count of what came. */
#include <enchufe/plugin.h>
#include <stdio.h>

struct late_conn {
    size_t total;
};

static size_t late_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    struct late_conn *state = enchufe_conn_state(conn);

    (void)data;
    state->total += len;
    return len;
}

static void late_on_eof(enchufe_conn *conn)
{
    enchufe_timer_set(conn, 700);
}

static void late_on_timer(enchufe_conn *conn)
{
    const struct late_conn *state = enchufe_conn_state(conn);
    char text[64];
    int len = snprintf(text, sizeof text, "%zu bytes\n", state->total);

    enchufe_write(conn, text, (size_t)len);
    enchufe_close(conn);
}

ENCHUFE_PLUGIN(.name = "late", .summary = "answers late, when the client has ended its side",
               .conn_size = sizeof(struct late_conn), .on_data = late_on_data,
               .on_eof = late_on_eof, .on_timer = late_on_timer);
