/* Why a connection ended: the one table that feeds log lines, counters and text. The numbers are part
 * of the contract (enum enchufe_reason). */
#ifndef REASONS_H
#define REASONS_H

#include <enchufe/plugin.h>

/* REASON(number's name, name in logs and counters, what a person would say) */
/* clang-format off */
#define REASONS(REASON)                                                                         \
    REASON(BY_CLIENT, "closed-by-client", "the client closed")                                  \
    REASON(BY_PLUGIN, "closed-by-plugin", "the service closed")                                 \
    REASON(ABORTED, "aborted", "the service reset the connection")                              \
    REASON(RESET, "reset", "the client reset the connection")                                   \
    REASON(IDLE, "idle-timeout", "nothing was said for idle_timeout")                           \
    REASON(SLOW_READER, "slow-reader", "the client did not read what it was sent")              \
    REASON(INPUT_FULL, "input-full", "max_input bytes came that the service could not use")     \
    REASON(TOO_LONG, "message-too-long", "the client sent a message that is too long")          \
    REASON(BAD_FRAME, "bad-frame", "the client sent bytes that are no message")                 \
    REASON(CUT_SHORT, "cut-short", "the client closed in the middle of a message")              \
    REASON(NO_MEMORY, "no-memory", "there was no memory for the connection")                    \
    REASON(IO_ERROR, "io-error", "the system refused to send or receive")                       \
    REASON(SHUTDOWN, "shutdown", "the server ended")                                            \
    REASON(PLUGIN_ERROR, "plugin-error", "the service broke the contract of plugins")           \
    REASON(LIMIT, "limit", "max_connections were open already")                                 \
    REASON(FIRST_BYTE, "first-byte-timeout", "nothing was said for first_byte_timeout")         \
    REASON(MESSAGE, "message-timeout", "a message took longer than message_timeout")            \
    REASON(SESSION, "session-timeout", "the connection lasted for session_timeout")             \
    REASON(DENIED, "denied", "the section does not allow this address")                         \
    REASON(SOURCE_LIMIT, "source-limit", "max_connections_per_source were open already")        \
    REASON(SOURCE_RATE, "source-rate", "the source came faster than rate_per_source")          \
    REASON(WORKER_DIED, "worker-died", "the process that served it died")
/* clang-format on */

/* Numbers run from 1, so a table indexed by reason has one row more. */
#define REASON_PLUS_ONE(name, word, text) +1
enum { REASON_COUNT = 1 REASONS(REASON_PLUS_ONE) };

#endif
