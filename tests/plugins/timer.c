/* Rings when it is asked to. Commands are lines:
 *   after MS        one `rang` after MS milliseconds; said again, it moves the timer
 *   every MS COUNT  `rang` COUNT times, set again from on_timer itself
 *   cancel          no `rang`; answers `cancelled` */
#include <enchufe/plugin.h>
#include <stdio.h>
#include <string.h>

struct timer_conn {
    uint64_t delay;
    unsigned left;
};

static const enchufe_framing timer_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 100 };

static void timer_say(enchufe_conn *conn, const char *text)
{
    enchufe_write(conn, text, strlen(text));
}

static void timer_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    struct timer_conn *state = enchufe_conn_state(conn);
    unsigned long delay = 0;
    unsigned count = 1;

    (void)len;
    if (sscanf(data, "after %lu", &delay) == 1 ||
        sscanf(data, "every %lu %u", &delay, &count) == 2) {
        *state = (struct timer_conn){ .delay = delay, .left = count };
        enchufe_timer_set(conn, delay);
    } else if (strcmp(data, "cancel") == 0) {
        enchufe_timer_cancel(conn);
        timer_say(conn, "cancelled\n");
    } else {
        timer_say(conn, "what?\n");
    }
}

static void timer_on_timer(enchufe_conn *conn)
{
    struct timer_conn *state = enchufe_conn_state(conn);

    timer_say(conn, "rang\n");
    if (--state->left > 0)
        enchufe_timer_set(conn, state->delay);
}

ENCHUFE_PLUGIN(.name = "timer", .summary = "rings when it is asked to",
               .conn_size = sizeof(struct timer_conn), .framing = &timer_framing,
               .on_message = timer_on_message, .on_timer = timer_on_timer);
