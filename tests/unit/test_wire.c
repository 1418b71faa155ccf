/* Unit tests of enchufe/wire.h: the reader and the writer of binary messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <enchufe/wire.h>

static void numbers_are_read_in_either_order(void **state)
{
    static const uint8_t bytes[] = { 1, 1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7,   0xf8,
                                     1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 0xf8 };
    enchufe_reader r;

    (void)state;
    enchufe_reader_init(&r, bytes, sizeof bytes);
    assert_int_equal(enchufe_reader_left(&r), sizeof bytes);
    assert_int_equal(enchufe_reader_u8(&r), 1);
    assert_int_equal(enchufe_reader_u16(&r), 0x0102);
    assert_int_equal(enchufe_reader_u32(&r), 0x01020304);
    assert_true(enchufe_reader_u64(&r) == 0x01020304050607f8);
    assert_int_equal(enchufe_reader_u16_le(&r), 0x0201);
    assert_int_equal(enchufe_reader_u32_le(&r), 0x04030201);
    assert_false(enchufe_reader_end(&r));
    assert_true(enchufe_reader_u64_le(&r) == 0xf807060504030201);
    assert_true(enchufe_reader_ok(&r));
    assert_true(enchufe_reader_end(&r));
}

static void a_failed_read_is_sticky_and_yields_zeros(void **state)
{
    static const uint8_t bytes[] = { 1, 2, 3 };
    uint8_t out[2] = { 9, 9 };
    enchufe_reader r;

    (void)state;
    enchufe_reader_init(&r, bytes, sizeof bytes);
    assert_int_equal(enchufe_reader_u16(&r), 0x0102);
    assert_int_equal(enchufe_reader_u16(&r), 0);
    assert_false(enchufe_reader_ok(&r));
    assert_false(enchufe_reader_end(&r));
    /* One byte is left, and must not be given out any more. */
    assert_int_equal(enchufe_reader_u8(&r), 0);
    assert_int_equal(enchufe_reader_left(&r), 0);
    assert_null(enchufe_reader_bytes(&r, 0));
    enchufe_reader_copy(&r, out, 2);
    assert_int_equal(out[0] | out[1], 0);
}

static void bytes_point_into_the_source(void **state)
{
    static const uint8_t bytes[] = "xholaadios";
    uint8_t out[5];
    enchufe_reader r;

    (void)state;
    enchufe_reader_init(&r, bytes, 10);
    enchufe_reader_skip(&r, 1);
    assert_ptr_equal(enchufe_reader_bytes(&r, 4), bytes + 1);
    enchufe_reader_copy(&r, out, 5);
    assert_memory_equal(out, "adios", 5);
    assert_ptr_equal(enchufe_reader_bytes(&r, 0), bytes + 10);
    assert_true(enchufe_reader_end(&r));
    enchufe_reader_skip(&r, SIZE_MAX);
    assert_false(enchufe_reader_ok(&r));
}

static void an_empty_source_reads_nothing(void **state)
{
    enchufe_reader r;

    (void)state;
    enchufe_reader_init(&r, NULL, 0);
    assert_true(enchufe_reader_end(&r));
    assert_non_null(enchufe_reader_bytes(&r, 0));
    enchufe_reader_copy(&r, NULL, 0);
    assert_true(enchufe_reader_ok(&r));
    assert_int_equal(enchufe_reader_u8(&r), 0);
    assert_false(enchufe_reader_ok(&r));
}

static void a_part_ends_where_its_length_says(void **state)
{
    static const uint8_t bytes[] = { 2, 0xaa, 0xbb, 0xcc };
    enchufe_reader r, part;

    (void)state;
    enchufe_reader_init(&r, bytes, sizeof bytes);
    part = enchufe_reader_part(&r, enchufe_reader_u8(&r));
    assert_int_equal(enchufe_reader_u32(&part), 0);
    assert_false(enchufe_reader_ok(&part));
    assert_int_equal(enchufe_reader_u8(&r), 0xcc);
    assert_true(enchufe_reader_end(&r));
    part = enchufe_reader_part(&r, 1);
    assert_false(enchufe_reader_ok(&part));
    assert_false(enchufe_reader_ok(&r));
}

static void a_parser_can_fail_by_itself(void **state)
{
    enchufe_reader r;

    (void)state;
    enchufe_reader_init(&r, "a", 1);
    enchufe_reader_fail(&r);
    assert_int_equal(enchufe_reader_u8(&r), 0);
    assert_false(enchufe_reader_ok(&r));
}

