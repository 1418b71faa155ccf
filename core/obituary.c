/* The line about a worker's death. Nothing in shared memory is trusted: the worker that wrote it may have
 * overwritten it as it fell. */
#include "obituary.h"
#include "backtrace.h"
#include "log.h"
#include <stdio.h>
#include <sys/wait.h>

struct blame {
    int service;                          /* -1: nobody */
    const char *name, *plugin, *callback; /* NULL where unknown */
};

static struct blame find_blame(const struct obituary *about)
{
    enum callback callback;
    int service = trace_blame(about->trace, &callback);
    struct blame blame = { .service = -1, .callback = callback_name(callback) };

    if (service < 0 || (size_t)service >= about->config->service_count)
        return blame;
    blame.service = service;
    blame.name = about->config->services[service].name;
    blame.plugin = about->config->services[service].plugin;
    return blame;
}

static void log_stuck(const struct obituary *about, const struct blame *blame)
{
    log_event(ENCHUFE_LOG_ERROR, "worker stuck", LOG_STR("worker", about->worker),
              LOG_INT("pid", about->pid), LOG_STR("service", blame->name),
              LOG_STR("plugin", blame->plugin), LOG_STR("callback", blame->callback),
              LOG_DURATION("for", about->trace->stuck_ms));
}

static void log_crashed(const struct obituary *about, const struct blame *blame, const char *signal,
                        int status)
{
    char address[32], code[16];

    snprintf(address, sizeof address, "0x%llx", (unsigned long long)about->trace->address);
    snprintf(code, sizeof code, "%d", WEXITSTATUS(status));
    log_event(ENCHUFE_LOG_ERROR, signal != NULL ? "worker crashed" : "worker ended",
              LOG_STR("worker", about->worker), LOG_INT("pid", about->pid),
              LOG_STR("service", blame->name), LOG_STR("plugin", blame->plugin),
              LOG_STR("callback", blame->callback), LOG_STR("signal", signal),
              LOG_STR("address", about->trace->has_address ? address : NULL),
              LOG_STR("status", signal == NULL ? code : NULL));
}

int obituary_write(const struct obituary *about, int status, char summary[OBITUARY_TEXT])
{
    const struct trace *trace = about->trace;
    struct blame blame = find_blame(about);
    int number = trace->signal != 0 ? trace->signal : WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const char *signal = number != 0 ? trace_signal_name(number) : NULL;
    char cause[32];

    if (trace->stuck_ms != 0) {
        log_stuck(about, &blame);
        snprintf(cause, sizeof cause, "stuck");
    } else {
        log_crashed(about, &blame, signal, status);
        if (signal != NULL)
            snprintf(cause, sizeof cause, "%s", signal);
        else
            snprintf(cause, sizeof cause, "exit status %d", WEXITSTATUS(status));
    }
    backtrace_log(&trace->backtrace, about->worker, about->pid);
    if (blame.name != NULL && blame.callback != NULL)
        snprintf(summary, OBITUARY_TEXT, "%s in %s of %s", cause, blame.callback, blame.name);
    else
        snprintf(summary, OBITUARY_TEXT, "%s outside of all callbacks", cause);
    return blame.service;
}

int obituary_killed(const struct obituary *about, const char *why, char summary[OBITUARY_TEXT])
{
    struct blame blame = find_blame(about);
    char text[OBITUARY_TEXT];

    snprintf(text, sizeof text, "worker %s, and is killed", why);
    log_event(ENCHUFE_LOG_ERROR, text, LOG_STR("worker", about->worker), LOG_INT("pid", about->pid),
              LOG_STR("service", blame.name), LOG_STR("callback", blame.callback));
    if (blame.name != NULL && blame.callback != NULL)
        snprintf(summary, OBITUARY_TEXT, "worker %s %s: %s of %s does not return", about->worker,
                 why, blame.callback, blame.name);
    else
        snprintf(summary, OBITUARY_TEXT, "worker %s %s", about->worker, why);
    return blame.service;
}
