/* Typed options: each type, its limits, its errors, and what people are told. */
#include "options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct values {
    const char *string;
    bool flag;
    int64_t integer;
    int64_t threads;
    uint64_t size;
    uint64_t duration;
    int color;
    enchufe_endpoint endpoint;
    const char *path;
    const char *secret;
    enchufe_list list;
};

static const char *const colors[] = { "red", "green", "blue", NULL };
static const char *const auto_word[] = { "auto", NULL };
static const char *const never_word[] = { "never", NULL };

#define FIELD(member) .offset = offsetof(struct values, member)
static const enchufe_option table[] = {
    { .name = "string",
      .type = ENCHUFE_OPTION_STRING,
      FIELD(string),
      .value = "hi",
      .min = 1,
      .max = 8,
      .help = "what is said" },
    { .name = "flag", .type = ENCHUFE_OPTION_BOOL, FIELD(flag), .value = "yes" },
    { .name = "integer", .type = ENCHUFE_OPTION_INTEGER, FIELD(integer), .value = "7" },
    { .name = "threads",
      .type = ENCHUFE_OPTION_INTEGER,
      FIELD(threads),
      .value = "auto",
      .min = 1,
      .max = 1024,
      .choices = auto_word,
      .help = "how many" },
    { .name = "size",
      .type = ENCHUFE_OPTION_SIZE,
      FIELD(size),
      .value = "64k",
      .min = 1024,
      .max = INT64_C(1) << 30 },
    { .name = "duration",
      .type = ENCHUFE_OPTION_DURATION,
      FIELD(duration),
      .value = "1m",
      .choices = never_word },
    { .name = "color",
      .type = ENCHUFE_OPTION_ENUM,
      FIELD(color),
      .value = "green",
      .choices = colors },
    { .name = "endpoint", .type = ENCHUFE_OPTION_ENDPOINT, FIELD(endpoint) },
    { .name = "path", .type = ENCHUFE_OPTION_PATH, FIELD(path) },
    { .name = "secret",
      .type = ENCHUFE_OPTION_SECRET,
      FIELD(secret),
      .value = "hunter2",
      .min = 4,
      .max = 12 },
    { .name = "list", .type = ENCHUFE_OPTION_LIST, FIELD(list), .value = "a b" },
    { .name = NULL },
};

static const struct place section = { .file = "/etc/x/e.ini", .line = 1, .section = "echo" };
static const char *const service_keys[] = { "plugin", "listen", "threads", NULL };

/* What one parse left behind. */
struct parsed {
    struct values values;
    struct options options;
    struct report report;
    int error;
    char *printed;
};

static void parse_table(struct parsed *parsed, const enchufe_option *rows,
                        const struct setting *settings, size_t count)
{
    size_t size;

    *parsed = (struct parsed){ 0 };
    parsed->error = options_parse(&parsed->options, rows, &parsed->values, settings, count,
                                  &section, service_keys, &parsed->report);
    FILE *out = open_memstream(&parsed->printed, &size);
    assert_non_null(out);
    report_print(&parsed->report, out);
    fclose(out);
}

static void done(struct parsed *parsed)
{
    options_free(&parsed->options);
    report_free(&parsed->report);
    free(parsed->printed);
}

#define SET(name, text, at)                                                                        \
    {                                                                                              \
        .key = (name), .value = (text), .place = {                                                 \
            .file = "/etc/x/e.ini",                                                                \
            .line = (at),                                                                          \
            .section = "echo",                                                                     \
            .key = (name)                                                                          \
        }                                                                                          \
    }

static void parse_one(struct parsed *parsed, const char *key, const char *value)
{
    const struct setting setting = SET(key, value, 3);

    parse_table(parsed, table, &setting, 1);
}

static void assert_refused(const char *key, const char *value, const char *sentence)
{
    struct parsed parsed;
    char expected[1500];

    parse_one(&parsed, key, value);
    snprintf(expected, sizeof expected, "/etc/x/e.ini:3: [echo] %s: %s\n", key, sentence);
    assert_string_equal(parsed.printed, expected);
    assert_int_equal(parsed.error, -EINVAL);
    done(&parsed);
}

