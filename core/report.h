/* What is wrong with a configuration: every error found, to be printed in one go.
 *
 * config, options, probe and sockets add to a report; main prints it. One line each:
 * `FILE:LINE: [SECTION] KEY: what is wrong, what would be right`. */
#ifndef REPORT_H
#define REPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* Where a setting was said. The strings are borrowed; NULL and 0 where unknown. */
struct place {
    const char *file;
    unsigned line;
    const char *section;
    const char *key;
};

struct report_line {
    char *file; /* NULL: the error has no place */
    unsigned line;
    char *text; /* the whole line as printed, without its newline */
};

struct report {
    struct report_line *lines;
    size_t count;
};

/* Adds an error. Without memory the line goes to standard error at once, and the report says only that
 * something was wrong: after this its count is not 0 in any case. */
void report_add(struct report *report, const struct place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void report_addv(struct report *report, const struct place *place, const char *format,
                 va_list args);

/* Adds an error whose line is made already (it came from the probe child). */
void report_add_line(struct report *report, const char *file, unsigned line, const char *text);

/* Prints all lines to out, by file in order of first appearance and by line; equal lines once. */
void report_print(struct report *report, FILE *out);

void report_free(struct report *report);

#endif
