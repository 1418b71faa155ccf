/* INI files line by line, read as a whole configuration: indentation, long lines, headers, files
 * that are none; and that no bytes at all crash the reader. */
#include "config_kit.h"

/* ------------------------------------------------------------------ lines */

static void indented_keys_are_keys(void **state)
{
    struct read read = read_text("  [echo]\n"
                                 "    plugin = echo\n"
                                 "\tlisten = tcp://127.0.0.1:0\n"
                                 "    ; a comment\n"
                                 "    word=x\n");

    (void)state;
    assert_string_equal(read.printed, "");
    assert_string_equal(read.config->services[0].plugin, "echo");
    assert_int_equal(read.config->services[0].listen_count, 1);
    assert_int_equal(read.config->services[0].setting_count, 1);
    done(&read);
}

static void indented_lines_continue_listen_and_lists(void **state)
{
    struct read read = read_text("[echo]\nplugin = echo\n"
                                 "listen = tcp://127.0.0.1:0 ; one\n"
                                 "  udp://127.0.0.1:0 ; two\n"
                                 "\n"
                                 "  unix:///tmp/x.sock\n"
                                 "words = a\n"
                                 "  b ; c\n");
    const struct service_config *service = &read.config->services[0];

    (void)state;
    assert_string_equal(read.printed, "");
    assert_int_equal(service->listen_count, 3);
    assert_int_equal(service->listens[2].place.line, 6);
    assert_int_equal(service->setting_count, 2);
    assert_string_equal(service->settings[1].key, "words");
    assert_string_equal(service->settings[1].value, "b");
    assert_int_equal(service->settings[1].place.line, 8);
    done(&read);
}

static void indented_lines_continue_no_single_value(void **state)
{
    (void)state;
    assert_errors("[server]\nthreads = 2\n  4\n[echo]\n" SERVICE "backlog = 1\n  2\n",
                  "e.ini:3: [server] threads: takes one value, and an indented line continues it; "
                  "begin the line at its left edge\n"
                  "e.ini:8: [echo] backlog: takes one value, and an indented line continues it; "
                  "begin the line at its left edge\n");
}

static void lines_of_other_systems_are_read(void **state)
{
    struct read read =
        read_text("\xef\xbb\xbf[echo]\r\nplugin: echo\r\nlisten = tcp://127.0.0.1:0\r");

    (void)state;
    assert_string_equal(read.printed, "");
    assert_string_equal(read.config->services[0].plugin, "echo");
    done(&read);
}

static void lines_that_are_none_are_errors(void **state)
{
    (void)state;
    assert_errors(
        "[echo]\nfoo bar\n" SERVICE "listen tcp://127.0.0.1:1\n= x\nfoo bar = x\n",
        "e.ini:2: no \"=\" in \"foo bar\": a line is [section], key = value, or a comment\n"
        "e.ini:5: no \"=\" in \"listen tcp://127.0.0.1:1\": a line is [section], "
        "key = value, or a comment\n"
        "e.ini:6: \"\" is no key: a key is one word of letters, digits, - and _\n"
        "e.ini:7: \"foo bar\" is no key: a key is one word of letters, digits, - and _\n");
}

static void what_follows_a_refused_line_is_not_taken_for_another_key(void **state)
{
    (void)state;
    assert_errors(
        "[echo]\n" SERVICE "foo bar\n  banana\n  backlog = x\n",
        "e.ini:4: no \"=\" in \"foo bar\": a line is [section], key = value, or a comment\n"
        "e.ini:6: [echo] backlog: \"x\" is no whole number; allowed is 1 to 65535\n");
}

