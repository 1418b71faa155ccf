/* echo: sends back what it receives, on streams and as datagrams (RFC 862). */
#include <enchufe/plugin.h>

static size_t echo_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_write(conn, data, len);
    return len;
}

static void echo_on_datagram(enchufe_service *service, const enchufe_datagram *in)
{
    (void)service;
    enchufe_reply(in, in->data, in->len);
}

ENCHUFE_PLUGIN(.name = "echo", .version = "0.1.0",
               .summary = "sends back what it receives (RFC 862)", .on_data = echo_on_data,
               .on_datagram = echo_on_datagram);
