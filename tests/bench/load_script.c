/* The protocols of the load on streams: what is asked, and what must come back. */
#include "common.h"
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A prime, so that no power of two that a server may get wrong goes unseen. */
#define ECHO_PERIOD 65521u

static const struct {
    const char *protocol, *ask, *answer;
} texts[] = {
    { .protocol = "hola", .ask = "hola", .answer = "pues hola" },
    { .protocol = "ping", .ask = "PING\r\n", .answer = "+PONG\r\n" },
};

/* One period at `text`, repeated until any slice fits behind any place of it. Its memory is the caller's `out`. */
static const char *repeat(char *out, const char *text, size_t period)
{
    for (size_t i = 0; i < period + SCRIPT_SLICE; i++)
        out[i] = text[i % period];
    return out;
}

static char asked[ECHO_PERIOD + SCRIPT_SLICE], answered[ECHO_PERIOD + SCRIPT_SLICE];

static struct script echo_script(size_t size)
{
    static char text[ECHO_PERIOD];
    uint32_t state = 2463534242u;

    for (size_t i = 0; i < ECHO_PERIOD; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        text[i] = (char)(state >> 24);
    }
    const char *both = repeat(asked, text, ECHO_PERIOD);
    return (struct script){ .ask = both,
                            .answer = both,
                            .ask_period = ECHO_PERIOD,
                            .answer_period = ECHO_PERIOD,
                            .ask_size = size,
                            .answer_size = size,
                            .seeded = true };
}

struct script script_make(const char *protocol, size_t size)
{
    if (strcmp(protocol, "echo") == 0)
        return echo_script(size);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(protocol, texts[i].protocol) != 0)
            continue;
        size_t ask = strlen(texts[i].ask), answer = strlen(texts[i].answer);
        return (struct script){ .ask = repeat(asked, texts[i].ask, ask),
                                .answer = repeat(answered, texts[i].answer, answer),
                                .ask_period = ask,
                                .answer_period = answer,
                                .ask_size = ask,
                                .answer_size = answer };
    }
    errno = 0;
    die("%s is no protocol", protocol);
}
