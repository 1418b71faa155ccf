/* Unit tests of what a quota says about processors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpus.h"

static void a_quota_of_less_than_all_time_rations(void **state)
{
    (void)state;
    assert_true(cpus_quota_below("150000 100000\n", 2));
    assert_true(cpus_quota_below("50000 100000\n", 1));
}

static void no_quota_or_enough_does_not(void **state)
{
    (void)state;
    assert_false(cpus_quota_below("max 100000\n", 64));
    assert_false(cpus_quota_below("200000 100000\n", 2));
    assert_false(cpus_quota_below("", 2));
}

static void there_is_always_a_processor_and_none_is_named_twice(void **state)
{
    struct cpus cpus;

    (void)state;
    cpus_find(&cpus);
    assert_true(cpus.count >= 1);
    for (size_t i = 1; i < cpus.count; i++)
        assert_true(cpus.numbers[i] > cpus.numbers[i - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quota_of_less_than_all_time_rations),
        cmocka_unit_test(no_quota_or_enough_does_not),
        cmocka_unit_test(there_is_always_a_processor_and_none_is_named_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
