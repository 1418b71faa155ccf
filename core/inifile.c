/* One INI file, line by line. inih splits keys from values and cuts comments; its reader
 * callback, here, sees every line first. Every line that inih shall not see is handed over as an
 * empty one. */
#include "inifile.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLANKS " \t"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

/* After so many lines that are none of an INI file, it is some other file. */
#define MAX_BAD_LINES 100

/* What the last line that was not empty was: whether an indented line continues something. */
enum before { BEFORE_NOTHING, BEFORE_KEY, BEFORE_REFUSED };

struct reader {
    FILE *in;
    const struct inifile_events *events;
    void *user;
    struct report *report;
    struct place place; /* the line that inih has in hand */
    enum before before;
    unsigned bad_lines;
    bool expects_key; /* inih was given a line that should make it call the handler */
    bool continues;   /* that line continues a value */
    bool stopped;     /* the rest of the file is not read */
    char excerpt[80]; /* of that line, for an error */
};

static void refuse_line(struct reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void refuse_line(struct reader *reader, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    report_addv(reader->report, &reader->place, format, args);
    va_end(args);
    reader->before = BEFORE_REFUSED;
    if (++reader->bad_lines == MAX_BAD_LINES) {
        report_add(reader->report, &reader->place,
                   "the rest is not read, since so many lines are wrong; is this the right file?");
        reader->stopped = true;
    }
}

/* inih tells of a line without "=" only at the end, and only of the first one; but its handler
 * was then not called. */
static void check_last_line(struct reader *reader)
{
    if (reader->expects_key)
        refuse_line(reader, "no \"=\" in \"%s\": a line is [section], key = value, or a comment",
                    reader->excerpt);
    reader->expects_key = false;
}

static void refuse_byte(struct reader *reader, int byte)
{
    report_add(reader->report, &reader->place,
               "is no text: it holds the control character 0x%02x; the rest is not read", byte);
    reader->stopped = true;
}

/* Reads one line without its ending; what does not fit into buffer is only counted, so that a
 * line of any length costs no memory. Returns false at the end of the file and on bytes that are
 * no text. */
static bool read_line(struct reader *reader, char *buffer, size_t size, size_t *len)
{
    int c = getc_unlocked(reader->in);

    *len = 0;
    if (c == EOF)
        return false;
    reader->place.line++;
    for (; c != EOF && c != '\n'; c = getc_unlocked(reader->in)) {
        if (c == '\r') {
            int next = getc_unlocked(reader->in);
            if (next == '\n' || next == EOF)
                break;
        }
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            refuse_byte(reader, c);
            return false;
        }
        if (*len < size - 1)
            buffer[*len] = (char)c;
        (*len)++;
    }
    buffer[*len < size - 1 ? *len : size - 1] = '\0';
    if (reader->place.line == 1 && strncmp(buffer, "\xef\xbb\xbf", 3) == 0) {
        memmove(buffer, buffer + 3, strlen(buffer + 3) + 1);
        *len -= 3;
    }
    return true;
}

/* The first `;` behind a blank starts a comment, as it does for inih. */
static void cut_comment(char *text)
{
    size_t len = strlen(text);

    for (size_t i = 1; i < len; i++) {
        if (text[i] == ';' && strchr(BLANKS, text[i - 1])) {
            len = i;
            break;
        }
    }
    while (len > 0 && strchr(BLANKS, text[len - 1]))
        len--;
    text[len] = '\0';
}

/* text starts with the bracket. */
static void read_header(struct reader *reader, char *text)
{
    cut_comment(text);
    char *name = text + 1 + strspn(text + 1, BLANKS);
    char *end = strchr(name, ']');
    const char *behind = end ? end + 1 : "";

    if (!end)
        refuse_line(reader, "no \"]\" in \"%.60s\": a section starts with [NAME]", text);
    else if (*behind)
        refuse_line(reader, "\"%.60s\" stands behind the section's name; begin a new line for it",
                    behind + strspn(behind, BLANKS));
    if (end)
        *end = '\0';
    for (size_t len = strlen(name); len > 0 && strchr(BLANKS, name[len - 1]); len--)
        name[len - 1] = '\0';
    if (end && (!*name || name[strspn(name, LETTERS)] || strlen(name) > INIFILE_SECTION_MAX))
        refuse_line(reader,
                    "\"%.60s\" is no name for a section: letters, digits, - and _, at most %d",
                    name, INIFILE_SECTION_MAX);
    reader->before = BEFORE_NOTHING;
    reader->events->section(reader->user, name, reader->place.line);
}

