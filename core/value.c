/* Text to typed values and back. Digits are read by hand, since the C library's functions also take
 * blanks, signs and octal numbers that nobody meant. */
#include "value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* From large to small: a duration names each at most once and in this order. */
static const struct unit duration_units[] = {
    { .name = "d", .factor = 86400000 }, { .name = "h", .factor = 3600000 },
    { .name = "m", .factor = 60000 },    { .name = "s", .factor = 1000 },
    { .name = "ms", .factor = 1 },       { .name = NULL },
};

static const struct unit size_units[] = {
    { .name = "g", .factor = 1 << 30 },
    { .name = "m", .factor = 1 << 20 },
    { .name = "k", .factor = 1 << 10 },
    { .name = NULL },
};

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Moves *text over its digits. On overflow it still moves to their end, so that what follows can be
 * judged: `99999999999999999999x` is no number rather than one too large. */
static int read_digits(const char **text, int base, uint64_t *out)
{
    int error = digit(**text) < base ? 0 : -EINVAL;

    *out = 0;
    for (; digit(**text) < base; (*text)++)
        if (__builtin_mul_overflow(*out, (uint64_t)base, out) ||
            __builtin_add_overflow(*out, (uint64_t)digit(**text), out))
            error = -ERANGE;
    return error;
}

/* *sum += count * factor */
static int add_units(int64_t *sum, uint64_t count, int64_t factor)
{
    int64_t product;

    if (__builtin_mul_overflow(count, factor, &product) ||
        __builtin_add_overflow(*sum, product, sum))
        return -ERANGE;
    return 0;
}

int value_bool(const char *text, bool *out)
{
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i % 2 == 1;
            return 0;
        }
    }
    return -EINVAL;
}

int value_integer(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    int base = 10;
    uint64_t digits;

    text += negative;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
    }
    int error = read_digits(&text, base, &digits);
    if (*text)
        return -EINVAL;
    if (error)
        return error;
    *out = 0;
    return add_units(out, digits, negative ? -1 : 1);
}

int value_size(const char *text, int64_t *out)
{
    const struct unit *unit = size_units;
    uint64_t digits;
    int error = read_digits(&text, 10, &digits);

    while (unit->name && (*text | 0x20) != *unit->name)
        unit++;
    if (*text && (!unit->name || text[1]))
        return -EINVAL;
    if (error)
        return error;
    *out = 0;
    return add_units(out, digits, unit->name ? unit->factor : 1);
}

int value_duration(const char *text, int64_t *out)
{
    const struct unit *unit = duration_units;
    int error = 0;

    *out = 0;
    if (strcmp(text, "0") == 0)
        return 0;
    do {
        uint64_t digits;
        int bad = read_digits(&text, 10, &digits);
        size_t letters = strspn(text, "dhms");

        if (bad == -EINVAL)
            return bad;
        while (unit->name && (strlen(unit->name) != letters || memcmp(text, unit->name, letters)))
            unit++;
        if (!unit->name)
            return -EINVAL;
        if (bad || add_units(out, digits, unit->factor))
            error = -ERANGE;
        text += letters;
        unit++;
    } while (*text);
    return error;
}

const char *value_format_size(int64_t size, char text[VALUE_TEXT])
{
    const struct unit *unit = size_units;

    while (unit->name && (size == 0 || size % unit->factor))
        unit++;
    if (unit->name)
        snprintf(text, VALUE_TEXT, "%" PRId64 "%s", size / unit->factor, unit->name);
    else
        snprintf(text, VALUE_TEXT, "%" PRId64, size);
    return text;
}

const char *value_format_duration(int64_t ms, char text[VALUE_TEXT])
{
    size_t len = 0;

    snprintf(text, VALUE_TEXT, "0");
    for (const struct unit *unit = duration_units; unit->name; unit++) {
        if (ms >= unit->factor)
            len += (size_t)snprintf(text + len, VALUE_TEXT - len, "%" PRId64 "%s",
                                    ms / unit->factor, unit->name);
        ms %= unit->factor;
    }
    return text;
}

char *value_path(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    const char *cwd = "", *between = "/";
    char *here = NULL, *absolute = NULL;
    int dir = slash ? (int)(slash - file) : 0;

    if (path && *path == '/')
        return strdup(path);
    while (path && strncmp(path, "./", 2) == 0)
        path += 2;
    if (*file != '/') {
        here = getcwd(NULL, 0);
        if (!here)
            return NULL;
        cwd = strcmp(here, "/") == 0 ? "" : here;
        between = dir > 0 ? "/" : "";
    } else {
        between = "";
    }
    if (asprintf(&absolute, "%s%s%.*s%s%s", cwd, between, dir, file, path ? "/" : "",
                 path ? path : "") < 0)
        absolute = NULL;
    free(here);
    if (absolute && !*absolute) { /* a file in the root directory */
        free(absolute);
        absolute = strdup("/");
    }
    return absolute;
}
