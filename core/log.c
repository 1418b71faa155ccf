/* The log: makes one line of at most LINE_MAX_BYTES in memory of the calling thread; log_sink.c writes
 * it. What a client sent may stand in any string, so nothing in one can end a line, move a cursor or
 * break the JSON. */
#include "log.h"
#include "log_batch.h"
#include "log_sink.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A line with its newline. Under PIPE_BUF, so that a pipe takes it whole. */
#define LINE_MAX_BYTES 4000
/* What the end of a cut line takes: `..."}` and the newline. */
#define LINE_END_BYTES 6
#define TEXT_LIMIT (LINE_MAX_BYTES - LINE_END_BYTES)
/* A long message leaves room for the fields, because a client could otherwise hide its address by
 * sending something long. */
#define MESSAGE_LIMIT (TEXT_LIMIT - 1000)

const char *const log_level_words[] = {
    [ENCHUFE_LOG_ERROR] = "error", [ENCHUFE_LOG_WARNING] = "warning", [ENCHUFE_LOG_INFO] = "info",
    [ENCHUFE_LOG_DEBUG] = "debug", [ENCHUFE_LOG_DEBUG + 1] = NULL,
};
const char *const log_format_words[] = {
    [LOG_TEXT] = "text",
    [LOG_JSON] = "json",
    [LOG_JSON + 1] = NULL,
};

static struct {
    _Atomic int level, format;
} the_log = { .level = ENCHUFE_LOG_INFO };

/* How a string is printed. */
enum style { STYLE_MESSAGE, STYLE_BARE, STYLE_QUOTED, STYLE_JSON };

struct line {
    char bytes[LINE_MAX_BYTES];
    size_t len;
    bool full; /* something did not fit: nothing more is added */
};

/* ---- pieces ---- */

static void put(struct line *line, const char *bytes, size_t len)
{
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
}

static void put_word(struct line *line, const char *word)
{
    put(line, word, strlen(word));
}

/* With zeros in front up to so many digits. (snprintf took half of a line's time.) */
static void put_decimal(struct line *line, uint64_t n, size_t digits)
{
    char text[20], *end = text + sizeof text, *c = end;

    do
        *--c = (char)('0' + n % 10);
    while ((n /= 10) != 0 || (size_t)(end - c) < digits);
    put(line, c, (size_t)(end - c));
}

/* The length of the UTF-8 character at text; 0 for what is none (too long a form and surrogates
 * included). Reads no further than a NUL. */
static size_t utf8_len(const unsigned char *text)
{
    unsigned char first = text[0], low = 0x80, high = 0xbf;
    size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (len < 2 || first > 0xf4)
        return first > 0xf4 ? 0 : len;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < len; i++, low = 0x80, high = 0xbf)
        if (text[i] < low || text[i] > high)
            return 0;
    return len;
}

/* Control characters of ASCII and of Unicode (a terminal obeys some of U+0080 to U+009F), and the
 * separators U+2028 and U+2029, which some readers take for the end of a line. */
static bool is_control(const unsigned char *text, size_t len)
{
    return (len == 1 && (text[0] < 0x20 || text[0] == 0x7f)) ||
           (len == 2 && text[0] == 0xc2 && text[1] < 0xa0) ||
           (len == 3 && text[0] == 0xe2 && text[1] == 0x80 && (text[2] == 0xa8 || text[2] == 0xa9));
}

/* Prints the character at text into out, which has room for 17 bytes. Returns its printed length
 * and sets *took to the bytes that it is made of. */
static size_t escape(enum style style, const unsigned char *text, char *out, size_t *took)
{
    static const char plain[] = "\n\r\t\"\\", letters[] = "nrt\"\\";
    size_t len = utf8_len(text), n = 0;
    const char *known = strchr(plain, text[0]);
    bool quotes = style == STYLE_QUOTED || style == STYLE_JSON;

    *took = len ? len : 1;
    if (known && (quotes || text[0] < 0x20))
        return (size_t)sprintf(out, "\\%c", letters[known - plain]);
    if (len && !is_control(text, len)) {
        memcpy(out, text, len);
        return len;
    }
    if (style != STYLE_JSON) {
        for (size_t i = 0; i < *took; i++)
            n += (size_t)sprintf(out + n, "\\x%02x", text[i]);
        return n;
    }
    if (len == 0)
        return (size_t)sprintf(out, "\xef\xbf\xbd"); /* U+FFFD stands for what cannot be said */
    return (size_t)sprintf(out, "\\u%04x",
                           len == 1   ? text[0]
                           : len == 2 ? text[1]
                                      : 0x2000u + text[2] - 0x80u);
}

/* Whether a value cannot stand bare in a line of text. */
static bool needs_quotes(const char *value)
{
    const unsigned char *c = (const unsigned char *)value;
    size_t len = strcspn(value, " \"");

    if (value[len] != '\0')
        return true;
    for (; *c; c += len) {
        len = utf8_len(c);
        if (len == 0 || is_control(c, len))
            return true;
    }
    return *value == '\0';
}

/* How many bytes at the beginning stand for themselves in every style. Most strings are nothing else. */
static size_t plain_len(const char *string)
{
    size_t len = 0;

    while (string[len] >= ' ' && string[len] < 0x7f && string[len] != '"' && string[len] != '\\')
        len++;
    return len;
}