static void defaults_fill_what_is_not_said(void **state)
{
    struct parsed parsed;

    (void)state;
    parse_table(&parsed, table, NULL, 0);
    assert_int_equal(parsed.error, 0);
    assert_string_equal(parsed.printed, "");
    assert_string_equal(parsed.values.string, "hi");
    assert_true(parsed.values.flag);
    assert_int_equal(parsed.values.integer, 7);
    assert_int_equal(parsed.values.threads, 0);
    assert_int_equal(parsed.values.size, 65536);
    assert_int_equal(parsed.values.duration, 60000);
    assert_int_equal(parsed.values.color, 1);
    assert_int_equal(parsed.values.endpoint.kind, 0);
    assert_null(parsed.values.path);
    assert_int_equal(parsed.values.list.count, 2);
    done(&parsed);
}

static void bools_have_eight_words(void **state)
{
    static const char *const yes[] = { "yes", "true", "on", "1" };
    static const char *const no[] = { "no", "false", "off", "0" };
    struct parsed parsed;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        parse_one(&parsed, "flag", no[i]);
        assert_int_equal(parsed.error, 0);
        assert_false(parsed.values.flag);
        done(&parsed);
        parse_one(&parsed, "flag", yes[i]);
        assert_int_equal(parsed.error, 0);
        assert_true(parsed.values.flag);
        done(&parsed);
    }
    assert_refused("flag", "maybe", "\"maybe\" is neither yes nor no");
    assert_refused("flag", "", "\"\" is neither yes nor no");
}

