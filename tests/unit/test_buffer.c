/* Unit tests of the byte queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "buffer.h"
#include <errno.h>
#include <string.h>

static void holds(const struct buffer *buffer, const char *text)
{
    assert_int_equal(buffer->len, strlen(text));
    if (buffer->len)
        assert_memory_equal(buffer_head(buffer), text, buffer->len);
}

static void bytes_leave_in_the_order_they_came(void **state)
{
    struct buffer buffer = { .data = NULL };

    (void)state;
    assert_int_equal(buffer_append(&buffer, "hola", 4), 0);
    assert_int_equal(buffer_append(&buffer, "adios", 5), 0);
    holds(&buffer, "holaadios");
    buffer_consume(&buffer, 4);
    holds(&buffer, "adios");
    assert_int_equal(buffer_append(&buffer, "!", 1), 0);
    holds(&buffer, "adios!");
    buffer_free(&buffer);
}

static void an_empty_buffer_owns_no_memory(void **state)
{
    struct buffer buffer = { .data = NULL };

    (void)state;
    assert_int_equal(buffer_append(&buffer, NULL, 0), 0);
    assert_null(buffer.data);
    buffer_consume(&buffer, 0);
    assert_int_equal(buffer_append(&buffer, "hola", 4), 0);
    assert_int_equal(buffer.cap, 4096);
    buffer_consume(&buffer, 4);
    assert_null(buffer.data);
    assert_int_equal(buffer.cap, 0);
    buffer_free(&buffer);
    buffer_free(&buffer);
}

static void memory_grows_by_doubling(void **state)
{
    struct buffer buffer = { .data = NULL };
    static char block[20000];

    (void)state;
    assert_int_equal(buffer_append(&buffer, block, 4096), 0);
    assert_int_equal(buffer.cap, 4096);
    assert_int_equal(buffer_append(&buffer, block, 1), 0);
    assert_int_equal(buffer.cap, 8192);
    assert_int_equal(buffer_append(&buffer, block, 20000), 0);
    assert_int_equal(buffer.cap, 32768);
    buffer_free(&buffer);
}

static void what_was_consumed_makes_room_before_memory_grows(void **state)
{
    struct buffer buffer = { .data = NULL };
    static char block[4096];

    (void)state;
    assert_int_equal(buffer_append(&buffer, block, 4095), 0);
    assert_int_equal(buffer_append(&buffer, "z", 1), 0);
    buffer_consume(&buffer, 4000);
    assert_int_equal(buffer_append(&buffer, block, 4000), 0);
    assert_int_equal(buffer.cap, 4096);
    assert_int_equal(buffer.start, 0);
    assert_int_equal(buffer_head(&buffer)[95], 'z');
    buffer_free(&buffer);
}

static void a_lent_memory_is_used_until_it_is_empty(void **state)
{
    struct buffer buffer = { .data = NULL };
    char loan[16];

    (void)state;
    buffer_lend(&buffer, loan, sizeof loan);
    assert_int_equal(buffer_append(&buffer, "x", 1), 0);
    assert_int_equal(buffer_append(&buffer, "0123456789abcde", 15), 0);
    assert_ptr_equal(buffer.data, loan);
    buffer_consume(&buffer, 15);
    assert_ptr_equal(buffer.data, loan);
    assert_true(buffer.lent);
    buffer_consume(&buffer, 1);
    assert_null(buffer.data);
    assert_false(buffer.lent);
    buffer_free(&buffer);
}

static void what_a_loan_cannot_hold_moves_to_own_memory(void **state)
{
    struct buffer buffer = { .data = NULL };
    char loan[16];

    (void)state;
    buffer_lend(&buffer, loan, sizeof loan);
    assert_int_equal(buffer_append(&buffer, "0123456789", 10), 0);
    buffer_consume(&buffer, 3);
    assert_int_equal(buffer_append(&buffer, "0123456789", 10), 0);
    holds(&buffer, "34567890123456789");
    assert_false(buffer.lent);
    assert_ptr_not_equal(buffer.data, loan);
    buffer_free(&buffer);
}

static void ending_a_loan_keeps_what_is_queued(void **state)
{
    struct buffer buffer = { .data = NULL };
    char loan[16];

    (void)state;
    buffer_lend(&buffer, loan, sizeof loan);
    assert_int_equal(buffer_append(&buffer, "hola adios", 10), 0);
    buffer_consume(&buffer, 5);
    assert_int_equal(buffer_own(&buffer), 0);
    memset(loan, 'x', sizeof loan);
    holds(&buffer, "adios");
    assert_false(buffer.lent);
    assert_int_equal(buffer_own(&buffer), 0);
    holds(&buffer, "adios");
    buffer_free(&buffer);
}

static void ending_an_empty_loan_leaves_nothing(void **state)
{
    struct buffer buffer = { .data = NULL };
    char loan[16];

    (void)state;
    buffer_lend(&buffer, loan, sizeof loan);
    assert_int_equal(buffer_own(&buffer), 0);
    assert_null(buffer.data);
    assert_false(buffer.lent);
    assert_int_equal(buffer_append(&buffer, "hola", 4), 0);
    holds(&buffer, "hola");
    buffer_free(&buffer);
}

static void sizes_beyond_the_maximum_are_refused(void **state)
{
    struct buffer buffer = { .data = NULL };
    /* The compiler, which sees that there are no such bytes, must not know. */
    volatile size_t too_long = BUFFER_MAX - 4, longest = SIZE_MAX;

    (void)state;
    assert_int_equal(buffer_append(&buffer, "hola", 4), 0);
    assert_int_equal(buffer_append(&buffer, "", too_long), -ENOBUFS);
    assert_int_equal(buffer_append(&buffer, "", longest), -ENOBUFS);
    holds(&buffer, "hola");
    buffer_free(&buffer);
}

