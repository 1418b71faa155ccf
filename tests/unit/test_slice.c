/* Unit tests of what makes a thread busy. The slices themselves: tests/system/test_neighbours.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "slice.h"

static void a_quarter_of_the_time_is_busy(void **state)
{
    (void)state;
    assert_false(slice_is_busy(false, 0, 1000));
    assert_false(slice_is_busy(false, 249, 1000));
    assert_true(slice_is_busy(false, 250, 1000));
    assert_true(slice_is_busy(false, 1000, 1000));
}

static void and_busy_it_stays_down_to_an_eighth(void **state)
{
    (void)state;
    assert_true(slice_is_busy(true, 249, 1000));
    assert_true(slice_is_busy(true, 125, 1000));
    assert_false(slice_is_busy(true, 124, 1000));
    assert_false(slice_is_busy(true, 0, 1000));
}

static void a_thread_that_has_not_begun_is_not_looked_at(void **state)
{
    struct slice slice = { .looked = 0 };

    (void)state;
    slice_adapt(&slice, 1000);
    assert_int_equal(slice.looked, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quarter_of_the_time_is_busy),
        cmocka_unit_test(and_busy_it_stays_down_to_an_eighth),
        cmocka_unit_test(a_thread_that_has_not_begun_is_not_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