/* Prints a string, with its quotes, up to limit: a character fits as a whole or not at all. */
static void put_string(struct line *line, enum style style, const char *string, size_t limit)
{
    size_t plain = plain_len(string), took, len;
    bool quotes = style == STYLE_QUOTED || style == STYLE_JSON;
    const unsigned char *c = (const unsigned char *)string;
    char piece[17];

    if (quotes)
        put(line, "\"", 1);
    if (line->len + plain <= limit) {
        put(line, string, plain);
        c += plain;
    }
    for (; *c; c += took) {
        len = escape(style, c, piece, &took);
        if (line->len + len > limit) {
            put(line, "...", 3);
            line->full = limit == TEXT_LIMIT;
            break;
        }
        put(line, piece, len);
    }
    if (quotes)
        put(line, "\"", 1);
}

/* ---- lines ---- */

/* `2026-11-22T14:55:00.123Z`. The broken-down second is kept for each thread, because most lines
 * come in the same second as the one before. */
static void put_time(struct line *line)
{
    static _Thread_local time_t second = -1;
    static _Thread_local char text[sizeof "2026-11-22T14:55:00"];
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != second) {
        gmtime_r(&now.tv_sec, &tm);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
        second = now.tv_sec;
    }
    put_word(line, text);
    put(line, ".", 1);
    put_decimal(line, (uint64_t)now.tv_nsec / 1000000, 3);
    put(line, "Z", 1);
}

static void put_number(struct line *line, const struct log_field *field, enum log_format format)
{
    uint64_t n = field->value.number;

    if (field->type == LOG_FIELD_MS) {
        put_decimal(line, n / 1000, 1);
        put(line, ".", 1);
        put_decimal(line, n % 1000, 3);
        put_word(line, format == LOG_TEXT ? "s" : "");
        return;
    }
    if (field->type == LOG_FIELD_SIGNED && field->value.integer < 0) {
        put(line, "-", 1);
        n = -n;
    }
    put_decimal(line, n, 1);
}

static void put_field(struct line *line, const struct log_field *field, enum log_format format)
{
    /* The name with what stands around it, and a number or the beginning of a string. */
    size_t need = strlen(field->name) + 40;
    enum style style = STYLE_JSON;

    if (field->type == LOG_FIELD_STRING && !field->value.string)
        return;
    if (line->len + need > TEXT_LIMIT) {
        line->full = true;
        put_word(line, format == LOG_TEXT ? "..." : "");
        return;
    }
    put_word(line, format == LOG_TEXT ? " " : ",\"");
    put_word(line, field->name);
    put_word(line, format == LOG_TEXT ? "=" : "\":");
    if (field->type != LOG_FIELD_STRING) {
        put_number(line, field, format);
        return;
    }
    if (format == LOG_TEXT)
        style = needs_quotes(field->value.string) ? STYLE_QUOTED : STYLE_BARE;
    put_string(line, style, field->value.string, TEXT_LIMIT);
}

/* `2026-11-22T14:55:00.123Z info `; the system's log has both of its own, but for JSON, which would not
 * be the same object everywhere. */
static void put_head(struct line *line, int level, enum log_format format)
{
    if (format == LOG_TEXT && log_sink_is_syslog())
        return;
    put_word(line, format == LOG_TEXT ? "" : "{\"time\":\"");
    put_time(line);
    put_word(line, format == LOG_TEXT ? " " : "\",\"level\":\"");
    put_word(line, log_level_words[level]);
    put_word(line, format == LOG_TEXT ? " " : "\",\"message\":");
}

static void make_line(struct line *line, int level, const char *message,
                      const struct log_field *fields, size_t count)
{
    enum log_format format =
        (enum log_format)atomic_load_explicit(&the_log.format, memory_order_relaxed);

    line->len = 0; /* not all of it is zeroed, because that would cost more than the rest */
    line->full = false;
    put_head(line, level, format);
    put_string(line, format == LOG_TEXT ? STYLE_MESSAGE : STYLE_JSON, message,
               count ? MESSAGE_LIMIT : TEXT_LIMIT);
    for (size_t i = 0; i < count && !line->full; i++)
        put_field(line, &fields[i], format);
    put_word(line, format == LOG_TEXT ? "\n" : "}\n");
}

void log_report_lost(void)
{
    uint64_t count = log_sink_in_trouble() ? log_sink_claim() : 0;
    struct line line;

    if (count == 0)
        return;
    /* Whatever log_level is: lines of that level are among them. */
    make_line(&line, ENCHUFE_LOG_WARNING, "log lines lost", &LOG_NUM("count", count), 1);
    log_sink_report(ENCHUFE_LOG_WARNING, line.bytes, line.len, count);
}

void log_write(int level, const char *message, const struct log_field *fields, size_t count)
{
    struct line line;
    int saved = errno;

    if (!enchufe_log_enabled(level))
        return;
    if (level < ENCHUFE_LOG_ERROR)
        level = ENCHUFE_LOG_ERROR;
    make_line(&line, level, message, fields, count);
    if (level < ENCHUFE_LOG_INFO || log_sink_is_syslog())
        log_batch_flush();
    else if (log_batch_keep(line.bytes, line.len))
        goto out;
    log_report_lost();
    log_sink_write(level, line.bytes, line.len);
out:
    errno = saved;
}

void log_line(int level, const char *format, ...)
{
    char message[LINE_MAX_BYTES];
    va_list args;

    if (!enchufe_log_enabled(level))
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    log_write(level, message, NULL, 0);
}

void log_setup(int level, enum log_format format)
{
    atomic_store_explicit(&the_log.level, level, memory_order_relaxed);
    atomic_store_explicit(&the_log.format, format, memory_order_relaxed);
}

bool enchufe_log_enabled(int level)
{
    return level <= atomic_load_explicit(&the_log.level, memory_order_relaxed);
}
