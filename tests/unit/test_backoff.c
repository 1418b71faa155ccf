/* The waits between the starts of a worker that dies. */
#include "backoff.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void the_first_start_is_at_once_and_each_next_waits_longer(void **state)
{
    static const uint64_t waits[] = { 0, 100, 200, 400, 800, 1600, 3200, 30000, 30000, 30000 };
    struct backoff backoff = { .failures = 0 };

    (void)state;
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
        assert_int_equal(backoff_next(&backoff, 0, false), waits[i]);
}

/* Ten starts in the first ten seconds, and then two a minute. */
static void a_loop_of_crashes_is_slow(void **state)
{
    struct backoff backoff = { .failures = 0 };
    uint64_t now = 0;
    unsigned first = 0, later = 0;

    (void)state;
    for (;;) {
        now += backoff_next(&backoff, 1, false);
        if (now > 190000)
            break;
        *(now <= 10000 ? &first : &later) += 1;
    }
    assert_in_range(first, 1, 10);
    assert_in_range(later, 1, 6);
}

static void health_is_forgiveness(void **state)
{
    struct backoff backoff = { .failures = 0 };

    (void)state;
    for (int i = 0; i < 20; i++)
        backoff_next(&backoff, 0, false);
    assert_int_equal(backoff_next(&backoff, 59999, false), 30000);
    assert_int_equal(backoff_next(&backoff, 60000, false), 0);
    assert_int_equal(backoff_next(&backoff, 0, false), 100);
}

static void a_worker_that_answers_comes_back_soon_however_often_it_dies(void **state)
{
    struct backoff backoff = { .failures = 0 };

    (void)state;
    assert_int_equal(backoff_next(&backoff, 10, true), 0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(backoff_next(&backoff, 10, true), 90);
}

static void the_wait_of_one_that_answers_counts_from_its_start(void **state)
{
    struct backoff backoff = { .failures = 7 };

    (void)state;
    assert_int_equal(backoff_next(&backoff, 0, true), 100);
    assert_int_equal(backoff_next(&backoff, 99, true), 1);
    assert_int_equal(backoff_next(&backoff, 100, true), 0);
    assert_int_equal(backoff_next(&backoff, 59999, true), 0);
    /* One that does not answer is not spared for having lived. */
    assert_int_equal(backoff_next(&backoff, 5000, false), 200);
}

static void failures_without_end_do_not_wrap_around(void **state)
{
    struct backoff backoff = { .failures = 1000000 };

    (void)state;
    assert_int_equal(backoff_next(&backoff, 0, false), 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_start_is_at_once_and_each_next_waits_longer),
        cmocka_unit_test(a_loop_of_crashes_is_slow),
        cmocka_unit_test(health_is_forgiveness),
        cmocka_unit_test(a_worker_that_answers_comes_back_soon_however_often_it_dies),
        cmocka_unit_test(the_wait_of_one_that_answers_counts_from_its_start),
        cmocka_unit_test(failures_without_end_do_not_wrap_around),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
