/* Crashes when told to, in the callback it is told to; otherwise it echoes. Each command is a byte:
 *   s  a bad pointer          t  crash in on_timer, soon
 *   a  abort()                e  crash in on_eof
 *   x  exit(3)                c  close, and crash in on_close
 *   o  the stack overflows    h  hang: the callback never returns
 *   n  a call through a null pointer
 *   i  a trap                 d  crash in on_drain
 * A datagram that starts with `s` crashes on_datagram. With `on_open = yes` every connection does. */
#include <enchufe/plugin.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct crash_settings {
    bool on_open;
};

struct crash_conn {
    bool in_eof, in_close, in_drain;
};

static const enchufe_option crash_options[] = {
    { .name = "on_open",
      .type = ENCHUFE_OPTION_BOOL,
      .value = "no",
      .offset = offsetof(struct crash_settings, on_open),
      .help = "crash when somebody connects" },
    { .name = NULL },
};

static void crash_by_pointer(void)
{
    volatile uintptr_t nowhere = 16; /* the first page is never mapped */
    *(volatile char *)nowhere = 1;
}

/* Every call keeps a page of its own alive, and uses it after the call, so that the compiler cannot
 * turn the recursion into a loop. The condition is there for the compiler's warning. */
static unsigned crash_by_depth(unsigned depth)
{
    volatile char page[4096];
    page[depth % sizeof page] = (char)depth;
    return (depth == 0 ? 0 : crash_by_depth(depth + 1)) + (unsigned)page[depth % sizeof page];
}

static void crash_by_call(void)
{
    void (*volatile nowhere)(void) = NULL;
    nowhere();
}

/* Unlike a fault, a trap is over when its handler returns: the next instruction would run. */
static void crash_by_trap(void)
{
#if defined __x86_64__ || defined __i386__
    __asm__ volatile("int3");
#else
    raise(SIGTRAP);
#endif
}

static void crash_on_open(enchufe_conn *conn)
{
    const struct crash_settings *settings = enchufe_conn_settings(conn);
    if (settings->on_open)
        crash_by_pointer();
}

static void crash_command(enchufe_conn *conn, char command)
{
    struct crash_conn *state = enchufe_conn_state(conn);

    switch (command) {
    case 's':
        crash_by_pointer();
        break;
    case 'a':
        abort();
    case 'x':
        exit(3);
    case 'o':
        crash_by_depth(1);
        break;
    case 'h':
        for (;;)
            pause();
    case 'n':
        crash_by_call();
        break;
    case 'i':
        crash_by_trap();
        break;
    case 'd':
        state->in_drain = true;
        enchufe_write(conn, "d", 1);
        break;
    case 't':
        enchufe_timer_set(conn, 1);
        break;
    case 'e':
        state->in_eof = true;
        break;
    case 'c':
        state->in_close = true;
        enchufe_close(conn);
        break;
    default:
        enchufe_write(conn, &command, 1);
    }
}

static size_t crash_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    const char *commands = data;
    for (size_t i = 0; i < len; i++)
        crash_command(conn, commands[i]);
    return len;
}

static void crash_on_timer(enchufe_conn *conn)
{
    (void)conn;
    crash_by_pointer();
}

static void crash_on_eof(enchufe_conn *conn)
{
    const struct crash_conn *state = enchufe_conn_state(conn);
    if (state->in_eof)
        crash_by_pointer();
    enchufe_close(conn);
}

static void crash_on_drain(enchufe_conn *conn)
{
    const struct crash_conn *state = enchufe_conn_state(conn);
    if (state->in_drain)
        crash_by_pointer();
}

static void crash_on_close(enchufe_conn *conn, int reason)
{
    const struct crash_conn *state = enchufe_conn_state(conn);
    (void)reason;
    if (state->in_close)
        crash_by_pointer();
}

static void crash_on_datagram(enchufe_service *service, const enchufe_datagram *in)
{
    (void)service;
    if (in->len > 0 && *(const char *)in->data == 's')
        crash_by_pointer();
    enchufe_reply(in, in->data, in->len);
}

ENCHUFE_PLUGIN(.name = "crash", .summary = "crashes when told to", .options = crash_options,
               .settings_size = sizeof(struct crash_settings),
               .conn_size = sizeof(struct crash_conn), .on_open = crash_on_open,
               .on_data = crash_on_data, .on_eof = crash_on_eof, .on_timer = crash_on_timer,
               .on_drain = crash_on_drain, .on_close = crash_on_close,
               .on_datagram = crash_on_datagram);