/* inih's buffer decides: 199 characters without the line's ending. */
static void lines_of_every_length_around_the_limit_are_whole_or_refused(void **state)
{
    char junk[301];

    (void)state;
    memset(junk, 'j', sizeof junk);
    for (size_t len = 190; len <= 420; len++) {
        char value[512], text[2048], expected[512];

        memset(value, 'x', sizeof value);
        value[len - strlen("word = ")] = '\0';
        /* A comment first, which fills the buffer with what must not show. */
        snprintf(text, sizeof text, ";%.*s\n[echo]\n" SERVICE "word = %s\nlast = y\n", 300, junk,
                 value);
        struct read read = read_text(text);
        const struct service_config *service = &read.config->services[0];
        if (len <= 199) {
            assert_string_equal(read.printed, "");
            assert_int_equal(service->setting_count, 2);
            assert_string_equal(service->settings[0].value, value);
        } else {
            snprintf(expected, sizeof expected, "e.ini:5: the line has %zu characters", len);
            assert_non_null(strstr(read.printed, expected));
            assert_int_equal(read.report.count, 1);
            assert_int_equal(service->setting_count, 1);
        }
        assert_string_equal(service->settings[service->setting_count - 1].key, "last");
        done(&read);
    }
}

static void comments_may_be_of_any_length(void **state)
{
    char text[2000] = "[echo]\n" SERVICE "; ";
    size_t len = strlen(text);

    (void)state;
    memset(text + len, 'x', sizeof text - len);
    text[sizeof text - 1] = '\0';
    assert_errors(text, "");
}

static void headers_must_be_whole_and_well_named(void **state)
{
    (void)state;
    assert_errors("[echo\n" SERVICE,
                  "e.ini:1: no \"]\" in \"[echo\": a section starts with [NAME]\n");
    assert_errors("[e cho]\n" SERVICE, "e.ini:1: \"e cho\" is no name for a section: letters, "
                                       "digits, - and _, at most 48\n");
    assert_errors("[]\n" SERVICE, "e.ini:1: \"\" is no name for a section: letters, digits, - "
                                  "and _, at most 48\n");
    assert_errors("[echo] x\n" SERVICE,
                  "e.ini:1: \"x\" stands behind the section's name; begin a new "
                  "line for it\n");
    assert_errors("[ echo ] ; a comment\n" SERVICE, "");
    assert_errors("[a23456789012345678901234567890123456789012345678]\n" SERVICE, "");
    assert_errors("[a234567890123456789012345678901234567890123456789]\n" SERVICE,
                  "e.ini:1: \"a234567890123456789012345678901234567890123456789\" is no name for a "
                  "section: letters, digits, - and _, at most 48\n");
}

static void long_names_that_start_alike_are_two_sections(void **state)
{
    (void)state;
    assert_errors("[service-0123456789-0123456789-0123456789-aaaaa-1]\n" SERVICE
                  "[service-0123456789-0123456789-0123456789-aaaaa-2]\n" SERVICE,
                  "");
}

/* ------------------------------------------------------------------ files */

static void a_missing_file_and_a_directory_are_one_error(void **state)
{
    struct read read = read_file("none.ini");

    (void)state;
    assert_string_equal(read.printed, "none.ini: cannot be read: No such file or directory\n");
    assert_non_null(read.config);
    done(&read);
    mkdir("conf", 0755);
    read = read_file("conf");
    assert_string_equal(read.printed, "conf: is a directory; a configuration file is wanted\n");
    done(&read);
}

static void binary_junk_is_one_error(void **state)
{
    static const char junk[] = "[echo]\n" SERVICE "\x7f"
                               "ELF\0\1\2\nfoo\nbar\n";

    (void)state;
    write_bytes("e.ini", junk, sizeof junk - 1);
    struct read read = read_file("e.ini");
    assert_string_equal(read.printed,
                        "e.ini:4: is no text: it holds the control character 0x7f; the "
                        "rest is not read\n");
    done(&read);
    read = read_file("/dev/zero");
    assert_string_equal(read.printed,
                        "/dev/zero:1: is no text: it holds the control character 0x00; "
                        "the rest is not read\n");
    done(&read);
}

