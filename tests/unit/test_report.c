/* What is wrong with a configuration: how errors are ordered and printed. */
#include "report.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_printed(struct report *report, const char *expected)
{
    char *printed = NULL;
    size_t size;
    FILE *out = open_memstream(&printed, &size);

    report_print(report, out);
    fclose(out);
    assert_string_equal(printed, expected);
    free(printed);
    report_free(report);
}

static void unknown_parts_of_a_place_are_left_out(void **state)
{
    struct report report = { 0 };

    (void)state;
    report_add(&report, &(struct place){ .file = "f", .line = 2, .section = "s", .key = "k" },
               "a %d", 1);
    report_add(&report, &(struct place){ .file = "f", .line = 3, .section = "s" }, "is empty");
    report_add(&report, &(struct place){ .file = "f", .line = 4, .key = "k" }, "text");
    report_add(&report, &(struct place){ .file = "f", .line = 5 }, "text");
    report_add(&report, &(struct place){ .file = "f", .section = "s", .key = "k" }, "text");
    report_add(&report, &(struct place){ .file = "f" }, "text");
    report_add(&report, &(struct place){ .key = "k" }, "text");
    report_add(&report, NULL, "text");
    assert_printed(&report, "f: [s] k: text\n"
                            "f: text\n"
                            "f:2: [s] k: a 1\n"
                            "f:3: [s] is empty\n"
                            "f:4: k: text\n"
                            "f:5: text\n"
                            "k: text\n"
                            "text\n");
}

static void lines_go_by_file_as_it_appeared_then_by_line(void **state)
{
    struct report report = { 0 };

    (void)state;
    report_add_line(&report, "z", 9, "z:9: i");
    report_add_line(&report, "a", 4, "a:4: ii");
    report_add_line(&report, "z", 10, "z:10: iii");
    report_add_line(&report, "z", 2, "z:2: iv");
    report_add_line(&report, "a", 1, "a:1: v");
    report_add_line(&report, "z", 9, "z:9: before i by name, behind it by time: a");
    assert_printed(&report, "z:2: iv\n"
                            "z:9: i\n"
                            "z:9: before i by name, behind it by time: a\n"
                            "z:10: iii\n"
                            "a:1: v\n"
                            "a:4: ii\n");
}

static void equal_lines_are_printed_once(void **state)
{
    struct report report = { 0 };

    (void)state;
    report_add_line(&report, "f", 1, "f:1: x");
    report_add_line(&report, "f", 1, "f:1: y");
    report_add_line(&report, "f", 2, "f:2: x");
    report_add_line(&report, "f", 1, "f:1: x");
    assert_printed(&report, "f:1: x\nf:1: y\nf:2: x\n");
}

static void a_hundred_lines_are_printed_and_the_rest_is_counted(void **state)
{
    struct report report = { 0 };
    char *expected = NULL;
    size_t size;
    FILE *out = open_memstream(&expected, &size);

    (void)state;
    for (unsigned line = 1; line <= 130; line++) {
        report_add(&report, &(struct place){ .file = "f", .line = line }, "x");
        report_add(&report, &(struct place){ .file = "f", .line = line }, "x");
        if (line <= 100)
            fprintf(out, "f:%u: x\n", line);
    }
    fputs("... and 30 more\n", out);
    fclose(out);
    assert_printed(&report, expected);
    free(expected);
}

static void an_error_stays_one_line_and_cannot_steer_the_terminal(void **state)
{
    struct report report = { 0 };

    (void)state;
    report_add(&report, NULL, "a\nb\x1b[2Jc\x7f \xc3\xb1");
    assert_printed(&report, "a b [2Jc  \xc3\xb1\n");
}

static void an_empty_report_prints_nothing(void **state)
{
    struct report report = { 0 };

    (void)state;
    assert_printed(&report, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_parts_of_a_place_are_left_out),
        cmocka_unit_test(lines_go_by_file_as_it_appeared_then_by_line),
        cmocka_unit_test(equal_lines_are_printed_once),
        cmocka_unit_test(a_hundred_lines_are_printed_and_the_rest_is_counted),
        cmocka_unit_test(an_error_stays_one_line_and_cannot_steer_the_terminal),
        cmocka_unit_test(an_empty_report_prints_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
