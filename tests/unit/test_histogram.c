/* The histogram of the load generator: every quantile that `make bench` tells comes from it. */
#include "../bench/histogram.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct histogram histogram;

static int empty(void **state)
{
    (void)state;
    histogram = (struct histogram){ .count = 0 };
    return 0;
}

static void test_empty_has_no_quantile(void **state)
{
    (void)state;
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
}

static void test_small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t value = 1; value <= 60; value++)
        histogram_add(&histogram, value);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 30);
    assert_int_equal(histogram_quantile(&histogram, 0.95), 57);
    assert_int_equal(histogram_quantile(&histogram, 1), 60);
}

static void test_quantiles_are_close_from_above(void **state)
{
    (void)state;
    for (uint64_t value = 1; value <= 1000000; value++)
        histogram_add(&histogram, value);
    for (unsigned percent = 1; percent <= 100; percent++) {
        uint64_t true_one = 10000 * (uint64_t)percent;
        uint64_t told = histogram_quantile(&histogram, percent / 100.0);
        assert_in_range(told, true_one, true_one + true_one / 64 + 1);
    }
}

static void test_one_outlier_moves_only_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < 999; i++)
        histogram_add(&histogram, 10);
    histogram_add(&histogram, 123456789);
    assert_int_equal(histogram_quantile(&histogram, 0.99), 10);
    assert_int_equal(histogram_quantile(&histogram, 0.9999), 123456789);
    assert_int_equal(histogram.max, 123456789);
}

static void test_the_largest_value_has_a_slot(void **state)
{
    (void)state;
    histogram_add(&histogram, UINT64_MAX);
    histogram_add(&histogram, 0);
    assert_true(histogram_quantile(&histogram, 1) == UINT64_MAX);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
}

static void test_slots_follow_each_other_without_a_gap(void **state)
{
    (void)state;
    for (unsigned slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
        uint64_t last = last_of(slot);
        assert_int_equal(slot_of(last), slot);
        if (slot + 1 < HISTOGRAM_SLOTS)
            assert_int_equal(slot_of(last + 1), slot + 1);
    }
    assert_true(last_of(HISTOGRAM_SLOTS - 1) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty_has_no_quantile, empty),
        cmocka_unit_test_setup(test_small_values_are_exact, empty),
        cmocka_unit_test_setup(test_quantiles_are_close_from_above, empty),
        cmocka_unit_test_setup(test_one_outlier_moves_only_the_end, empty),
        cmocka_unit_test_setup(test_the_largest_value_has_a_slot, empty),
        cmocka_unit_test_setup(test_slots_follow_each_other_without_a_gap, empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