static void another_kind_of_text_is_given_up_after_a_hundred_lines(void **state)
{
    FILE *out = fopen("e.ini", "w");

    (void)state;
    for (int i = 0; i < 10000; i++)
        fputs("some words\n", out);
    fclose(out);
    struct read read = read_file("e.ini");
    assert_int_equal(read.report.count, 101);
    assert_non_null(strstr(read.report.lines[100].text, "is this the right file?"));
    done(&read);
}

/* ------------------------------------------------------------------ any bytes */

static const char good[] = "; all there is\n[server]\nthreads = auto\nlog = stderr\n\n"
                           "[defaults]\nidle_timeout = 1h30m\n[echo]\nplugin = echo\n"
                           "listen = tcp://127.0.0.1:0\n  udp://127.0.0.1:0\nwords = a b\n  c\n"
                           "[hola]\r\nplugin = ./hola.so\r\nlisten = unix:///tmp/x.sock\r\n";

static void every_prefix_of_a_good_file_is_read_to_its_end(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof good; len++) {
        write_bytes("e.ini", good, len);
        struct read read = read_file("e.ini");
        assert_non_null(read.config);
        if (len == sizeof good - 1)
            assert_string_equal(read.printed, "");
        done(&read);
    }
}

/* The numbers of a linear congruential generator, so that a failure comes again. */
static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

static void random_changes_to_a_good_file_crash_nothing(void **state)
{
    static const char syntax[] = "[]=:; \t\n\r\\/#-_a0\xc3\0";
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        char text[sizeof good];

        memcpy(text, good, sizeof good);
        for (unsigned changes = next_random(&seed) % 8 + 1; changes > 0; changes--)
            text[next_random(&seed) % (sizeof good - 1)] =
                syntax[next_random(&seed) % (sizeof syntax - 1)];
        write_bytes("e.ini", text, sizeof good - 1);
        struct read read = read_file("e.ini");
        assert_non_null(read.config);
        done(&read);
    }
}

static void random_bytes_crash_nothing(void **state)
{
    unsigned seed = 7;

    (void)state;
    for (int round = 0; round < 1000; round++) {
        unsigned char bytes[1500] = { 0 };
        size_t len = next_random(&seed) % sizeof bytes;
        bool printable = round % 2;

        for (size_t i = 0; i < len; i++) {
            bytes[i] = (unsigned char)next_random(&seed);
            if (printable && (bytes[i] < ' ' || bytes[i] == 0x7f))
                bytes[i] = '\n';
        }
        write_bytes("e.ini", bytes, len);
        struct read read = read_file("e.ini");
        assert_non_null(read.config);
        assert_true(read.report.count > 0);
        done(&read);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indented_keys_are_keys),
        cmocka_unit_test(indented_lines_continue_listen_and_lists),
        cmocka_unit_test(indented_lines_continue_no_single_value),
        cmocka_unit_test(lines_of_other_systems_are_read),
        cmocka_unit_test(lines_that_are_none_are_errors),
        cmocka_unit_test(what_follows_a_refused_line_is_not_taken_for_another_key),
        cmocka_unit_test(lines_of_every_length_around_the_limit_are_whole_or_refused),
        cmocka_unit_test(comments_may_be_of_any_length),
        cmocka_unit_test(headers_must_be_whole_and_well_named),
        cmocka_unit_test(long_names_that_start_alike_are_two_sections),
        cmocka_unit_test(a_missing_file_and_a_directory_are_one_error),
        cmocka_unit_test(binary_junk_is_one_error),
        cmocka_unit_test(another_kind_of_text_is_given_up_after_a_hundred_lines),
        cmocka_unit_test(every_prefix_of_a_good_file_is_read_to_its_end),
        cmocka_unit_test(random_changes_to_a_good_file_crash_nothing),
        cmocka_unit_test(random_bytes_crash_nothing),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
