/* What is wrong with a configuration: collects errors from all rooms and prints them, once each, in
 * the order in which a person walks through the files. */
#include "report.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* More than this on a screen helps nobody. */
#define REPORT_MAX_PRINTED 100

/* Stands for what there was no memory to keep, so that a report with an error is never empty. */
static struct report_line unsaid = { .text = "no memory for all that is wrong" };

/* A line and its place in the order of printing. */
struct ranked {
    const struct report_line *line;
    size_t file; /* which file, by first appearance */
    size_t index;
    bool repeated; /* its text stands before it */
};

/* `FILE:LINE: [SECTION] KEY: `, without what is unknown. */
static void print_place(FILE *out, const struct place *place)
{
    if (place->file)
        fprintf(out, "%s:", place->file);
    if (place->file && place->line)
        fprintf(out, "%u:", place->line);
    if (place->file)
        fputc(' ', out);
    if (place->section)
        fprintf(out, "[%s] ", place->section);
    if (place->key)
        fprintf(out, "%s: ", place->key);
}

/* The words went to standard error. */
static void keep_unsaid(struct report *report)
{
    if (report->count != 0)
        return;
    free(report->lines);
    report->lines = &unsaid;
    report->count = 1;
}

void report_addv(struct report *report, const struct place *place, const char *format, va_list args)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    va_list again;

    va_copy(again, args);
    if (out) {
        if (place)
            print_place(out, place);
        vfprintf(out, format, args);
    }
    /* Without memory for the last byte the text is NULL, and fclose() content. */
    if (out && fclose(out) == 0 && text) {
        report_add_line(report, place ? place->file : NULL, place ? place->line : 0, text);
    } else {
        vfprintf(stderr, format, again);
        fputc('\n', stderr);
        keep_unsaid(report);
    }
    va_end(again);
    free(text);
}

void report_add(struct report *report, const struct place *place, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    report_addv(report, place, format, args);
    va_end(args);
}

/* One error stays one line, and a value cannot steer the terminal. */
static void blank_control_characters(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = ' ';
}

/* Makes room for one more line; the room is always a power of two. */
static bool grow(struct report *report)
{
    size_t count = report->count;

    if (report->lines == &unsaid)
        return false;
    if (count & (count - 1))
        return true;
    struct report_line *lines = reallocarray(report->lines, count ? count * 2 : 1, sizeof *lines);
    if (!lines)
        return false;
    report->lines = lines;
    return true;
}

void report_add_line(struct report *report, const char *file, unsigned line, const char *text)
{
    struct report_line added = {
        .file = file ? strdup(file) : NULL,
        .line = line,
        .text = strdup(text),
    };

    if (!added.text || (file && !added.file) || !grow(report)) {
        fprintf(stderr, "%s\n", text);
        free(added.file);
        free(added.text);
        keep_unsaid(report);
        return;
    }
    blank_control_characters(added.text);
    report->lines[report->count++] = added;
}

static bool same_file(const struct report_line *a, const struct report_line *b)
{
    return a->file && b->file ? strcmp(a->file, b->file) == 0 : a->file == b->file;
}

/* Numbers the files; errors come file by file, so the line before mostly knows the answer. */
static void rank(struct ranked *ranked, const struct report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        size_t file = i;

        for (size_t j = i; j-- > 0;) {
            if (same_file(&report->lines[j], &report->lines[i])) {
                file = ranked[j].file;
                break;
            }
        }
        ranked[i] = (struct ranked){ .line = &report->lines[i], .file = file, .index = i };
    }
}

static int by_place(const struct ranked *a, const struct ranked *b)
{
    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    if (a->line->line != b->line->line)
        return a->line->line < b->line->line ? -1 : 1;
    return 0;
}

static int by_appearance(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    int places = by_place(a, b);

    if (places)
        return places;
    return a->index < b->index ? -1 : 1;
}

static int by_text(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    int places = by_place(a, b);
    int texts = places ? places : strcmp(a->line->text, b->line->text);

    return texts ? texts : by_appearance(a, b);
}

/* Equal texts have the same place, so that sorted by text they are neighbours. */
static void sort(struct ranked *ranked, size_t count)
{
    qsort(ranked, count, sizeof *ranked, by_text);
    for (size_t i = 1; i < count; i++)
        ranked[i].repeated = by_place(&ranked[i - 1], &ranked[i]) == 0 &&
                             strcmp(ranked[i - 1].line->text, ranked[i].line->text) == 0;
    qsort(ranked, count, sizeof *ranked, by_appearance);
}

void report_print(struct report *report, FILE *out)
{
    struct ranked *ranked = calloc(report->count ? report->count : 1, sizeof *ranked);
    size_t printed = 0, more = 0;

    if (!ranked) { /* better unsorted than not at all */
        for (size_t i = 0; i < report->count; i++)
            fprintf(out, "%s\n", report->lines[i].text);
        return;
    }
    rank(ranked, report);
    sort(ranked, report->count);
    for (size_t i = 0; i < report->count; i++) {
        if (ranked[i].repeated)
            continue;
        if (printed < REPORT_MAX_PRINTED) {
            fprintf(out, "%s\n", ranked[i].line->text);
            printed++;
        } else {
            more++;
        }
    }
    if (more)
        fprintf(out, "... and %zu more\n", more);
    free(ranked);
}

void report_free(struct report *report)
{
    for (size_t i = 0; i < report->count && report->lines != &unsaid; i++) {
        free(report->lines[i].file);
        free(report->lines[i].text);
    }
    if (report->lines != &unsaid)
        free(report->lines);
    *report = (struct report){ 0 };
}
