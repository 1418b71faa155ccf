/* Logs every line that it gets, at the level that the first word names; `later` is a warning of a thread of its own,
 * after a second in which the loop has nothing to do. */
#include <enchufe/plugin.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static const char *const logger_levels[] = { "error", "warning", "info", "debug" };

static const enchufe_framing logger_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 20000 };

static void *logger_later(void *service)
{
    sleep(1);
    enchufe_log(service, ENCHUFE_LOG_WARNING, "logger says it later");
    return NULL;
}

static void logger_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    const char *text = data;

    pthread_t thread;

    (void)len;
    if (strcmp(text, "later") == 0 &&
        pthread_create(&thread, NULL, logger_later, enchufe_conn_service(conn)) == 0)
        pthread_detach(thread);
    for (int level = ENCHUFE_LOG_ERROR; level <= ENCHUFE_LOG_DEBUG; level++) {
        size_t word = strlen(logger_levels[level]);
        if (strncmp(text, logger_levels[level], word) == 0 && text[word] == ' ')
            enchufe_conn_log(conn, level, "logger says %s", text + word + 1);
    }
    enchufe_write(conn, enchufe_log_enabled(ENCHUFE_LOG_DEBUG) ? "debug\n" : "logged\n",
                  enchufe_log_enabled(ENCHUFE_LOG_DEBUG) ? 6 : 7);
}

ENCHUFE_PLUGIN(.name = "logger", .summary = "logs every line", .framing = &logger_framing,
               .on_message = logger_on_message);
