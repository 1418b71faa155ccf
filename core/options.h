/* Typed options: strict parsing of text into the fields of a settings struct, from one table.
 * The same table type (enchufe_option) describes the server's own keys and every plugin's. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "report.h"
#include <enchufe/plugin.h>

/* One `key = value` of a section as it stood in the file. A continued or repeated key is several
 * settings in a row. The strings belong to the configuration. Errors name place.key where it is set,
 * else key. */
struct setting {
    const char *key;
    const char *value;
    struct place place;
};

/* A settings struct that a table filled, with what it owns. */
struct options {
    const enchufe_option *table;
    void *values; /* the caller's struct, which the caller zeroed */
    void **owned; /* strings and lists that the values point to */
    size_t owned_count;
};

/* Parses settings into values by table: defaults first, then what the settings say. Every error
 * goes to report: unknown key (with "did you mean", else what keys there are), key said twice
 * (except LIST), wrong type, out of range, required and missing (placed at `section`). A value
 * of type SECRET is never printed. also_known (may be NULL, NULL-terminated) are further names
 * that may be meant by an unknown key. Relative paths count from the directory of the file that
 * the setting stands in.
 * Returns 0, or -EINVAL when it reported something, or -ENOMEM. options is valid in every case. */
int options_parse(struct options *options, const enchufe_option *table, void *values,
                  const struct setting *settings, size_t count, const struct place *section,
                  const char *const *also_known, struct report *report);

/* The second half of options_parse(): what the settings say, over values that are there already
 * (the defaults, or a copy of another section's values). Does not ask for required options. */
int options_apply(struct options *options, const struct setting *settings, size_t count,
                  const char *const *also_known, struct report *report);

/* Frees what the values point to; not the values. */
void options_free(struct options *options);

/* Checks a table that a plugin brought: types, flags, offsets within settings_size, names, defaults
 * that parse, choices where needed. Returns NULL, or a sentence in error. */
const char *options_check_table(const enchufe_option *table, size_t settings_size, char *error,
                                size_t size);

/* The row with that name, or NULL. */
const enchufe_option *options_find(const enchufe_option *table, const char *name);

/* The sentence for a key that nobody knows: what it may have meant, else what keys there are. */
void options_report_unknown(const enchufe_option *table, const struct setting *setting,
                            const char *const *also_known, struct report *report);

/* The name nearest to `word` among the candidates that is near enough to be a misspelling, or
 * NULL. */
const char *options_nearest(const char *word, const char *const *candidates);

/* The name of a type, such as `integer`, or NULL for a number that is none. */
const char *options_type_name(uint32_t type);

/* Writes what an option may be, such as `1 to 1024, or auto`, or "" where it may be anything.
 * Returns text. */
#define OPTIONS_RANGE 256
const char *options_range(const enchufe_option *option, char text[OPTIONS_RANGE]);

/* Prints the table for people: a line for each option with type, default, range and help. */
void options_print(FILE *out, const enchufe_option *table);

#endif
