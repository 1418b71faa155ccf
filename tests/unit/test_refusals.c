/* What the log has of refusals: few lines, and counts that make up for the others. */
#include "log.h"
#include "refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static struct ip source(uint64_t number)
{
    return (struct ip){ .high = number };
}

static void a_source_has_one_line_in_any_second(void **state)
{
    struct loop *loop = loop_create();
    struct refusals refusals;
    uint64_t start = clock_ms(), last = 0, lines = 0, asked = 0;
    const struct timespec moment = { .tv_nsec = 5000000 };

    (void)state;
    assert_non_null(loop);
    refusals_init(&refusals, "test");
    /* Another source moves along, so that no second of the first begins with its own line. */
    assert_true(refusals_may_say(&refusals, loop, source(2)));
    for (uint64_t now = start; now < start + 2500; now = clock_ms()) {
        if (now > start + 400) {
            asked++;
            if (refusals_may_say(&refusals, loop, source(1))) {
                assert_true(last == 0 || clock_ms() >= last + 999);
                last = clock_ms();
                lines++;
            }
        }
        nanosleep(&moment, NULL);
    }
    assert_in_range(lines, 1, 3);
    assert_int_equal(refusals.unsaid, asked - lines);
    assert_ptr_equal(refusals.loop, loop); /* which is to tell the count */
    refusals_end(&refusals, loop);
    assert_int_equal(refusals.unsaid, 0);
    assert_null(refusals.loop);
    refusals_free(&refusals);
    loop_drop(loop);
}

static void all_sources_together_have_ten_lines_in_a_second(void **state)
{
    struct loop *loop = loop_create(), *other = loop_create();
    struct refusals refusals;
    unsigned lines = 0;
    uint64_t start = clock_ms();

    (void)state;
    refusals_init(&refusals, "test");
    for (uint64_t i = 0; i < 10000; i++)
        lines += refusals_may_say(&refusals, i % 2 ? loop : other, source(i));
    if (clock_ms() < start + 1000)
        assert_int_equal(lines, REFUSALS_LINES);
    assert_int_equal(refusals.unsaid, 10000 - lines);
    refusals_end(&refusals, loop); /* the timer is the other loop's: nothing happens */
    assert_int_equal(refusals.unsaid, 10000 - lines);
    refusals_end(&refusals, other);
    assert_int_equal(refusals.unsaid, 0);
    refusals_free(&refusals);
    loop_drop(loop);
    loop_drop(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_has_one_line_in_any_second),
        cmocka_unit_test(all_sources_together_have_ten_lines_in_a_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
