/* State at every level: a connection's, a loop's (no lock, one thread uses it), a service's (shared,
 * so atomic), and two counters that the server keeps. Each line is answered with what they say. */
#include <enchufe/plugin.h>
#include <stdatomic.h>
#include <stdio.h>

struct loopstate_service {
    atomic_uint loops, lines;
};

struct loopstate_loop {
    unsigned id, lines;
};

struct loopstate_conn {
    unsigned lines;
};

enum { LOOPSTATE_LINES, LOOPSTATE_BYTES };
static const char *const loopstate_counters[] = { "lines", "line_bytes", NULL };

static const enchufe_framing loopstate_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 100 };

static int loopstate_start(enchufe_service *service)
{
    enchufe_log(service, ENCHUFE_LOG_INFO, "loopstate start");
    return 0;
}

static void loopstate_stop(enchufe_service *service)
{
    const struct loopstate_service *state = enchufe_service_state(service);
    enchufe_log(service, ENCHUFE_LOG_INFO, "loopstate stop after %u lines",
                atomic_load(&state->lines));
}

static int loopstate_loop_start(enchufe_service *service, enchufe_loop *loop)
{
    struct loopstate_service *state = enchufe_service_state(service);
    struct loopstate_loop *mine = enchufe_loop_state(loop);

    mine->id = atomic_fetch_add(&state->loops, 1) + 1;
    enchufe_log(service, ENCHUFE_LOG_INFO, "loopstate loop_start %u", mine->id);
    return enchufe_loop_service(loop) == service ? 0 : -1;
}

static void loopstate_loop_stop(enchufe_service *service, enchufe_loop *loop)
{
    const struct loopstate_loop *mine = enchufe_loop_state(loop);
    enchufe_log(service, ENCHUFE_LOG_INFO, "loopstate loop_stop %u after %u lines", mine->id,
                mine->lines);
}

static void loopstate_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_loop *loop = enchufe_conn_loop(conn);
    enchufe_service *service = enchufe_conn_service(conn);
    struct loopstate_loop *of_loop = enchufe_loop_state(loop);
    struct loopstate_service *of_service = enchufe_service_state(service);
    struct loopstate_conn *of_conn = enchufe_conn_state(conn);
    char text[200];

    (void)data;
    enchufe_count(loop, LOOPSTATE_LINES, 1);
    enchufe_count(loop, LOOPSTATE_BYTES, len);
    enchufe_count(loop, 16, 1); /* no such counter: ignored */
    int text_len = snprintf(text, sizeof text, "%s conn=%u loop=%u:%u service=%u\n",
                            enchufe_service_name(service), ++of_conn->lines, of_loop->id,
                            ++of_loop->lines, atomic_fetch_add(&of_service->lines, 1) + 1);
    enchufe_write(conn, text, (size_t)text_len);
}

ENCHUFE_PLUGIN(.name = "loopstate", .summary = "counts lines at every level",
               .service_size = sizeof(struct loopstate_service),
               .loop_size = sizeof(struct loopstate_loop),
               .conn_size = sizeof(struct loopstate_conn), .framing = &loopstate_framing,
               .counters = loopstate_counters, .start = loopstate_start, .stop = loopstate_stop,
               .loop_start = loopstate_loop_start, .loop_stop = loopstate_loop_stop,
               .on_message = loopstate_on_message);
