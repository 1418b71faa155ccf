/* Takes three bytes at a time and leaves the rest: what is not consumed stays in the server, comes
 * again at once where some was consumed, and together with more where none was. The answer to three
 * bytes is the same three backwards. */
#include <enchufe/plugin.h>

static size_t nibbler_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    const char *in = data;

    if (len < 3)
        return 0;
    const char out[] = { in[2], in[1], in[0] };
    enchufe_write(conn, out, sizeof out);
    return sizeof out;
}

ENCHUFE_PLUGIN(.name = "nibbler", .summary = "turns every three bytes around",
               .on_data = nibbler_on_data);
