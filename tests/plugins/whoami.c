/* Tells each client who it is and where it arrived; for datagrams as well. */
#include <enchufe/plugin.h>
#include <stdio.h>

static int whoami_text(char *text, size_t size, const enchufe_service *service,
                       const enchufe_address *peer, const enchufe_address *local)
{
    char peer_text[ENCHUFE_ADDRESS_TEXT], local_text[ENCHUFE_ADDRESS_TEXT];
    return snprintf(text, size, "%s peer=%s local=%s\n", enchufe_service_name(service),
                    enchufe_address_format(peer, peer_text, sizeof peer_text),
                    enchufe_address_format(local, local_text, sizeof local_text));
}

static void whoami_on_open(enchufe_conn *conn)
{
    char text[256];
    enchufe_address local;

    if (enchufe_conn_local(conn, &local) != 0) {
        enchufe_abort(conn);
        return;
    }
    int len =
        whoami_text(text, sizeof text, enchufe_conn_service(conn), enchufe_conn_peer(conn), &local);
    enchufe_write(conn, text, (size_t)len);
    enchufe_close(conn);
}

static size_t whoami_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data;
    return len;
}

static void whoami_on_datagram(enchufe_service *service, const enchufe_datagram *in)
{
    char text[256];
    int len = whoami_text(text, sizeof text, service, &in->route.peer, &in->route.local);
    enchufe_reply(in, text, (size_t)len);
}

ENCHUFE_PLUGIN(.name = "whoami", .summary = "tells clients who they are", .on_open = whoami_on_open,
               .on_data = whoami_on_data, .on_datagram = whoami_on_datagram);
