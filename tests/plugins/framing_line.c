/* Messages that are lines. The line framing also promises a NUL byte after each message, so that a
 * plugin may treat it as a string. */
#include "framing.h"
#include <string.h>

static const enchufe_framing line_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 64 };

static void line_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    if (((const char *)data)[len] != '\0')
        enchufe_write(conn, "no NUL ", strlen("no NUL "));
    framing_answer(conn, data, len);
}

ENCHUFE_PLUGIN(.name = "framing_line", .summary = "answers each line with its length",
               .framing = &line_framing, .on_message = line_on_message);
