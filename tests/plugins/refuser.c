/* Refuses to serve, at the step that its option `at` names: the server says which service it was and
 * does not come up. */
#include <enchufe/plugin.h>
#include <errno.h>
#include <unistd.h>

enum refuser_at { REFUSER_NEVER, REFUSER_CHECK, REFUSER_START, REFUSER_LOOP_START };

struct refuser_settings {
    int at;
    bool hangs;
};

static const char *const refuser_steps[] = { "never", "check", "start", "loop_start", NULL };

static const enchufe_option refuser_options[] = {
    { .name = "at",
      .type = ENCHUFE_OPTION_ENUM,
      .offset = offsetof(struct refuser_settings, at),
      .value = "never",
      .choices = refuser_steps,
      .help = "the step that fails" },
    { .name = "hangs",
      .type = ENCHUFE_OPTION_BOOL,
      .offset = offsetof(struct refuser_settings, hangs),
      .value = "no",
      .help = "it does not return at all" },
    { .name = NULL },
};

static int refuser_at(const enchufe_service *service)
{
    const struct refuser_settings *settings = enchufe_service_settings(service);
    return settings->at;
}

static int refuser_fail(const enchufe_service *service)
{
    const struct refuser_settings *settings = enchufe_service_settings(service);

    while (settings->hangs)
        pause();
    return -EADDRNOTAVAIL;
}

static int refuser_check(enchufe_service *service)
{
    if (refuser_at(service) != REFUSER_CHECK)
        return 0;
    enchufe_option_error(service, "at", "this service was told to refuse, write at = %s",
                         refuser_steps[REFUSER_NEVER]);
    return -EINVAL;
}

static int refuser_start(enchufe_service *service)
{
    return refuser_at(service) == REFUSER_START ? refuser_fail(service) : 0;
}

static int refuser_loop_start(enchufe_service *service, enchufe_loop *loop)
{
    (void)loop;
    return refuser_at(service) == REFUSER_LOOP_START ? refuser_fail(service) : 0;
}

static size_t refuser_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_write(conn, data, len);
    return len;
}

ENCHUFE_PLUGIN(.name = "refuser", .summary = "fails to start where it is told to",
               .options = refuser_options, .settings_size = sizeof(struct refuser_settings),
               .check = refuser_check, .start = refuser_start, .loop_start = refuser_loop_start,
               .on_data = refuser_on_data);
