/* The log: one line an event, text or JSON. Where the lines go is log_sink.h's. */
#ifndef LOG_H
#define LOG_H

#include <enchufe/plugin.h>

enum log_format { LOG_TEXT = 0, LOG_JSON = 1 };

/* The words of log_level and log_format, in the order of their enums, NULL-terminated. */
extern const char *const log_level_words[];
extern const char *const log_format_words[];

enum log_field_type { LOG_FIELD_STRING, LOG_FIELD_UNSIGNED, LOG_FIELD_SIGNED, LOG_FIELD_MS };

struct log_field {
    const char *name; /* static; letters, digits and `_` */
    enum log_field_type type;
    union {
        const char *string; /* NULL: the field is left out */
        uint64_t number;
        int64_t integer;
    } value;
};

/* LOG_FIELD_MS: milliseconds; text prints `2.001s`, JSON seconds as a number: 2.001. */
#define LOG_STR(field, text)                                                                       \
    ((struct log_field){ .name = (field), .type = LOG_FIELD_STRING, .value.string = (text) })
#define LOG_NUM(field, n)                                                                          \
    ((struct log_field){                                                                           \
        .name = (field), .type = LOG_FIELD_UNSIGNED, .value.number = (uint64_t)(n) })
#define LOG_INT(field, n)                                                                          \
    ((struct log_field){ .name = (field), .type = LOG_FIELD_SIGNED, .value.integer = (n) })
#define LOG_DURATION(field, ms)                                                                    \
    ((struct log_field){ .name = (field), .type = LOG_FIELD_MS, .value.number = (ms) })

/* Before any thread, or again at any time. Without it: text, level info. */
void log_setup(int level, enum log_format format);

/* log_event(ENCHUFE_LOG_INFO, "closed", LOG_STR("service", name), LOG_NUM("in", n));
 * text: `2026-11-22T14:55:00.123Z info closed service=echo in=4`
 * JSON: {"time":"2026-11-22T14:55:00.123Z","level":"info","message":"closed","service":"echo","in":4}
 * In text a value with blanks, quotes or control characters is quoted and escaped. Any thread. */
#define log_event(level, message, ...)                                                             \
    do {                                                                                           \
        if (enchufe_log_enabled(level)) {                                                          \
            const struct log_field log_fields_[] = { __VA_ARGS__ };                                \
            log_write((level), (message), log_fields_, sizeof log_fields_ / sizeof *log_fields_);  \
        }                                                                                          \
    } while (0)

void log_write(int level, const char *message, const struct log_field *fields, size_t count);

/* The same with a formatted message and no fields. */
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes `log lines lost count=N`, where lines were lost and it is possible again. Every line does so
 * before itself; the master also from time to time, since it may be long until the next line (not with
 * `--debug`, where there is none). */
void log_report_lost(void);

#endif
