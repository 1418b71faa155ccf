/* Text to typed values and back. */
#include "value.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void integers_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        int error;
        int64_t value;
    } cases[] = {
        { .text = "0", .value = 0 },
        { .text = "42", .value = 42 },
        { .text = "-7", .value = -7 },
        { .text = "0x1f", .value = 31 },
        { .text = "-0X1F", .value = -31 },
        { .text = "010", .value = 10 },
        { .text = "9223372036854775807", .value = INT64_MAX },
        { .text = "-9223372036854775808", .value = INT64_MIN },
        { .text = "9223372036854775808", .error = -ERANGE },
        { .text = "-9223372036854775809", .error = -ERANGE },
        { .text = "18446744073709551616", .error = -ERANGE },
        { .text = "99999999999999999999x", .error = -EINVAL },
        { .text = "", .error = -EINVAL },
        { .text = "-", .error = -EINVAL },
        { .text = "--1", .error = -EINVAL },
        { .text = "+1", .error = -EINVAL },
        { .text = " 1", .error = -EINVAL },
        { .text = "1 ", .error = -EINVAL },
        { .text = "1.5", .error = -EINVAL },
        { .text = "1e3", .error = -EINVAL },
        { .text = "0x", .error = -EINVAL },
        { .text = "0xg", .error = -EINVAL },
        { .text = "ff", .error = -EINVAL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = 0;

        assert_int_equal(value_integer(cases[i].text, &value), cases[i].error);
        if (!cases[i].error)
            assert_true(value == cases[i].value);
    }
}

static void sizes_are_powers_of_1024(void **state)
{
    static const struct {
        const char *text;
        int error;
        int64_t value;
    } cases[] = {
        { .text = "0", .value = 0 },
        { .text = "512", .value = 512 },
        { .text = "64k", .value = 65536 },
        { .text = "64K", .value = 65536 },
        { .text = "1m", .value = 1048576 },
        { .text = "2g", .value = INT64_C(2147483648) },
        { .text = "8589934591g", .value = INT64_C(8589934591) << 30 },
        { .text = "8589934592g", .error = -ERANGE },
        { .text = "99999999999999999999", .error = -ERANGE },
        { .text = "k", .error = -EINVAL },
        { .text = "", .error = -EINVAL },
        { .text = "-1", .error = -EINVAL },
        { .text = "64kb", .error = -EINVAL },
        { .text = "1t", .error = -EINVAL },
        { .text = "1 k", .error = -EINVAL },
        { .text = "1.5m", .error = -EINVAL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = 0;

        assert_int_equal(value_size(cases[i].text, &value), cases[i].error);
        if (!cases[i].error)
            assert_true(value == cases[i].value);
    }
}

static void durations_need_units_in_falling_order(void **state)
{
    static const struct {
        const char *text;
        int error;
        int64_t value;
    } cases[] = {
        { .text = "0", .value = 0 },
        { .text = "0s", .value = 0 },
        { .text = "250ms", .value = 250 },
        { .text = "10s", .value = 10000 },
        { .text = "1m", .value = 60000 },
        { .text = "1h30m", .value = 5400000 },
        { .text = "2d1h1m1s1ms", .value = 2 * 86400000 + 3661001 },
        { .text = "106751991167d", .value = INT64_C(106751991167) * 86400000 },
        { .text = "106751991168d", .error = -ERANGE },
        { .text = "106751991167d99999999999999h", .error = -ERANGE },
        { .text = "99999999999999999999s", .error = -ERANGE },
        { .text = "10", .error = -EINVAL },
        { .text = "00", .error = -EINVAL },
        { .text = "", .error = -EINVAL },
        { .text = "s", .error = -EINVAL },
        { .text = "30m1h", .error = -EINVAL },
        { .text = "1m1m", .error = -EINVAL },
        { .text = "1h30", .error = -EINVAL },
        { .text = "-1s", .error = -EINVAL },
        { .text = "1.5s", .error = -EINVAL },
        { .text = "10 s", .error = -EINVAL },
        { .text = "10sec", .error = -EINVAL },
        { .text = "10S", .error = -EINVAL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = 0;

        assert_int_equal(value_duration(cases[i].text, &value), cases[i].error);
        if (!cases[i].error)
            assert_true(value == cases[i].value);
    }
}

static void sizes_and_durations_are_printed_as_people_write_them(void **state)
{
    char text[VALUE_TEXT];

    (void)state;
    assert_string_equal(value_format_size(0, text), "0");
    assert_string_equal(value_format_size(1000, text), "1000");
    assert_string_equal(value_format_size(65536, text), "64k");
    assert_string_equal(value_format_size(INT64_C(3) << 30, text), "3g");
    assert_string_equal(value_format_duration(0, text), "0");
    assert_string_equal(value_format_duration(5400000, text), "1h30m");
    assert_string_equal(value_format_duration(INT64_MAX, text), "106751991167d7h12m55s807ms");
}

static void assert_path(const char *file, const char *path, const char *base, const char *rest)
{
    char *found = value_path(file, path);
    char expected[5000];

    snprintf(expected, sizeof expected, "%s%s", base, rest);
    assert_string_equal(found, expected);
    free(found);
}

static void paths_count_from_the_directory_of_the_file(void **state)
{
    char *cwd = getcwd(NULL, 0);

    (void)state;
    assert_path("e.ini", "b", cwd, "/b");
    assert_path("e.ini", NULL, cwd, "");
    assert_path("conf/e.ini", "b", cwd, "/conf/b");
    assert_path("conf/e.ini", NULL, cwd, "/conf");
    assert_path("conf/e.ini", "/b", "", "/b");
    assert_path("/etc/e.ini", "./././b", "", "/etc/b");
    assert_path("/etc/e.ini", NULL, "", "/etc");
    assert_path("/e.ini", "b", "", "/b");
    assert_path("/e.ini", NULL, "", "/");
    assert_path("", "b", cwd, "/b");
    free(cwd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read_strictly),
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(durations_need_units_in_falling_order),
        cmocka_unit_test(sizes_and_durations_are_printed_as_people_write_them),
        cmocka_unit_test(paths_count_from_the_directory_of_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
