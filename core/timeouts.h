/* How long things may take on a connection of a service: what the configuration says, else what the plugin
 * says, else what the server does. */
#ifndef TIMEOUTS_H
#define TIMEOUTS_H

#include "value.h"
#include <enchufe/plugin.h>

/* TIMEOUT(name, the server's own default, help). A key NAME_timeout of a section and a field
 * NAME_timeout of a plugin. */
/* clang-format off */
#define TIMEOUTS(TIMEOUT)                                                                          \
    TIMEOUT(first_byte, 0, "how long a client may take until it says anything")                    \
    TIMEOUT(idle, 0, "how long a connection may be silent")                                        \
    TIMEOUT(message, 0, "how long a client may take for a message, once it began")                 \
    TIMEOUT(write, 60000, "how long a client may take no output")                                  \
    TIMEOUT(session, 0, "how long a connection may last")
/* clang-format on */

/* In milliseconds; 0: never. */
struct timeouts {
#define TIMEOUT_FIELD(name, standard, help) uint64_t name;
    TIMEOUTS(TIMEOUT_FIELD)
#undef TIMEOUT_FIELD
};

/* What a section's field holds where the file says nothing. */
#define TIMEOUT_UNSAID UINT64_MAX

/* Sets all to TIMEOUT_UNSAID. */
void timeouts_unsaid(struct timeouts *timeouts);

/* What holds for a service: said is what its section or [defaults] says. */
struct timeouts timeouts_resolve(const struct timeouts *said, const enchufe_plugin *plugin);

/* The rows of the timeouts that a plugin says, for options_print(). The strings live in the struct. */
#define TIMEOUT_ONE(name, standard, help) +1
enum { TIMEOUT_COUNT = 0 TIMEOUTS(TIMEOUT_ONE) };
struct timeouts_table {
    enchufe_option rows[TIMEOUT_COUNT + 1];
    char values[TIMEOUT_COUNT][VALUE_TEXT];
};
void timeouts_describe(const enchufe_plugin *plugin, struct timeouts_table *table);

#endif
