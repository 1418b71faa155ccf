/* Unit tests of how long a slice is, and when it changes. In a server: tests/system/test_neighbours.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdint.h>
#include <time.h>

#include "slice.h"

#define MS 1000000
#define SHORTEST 100000
#define LONGEST 10000000

/* Of a thread that used so many of 100 ms. */
static uint64_t fits(unsigned used)
{
    uint64_t from_below = slice_length(SHORTEST, (uint64_t)used * MS, 100 * MS);

    assert_int_equal(slice_length(LONGEST, (uint64_t)used * MS, 100 * MS), from_below);
    return from_below;
}

static void a_slice_is_the_square_of_what_the_thread_uses(void **state)
{
    (void)state;
    assert_int_equal(fits(0), SHORTEST);
    assert_int_equal(fits(10), SHORTEST);
    assert_int_equal(fits(20), 400000);
    assert_int_equal(fits(50), 2500000);
    assert_int_equal(slice_length(SHORTEST, 100 * MS, 100 * MS), LONGEST);
}

static void what_is_counted_late_is_not_more_than_all(void **state)
{
    (void)state;
    assert_int_equal(slice_length(SHORTEST, 300 * MS, 100 * MS), LONGEST);
}

static void a_slice_that_would_change_little_stays(void **state)
{
    (void)state;
    assert_int_equal(slice_length(LONGEST, 90 * MS, 100 * MS), LONGEST);
    assert_int_equal(slice_length(2500000, 60 * MS, 100 * MS), 2500000);
    assert_int_equal(slice_length(2500000, 62 * MS, 100 * MS), 3844000);
    assert_int_equal(slice_length(2500000, 41 * MS, 100 * MS), 2500000);
    assert_int_equal(slice_length(2500000, 40 * MS, 100 * MS), 1600000);
}

static void years_of_rest_are_rest(void **state)
{
    (void)state;
    assert_int_equal(slice_length(LONGEST, 100 * MS, UINT64_MAX / 2), SHORTEST);
}

static void a_thread_that_has_not_begun_is_not_looked_at(void **state)
{
    struct slice slice = { .looked = 0 };

    (void)state;
    slice_adapt(&slice, 1000);
    assert_int_equal(slice.looked, 0);
}

static void use_processor(unsigned ms)
{
    struct timespec t;
    uint64_t end = 0;

    for (;;) {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        uint64_t now = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
        if (end == 0)
            end = now + (uint64_t)ms * MS;
        if (now >= end)
            return;
    }
}

/* The looks are at times of the test's own, so that it is all the same how long it takes. */
static void a_thread_that_becomes_busy_has_a_long_slice_until_it_rests(void **state)
{
    struct slice slice = { .looked = 0 };

    (void)state;
    slice_begin(&slice);
    assert_int_equal(slice.length, SHORTEST);
    slice_adapt(&slice, 1000000);
    assert_int_equal(slice.length, SHORTEST);
    use_processor(60);
    slice_adapt(&slice, 1000060);
    if (slice.length == SHORTEST)
        skip(); /* no slices of a thread's own */
    assert_int_equal(slice.length, LONGEST);
    use_processor(60);
    slice_adapt(&slice, 1000070); /* too early to tell */
    assert_int_equal(slice.looked, 1000060);
    slice_adapt(&slice, 2000000);
    assert_int_equal(slice.length, SHORTEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_is_the_square_of_what_the_thread_uses),
        cmocka_unit_test(what_is_counted_late_is_not_more_than_all),
        cmocka_unit_test(a_slice_that_would_change_little_stays),
        cmocka_unit_test(years_of_rest_are_rest),
        cmocka_unit_test(a_thread_that_has_not_begun_is_not_looked_at),
        cmocka_unit_test(a_thread_that_becomes_busy_has_a_long_slice_until_it_rests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
