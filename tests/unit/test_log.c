/* Unit tests of the log's lines: its two formats, whatever bytes come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "log.h"
#include "log_sink.h"
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LONGEST 4000

static int file = -1;
static char text[1 << 20];

/* Starts a log that is empty. */
static void begin(int level, enum log_format format)
{
    if (file >= 0)
        close(file);
    file = memfd_create("log", MFD_CLOEXEC);
    assert_true(file >= 0);
    log_sink_take(file);
    log_setup(level, format);
}

/* What was logged since begin(). */
static const char *logged(void)
{
    ssize_t n = pread(file, text, sizeof text - 1, 0);

    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

/* The log is one line, which after its time and the word `info ` is `expected`. */
static void one_line(const char *expected)
{
    const char *line = logged();

    assert_int_equal(strcspn(line, "\n"), strlen(line) - 1);
    assert_true(strlen(line) > 30);
    assert_memory_equal(line + 24, " info ", 6);
    assert_int_equal(strlen(line + 30), strlen(expected) + 1);
    assert_memory_equal(line + 30, expected, strlen(expected));
}

static void value_prints_as(const char *value, const char *printed)
{
    char expected[1000];

    begin(ENCHUFE_LOG_INFO, LOG_TEXT);
    log_event(ENCHUFE_LOG_INFO, "said", LOG_STR("what", value));
    snprintf(expected, sizeof expected, "said what=%s", printed);
    one_line(expected);
}

static void a_line_of_text_has_time_level_message_and_fields(void **state)
{
    regex_t pattern;

    (void)state;
    begin(ENCHUFE_LOG_INFO, LOG_TEXT);
    log_event(ENCHUFE_LOG_WARNING, "closed", LOG_STR("service", "echo"), LOG_NUM("in", 4),
              LOG_INT("balance", -7), LOG_DURATION("took", 2001), LOG_STR("peer", NULL),
              LOG_NUM("most", UINT64_MAX));
    assert_int_equal(regcomp(&pattern,
                             "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]"
                             "\\.[0-9]{3}Z warning closed service=echo in=4 balance=-7 "
                             "took=2\\.001s most=18446744073709551615\n$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    assert_int_equal(regexec(&pattern, logged(), 0, NULL, 0), 0);
    regfree(&pattern);
}

static void a_line_of_json_is_an_object(void **state)
{
    const char *line;

    (void)state;
    begin(ENCHUFE_LOG_INFO, LOG_JSON);
    log_event(ENCHUFE_LOG_INFO, "clo\"sed", LOG_STR("service", "echo"), LOG_NUM("in", 4),
              LOG_INT("balance", -7), LOG_DURATION("took", 2001), LOG_STR("peer", NULL));
    line = logged();
    assert_memory_equal(line, "{\"time\":\"20", 11);
    assert_string_equal(line + 33,
                        "\",\"level\":\"info\",\"message\":\"clo\\\"sed\",\"service\":\"echo\","
                        "\"in\":4,\"balance\":-7,\"took\":2.001}\n");
}

static void values_are_quoted_only_where_they_must_be(void **state)
{
    (void)state;
    value_prints_as("plain", "plain");
    value_prints_as("tcp://[::1]:80", "tcp://[::1]:80");
    value_prints_as("ma\xc3\xb1"
                    "ana",
                    "ma\xc3\xb1"
                    "ana");
    value_prints_as("", "\"\"");
    value_prints_as("two words", "\"two words\"");
    value_prints_as("say \"hola\"", "\"say \\\"hola\\\"\"");
    value_prints_as("a\nb\r\t\\", "\"a\\nb\\r\\t\\\\\"");
    value_prints_as("\x1b[31m\x7f", "\"\\x1b[31m\\x7f\"");
    value_prints_as("\xff", "\"\\xff\"");
}

static void what_is_no_utf8_is_escaped_byte_by_byte(void **state)
{
    (void)state;
    value_prints_as("\xc3", "\"\\xc3\"");          /* cut */
    value_prints_as("\xc0\xaf", "\"\\xc0\\xaf\""); /* too long a form */
    value_prints_as("\xe0\x80\xaf", "\"\\xe0\\x80\\xaf\"");
    value_prints_as("\xed\xa0\x80", "\"\\xed\\xa0\\x80\""); /* a surrogate */
    value_prints_as("\xf4\x90\x80\x80", "\"\\xf4\\x90\\x80\\x80\"");
    value_prints_as("\xf0\x9f\x94\x8c", "\xf0\x9f\x94\x8c");
    value_prints_as("\xc2\x9b", "\"\\xc2\\x9b\"");          /* a terminal's CSI */
    value_prints_as("\xe2\x80\xa8", "\"\\xe2\\x80\\xa8\""); /* a line separator */
}

static void a_message_cannot_end_its_line(void **state)
{
    (void)state;
    begin(ENCHUFE_LOG_INFO, LOG_TEXT);
    log_line(ENCHUFE_LOG_INFO, "got \"%s\"", "a\nb\x1b");
    one_line("got \"a\\nb\\x1b\"");
}

static void levels_below_the_one_set_are_not_logged(void **state)
{
    (void)state;
    begin(ENCHUFE_LOG_WARNING, LOG_TEXT);
    assert_true(enchufe_log_enabled(ENCHUFE_LOG_ERROR));
    assert_true(enchufe_log_enabled(ENCHUFE_LOG_WARNING));
    assert_false(enchufe_log_enabled(ENCHUFE_LOG_INFO));
    log_line(ENCHUFE_LOG_INFO, "unseen");
    log_event(ENCHUFE_LOG_DEBUG, "unseen", LOG_NUM("n", 1));
    log_write(ENCHUFE_LOG_DEBUG, "unseen", NULL, 0);
    assert_string_equal(logged(), "");
    log_line(ENCHUFE_LOG_ERROR, "seen");
    assert_non_null(strstr(logged(), " error seen\n"));
}

static void the_words_stand_in_the_order_of_their_enums(void **state)
{
    (void)state;
    assert_string_equal(log_level_words[ENCHUFE_LOG_DEBUG], "debug");
    assert_null(log_level_words[ENCHUFE_LOG_DEBUG + 1]);
    assert_string_equal(log_format_words[LOG_JSON], "json");
    assert_null(log_format_words[LOG_JSON + 1]);
}

/* ---- strict JSON, as far as the log uses it ---- */

static const char *json_string(const char *c)
{
    assert_int_equal(*c++, '"');
    while (*c != '"') {
        unsigned char byte = (unsigned char)*c++;

        assert_true(byte >= 0x20 && byte != 0x7f);
        if (byte == '\\') {
            assert_non_null(strchr("\"\\nrtu", *c));
            if (*c++ == 'u')
                for (int i = 0; i < 4; i++, c++)
                    assert_true((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'f'));
        } else if (byte >= 0x80) {
            int more = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;

            assert_true(byte >= 0xc2 && byte <= 0xf4);
            while (more--) {
                assert_int_equal(*c & 0xc0, 0x80);
                c++;
            }
        }
    }
    return c + 1;
}

static void json_line(const char *c)
{
    size_t fields = 0;

    assert_int_equal(*c++, '{');
    do {
        c = json_string(c);
        assert_int_equal(*c++, ':');
        if (*c == '"')
            c = json_string(c);
        else
            c += strspn(c, "-0123456789.");
        fields++;
    } while (*c++ == ',');
    assert_string_equal(c - 1, "}\n");
    assert_true(fields >= 3);
}

static void any_bytes_make_valid_json(void **state)
{
    char value[260];
    uint32_t seed = 3;

    (void)state;
    for (int i = 1; i < 256; i++)
        value[i - 1] = (char)i;
    value[255] = '\0';
    for (int round = 0; round < 300; round++) {
        begin(ENCHUFE_LOG_INFO, LOG_JSON);
        log_event(ENCHUFE_LOG_INFO, value, LOG_STR("value", value), LOG_NUM("n", round));
        json_line(logged());
        for (int i = 0; i < 255; i++) {
            seed = seed * 1664525 + 1013904223;
            value[i] = (char)(1 + (seed >> 16) % 255);
        }
    }
    begin(ENCHUFE_LOG_INFO, LOG_JSON);
    log_event(ENCHUFE_LOG_INFO, "\xff\x01", LOG_STR("v", "\xc2\x85\xe2\x80\xa9\xc3"));
    assert_non_null(strstr(logged(), "\"message\":\"\xef\xbf\xbd\\u0001\","
                                     "\"v\":\"\\u0085\\u2029\xef\xbf\xbd\"}\n"));
}

static void any_bytes_make_one_line_of_text(void **state)
{
    char value[256];

    (void)state;
    for (int i = 1; i < 256; i++)
        value[i - 1] = (char)i;
    value[255] = '\0';
    begin(ENCHUFE_LOG_INFO, LOG_TEXT);
    log_event(ENCHUFE_LOG_INFO, value, LOG_STR("value", value));
    logged();
    for (size_t i = 0; i + 1 < strlen(text); i++)
        assert_true(text[i] >= 0x20 && text[i] < 0x7f);
}

/* ---- length ---- */

static void a_long_line_is_cut_between_characters(void **state)
{
    static const char *const pieces[] = {
        "a", "\n", "\x1b", "\xc3\xb1", "\xf0\x9f\x94\x8c", " \""
    };
    static char value[20000];

    (void)state;
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++)
        for (size_t shift = 0; shift < 12; shift++)
            for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
                size_t len;

                memset(value, 'b', shift);
                for (size_t at = shift; at < 6000; at += strlen(pieces[p]))
                    strcpy(value + at, pieces[p]);
                begin(ENCHUFE_LOG_INFO, (enum log_format)format);
                log_event(ENCHUFE_LOG_INFO, "m", LOG_STR("value", value), LOG_NUM("n", 1));
                len = strlen(logged());
                assert_in_range(len, LONGEST - 20, LONGEST);
                if (format == LOG_JSON) {
                    json_line(text);
                    assert_string_equal(text + len - 6, "...\"}\n");
                } else if (p == 0 || p == 3 || p == 4) {
                    assert_string_equal(text + len - 4, "...\n");
                } else {
                    assert_string_equal(text + len - 5, "...\"\n");
                }
            }
}

static void a_long_message_leaves_room_for_the_fields(void **state)
{
    static char message[9000];

    (void)state;
    memset(message, 'x', sizeof message - 1);
    begin(ENCHUFE_LOG_INFO, LOG_TEXT);
    log_event(ENCHUFE_LOG_INFO, message, LOG_STR("service", "echo"), LOG_STR("peer", "me"));
    assert_non_null(strstr(logged(), "xxx... service=echo peer=me\n"));
    begin(ENCHUFE_LOG_INFO, LOG_JSON);
    log_event(ENCHUFE_LOG_INFO, message, LOG_STR("service", "echo"));
    assert_non_null(strstr(logged(), "xxx...\",\"service\":\"echo\"}\n"));
    begin(ENCHUFE_LOG_INFO, LOG_TEXT);
    log_line(ENCHUFE_LOG_INFO, "%s", message);
    assert_in_range(strlen(logged()), LONGEST - 20, LONGEST);
}

static void many_fields_are_cut_at_a_whole_one(void **state)
{
    struct log_field fields[500];

    (void)state;
    for (size_t i = 0; i < 500; i++)
        fields[i] = i % 2 ? LOG_NUM("number", UINT64_MAX) : LOG_STR("string", "two words");
    for (size_t shift = 0; shift < 60; shift++) {
        char message[61] = "";

        memset(message, 'm', shift);
        begin(ENCHUFE_LOG_INFO, LOG_JSON);
        log_write(ENCHUFE_LOG_INFO, message, fields, 500);
        assert_in_range(strlen(logged()), LONGEST - 60, LONGEST);
        json_line(text);
        begin(ENCHUFE_LOG_INFO, LOG_TEXT);
        log_write(ENCHUFE_LOG_INFO, message, fields, 500);
        assert_in_range(strlen(logged()), LONGEST - 60, LONGEST);
        assert_string_equal(text + strlen(text) - 4, "...\n");
    }
}

/* ---- threads ---- */

static void *log_much(void *arg)
{
    for (unsigned i = 0; i < 500; i++)
        log_event(ENCHUFE_LOG_INFO, "busy", LOG_NUM("thread", *(unsigned *)arg), LOG_NUM("n", i));
    return NULL;
}

static void threads_write_whole_lines(void **state)
{
    unsigned numbers[4] = { 0, 1, 2, 3 }, lines = 0;
    pthread_t threads[4];

    (void)state;
    begin(ENCHUFE_LOG_INFO, LOG_JSON);
    assert_int_equal(fcntl(file, F_SETFL, O_APPEND), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_much, &numbers[i]), 0);
    log_sink_take(file);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    logged();
    for (char *line = text, *end; *line; line = end, lines++) {
        char copy[300];

        end = strchr(line, '\n') + 1;
        assert_true((size_t)(end - line) < sizeof copy);
        memcpy(copy, line, (size_t)(end - line));
        copy[end - line] = '\0';
        json_line(copy);
    }
    assert_int_equal(lines, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_text_has_time_level_message_and_fields),
        cmocka_unit_test(a_line_of_json_is_an_object),
        cmocka_unit_test(values_are_quoted_only_where_they_must_be),
        cmocka_unit_test(what_is_no_utf8_is_escaped_byte_by_byte),
        cmocka_unit_test(a_message_cannot_end_its_line),
        cmocka_unit_test(levels_below_the_one_set_are_not_logged),
        cmocka_unit_test(the_words_stand_in_the_order_of_their_enums),
        cmocka_unit_test(any_bytes_make_valid_json),
        cmocka_unit_test(any_bytes_make_one_line_of_text),
        cmocka_unit_test(a_long_line_is_cut_between_characters),
        cmocka_unit_test(a_long_message_leaves_room_for_the_fields),
        cmocka_unit_test(many_fields_are_cut_at_a_whole_one),
        cmocka_unit_test(threads_write_whole_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
