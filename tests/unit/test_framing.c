/* Unit tests of framing: each framing fed whole, byte by byte and at random cuts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "framing.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const enchufe_framing line = { .type = ENCHUFE_FRAMING_LINE, .max = 8 };
static const enchufe_framing blank_line = {
    .type = ENCHUFE_FRAMING_DELIMITER, .max = 8, .delimiter = "\r\n\r\n", .delimiter_len = 4
};
static const enchufe_framing aab = {
    .type = ENCHUFE_FRAMING_DELIMITER, .max = 8, .delimiter = "aab", .delimiter_len = 3
};
static const enchufe_framing byte_counted = { .type = ENCHUFE_FRAMING_LENGTH,
                                              .max = 8,
                                              .length_size = 1 };
static const enchufe_framing fixed = { .type = ENCHUFE_FRAMING_FIXED, .max = 3 };
static const enchufe_framing netstring = { .type = ENCHUFE_FRAMING_NETSTRING, .max = 12 };

/* What a stream is cut into: `[message]` for each, and `!` with the error where it ends. */
struct cutter {
    const enchufe_framing *framing;
    unsigned char input[4096];
    size_t start, end, scanned;
    char result[8192];
    size_t len;
    int status;
};

static void append(struct cutter *cutter, const char *before, const void *bytes, size_t len,
                   const char *after)
{
    assert_true(cutter->len + len + 16 < sizeof cutter->result);
    cutter->len += (size_t)sprintf(cutter->result + cutter->len, "%s", before);
    memcpy(cutter->result + cutter->len, bytes, len);
    cutter->len += len;
    cutter->len += (size_t)sprintf(cutter->result + cutter->len, "%s", after);
}

static void feed(struct cutter *cutter, const void *bytes, size_t len)
{
    memcpy(cutter->input + cutter->end, bytes, len);
    cutter->end += len;
    while (cutter->status >= 0) {
        const unsigned char *front = cutter->input + cutter->start;
        size_t left = cutter->end - cutter->start;
        /* A copy of its own, so that AddressSanitizer sees a read beyond the end. */
        unsigned char *exact = malloc(left ? left : 1);
        struct frame frame;

        memcpy(exact, front, left);
        frame = framing_next(cutter->framing, cutter->framing->max, exact, left, cutter->scanned);
        free(exact);
        assert_true(frame.scanned <= left);
        cutter->scanned = frame.scanned;
        cutter->status = frame.status;
        if (frame.status < 0)
            append(cutter, "!", "", 0, frame.status == -EMSGSIZE ? "long" : "bad");
        if (frame.status <= 0)
            break;
        assert_true(frame.offset + frame.len <= frame.size && frame.size <= left);
        assert_true(frame.size <= framing_overhead(cutter->framing));
        append(cutter, "[", front + frame.offset, frame.len, "]");
        cutter->start += frame.size;
    }
}

/* Feeds the stream whole, byte by byte and at random cuts. */
static void cuts_into(const enchufe_framing *framing, const void *bytes, size_t len,
                      const char *expected)
{
    static struct cutter cutter;
    uint32_t seed = 1;

    for (int round = 0; round < 50; round++) {
        cutter = (struct cutter){ .framing = framing };
        for (size_t at = 0, piece; at < len && cutter.status >= 0; at += piece) {
            seed = seed * 1664525 + 1013904223;
            piece = round == 0 ? len : round == 1 ? 1 : 1 + (seed >> 16) % 7;
            if (piece > len - at)
                piece = len - at;
            feed(&cutter, (const unsigned char *)bytes + at, piece);
        }
        assert_string_equal(cutter.result, expected);
    }
}

#define CUTS_INTO(framing, text, expected) cuts_into(framing, text, sizeof(text) - 1, expected)

static void lines_end_with_either_ending(void **state)
{
    (void)state;
    CUTS_INTO(&line, "hola\nadios\r\n\n\r\nx\ry\nrest", "[hola][adios][][][x\ry]");
    CUTS_INTO(&line, "a\r\r\n", "[a\r]");
    CUTS_INTO(&line, "", "");
}

static void a_line_of_exactly_max_bytes_fits_with_either_ending(void **state)
{
    (void)state;
    CUTS_INTO(&line, "12345678\n12345678\r\n1234567\r\n", "[12345678][12345678][1234567]");
    CUTS_INTO(&line, "12345678\r", "");
    CUTS_INTO(&line, "123456789\n", "!long");
    CUTS_INTO(&line, "12345678\r\r\n", "!long");
    CUTS_INTO(&line, "ok\n12345678\rx", "[ok]!long");
}