static void random_use_equals_a_plain_queue(void **state)
{
    static unsigned char model[1 << 21], block[9000], loan[3000];
    struct buffer buffer = { .data = NULL };
    size_t start = 0, end = 0;
    uint32_t seed = 7;

    (void)state;
    for (int i = 0; i < 2000 && end + sizeof block < sizeof model; i++) {
        size_t n;

        seed = seed * 1664525 + 1013904223;
        n = (seed >> 8) % ((seed >> 30) ? 300 : sizeof block);
        if (!buffer.data && (seed & 0x40000000))
            buffer_lend(&buffer, loan, sizeof loan);
        for (size_t k = 0; k < n; k++)
            block[k] = (unsigned char)(end + k * 31 + seed);
        memcpy(model + end, block, n);
        end += n;
        assert_int_equal(buffer_append(&buffer, block, n), 0);
        seed = seed * 1664525 + 1013904223;
        if (seed >> 29 == 0)
            assert_int_equal(buffer_own(&buffer), 0);
        n = (seed >> 28) == 1 ? end - start : (seed >> 8) % (end - start + 1);
        buffer_consume(&buffer, n);
        start += n;
        assert_int_equal(buffer.len, end - start);
        if (buffer.len)
            assert_memory_equal(buffer_head(&buffer), model + start, buffer.len);
    }
    assert_true(end > 100000);
    buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_leave_in_the_order_they_came),
        cmocka_unit_test(an_empty_buffer_owns_no_memory),
        cmocka_unit_test(memory_grows_by_doubling),
        cmocka_unit_test(what_was_consumed_makes_room_before_memory_grows),
        cmocka_unit_test(a_lent_memory_is_used_until_it_is_empty),
        cmocka_unit_test(what_a_loan_cannot_hold_moves_to_own_memory),
        cmocka_unit_test(ending_a_loan_keeps_what_is_queued),
        cmocka_unit_test(ending_an_empty_loan_leaves_nothing),
        cmocka_unit_test(sizes_beyond_the_maximum_are_refused),
        cmocka_unit_test(random_use_equals_a_plain_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
