/* Cuts a stream into messages. Pure: looks at bytes, keeps nothing. */
#ifndef FRAMING_H
#define FRAMING_H

#include <enchufe/plugin.h>

/* What stands at the front of the input. */
struct frame {
    /* 1: a whole message; 0: more bytes are needed; else -EMSGSIZE (longer than max) or -EBADMSG
     * (not what the framing reads). */
    int status;
    size_t offset;  /* status 1: where the message starts, */
    size_t len;     /* how long it is, */
    size_t size;    /* and how many bytes it took with header and ending */
    size_t scanned; /* status 0: bytes that need not be looked at again; pass them back */
};

/* Finds the first message in data. max: the longest message allowed (at most framing->max); scanned:
 * from the last call with the same front, else 0. */
struct frame framing_next(const enchufe_framing *framing, size_t max, const unsigned char *data,
                          size_t len, size_t scanned);

/* At the end of the stream: the same for what is left. LINE takes it as a last message; every other
 * framing, and nothing left, is status 0. */
struct frame framing_last(const enchufe_framing *framing, const unsigned char *data, size_t len);

/* The most bytes that one message takes with header and ending: what a connection must be able to
 * keep. */
size_t framing_overhead(const enchufe_framing *framing);

/* Checks a framing that a plugin brought. Returns NULL, or a static sentence that says what is wrong. */
const char *framing_check(const enchufe_framing *framing);

#endif