static void a_line_without_end_fails_at_the_first_byte_that_decides_it(void **state)
{
    struct frame frame;

    (void)state;
    frame = framing_next(&line, 8, (const unsigned char *)"12345678", 8, 0);
    assert_int_equal(frame.status, 0);
    assert_int_equal(frame.scanned, 8);
    frame = framing_next(&line, 8, (const unsigned char *)"123456789", 9, 8);
    assert_int_equal(frame.status, -EMSGSIZE);
    frame = framing_next(&line, 8, (const unsigned char *)"12345678\r", 9, 8);
    assert_int_equal(frame.status, 0);
    frame = framing_next(&line, 8, (const unsigned char *)"12345678\rx", 10, 9);
    assert_int_equal(frame.status, -EMSGSIZE);
    frame = framing_next(&line, 3, (const unsigned char *)"1234", 4, 0);
    assert_int_equal(frame.status, -EMSGSIZE);
}

static void what_was_scanned_is_not_looked_at_again(void **state)
{
    struct frame frame;

    (void)state;
    /* A newline within what is said to be scanned must stay unseen. */
    frame = framing_next(&line, 8, (const unsigned char *)"a\nb", 3, 2);
    assert_int_equal(frame.status, 0);
    frame = framing_next(&aab, 8, (const unsigned char *)"aabxx", 5, 3);
    assert_int_equal(frame.status, 0);
    assert_int_equal(frame.scanned, 3);
}

static void delimiters_are_found_across_cuts(void **state)
{
    (void)state;
    CUTS_INTO(&blank_line, "GET\r\n\r\n\r\n\r\nab\r\ncd\r\n\r\n\r\n\r", "[GET][][ab\r\ncd]");
    CUTS_INTO(&aab, "aaabxaaaab", "[a][xaa]");
    CUTS_INTO(&aab, "12345678aab", "[12345678]");
}

static void a_delimiter_too_late_fails_as_soon_as_that_is_certain(void **state)
{
    struct frame frame;

    (void)state;
    CUTS_INTO(&aab, "123456789", "!long");
    CUTS_INTO(&aab, "12345678a", "");
    CUTS_INTO(&aab, "12345678aa", "");
    CUTS_INTO(&aab, "12345678aac", "!long");
    CUTS_INTO(&aab, "12345678aaab", "!long");
    CUTS_INTO(&aab, "1234567aaab", "[1234567a]");
    frame = framing_next(&aab, 8, (const unsigned char *)"12345678b", 9, 0);
    assert_int_equal(frame.status, -EMSGSIZE);
}

static void a_length_stands_before_its_message(void **state)
{
    (void)state;
    CUTS_INTO(&byte_counted, "\4hola\0\5adios\1", "[hola][][adios]");
    CUTS_INTO(&byte_counted,
              "\10"
              "12345678\11",
              "[12345678]!long");
}

static void lengths_have_each_size_and_either_order(void **state)
{
    static const uint8_t sizes[] = { 1, 2, 4, 8 };

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        enchufe_framing framing = { .type = ENCHUFE_FRAMING_LENGTH,
                                    .max = 300,
                                    .length_size = sizes[i / 2],
                                    .little_endian = i % 2 };
        size_t size = framing.length_size, len = size == 1 ? 200 : 300;
        unsigned char stream[2 * 308 + 8] = { 0 };
        char expected[610];

        for (size_t k = 0; k < 2; k++) {
            unsigned char *header = stream + k * (size + len);

            for (size_t b = 0; b < size && b < 2; b++)
                header[framing.little_endian ? b : size - 1 - b] = (unsigned char)(len >> (8 * b));
            memset(header + size, 'x', len);
            expected[k * (len + 2)] = '[';
            memset(expected + k * (len + 2) + 1, 'x', len);
            expected[k * (len + 2) + 1 + len] = ']';
        }
        expected[2 * (len + 2)] = '\0';
        cuts_into(&framing, stream, 2 * (size + len), expected);
    }
}

static void a_length_above_max_fails_with_its_header(void **state)
{
    static const enchufe_framing huge = { .type = ENCHUFE_FRAMING_LENGTH,
                                          .max = 8,
                                          .length_size = 8 };

    (void)state;
    CUTS_INTO(&huge, "\377\377\377\377\377\377\377\377", "!long");
    CUTS_INTO(&huge, "\377\377\377\377\377\377\377\370", "!long");
    CUTS_INTO(&huge, "\0\0\0\0\0\0\0\11", "!long");
    CUTS_INTO(&huge, "\0\0\0\1\0\0\0\1", "!long");
    CUTS_INTO(&huge, "\0\0\0\0\0\0\0\1x", "[x]");
    assert_int_equal(framing_next(&byte_counted, 4, (const unsigned char *)"\5", 1, 0).status,
                     -EMSGSIZE);
}

static void fixed_messages_are_all_max_bytes(void **state)
{
    (void)state;
    CUTS_INTO(&fixed, "abcdef\n\n\n12", "[abc][def][\n\n\n]");
    assert_int_equal(framing_next(&fixed, 2, (const unsigned char *)"a", 1, 0).status, -EMSGSIZE);
}

