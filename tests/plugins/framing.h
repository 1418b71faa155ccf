/* What the framing_*.c plugins share: each declares one framing and answers every message with
 * `LENGTH MESSAGE` and a newline, so that a test sees exactly where the server cut the stream. */
#ifndef FRAMING_TEST_H
#define FRAMING_TEST_H

#include <enchufe/plugin.h>
#include <stdio.h>

static void framing_answer(enchufe_conn *conn, const void *data, size_t len)
{
    char head[32];
    int head_len = snprintf(head, sizeof head, "%zu ", len);
    const struct iovec parts[] = {
        { .iov_base = head, .iov_len = (size_t)head_len },
        { .iov_base = (void *)(uintptr_t)data, .iov_len = len },
        { .iov_base = (void *)(uintptr_t) "\n", .iov_len = 1 },
    };
    enchufe_writev(conn, parts, 3);
}

#define FRAMING_PLUGIN(plugin_name, ...)                                                           \
    static const enchufe_framing framing_of_plugin = { __VA_ARGS__ };                              \
    ENCHUFE_PLUGIN(.name = plugin_name, .summary = "answers each message with its length",         \
                   .framing = &framing_of_plugin, .on_message = framing_answer)

#endif
