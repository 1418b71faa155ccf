/* Answers a datagram `COUNT SIZE` with COUNT datagrams of SIZE bytes each, and logs what became of them.
 * Whoever connects by TCP and says something makes it send one byte to the last sender, with no datagram that
 * would ask for it, and gets the result. Serve it with one thread: routes belong to a loop. */
#include <enchufe/plugin.h>
#include <stdio.h>
#include <string.h>

struct multiplier_loop {
    enchufe_route last;
};

static void multiplier_on_datagram(enchufe_service *service, const enchufe_datagram *in)
{
    static const char bytes[65507];
    struct multiplier_loop *state = enchufe_loop_state(in->loop);
    unsigned count = 0, size = 0, sent = 0;
    char text[32] = "";
    int error = 0;

    state->last = in->route;
    memcpy(text, in->data, in->len < sizeof text ? in->len : sizeof text - 1);
    sscanf(text, "%u %u", &count, &size);
    for (unsigned i = 0; i < count; i++) {
        int result = enchufe_reply(in, bytes, size);
        if (result == 0)
            sent++;
        else
            error = result;
    }
    enchufe_log(service, ENCHUFE_LOG_INFO, "multiplied sent=%u error=%d", sent, error);
}

static size_t multiplier_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_loop *loop = enchufe_conn_loop(conn);
    struct multiplier_loop *state = enchufe_loop_state(loop);
    char text[16];

    (void)data;
    snprintf(text, sizeof text, "%d\n", enchufe_send(loop, &state->last, "x", 1));
    enchufe_write(conn, text, strlen(text));
    return len;
}

ENCHUFE_PLUGIN(.name = "multiplier", .summary = "answers more than it was asked",
               .loop_size = sizeof(struct multiplier_loop), .on_data = multiplier_on_data,
               .on_datagram = multiplier_on_datagram);
