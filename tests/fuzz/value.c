/* Fuzzer of value.c: what is read from text, written and read again is the same value. */
#include "value.h"
#include "fuzz.h"
#include <errno.h>
#include <inttypes.h>

static void check_status(int status)
{
    CHECK(status == 0 || status == -EINVAL || status == -ERANGE);
}

static void try_integer(const char *text)
{
    char again[VALUE_TEXT];
    int64_t value, second;
    int status = value_integer(text, &value);

    check_status(status);
    if (status != 0)
        return;
    snprintf(again, sizeof again, "%" PRId64, value);
    CHECK(value_integer(again, &second) == 0 && second == value);
}

static void try_unit(const char *text, int (*parse)(const char *text, int64_t *out),
                     const char *(*format)(int64_t value, char text[VALUE_TEXT]))
{
    char again[VALUE_TEXT];
    int64_t value, second;
    int status = parse(text, &value);

    check_status(status);
    if (status != 0)
        return;
    CHECK(value >= 0);
    format(value, again);
    CHECK(strlen(again) < VALUE_TEXT - 1); /* cut, it would be another value */
    CHECK(parse(again, &second) == 0 && second == value);
}

static void try_path(const char *text)
{
    char *path = value_path("conf/e.ini", text);
    char *again = path != NULL ? value_path("/other/e.ini", path) : NULL;

    CHECK(again != NULL && *path == '/' && strcmp(path, again) == 0);
    free(path);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .data = data, .len = size };
    char *text = input_text(&in);
    bool yes;

    check_status(value_bool(text, &yes));
    try_integer(text);
    try_unit(text, value_size, value_format_size);
    try_unit(text, value_duration, value_format_duration);
    try_path(text);
    free(text);
    return 0;
}
