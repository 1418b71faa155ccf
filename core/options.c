/* Typed options: reads settings into the fields that a table names, and checks tables. One value is
 * options_set.c's work; what is said to people about a table is in options_text.c. */
#include "options_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const enchufe_option *options_find(const enchufe_option *table, const char *name)
{
    for (; table && table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

/* The first setting with the key of settings[i]. */
static const struct setting *first_said(const struct setting *settings, size_t i)
{
    const struct setting *first = settings;

    while (strcmp(first->key, settings[i].key) != 0)
        first++;
    return first;
}

static int apply_one(struct options *options, const struct setting *settings, size_t i,
                     size_t count, const char *const *also_known, struct report *report)
{
    const struct setting *setting = &settings[i], *first = first_said(settings, i);
    const enchufe_option *option = options_find(options->table, setting->key);
    struct place place = setting->place;
    char sentence[OPTIONS_ERROR];
    struct option_job job = { .options = options,
                              .option = option,
                              .settings = setting,
                              .count = count - i,
                              .error = sentence };

    if (!place.key)
        place.key = setting->key;
    if (!option) {
        options_report_unknown(options->table, setting, also_known, report);
        return -EINVAL;
    }
    if (first != setting && option->type == ENCHUFE_OPTION_LIST)
        return 0;
    if (first != setting) {
        report_add(report, &place, "said twice, first in line %u; it takes one value",
                   first->place.line);
        return -EINVAL;
    }
    int error = options_set(&job);
    if (error == -EINVAL)
        report_add(report, &place, "%s", sentence);
    return error;
}

int options_apply(struct options *options, const struct setting *settings, size_t count,
                  const char *const *also_known, struct report *report)
{
    int result = 0;

    for (size_t i = 0; i < count; i++) {
        int error = apply_one(options, settings, i, count, also_known, report);
        if (error == -ENOMEM)
            return error;
        if (error)
            result = error;
    }
    return result;
}

/* file: what a relative path counts from. */
static int set_default(struct options *options, const enchufe_option *option, const char *file,
                       char sentence[OPTIONS_ERROR])
{
    const struct setting setting = { .key = option->name,
                                     .value = option->value,
                                     .place = { .file = file } };
    const struct option_job job = {
        .options = options, .option = option, .settings = &setting, .count = 1, .error = sentence
    };

    return options_set(&job);
}

static bool is_said(const struct setting *settings, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(settings[i].key, key) == 0)
            return true;
    return false;
}

/* For one row, what comes before the settings: its default, or that it may not be left out. */
static int prepare(struct options *options, const enchufe_option *option, bool said,
                   const struct place *section, struct report *report)
{
    struct place place = section ? *section : (struct place){ 0 };
    bool required = option->flags & ENCHUFE_OPTION_REQUIRED;
    char sentence[OPTIONS_ERROR];
    int error = 0;

    place.key = option->name;
    if (required && !said) {
        report_add(report, &place, "is missing, and has no default%s%s",
                   option->help ? "; it is: " : "", option->help ? option->help : "");
        return -EINVAL;
    }
    if (!required && option->value)
        error = set_default(options, option, place.file, sentence);
    if (error == -EINVAL)
        report_add(report, &place, "the default is wrong: %s", sentence);
    return error;
}

int options_parse(struct options *options, const enchufe_option *table, void *values,
                  const struct setting *settings, size_t count, const struct place *section,
                  const char *const *also_known, struct report *report)
{
    int result = 0;

    *options = (struct options){ .table = table, .values = values };
    for (const enchufe_option *option = table; option && option->name; option++) {
        bool said = is_said(settings, count, option->name);
        int error = prepare(options, option, said, section, report);
        if (error == -ENOMEM)
            return error;
        if (error)
            result = error;
    }
    int error = options_apply(options, settings, count, also_known, report);
    return error ? error : result;
}

void options_free(struct options *options)
{
    for (size_t i = 0; i < options->owned_count; i++)
        free(options->owned[i]);
    free(options->owned);
    options->owned = NULL;
    options->owned_count = 0;
}

/* What is wrong with a row's own words, apart from its default; NULL: nothing. */
static const char *row_fault(const enchufe_option *table, const enchufe_option *row, size_t size)
{
    const struct option_field *field = options_field(row->type);

    if (!*row->name ||
        strspn(row->name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(row->name))
        return "a name is made of lower case letters, digits and _";
    if (options_find(table, row->name) != row)
        return "two rows have this name";
    if (!field)
        return "this server does not know its type";
    if (row->flags & ~(uint32_t)ENCHUFE_OPTION_REQUIRED)
        return "this server does not know its flags";
    if (row->offset > size || size - row->offset < field->size)
        return "its field does not lie within settings_size";
    if (row->offset % field->align)
        return "its field is not aligned; is the type that of the field?";
    if (row->min > row->max)
        return "min is greater than max";
    if (row->type == ENCHUFE_OPTION_ENUM && (!row->choices || !row->choices[0]))
        return "an enum needs choices";
    return NULL;
}

const char *options_check_table(const enchufe_option *table, size_t settings_size, char *error,
                                size_t size)
{
    struct options options = { .table = table,
                               .values = calloc(1, settings_size ? settings_size : 1) };
    char sentence[OPTIONS_ERROR];
    const char *result = NULL;

    for (const enchufe_option *row = table; row && row->name && !result; row++) {
        const char *fault = options.values ? row_fault(table, row, settings_size) : "no memory";
        bool has_default = row->value && !(row->flags & ENCHUFE_OPTION_REQUIRED);

        if (fault)
            snprintf(sentence, sizeof sentence, "%s", fault);
        else if (!has_default || set_default(&options, row, NULL, sentence) != -EINVAL)
            continue;
        snprintf(error, size, "option \"%s\": %s%s", row->name,
                 fault ? "" : "the default is wrong: ", sentence);
        result = error;
    }
    options_free(&options);
    free(options.values);
    return result;
}
