/* Sends each datagram to whoever sent the one before: a route that was copied leads back later, from
 * the address that the first datagram was sent to. Serve it with one thread: routes belong to a loop.
 * `big`, `astray` and three kinds of groups try what cannot be done and answer with the error. */
#include <enchufe/plugin.h>
#include <stdio.h>
#include <string.h>

struct pair_loop {
    bool known;
    enchufe_route route;
};

static bool pair_is(const enchufe_datagram *in, const char *word)
{
    return in->len == strlen(word) && memcmp(in->data, word, in->len) == 0;
}

static void pair_answer_error(const enchufe_datagram *in, int error)
{
    char text[40];
    int len = snprintf(text, sizeof text, "error %d", error);
    enchufe_reply(in, text, (size_t)len);
}

/* As if the sender had the address first.middle.middle.last. */
static void pair_send_to(const enchufe_datagram *in, uint8_t first, uint8_t middle, uint8_t last)
{
    enchufe_route group = in->route;

    memcpy(group.peer.ip, (uint8_t[]){ first, middle, middle, last }, 4);
    pair_answer_error(in, enchufe_send(in->loop, &group, "x", 1));
}

static void pair_on_datagram(enchufe_service *service, const enchufe_datagram *in)
{
    static const char too_big[65508];
    struct pair_loop *state = enchufe_loop_state(in->loop);
    enchufe_route astray = in->route;

    (void)service;
    if (pair_is(in, "big")) {
        pair_answer_error(in, enchufe_reply(in, too_big, sizeof too_big));
    } else if (pair_is(in, "astray")) {
        astray.endpoint = 9999;
        pair_answer_error(in, enchufe_send(in->loop, &astray, "x", 1));
    } else if (pair_is(in, "multicast")) {
        pair_send_to(in, 224, 0, 1);
    } else if (pair_is(in, "broadcast")) {
        pair_send_to(in, 255, 255, 255);
    } else if (pair_is(in, "subnet")) {
        pair_send_to(in, 127, 255, 255);
    } else {
        if (state->known)
            enchufe_send(in->loop, &state->route, in->data, in->len);
        state->route = in->route;
        state->known = true;
    }
}

ENCHUFE_PLUGIN(.name = "pair", .summary = "sends each datagram to the sender before",
               .loop_size = sizeof(struct pair_loop), .on_datagram = pair_on_datagram);