static void ranges_include_both_ends(void **state)
{
    static const struct {
        const char *key, *value;
        bool fits;
    } cases[] = {
        { .key = "threads", .value = "1", .fits = true },
        { .key = "threads", .value = "1024", .fits = true },
        { .key = "threads", .value = "0", .fits = false },
        { .key = "threads", .value = "1025", .fits = false },
        { .key = "threads", .value = "auto", .fits = true },
        { .key = "size", .value = "1k", .fits = true },
        { .key = "size", .value = "1023", .fits = false },
        { .key = "size", .value = "1g", .fits = true },
        { .key = "size", .value = "1073741825", .fits = false },
        { .key = "string", .value = "a", .fits = true },
        { .key = "string", .value = "", .fits = false },
        { .key = "string", .value = "12345678", .fits = true },
        { .key = "string", .value = "123456789", .fits = false },
        { .key = "secret", .value = "1234", .fits = true },
        { .key = "secret", .value = "123", .fits = false },
        { .key = "duration", .value = "never", .fits = true },
        { .key = "duration", .value = "0", .fits = true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parsed parsed;

        parse_one(&parsed, cases[i].key, cases[i].value);
        assert_int_equal(parsed.error, cases[i].fits ? 0 : -EINVAL);
        done(&parsed);
    }
}

static void refusals_say_what_would_be_right(void **state)
{
    (void)state;
    assert_refused("threads", "70000", "\"70000\" is out of range; allowed is 1 to 1024, or auto");
    assert_refused("threads", "99999999999999999999",
                   "\"99999999999999999999\" is out of range; allowed is 1 to 1024, or auto");
    assert_refused("threads", "four", "\"four\" is no whole number; allowed is 1 to 1024, or auto");
    assert_refused("threads", "atuo",
                   "\"atuo\" is no whole number, did you mean \"auto\"? "
                   "Allowed is 1 to 1024, or auto");
    assert_refused("integer", "abc",
                   "\"abc\" is no whole number; write a number such as 42, -7, 0x1f");
    assert_refused("integer", "99999999999999999999", "\"99999999999999999999\" is too large");
    assert_refused(
        "size", "64kb",
        "\"64kb\" is no size; write a size such as 512, 64k, 1m, 2g; allowed is 1k to 1g");
    assert_refused("size", "2g", "\"2g\" is out of range; allowed is 1k to 1g");
    assert_refused("duration", "30", "\"30\" has no unit; add ms, s, m, h or d, such as 30s");
    assert_refused(
        "duration", "soon",
        "\"soon\" is no duration; write a duration such as 250ms, 10s, 1h30m; allowed is any duration, or never");
    assert_refused("color", "gren",
                   "\"gren\" is none of the words, did you mean \"green\"? "
                   "Allowed is red, green, blue");
    assert_refused("color", "", "\"\" is none of the words; allowed is red, green, blue");
    assert_refused("string", "", "is empty; allowed is 1 to 8 bytes");
    assert_refused("string", "123456789", "has the wrong length; allowed is 1 to 8 bytes");
    assert_refused("path", "", "is empty; write a path");
    assert_refused("endpoint", "tcp://127.0.0.1:10-12",
                   "\"tcp://127.0.0.1:10-12\" is a range; one port is wanted");
}

static void secrets_are_never_printed(void **state)
{
    char *page = NULL;
    size_t size;

    (void)state;
    assert_refused("secret", "abc", "has the wrong length; allowed is 4 to 12 bytes");
    FILE *out = open_memstream(&page, &size);
    options_print(out, table);
    fclose(out);
    assert_null(strstr(page, "hunter2"));
    assert_non_null(strstr(page, "(secret)"));
    free(page);
}

static void endpoints_keep_their_text(void **state)
{
    struct parsed parsed;

    (void)state;
    parse_one(&parsed, "endpoint", "udp://127.0.0.1:53");
    assert_int_equal(parsed.error, 0);
    assert_int_equal(parsed.values.endpoint.kind, ENCHUFE_UDP);
    assert_int_equal(parsed.values.endpoint.address.port, 53);
    assert_string_equal(parsed.values.endpoint.text, "udp://127.0.0.1:53");
    assert_null(parsed.values.endpoint.path);
    done(&parsed);
    parse_one(&parsed, "endpoint", "unix:///run/x.sock");
    assert_int_equal(parsed.error, 0);
    assert_string_equal(parsed.values.endpoint.path, "/run/x.sock");
    done(&parsed);
    parse_one(&parsed, "endpoint", "tcp://127.0.0.1:70000");
    assert_int_equal(parsed.error, -EINVAL);
    assert_non_null(strstr(parsed.printed, "/etc/x/e.ini:3: [echo] endpoint: "));
    done(&parsed);
}

static void paths_count_from_the_file_that_says_them(void **state)
{
    static const struct {
        const char *said, *meant;
    } cases[] = {
        { .said = "/a/b", .meant = "/a/b" },          { .said = "b", .meant = "/etc/x/b" },
        { .said = "./b", .meant = "/etc/x/b" },       { .said = "../b", .meant = "/etc/x/../b" },
        { .said = "a b/c", .meant = "/etc/x/a b/c" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parsed parsed;

        parse_one(&parsed, "path", cases[i].said);
        assert_string_equal(parsed.values.path, cases[i].meant);
        done(&parsed);
    }
}

static void lists_gather_every_repetition(void **state)
{
    const struct setting settings[] = {
        SET("list", "one  two\t", 2),
        SET("flag", "no", 3),
        SET("list", "", 4),
        SET("list", "three", 5),
    };
    struct parsed parsed;

    (void)state;
    parse_table(&parsed, table, settings, 4);
    assert_int_equal(parsed.error, 0);
    assert_int_equal(parsed.values.list.count, 3);
    assert_string_equal(parsed.values.list.items[0], "one");
    assert_string_equal(parsed.values.list.items[1], "two");
    assert_string_equal(parsed.values.list.items[2], "three");
    assert_null(parsed.values.list.items[3]);
    done(&parsed);
}

static void other_keys_may_be_said_once(void **state)
{
    const struct setting settings[] = {
        SET("flag", "no", 2),
        SET("flag", "no", 4),
        SET("flag", "yes", 6),
    };
    struct parsed parsed;

    (void)state;
    parse_table(&parsed, table, settings, 3);
    assert_string_equal(
        parsed.printed,
        "/etc/x/e.ini:4: [echo] flag: said twice, first in line 2; it takes one value\n"
        "/etc/x/e.ini:6: [echo] flag: said twice, first in line 2; it takes one value\n");
    done(&parsed);
}

static void required_options_are_missed_at_the_section(void **state)
{
    static const enchufe_option rows[] = {
        { .name = "string",
          .type = ENCHUFE_OPTION_STRING,
          .flags = ENCHUFE_OPTION_REQUIRED,
          FIELD(string),
          .help = "what is said" },
        { .name = "flag",
          .type = ENCHUFE_OPTION_BOOL,
          .flags = ENCHUFE_OPTION_REQUIRED,
          FIELD(flag) },
        { .name = NULL },
    };
    const struct setting setting = SET("string", "hello", 3);
    struct parsed parsed;

    (void)state;
    parse_table(&parsed, rows, NULL, 0);
    assert_string_equal(
        parsed.printed,
        "/etc/x/e.ini:1: [echo] string: is missing, and has no default; it is: what is said\n"
        "/etc/x/e.ini:1: [echo] flag: is missing, and has no default\n");
    assert_int_equal(parsed.error, -EINVAL);
    done(&parsed);
    parse_table(&parsed, rows, &setting, 1);
    assert_string_equal(parsed.values.string, "hello");
    assert_int_equal(parsed.report.count, 1);
    done(&parsed);
}

static void unknown_keys_never_pass(void **state)
{
    (void)state;
    assert_refused("lsten", "x", "unknown key, did you mean \"listen\"?");
    assert_refused("Listen", "x", "unknown key, did you mean \"listen\"?");
    assert_refused("colour", "x", "unknown key, did you mean \"color\"?");
    assert_refused("sting", "x", "unknown key, did you mean \"string\"?");
    assert_refused("port", "8000",
                   "unknown key; hosts and ports belong into a service's listen = tcp://HOST:PORT");
    assert_refused("bind", "8000",
                   "unknown key; hosts and ports belong into a service's listen = tcp://HOST:PORT");
    assert_refused(
        "banana", "x",
        "unknown key; a service has plugin, listen, threads; this plugin adds string, flag, "
        "integer, threads, size, duration, color, endpoint, path, secret, list");
}

static void every_error_is_reported_in_one_go(void **state)
{
    const struct setting settings[] = {
        SET("flag", "maybe", 2),
        SET("banana", "1", 3),
        SET("size", "1", 4),
        SET("color", "red", 5),
    };
    struct parsed parsed;

    (void)state;
    parse_table(&parsed, table, settings, 4);
    assert_int_equal(parsed.report.count, 3);
    assert_int_equal(parsed.values.color, 0);
    assert_true(parsed.values.flag); /* what was refused keeps its default */
    done(&parsed);
}

static void options_without_a_table_refuse_every_key(void **state)
{
    const struct setting setting = SET("banana", "1", 3);
    struct parsed parsed;

    (void)state;
    parse_table(&parsed, NULL, &setting, 1);
    assert_string_equal(parsed.printed, "/etc/x/e.ini:3: [echo] banana: unknown key; a service has "
                                        "plugin, listen, threads; this plugin adds none\n");
    done(&parsed);
}

static void applying_keeps_what_is_not_said(void **state)
{
    const struct setting setting = SET("threads", "4", 3);
    struct parsed parsed;

    (void)state;
    parse_table(&parsed, table, NULL, 0);
    parsed.values.integer = 99;
    assert_int_equal(options_apply(&parsed.options, &setting, 1, NULL, &parsed.report), 0);
    assert_int_equal(parsed.values.threads, 4);
    assert_int_equal(parsed.values.integer, 99);
    done(&parsed);
}

static void misspellings_are_near_only_within_a_third(void **state)
{
    static const char *const words[] = { "plugin", "listen", "max_input", "log", NULL };
    char longest[200];

    (void)state;
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_string_equal(options_nearest("plugni", words), "plugin");
    assert_string_equal(options_nearest("listn", words), "listen");
    assert_string_equal(options_nearest("listens", words), "listen");
    assert_string_equal(options_nearest("max-input", words), "max_input");
    assert_string_equal(options_nearest("lgo", words), "log");
    assert_null(options_nearest("lo", words));
    assert_null(options_nearest("", words));
    assert_null(options_nearest("port", words));
    assert_null(options_nearest("zzzzzz", words));
    assert_null(options_nearest(longest, words));
}

static void assert_bad_row(enchufe_option row, size_t settings_size, const char *sentence)
{
    const enchufe_option rows[] = { row, { .name = NULL } };
    char error[300];

    assert_non_null(options_check_table(rows, settings_size, error, sizeof error));
    assert_non_null(strstr(error, sentence));
}

static void tables_of_plugins_are_checked(void **state)
{
    const enchufe_option good = { .name = "size", .type = ENCHUFE_OPTION_SIZE, FIELD(size) };
    const enchufe_option twice[] = { good, good, { .name = NULL } };
    const size_t all = sizeof(struct values);
    enchufe_option row = good;
    char error[300];

    (void)state;
    assert_null(options_check_table(table, all, error, sizeof error));
    assert_null(options_check_table(NULL, 0, error, sizeof error));
    assert_non_null(options_check_table(twice, all, error, sizeof error));
    assert_string_equal(error, "option \"size\": two rows have this name");
    assert_bad_row(good, good.offset + 7, "settings_size");
    row.offset = SIZE_MAX;
    assert_bad_row(row, all, "settings_size");
    row.offset = 1;
    assert_bad_row(row, all, "aligned");
    row = good;
    row.name = "Size";
    assert_bad_row(row, all, "lower case");
    row.name = "";
    assert_bad_row(row, all, "lower case");
    row = good;
    row.type = 11;
    assert_bad_row(row, all, "type");
    row.type = 0;
    assert_bad_row(row, all, "type");
    row = good;
    row.flags = 2;
    assert_bad_row(row, all, "flags");
    row = good;
    row.min = 2;
    assert_bad_row(row, all, "min is greater");
    row = good;
    row.value = "x";
    assert_bad_row(row, all, "the default is wrong: \"x\" is no size");
    row.flags = ENCHUFE_OPTION_REQUIRED;
    assert_null(options_check_table((enchufe_option[]){ row, { .name = NULL } }, all, error, 300));
    row = (enchufe_option){ .name = "e", .type = ENCHUFE_OPTION_ENUM };
    assert_bad_row(row, all, "choices");
}

static void the_page_of_options_is_aligned(void **state)
{
    static const enchufe_option rows[] = {
        { .name = "reply",
          .type = ENCHUFE_OPTION_STRING,
          .flags = ENCHUFE_OPTION_REQUIRED,
          .help = "what is answered" },
        { .name = "threads",
          .type = ENCHUFE_OPTION_INTEGER,
          .value = "auto",
          .min = 1,
          .max = 1024,
          .choices = auto_word,
          .help = "how many" },
        { .name = "limit",
          .type = ENCHUFE_OPTION_SIZE,
          .min = 1,
          .max = INT64_MAX,
          .help =
              "a help that is so long that it does not fit behind its row and stands under it" },
        { .name = NULL },
    };
    char *page = NULL;
    size_t size;

    (void)state;
    FILE *out = open_memstream(&page, &size);
    options_print(out, rows);
    fclose(out);
    assert_string_equal(page,
                        "  NAME     TYPE     DEFAULT   ALLOWED\n"
                        "  reply    string   required                      what is answered\n"
                        "  threads  integer  auto      1 to 1024, or auto  how many\n"
                        "  limit    size     -         at least 1\n"
                        "           a help that is so long that it does not fit behind its row "
                        "and stands under it\n");
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_is_not_said),
        cmocka_unit_test(bools_have_eight_words),
        cmocka_unit_test(ranges_include_both_ends),
        cmocka_unit_test(refusals_say_what_would_be_right),
        cmocka_unit_test(secrets_are_never_printed),
        cmocka_unit_test(endpoints_keep_their_text),
        cmocka_unit_test(paths_count_from_the_file_that_says_them),
        cmocka_unit_test(lists_gather_every_repetition),
        cmocka_unit_test(other_keys_may_be_said_once),
        cmocka_unit_test(required_options_are_missed_at_the_section),
        cmocka_unit_test(unknown_keys_never_pass),
        cmocka_unit_test(every_error_is_reported_in_one_go),
        cmocka_unit_test(options_without_a_table_refuse_every_key),
        cmocka_unit_test(applying_keeps_what_is_not_said),
        cmocka_unit_test(misspellings_are_near_only_within_a_third),
        cmocka_unit_test(tables_of_plugins_are_checked),
        cmocka_unit_test(the_page_of_options_is_aligned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
