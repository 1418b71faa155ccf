/* What version_one and version_two share: one plugin in two versions. Each answers every byte with that
 * byte exclusive-or its key, worked out in a different function for odd and for even bytes: an answer out
 * of half of one version's code and half of the other's shows. */
#ifndef VERSION_TEST_H
#define VERSION_TEST_H

#include <enchufe/plugin.h>

__attribute__((noinline)) static unsigned char version_even(unsigned char byte)
{
    return byte ^ VERSION_KEY;
}

VERSION_PADDING

__attribute__((noinline)) static unsigned char version_odd(unsigned char byte)
{
    return byte ^ VERSION_KEY;
}

struct version_conn {
    unsigned long count;
};

static void version_answer(const unsigned char *in, unsigned char *out, size_t len,
                           unsigned long from)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (from + i) % 2 == 0 ? version_even(in[i]) : version_odd(in[i]);
}

static size_t version_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    struct version_conn *state = enchufe_conn_state(conn);
    unsigned char out[4096];
    size_t count = len < sizeof out ? len : sizeof out;

    version_answer(data, out, count, state->count);
    state->count += count;
    enchufe_write(conn, out, count);
    return count;
}

static void version_on_datagram(enchufe_service *service, const enchufe_datagram *in)
{
    unsigned char out[4096];
    size_t count = in->len < sizeof out ? in->len : sizeof out;

    (void)service;
    version_answer(in->data, out, count, 0);
    enchufe_reply(in, out, count);
}

ENCHUFE_PLUGIN(.name = "version", .summary = "answers so that its version shows",
               .conn_size = sizeof(struct version_conn), .on_data = version_on_data,
               .on_datagram = version_on_datagram);

#endif
