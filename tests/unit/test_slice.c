/* Unit tests of how long a slice is, and when it changes. In a server: tests/system/test_neighbours.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "slice.h"

#define MS 1000000
#define SHORTEST 100000
#define LONGEST 10000000

/* After a look at a thread that used so many of 100 ms. */
static uint64_t after(uint64_t length, unsigned used)
{
    return slice_length(length, (uint64_t)used * MS, 100 * MS);
}

static void a_slice_is_the_square_of_what_the_thread_uses(void **state)
{
    static const uint64_t before[] = { 0, SHORTEST, LONGEST };

    (void)state;
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        assert_int_equal(after(before[i], 0), SHORTEST);
        assert_int_equal(after(before[i], 10), SHORTEST);
        assert_int_equal(after(before[i], 20), 400000);
        assert_int_equal(after(before[i], 50), 2500000);
        assert_int_equal(after(before[i], 100), LONGEST);
    }
}

static void rest_and_full_use_lead_to_the_ends_from_everywhere(void **state)
{
    (void)state;
    for (unsigned used = 0; used <= 100; used++) {
        uint64_t up = after(SHORTEST, used), down = after(LONGEST, used);
        assert_in_range(up, SHORTEST, LONGEST);
        assert_int_equal(after(up, 0), SHORTEST);
        assert_int_equal(after(down, 0), SHORTEST);
        assert_int_equal(after(up, 100), LONGEST);
        assert_int_equal(after(down, 100), LONGEST);
    }
}

static void what_is_counted_late_is_not_more_than_all(void **state)
{
    (void)state;
    assert_int_equal(slice_length(SHORTEST, 300 * MS, 100 * MS), LONGEST);
}

static void a_slice_that_would_change_little_stays(void **state)
{
    (void)state;
    assert_int_equal(after(LONGEST, 90), LONGEST);
    assert_int_equal(after(2500000, 60), 2500000);
    assert_int_equal(after(2500000, 62), 3844000);
    assert_int_equal(after(2500000, 41), 2500000);
    assert_int_equal(after(2500000, 40), 1600000);
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
    assert_false(slice_adapt(&slice, 1000));
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

/* As sched_getattr(2) tells it for the calling thread; 0: not told. */
static uint64_t told_slice(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = { .size = sizeof attr };

    return syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) == 0 ? attr.runtime : 0;
}

/* The looks are at times of the test's own, so that it is all the same how long it takes. */
static void a_thread_that_becomes_busy_has_a_long_slice_until_it_rests(void **state)
{
    struct slice slice = { .looked = 0 };

    (void)state;
    if (told_slice() == 0)
        skip(); /* this kernel knows none of a thread's own */
    slice_begin(&slice);
    assert_int_equal(told_slice(), SHORTEST);
    assert_false(slice_adapt(&slice, 1000000));
    use_processor(60);
    assert_true(slice_adapt(&slice, 1000060));
    use_processor(60);
    assert_false(slice_adapt(&slice, 1000070)); /* too early to tell */
    assert_false(slice_adapt(&slice, 1000120)); /* it was told, and comes to it later */
    slice_take(&slice);
    assert_int_equal(told_slice(), LONGEST);
    assert_true(slice_adapt(&slice, 2000000));
    slice_take(&slice);
    assert_int_equal(told_slice(), SHORTEST);
}

static void a_thread_with_another_policy_keeps_it(void **state)
{
    static const struct sched_param param = { .sched_priority = 0 };
    struct slice slice = { .looked = 0 };

    (void)state;
    assert_int_equal(sched_setscheduler(0, SCHED_BATCH, &param), 0);
    uint64_t before = told_slice();
    slice_begin(&slice);
    /* At rest it is not woken up for what it does not get. */
    assert_false(slice_adapt(&slice, 1000000));
    use_processor(60);
    assert_true(slice_adapt(&slice, 1000060));
    slice_take(&slice);
    assert_int_equal(slice.length, 0);
    assert_false(slice_adapt(&slice, 2000000));
    assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
    assert_int_equal(told_slice(), before);
    assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &param), 0);
}

/* The system gave it another one then. */
static void a_thread_that_is_given_back_its_policy_has_a_slice_again(void **state)
{
    static const struct sched_param param = { .sched_priority = 0 };
    struct slice slice = { .looked = 0 };

    (void)state;
    if (told_slice() == 0)
        skip();
    slice_begin(&slice);
    slice_adapt(&slice, 1000000);
    assert_int_equal(sched_setscheduler(0, SCHED_BATCH, &param), 0);
    use_processor(60);
    assert_true(slice_adapt(&slice, 1000060));
    slice_take(&slice);
    assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &param), 0);
    use_processor(60);
    assert_true(slice_adapt(&slice, 1000120));
    slice_take(&slice);
    assert_int_equal(told_slice(), LONGEST);
}

static void a_thread_that_comes_late_takes_what_was_found_fit_last(void **state)
{
    struct slice slice = { .looked = 0 };

    (void)state;
    slice_begin(&slice);
    slice_adapt(&slice, 1000000);
    use_processor(60);
    assert_true(slice_adapt(&slice, 1000060));
    assert_false(slice_adapt(&slice, 2000000)); /* it rested, and was told already */
    assert_int_equal(slice.wanted, SHORTEST);
    slice_take(&slice);
    assert_int_equal(slice.wanted, 0);
    if (told_slice() != 0)
        assert_int_equal(told_slice(), SHORTEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_is_the_square_of_what_the_thread_uses),
        cmocka_unit_test(rest_and_full_use_lead_to_the_ends_from_everywhere),
        cmocka_unit_test(what_is_counted_late_is_not_more_than_all),
        cmocka_unit_test(a_slice_that_would_change_little_stays),
        cmocka_unit_test(years_of_rest_are_rest),
        cmocka_unit_test(a_thread_that_has_not_begun_is_not_looked_at),
        cmocka_unit_test(a_thread_that_becomes_busy_has_a_long_slice_until_it_rests),
        cmocka_unit_test(a_thread_with_another_policy_keeps_it),
        cmocka_unit_test(a_thread_that_is_given_back_its_policy_has_a_slice_again),
        cmocka_unit_test(a_thread_that_comes_late_takes_what_was_found_fit_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