static void netstrings_are_read(void **state)
{
    (void)state;
    CUTS_INTO(&netstring, "5:hello,0:,12:hello world!,3:a,b,", "[hello][][hello world!][a,b]");
    CUTS_INTO(&netstring, "3:ab", "");
    CUTS_INTO(&netstring, "1", "");
}

static void netstrings_are_strict(void **state)
{
    (void)state;
    CUTS_INTO(&netstring, "05:hello,", "!bad");
    CUTS_INTO(&netstring, "00:,", "!bad");
    CUTS_INTO(&netstring, ":,", "!bad");
    CUTS_INTO(&netstring, "-1:a,", "!bad");
    CUTS_INTO(&netstring, " 1:a,", "!bad");
    CUTS_INTO(&netstring, "1 :a,", "!bad");
    CUTS_INTO(&netstring, "1:ab", "!bad");
    CUTS_INTO(&netstring, "0:a", "!bad");
    CUTS_INTO(&netstring, "1:a,x", "[a]!bad");
    CUTS_INTO(&netstring, "13:", "!long");
    CUTS_INTO(&netstring, "99999999999999999999999999999999999:", "!long");
}

static void only_a_line_may_be_cut_off_by_the_end(void **state)
{
    static const enchufe_framing *const others[] = { &aab, &byte_counted, &fixed, &netstring };
    struct frame frame = framing_last(&line, (const unsigned char *)"hola", 4);

    (void)state;
    assert_int_equal(frame.status, 1);
    assert_int_equal(frame.offset, 0);
    assert_int_equal(frame.len, 4);
    assert_int_equal(frame.size, 4);
    frame = framing_last(&line, (const unsigned char *)"hola\r", 5);
    assert_int_equal(frame.status, 1);
    assert_int_equal(frame.len, 4);
    assert_int_equal(frame.size, 5);
    assert_int_equal(framing_last(&line, (const unsigned char *)"", 0).status, 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(framing_last(others[i], (const unsigned char *)"1", 1).status, 0);
}

static void overhead_is_the_longest_message_with_header_and_ending(void **state)
{
    enchufe_framing n = netstring;

    (void)state;
    assert_int_equal(framing_overhead(&line), 10);
    assert_int_equal(framing_overhead(&blank_line), 12);
    assert_int_equal(framing_overhead(&byte_counted), 9);
    assert_int_equal(framing_overhead(&fixed), 3);
    assert_int_equal(framing_overhead(&netstring), 12 + 4);
    n.max = 9;
    assert_int_equal(framing_overhead(&n), 9 + 3);
    n.max = 10;
    assert_int_equal(framing_overhead(&n), 10 + 4);
}

static void a_good_framing_passes_the_check(void **state)
{
    enchufe_framing most = { .type = ENCHUFE_FRAMING_LINE, .max = (size_t)1 << 30 };

    (void)state;
    assert_null(framing_check(&line));
    assert_null(framing_check(&blank_line));
    assert_null(framing_check(&byte_counted));
    assert_null(framing_check(&fixed));
    assert_null(framing_check(&netstring));
    assert_null(framing_check(&most));
}

static void a_framing_that_cannot_work_is_refused(void **state)
{
    enchufe_framing framing = { .type = 0, .max = 1 };

    (void)state;
    assert_non_null(framing_check(&framing));
    framing.type = 6;
    assert_non_null(framing_check(&framing));
    framing = line;
    framing.max = 0;
    assert_non_null(framing_check(&framing));
    framing.max = ((size_t)1 << 30) + 1;
    assert_non_null(framing_check(&framing));
    framing = byte_counted;
    framing.length_size = 3;
    assert_non_null(framing_check(&framing));
    framing = aab;
    framing.delimiter_len = 0;
    assert_non_null(framing_check(&framing));
    framing.delimiter_len = 17;
    assert_non_null(framing_check(&framing));
    framing = aab;
    framing.delimiter = NULL;
    assert_non_null(framing_check(&framing));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_with_either_ending),
        cmocka_unit_test(a_line_of_exactly_max_bytes_fits_with_either_ending),
        cmocka_unit_test(a_line_without_end_fails_at_the_first_byte_that_decides_it),
        cmocka_unit_test(what_was_scanned_is_not_looked_at_again),
        cmocka_unit_test(delimiters_are_found_across_cuts),
        cmocka_unit_test(a_delimiter_too_late_fails_as_soon_as_that_is_certain),
        cmocka_unit_test(a_length_stands_before_its_message),
        cmocka_unit_test(lengths_have_each_size_and_either_order),
        cmocka_unit_test(a_length_above_max_fails_with_its_header),
        cmocka_unit_test(fixed_messages_are_all_max_bytes),
        cmocka_unit_test(netstrings_are_read),
        cmocka_unit_test(netstrings_are_strict),
        cmocka_unit_test(only_a_line_may_be_cut_off_by_the_end),
        cmocka_unit_test(overhead_is_the_longest_message_with_header_and_ending),
        cmocka_unit_test(a_good_framing_passes_the_check),
        cmocka_unit_test(a_framing_that_cannot_work_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
