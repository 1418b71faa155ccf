/* Answers after the client has ended its side: counts what came, and says it in on_eof. */
#include <enchufe/plugin.h>
#include <stdio.h>

struct eof_conn {
    size_t total;
};

static size_t eof_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    struct eof_conn *state = enchufe_conn_state(conn);
    (void)data;
    state->total += len;
    return len;
}

static void eof_on_eof(enchufe_conn *conn)
{
    const struct eof_conn *state = enchufe_conn_state(conn);
    char text[64];
    int len = snprintf(text, sizeof text, "%zu bytes\n", state->total);
    enchufe_write(conn, text, (size_t)len);
    enchufe_close(conn);
}

ENCHUFE_PLUGIN(.name = "eof", .summary = "counts what comes, up to the end",
               .conn_size = sizeof(struct eof_conn), .on_data = eof_on_data, .on_eof = eof_on_eof);