static void what_is_written_is_read_again(void **state)
{
    uint8_t memory[64];
    enchufe_writer w;
    enchufe_reader r;

    (void)state;
    enchufe_writer_init(&w, memory, sizeof memory);
    enchufe_writer_u8(&w, 0x81);
    enchufe_writer_u16(&w, 0x8182);
    enchufe_writer_u32(&w, 0x81828384);
    enchufe_writer_u64(&w, 0x8182838485868788);
    enchufe_writer_u16_le(&w, 0x8182);
    enchufe_writer_u32_le(&w, 0x81828384);
    enchufe_writer_u64_le(&w, 0x8182838485868788);
    enchufe_writer_text(&w, "hola");
    enchufe_writer_bytes(&w, "\0\1", 2);
    assert_int_equal(enchufe_writer_len(&w), 35);
    assert_int_equal(enchufe_writer_left(&w), 29);
    assert_memory_equal(memory, "\x81\x81\x82\x81\x82\x83\x84", 7);
    assert_memory_equal(memory + 15, "\x82\x81\x84\x83\x82\x81", 6);
    enchufe_reader_init(&r, memory, enchufe_writer_len(&w));
    assert_int_equal(enchufe_reader_u8(&r), 0x81);
    assert_int_equal(enchufe_reader_u16(&r), 0x8182);
    assert_int_equal(enchufe_reader_u32(&r), 0x81828384);
    assert_true(enchufe_reader_u64(&r) == 0x8182838485868788);
    assert_int_equal(enchufe_reader_u16_le(&r), 0x8182);
    assert_int_equal(enchufe_reader_u32_le(&r), 0x81828384);
    assert_true(enchufe_reader_u64_le(&r) == 0x8182838485868788);
    assert_memory_equal(enchufe_reader_bytes(&r, 6), "hola\0\1", 6);
    assert_true(enchufe_reader_end(&r));
}

static void a_failed_write_is_sticky_and_writes_nothing(void **state)
{
    uint8_t memory[6] = "......";
    enchufe_writer w;

    (void)state;
    enchufe_writer_init(&w, memory, 4);
    enchufe_writer_u16(&w, 0x4142);
    enchufe_writer_u32(&w, 0x43444546);
    assert_false(enchufe_writer_ok(&w));
    enchufe_writer_u8(&w, 0x43);
    enchufe_writer_patch_u16(&w, 0, 0);
    assert_memory_equal(memory, "AB....", 6);
    assert_int_equal(enchufe_writer_len(&w), 0);
    assert_int_equal(enchufe_writer_left(&w), 0);
}

static void memory_can_be_filled_to_its_last_byte(void **state)
{
    uint8_t memory[4];
    enchufe_writer w;

    (void)state;
    enchufe_writer_init(&w, memory, sizeof memory);
    enchufe_writer_u32(&w, 1);
    enchufe_writer_text(&w, "");
    enchufe_writer_bytes(&w, NULL, 0);
    assert_true(enchufe_writer_ok(&w));
    assert_int_equal(enchufe_writer_len(&w), 4);
    enchufe_writer_bytes(&w, "", SIZE_MAX);
    assert_false(enchufe_writer_ok(&w));
    enchufe_writer_init(&w, NULL, 0);
    assert_true(enchufe_writer_ok(&w));
    enchufe_writer_u8(&w, 1);
    assert_false(enchufe_writer_ok(&w));
}

static void a_length_is_patched_when_its_body_is_written(void **state)
{
    uint8_t memory[32];
    enchufe_writer w;
    size_t at;

    (void)state;
    enchufe_writer_init(&w, memory, sizeof memory);
    enchufe_writer_u8(&w, 7);
    at = enchufe_writer_reserve(&w, 2);
    assert_memory_equal(memory + 1, "\0\0", 2);
    enchufe_writer_text(&w, "hola");
    enchufe_writer_patch_u16(&w, at, (uint16_t)(enchufe_writer_len(&w) - at - 2));
    assert_int_equal(enchufe_writer_len(&w), 7);
    assert_memory_equal(memory, "\7\0\4hola", 7);
    enchufe_writer_patch_u8(&w, 0, 9);
    enchufe_writer_patch_u16_le(&w, at, 4);
    assert_memory_equal(memory, "\11\4\0hola", 7);
    enchufe_writer_patch_u32(&w, 3, 0x41424344);
    assert_memory_equal(memory + 3, "ABCD", 4);
    enchufe_writer_patch_u32_le(&w, 3, 0x41424344);
    assert_memory_equal(memory + 3, "DCBA", 4);
    enchufe_writer_text(&w, "....");
    enchufe_writer_patch_u64(&w, 3, 0x4142434445464748);
    assert_memory_equal(memory + 3, "ABCDEFGH", 8);
    enchufe_writer_patch_u64_le(&w, 3, 0x4142434445464748);
    assert_memory_equal(memory + 3, "HGFEDCBA", 8);
    assert_true(enchufe_writer_ok(&w));
}

static void a_patch_beyond_what_was_written_fails(void **state)
{
    uint8_t memory[8] = { 0 };
    enchufe_writer w;

    (void)state;
    enchufe_writer_init(&w, memory, sizeof memory);
    enchufe_writer_u16(&w, 1);
    enchufe_writer_patch_u16(&w, 1, 0xffff);
    assert_false(enchufe_writer_ok(&w));
    assert_int_equal(memory[2], 0);
    enchufe_writer_init(&w, memory, sizeof memory);
    enchufe_writer_patch_u8(&w, SIZE_MAX, 1);
    assert_false(enchufe_writer_ok(&w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_in_either_order),
        cmocka_unit_test(a_failed_read_is_sticky_and_yields_zeros),
        cmocka_unit_test(bytes_point_into_the_source),
        cmocka_unit_test(an_empty_source_reads_nothing),
        cmocka_unit_test(a_part_ends_where_its_length_says),
        cmocka_unit_test(a_parser_can_fail_by_itself),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(a_failed_write_is_sticky_and_writes_nothing),
        cmocka_unit_test(memory_can_be_filled_to_its_last_byte),
        cmocka_unit_test(a_length_is_patched_when_its_body_is_written),
        cmocka_unit_test(a_patch_beyond_what_was_written_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