/* Whether it reads `word =`, which people also indent. */
static bool looks_like_key(const char *text)
{
    const char *end = text + strspn(text, LETTERS);

    return end > text && end[strspn(end, BLANKS)] == '=';
}

/* Turns the line into what inih shall see. */
static void prepare_line(struct reader *reader, char *line, size_t len, size_t size)
{
    char *text = line + strspn(line, BLANKS);
    bool ordinary = text == line || looks_like_key(text) || reader->before == BEFORE_NOTHING;

    if (!*text || *text == ';' || *text == '#') {
        *line = '\0';
    } else if (*text == '[') {
        read_header(reader, text);
        *line = '\0';
    } else if (len > size - 1) {
        refuse_line(reader,
                    "the line has %zu characters, and at most %zu are read; a list or listen "
                    "may go on in an indented line",
                    len, size - 1);
        *line = '\0';
    } else if (!ordinary && reader->before == BEFORE_REFUSED) {
        *line = '\0';
    } else {
        reader->expects_key = true;
        reader->continues = !ordinary;
        if (reader->continues)
            cut_comment(text);
        else
            memmove(line, text, strlen(text) + 1);
        snprintf(reader->excerpt, sizeof reader->excerpt, "%.*s", (int)sizeof reader->excerpt - 1,
                 reader->continues ? text : line);
    }
}

/* inih's reader: the next line into buffer, or NULL at the end. */
static char *next_line(char *buffer, int size, void *stream)
{
    struct reader *reader = stream;
    size_t len;

    check_last_line(reader);
    if (reader->stopped || !read_line(reader, buffer, (size_t)size, &len))
        return NULL;
    prepare_line(reader, buffer, len, (size_t)size);
    return buffer;
}

/* inih's handler. Its section is ignored: inih cuts long names, and sees no two sections of one
 * name. */
static int take_key(void *user, const char *section, const char *key, const char *value)
{
    struct reader *reader = user;

    (void)section;
    reader->expects_key = false;
    if (reader->continues) {
        reader->events->more(reader->user, value, reader->place.line);
    } else if (!*key || key[strspn(key, LETTERS)]) {
        reader->expects_key = !strchr(reader->excerpt, '=');
        if (!reader->expects_key)
            refuse_line(reader,
                        "\"%.60s\" is no key: a key is one word of letters, digits, - and _", key);
    } else {
        reader->before = BEFORE_KEY;
        reader->events->key(reader->user, key, value, reader->place.line);
    }
    return 1;
}

/* Returns the open file, or NULL with the reason in report. */
static FILE *open_file(const char *file, struct report *report)
{
    const struct place place = { .file = file };
    /* A FIFO must not hang the server at a reload; /dev/fd/N is what `<(...)` gives. */
    bool device = strncmp(file, "/dev/", 5) == 0;
    int fd = open(file, O_RDONLY | O_CLOEXEC | (device ? 0 : O_NONBLOCK));
    FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL;
    struct stat status;

    if (!in) {
        report_add(report, &place, "cannot be read: %s", strerror(errno));
        return NULL;
    }
    if (fstat(fileno(in), &status) == 0 && S_ISDIR(status.st_mode)) {
        report_add(report, &place, "is a directory; a configuration file is wanted");
        fclose(in);
        return NULL;
    }
    if (!device && fstat(fileno(in), &status) == 0 && !S_ISREG(status.st_mode)) {
        report_add(report, &place, "is not a regular file");
        fclose(in);
        return NULL;
    }
    return in;
}

int inifile_read(const char *file, const struct inifile_events *events, void *user,
                 struct report *report)
{
    struct reader reader = {
        .events = events, .user = user, .report = report, .place = { .file = file }
    };

    reader.in = open_file(file, report);
    if (!reader.in)
        return -EINVAL;
    int result = ini_parse_stream(next_line, &reader, take_key, &reader) == -2 ? -ENOMEM : 0;
    if (ferror(reader.in)) {
        report_add(report, &reader.place, "cannot be read: %s", strerror(errno));
        result = -EINVAL;
    }
    if (reader.stopped && !result)
        result = -EINVAL;
    fclose(reader.in);
    return result;
}
