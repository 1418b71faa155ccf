/* What a server of the measure answers: the same for the limit and for the peers, so that they differ in
 * nothing but how they wait, receive and send. `echo` answers with what came; `hola` takes the token and
 * answers each with `pues hola`, and anything else ends the connection. */
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define REPLY_INPUT 65536 /* the most that a server receives at once */
#define REPLY_TOKEN "hola"
#define REPLY_ANSWER "pues hola"

struct reply {
    bool hola;
    char answers[(REPLY_INPUT / (sizeof REPLY_TOKEN - 1) + 1) * (sizeof REPLY_ANSWER - 1)];
};

static inline void reply_init(struct reply *reply, bool hola)
{
    reply->hola = hola;
    for (size_t i = 0; i + sizeof REPLY_ANSWER - 1 <= sizeof reply->answers;
         i += sizeof REPLY_ANSWER - 1)
        memcpy(reply->answers + i, REPLY_ANSWER, sizeof REPLY_ANSWER - 1);
}

/* Makes the answer to len bytes at data. `matched`, of the connection, is how many bytes of a token came
 * before. Returns where the answer is, and its length in *answer_len; NULL for what is no token. */
static inline const char *reply_make(const struct reply *reply, const char *data, size_t len,
                                     unsigned char *matched, size_t *answer_len)
{
    const size_t token = sizeof REPLY_TOKEN - 1;
    size_t count = 0, at = *matched;

    *answer_len = len;
    if (!reply->hola)
        return data;
    for (size_t i = 0; i < len; i++) {
        if (data[i] != REPLY_TOKEN[at])
            return NULL;
        if (++at == token) {
            at = 0;
            count++;
        }
    }
    *matched = (unsigned char)at;
    *answer_len = count * (sizeof REPLY_ANSWER - 1);
    return reply->answers;
}

#endif
