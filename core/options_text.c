/* What is said to people about a table of options: what a value may be, what a misspelt key may
 * have meant, and the table itself as a page. */
#include "options.h"
#include "value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A longer word is no misspelling of a key of ours. */
#define LONGEST_WORD 48
#define PAGE_WIDTH 100

static const char *const type_names[] = {
    [ENCHUFE_OPTION_STRING] = "string",     [ENCHUFE_OPTION_BOOL] = "bool",
    [ENCHUFE_OPTION_INTEGER] = "integer",   [ENCHUFE_OPTION_SIZE] = "size",
    [ENCHUFE_OPTION_DURATION] = "duration", [ENCHUFE_OPTION_ENUM] = "enum",
    [ENCHUFE_OPTION_ENDPOINT] = "endpoint", [ENCHUFE_OPTION_PATH] = "path",
    [ENCHUFE_OPTION_SECRET] = "secret",     [ENCHUFE_OPTION_LIST] = "list",
};

const char *options_type_name(uint32_t type)
{
    return type < sizeof type_names / sizeof *type_names ? type_names[type] : NULL;
}

/* ------------------------------------------------------------------ what a value may be */

static const char *format_number(uint32_t type, int64_t number, char text[VALUE_TEXT])
{
    if (type == ENCHUFE_OPTION_SIZE)
        return value_format_size(number, text);
    if (type == ENCHUFE_OPTION_DURATION)
        return value_format_duration(number, text);
    snprintf(text, VALUE_TEXT, "%" PRId64, number);
    return text;
}

/* `1 to 1024`, `at least 1`, `at most 9`, or "". */
static void format_bounds(const enchufe_option *option, FILE *out)
{
    bool is_text = option->type == ENCHUFE_OPTION_STRING || option->type == ENCHUFE_OPTION_SECRET;
    bool is_number =
        option->type >= ENCHUFE_OPTION_INTEGER && option->type <= ENCHUFE_OPTION_DURATION;
    int64_t least = option->type == ENCHUFE_OPTION_INTEGER ? INT64_MIN : 0;
    char min[VALUE_TEXT], max[VALUE_TEXT];

    if ((option->min == 0 && option->max == 0) || (!is_text && !is_number))
        return;
    format_number(option->type, option->min, min);
    format_number(option->type, option->max, max);
    if (option->max == INT64_MAX)
        fprintf(out, "at least %s", min);
    else if (option->min <= least)
        fprintf(out, "at most %s", max);
    else
        fprintf(out, "%s to %s", min, max);
    if (is_text)
        fputs(" bytes", out);
}

/* `error, warning, info`; after bounds: `, or auto`. */
static void format_choices(const enchufe_option *option, bool after_bounds, FILE *out)
{
    for (size_t i = 0; option->choices && option->choices[i]; i++)
        fprintf(out, "%s%s", i ? ", " : after_bounds ? ", or " : "", option->choices[i]);
}

const char *options_range(const enchufe_option *option, char text[OPTIONS_RANGE])
{
    FILE *out = fmemopen(text, OPTIONS_RANGE, "w");

    *text = '\0';
    if (!out)
        return text;
    format_bounds(option, out);
    bool bounded = ftell(out) > 0;
    if (!bounded && option->choices && option->type != ENCHUFE_OPTION_ENUM) {
        fprintf(out, "any %s", options_type_name(option->type));
        bounded = true;
    }
    format_choices(option, bounded, out);
    fclose(out);
    text[OPTIONS_RANGE - 1] = '\0';
    return text;
}

/* ------------------------------------------------------------------ misspellings */

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* How many letters must be added, dropped, changed or swapped with their neighbour to turn one word
 * into the other; capitals count as small letters. Neither is longer than LONGEST_WORD. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][LONGEST_WORD + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    size_t width = strlen(b);

    for (size_t j = 0; j <= width; j++)
        last[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        now[0] = i;
        for (size_t j = 1; j <= width; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);

            now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2]))
                now[j] = smallest(now[j], before[j - 2] + 1, now[j]);
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[width];
}

struct nearest {
    const char *name; /* NULL: none is near enough */
    size_t distance;
};

/* Near enough is a third of the word, so that short words must match all but one letter. */
static void consider(const char *word, const char *candidate, struct nearest *nearest)
{
    size_t len = strlen(word);

    if (len > LONGEST_WORD || strlen(candidate) > LONGEST_WORD)
        return;
    size_t found = distance(word, candidate);
    if (found <= len / 3 && found <= 3 && (!nearest->name || found < nearest->distance))
        *nearest = (struct nearest){ .name = candidate, .distance = found };
}

const char *options_nearest(const char *word, const char *const *candidates)
{
    struct nearest nearest = { .name = NULL };

    for (; *candidates; candidates++)
        consider(word, *candidates, &nearest);
    return nearest.name;
}

