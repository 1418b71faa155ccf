/* Text to typed values and back, strictly: durations, sizes, whole numbers, paths. Used by options,
 * and wherever else a person types a value. */
#ifndef VALUE_H
#define VALUE_H

#include <stdbool.h>
#include <stdint.h>

/* Room for every text that value_format_*() makes. */
#define VALUE_TEXT 48

/* Each returns 0, -EINVAL where text is none of its type, or -ERANGE where it is one too large for
 * int64_t. Nothing may stand before or after the value. */
int value_bool(const char *text, bool *out);        /* yes no, true false, on off, 1 0 */
int value_integer(const char *text, int64_t *out);  /* 42, -7, 0x1f */
int value_size(const char *text, int64_t *out);     /* 512, 64k, 1m, 2g: bytes */
int value_duration(const char *text, int64_t *out); /* 250ms, 10s, 1h30m, 2d, 0: milliseconds */

/* The shortest way to write it: `64k`, `1h30m`. Returns text. */
const char *value_format_size(int64_t size, char text[VALUE_TEXT]);
const char *value_format_duration(int64_t ms, char text[VALUE_TEXT]);

/* path made absolute, counted from the directory that file stands in; file is itself relative to
 * the working directory. path NULL: that directory. Symbolic links stay. The caller frees it;
 * NULL with errno set. */
char *value_path(const char *file, const char *path);

#endif
