/* Counts on_open and on_close: there is exactly one of the second for each of the first, however the
 * connection ends. The line `stats` prints both counts, `close` and `abort` end the connection; any
 * other is passed over. */
#include <enchufe/plugin.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct lifecycle_service {
    atomic_uint opened, closed, twice;
};

struct lifecycle_conn {
    unsigned opened, closed;
};

static const enchufe_framing lifecycle_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 100 };

static struct lifecycle_service *lifecycle_of(const enchufe_conn *conn)
{
    return enchufe_service_state(enchufe_conn_service(conn));
}

static void lifecycle_on_open(enchufe_conn *conn)
{
    struct lifecycle_conn *state = enchufe_conn_state(conn);
    if (++state->opened != 1)
        atomic_fetch_add(&lifecycle_of(conn)->twice, 1);
    atomic_fetch_add(&lifecycle_of(conn)->opened, 1);
}

static void lifecycle_on_close(enchufe_conn *conn, int reason)
{
    struct lifecycle_conn *state = enchufe_conn_state(conn);
    (void)reason;
    if (++state->closed != 1 || state->opened != 1)
        atomic_fetch_add(&lifecycle_of(conn)->twice, 1);
    atomic_fetch_add(&lifecycle_of(conn)->closed, 1);
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
               .service_size = sizeof(struct lifecycle_service),
               .conn_size = sizeof(struct lifecycle_conn), .framing = &lifecycle_framing,
               .on_open = lifecycle_on_open, .on_message = lifecycle_on_message,
               .on_close = lifecycle_on_close);
