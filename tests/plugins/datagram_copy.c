/* Replies through a copy of the datagram, made by value: nothing of the server stands around the
 * original that the copy would lack. */
#include <enchufe/plugin.h>
#include <stdlib.h>

static void datagram_copy_on_datagram(enchufe_service *service, const enchufe_datagram *in)
{
    enchufe_datagram *copy = malloc(sizeof *copy);

    (void)service;
    if (copy == NULL)
        return;
    *copy = *in;
    enchufe_reply(copy, copy->data, copy->len);
    free(copy);
}

ENCHUFE_PLUGIN(.name = "datagram_copy", .summary = "echoes through a copy",
               .on_datagram = datagram_copy_on_datagram);
