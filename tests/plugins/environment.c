/* Answers each line, the name of a variable of the environment, with its value or `unset`. */
#include <enchufe/plugin.h>
#include <stdlib.h>
#include <string.h>

static const enchufe_framing environment_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 100 };

static void environment_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    const char *value = getenv(data);

    (void)len;
    if (value == NULL)
        value = "unset";
    enchufe_write(conn, value, strlen(value));
    enchufe_write(conn, "\n", 1);
}

ENCHUFE_PLUGIN(.name = "environment", .summary = "tells what a plugin sees of the environment",
               .framing = &environment_framing, .on_message = environment_on_message);
