/* Has timeouts of its own: a line must be whole 300 ms after its first byte, a connection may last for a
 * day, and a client may read as slowly as it likes. Answers each line with itself; the line `wait` pauses
 * the input for 900 ms. */
#include <enchufe/plugin.h>
#include <string.h>

static const enchufe_framing hurried_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 100000 };

static void hurried_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_write(conn, data, len);
    enchufe_write(conn, "\n", 1);
    if (strcmp(data, "wait") != 0)
        return;
    enchufe_pause(conn);
    enchufe_timer_set(conn, 900);
}

ENCHUFE_PLUGIN(.name = "hurried", .summary = "has timeouts of its own", .framing = &hurried_framing,
               .on_message = hurried_on_message, .on_timer = enchufe_resume, .message_timeout = 300,
               .write_timeout = ENCHUFE_NEVER, .session_timeout = 24 * 3600 * 1000);
