/* Which timeouts hold for a service. */
#include "timeouts.h"
#include <stdio.h>

void timeouts_unsaid(struct timeouts *timeouts)
{
#define TIMEOUT_FORGET(name, standard, help) timeouts->name = TIMEOUT_UNSAID;
    TIMEOUTS(TIMEOUT_FORGET)
}

/* Whoever runs the server has the last word, also in [defaults]: it says "every service", and who wrote it
 * did not read every plugin. */
static uint64_t resolve(uint64_t said, uint64_t plugins, uint64_t standard)
{
    if (said != TIMEOUT_UNSAID)
        return said;
    if (plugins == 0)
        return standard;
    /* Also what cannot be added to a time. */
    return plugins > INT64_MAX ? 0 : plugins;
}

struct timeouts timeouts_resolve(const struct timeouts *said, const enchufe_plugin *plugin)
{
    return (struct timeouts){
#define TIMEOUT_RESOLVE(name, standard, help)                                                      \
    .name = resolve(said->name, plugin->name##_timeout, standard),
        TIMEOUTS(TIMEOUT_RESOLVE)
    };
}

static enchufe_option describe(const char *name, uint64_t plugins, const char *help,
                               char value[VALUE_TEXT])
{
    static const char *const never[] = { "never", NULL };

    if (plugins > INT64_MAX)
        snprintf(value, VALUE_TEXT, "%s", never[0]);
    else
        value_format_duration((int64_t)plugins, value);
    return (enchufe_option){ .name = name,
                             .type = ENCHUFE_OPTION_DURATION,
                             .value = value,
                             .choices = never,
                             .help = help };
}

void timeouts_describe(const enchufe_plugin *plugin, struct timeouts_table *table)
{
    size_t n = 0;

    *table = (struct timeouts_table){ .rows = { { .name = NULL } } };
#define TIMEOUT_DESCRIBE(field, standard, text)                                                    \
    if (plugin->field##_timeout != 0) {                                                            \
        table->rows[n] =                                                                           \
            describe(#field "_timeout", plugin->field##_timeout, text, table->values[n]);          \
        n++;                                                                                       \
    }
    TIMEOUTS(TIMEOUT_DESCRIBE)
}
