/* Echoes, but a `P` in the stream pauses its input for 200 ms: what follows waits, in the server up to
 * a bound and then in the client, and comes when on_timer resumes. */
#include <enchufe/plugin.h>
#include <string.h>

enum { PAUSER_MS = 200 };

struct pauser_conn {
    bool paused;
};

static size_t pauser_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    struct pauser_conn *state = enchufe_conn_state(conn);
    const char *pause = memchr(data, 'P', len);
    size_t before = pause == NULL ? len : (size_t)(pause - (const char *)data);

    if (state->paused)
        enchufe_write(conn, "(called while paused)", 21);
    enchufe_write(conn, data, before);
    if (pause == NULL)
        return len;
    state->paused = true;
    enchufe_pause(conn);
    enchufe_timer_set(conn, PAUSER_MS);
    return before + 1;
}

static void pauser_on_timer(enchufe_conn *conn)
{
    struct pauser_conn *state = enchufe_conn_state(conn);

    state->paused = false;
    enchufe_write(conn, "(resumed)", 9);
    enchufe_resume(conn);
}

ENCHUFE_PLUGIN(.name = "pauser", .summary = "echoes with pauses",
               .conn_size = sizeof(struct pauser_conn), .on_data = pauser_on_data,
               .on_timer = pauser_on_timer);