static bool is_about_listening(const char *key)
{
    static const char *const words[] = { "port", "host", "address", "bind" };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(words[i], key) == 0)
            return true;
    return false;
}

static void list_table(const enchufe_option *table, FILE *out)
{
    for (const enchufe_option *row = table; row && row->name; row++)
        fprintf(out, "%s%s", row == table ? "" : ", ", row->name);
}

/* `a service has plugin, listen; this plugin adds reply` or `there are plugin_dir, include`. [defaults] has no
 * plugin, and so none of its options. */
static void list_known(const enchufe_option *table, const char *const *also_known, bool defaults,
                       FILE *out)
{
    if (defaults) {
        fputs("a plugin's own options belong into each service's section; there are ", out);
        list_table(table, out);
        for (size_t i = 0; also_known && also_known[i]; i++)
            fprintf(out, ", %s", also_known[i]);
        return;
    }
    fputs(also_known ? "a service has " : "there are ", out);
    for (size_t i = 0; also_known && also_known[i]; i++)
        fprintf(out, "%s%s", i ? ", " : "", also_known[i]);
    if (also_known && table && table->name)
        fputs("; this plugin adds ", out);
    else if (also_known)
        fputs("; this plugin adds none", out);
    list_table(table, out);
}

void options_report_unknown(const enchufe_option *table, const struct setting *setting,
                            const char *const *also_known, struct report *report)
{
    struct nearest nearest = { .name = NULL };
    struct place place = setting->place;
    char *known = NULL;
    size_t size;

    if (!place.key)
        place.key = setting->key;
    for (const enchufe_option *row = table; row && row->name; row++)
        consider(setting->key, row->name, &nearest);
    for (size_t i = 0; also_known && also_known[i]; i++)
        consider(setting->key, also_known[i], &nearest);
    if (nearest.name) {
        report_add(report, &place, "unknown key, did you mean \"%s\"?", nearest.name);
        return;
    }
    if (is_about_listening(setting->key)) {
        report_add(report, &place,
                   "unknown key; hosts and ports belong into a service's "
                   "listen = tcp://HOST:PORT");
        return;
    }
    FILE *out = open_memstream(&known, &size);
    if (out) {
        list_known(table, also_known, place.section && strcmp(place.section, "defaults") == 0, out);
        fclose(out);
    }
    report_add(report, &place, "unknown key; %s", known ? known : "see the manual");
    free(known);
}

/* ------------------------------------------------------------------ the page */

enum { COLUMNS = 4 };

/* Name, type, default and range. They point into range or the table. */
static void row_cells(const enchufe_option *row, const char *cells[COLUMNS],
                      char range[OPTIONS_RANGE])
{
    const char *type = options_type_name(row->type);

    cells[0] = row->name;
    cells[1] = type ? type : "unknown";
    cells[2] = row->value ? row->value : "-";
    if (row->value && !*row->value)
        cells[2] = "empty";
    if (row->value && row->type == ENCHUFE_OPTION_SECRET)
        cells[2] = "(secret)";
    if (row->flags & ENCHUFE_OPTION_REQUIRED)
        cells[2] = "required";
    cells[3] = row->type == ENCHUFE_OPTION_BOOL ? "yes, no" : options_range(row, range);
}

/* The help goes under its row where the page is too narrow for both. */
static void print_row(FILE *out, const char *const cells[COLUMNS], const int widths[COLUMNS],
                      const char *help)
{
    int width = 2;

    for (int i = 0; i < COLUMNS; i++)
        width += widths[i] + 2;
    bool fits = width + (int)strlen(help) <= PAGE_WIDTH;
    for (int i = 0; i < COLUMNS; i++) {
        bool last = i == COLUMNS - 1 && (!fits || !*help);
        fprintf(out, "  %-*s", last ? 0 : widths[i], cells[i]);
    }
    if (!fits)
        fprintf(out, "\n  %*s", widths[0], "");
    fputs(*help ? "  " : "", out);
    fprintf(out, "%s\n", help);
}

void options_print(FILE *out, const enchufe_option *table)
{
    const char *cells[COLUMNS] = { "NAME", "TYPE", "DEFAULT", "ALLOWED" };
    char range[OPTIONS_RANGE];
    int widths[COLUMNS];

    for (int i = 0; i < COLUMNS; i++)
        widths[i] = (int)strlen(cells[i]);
    for (const enchufe_option *row = table; row && row->name; row++) {
        const char *row_texts[COLUMNS];

        row_cells(row, row_texts, range);
        for (int i = 0; i < COLUMNS; i++)
            if (widths[i] < (int)strlen(row_texts[i]))
                widths[i] = (int)strlen(row_texts[i]);
    }
    if (table && table->name)
        print_row(out, cells, widths, "");
    for (const enchufe_option *row = table; row && row->name; row++) {
        row_cells(row, cells, range);
        print_row(out, cells, widths, row->help ? row->help : "");
    }
}
