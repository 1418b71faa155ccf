/* Sends as many bytes as the client asks for (`COUNT` and a newline), then closes. A producer stops
 * where enchufe_write() returns 1 and goes on in on_drained, so that its memory does not depend on
 * how slowly the client reads. The stream repeats a block of prime length, so that a byte lost, doubled
 * or moved shows. */
#include <enchufe/plugin.h>
#include <stdlib.h>

enum { PRODUCER_BLOCK = 65521 };

struct producer_service {
    unsigned char block[PRODUCER_BLOCK];
};

struct producer_conn {
    uint64_t at, end;
};

static const enchufe_framing producer_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 40 };

static int producer_start(enchufe_service *service)
{
    struct producer_service *state = enchufe_service_state(service);
    for (unsigned i = 0; i < PRODUCER_BLOCK; i++)
        state->block[i] = (unsigned char)((i * 7 + (i >> 8)) & 0xff);
    return 0;
}

static void producer_go_on(enchufe_conn *conn)
{
    const struct producer_service *service = enchufe_service_state(enchufe_conn_service(conn));
    struct producer_conn *state = enchufe_conn_state(conn);

    while (state->at < state->end) {
        size_t start = state->at % PRODUCER_BLOCK, len = PRODUCER_BLOCK - start;
        if (len > state->end - state->at)
            len = (size_t)(state->end - state->at);
        int result = enchufe_write(conn, service->block + start, len);
        if (result < 0)
            return;
        state->at += len;
        if (result == 1)
            return;
    }
    enchufe_close(conn);
}

static void producer_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    struct producer_conn *state = enchufe_conn_state(conn);
    (void)len;
    state->end = strtoull(data, NULL, 10);
    producer_go_on(conn);
}

ENCHUFE_PLUGIN(.name = "producer", .summary = "sends as many bytes as it is asked for",
               .service_size = sizeof(struct producer_service),
               .conn_size = sizeof(struct producer_conn), .framing = &producer_framing,
               .start = producer_start, .on_message = producer_on_message,
               .on_drained = producer_go_on);
