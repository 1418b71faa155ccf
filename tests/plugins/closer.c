/* Ends the connection and goes on calling: after a close every call is harmless, and says so.
 *   c  close, after what was written has been sent       a  abort: a reset, nothing more is sent
 * Anything else is echoed. What the calls returned stands in the log. */
#include <enchufe/plugin.h>

struct closer_conn {
    bool ended;
};

static void closer_go_on_calling(enchufe_conn *conn)
{
    const struct iovec part = { .iov_base = (void *)(uintptr_t) "late", .iov_len = 4 };
    enchufe_ref *ref = enchufe_ref_get(conn);

    enchufe_pause(conn);
    enchufe_resume(conn);
    enchufe_timer_set(conn, 0);
    enchufe_timer_cancel(conn);
    enchufe_close(conn);
    enchufe_conn_log(conn, ENCHUFE_LOG_INFO, "closer write %d writev %d ref %s",
                     enchufe_write(conn, "late", 4), enchufe_writev(conn, &part, 1),
                     ref == NULL ? "none" : "some");
    enchufe_ref_release(ref);
}

static size_t closer_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    struct closer_conn *state = enchufe_conn_state(conn);
    const char command = *(const char *)data;

    (void)len;
    if (state->ended)
        enchufe_conn_log(conn, ENCHUFE_LOG_ERROR, "closer called after a close");
    if (command != 'c' && command != 'a') {
        enchufe_write(conn, &command, 1);
        return 1;
    }
    enchufe_write(conn, "last words", 10);
    if (command == 'c')
        enchufe_close(conn);
    else
        enchufe_abort(conn);
    state->ended = true;
    closer_go_on_calling(conn);
    return 1;
}

static void closer_on_close(enchufe_conn *conn, int reason)
{
    enchufe_write(conn, "later", 5);
    enchufe_close(conn);
    enchufe_conn_log(conn, ENCHUFE_LOG_INFO, "closer on_close %s", enchufe_reason_name(reason));
}

ENCHUFE_PLUGIN(.name = "closer", .summary = "closes, and goes on calling",
               .conn_size = sizeof(struct closer_conn), .on_data = closer_on_data,
               .on_close = closer_on_close);
