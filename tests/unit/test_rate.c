/* Rates: what is read, what is refused, and that a bucket gives exactly its rate. */
#include "rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct rate parsed(const char *text)
{
    struct rate rate = { 0 };
    char error[RATE_ERROR] = "";

    int err = rate_parse(text, &rate, error);
    assert_string_equal(error, "");
    assert_int_equal(err, 0);
    return rate;
}

static void assert_rate(const char *text, unsigned count, unsigned period, unsigned burst)
{
    struct rate rate = parsed(text);

    assert_int_equal(rate.count, count);
    assert_int_equal(rate.period, period);
    assert_int_equal(rate.burst, burst);
}

static void rates_are_read(void **state)
{
    (void)state;
    assert_rate("100/s", 100, 1000, 100);
    assert_rate("30/m", 30, 60000, 30);
    assert_rate("5/h", 5, 3600000, 5);
    assert_rate("100/s burst 200", 100, 1000, 200);
    assert_rate("1/h \t burst\t1", 1, 3600000, 1);
    assert_rate("1000000/s burst 1000000", 1000000, 1000, 1000000);
}

static void what_is_no_rate_is_refused_with_what_would_be_right(void **state)
{
    static const char *const wrong[] = {
        "",       "100",    "/s",    "100/",   "100/d",     "100/sec",
        "0/s",    "-1/s",   "+1/s",  "0x5/s",  "1000001/s", "99999999999999999999/s",
        "100 /s", "100/ s", "1.5/s", "100/s,", "s/100",     "100//s",
        "1/s/s",
    };
    char error[RATE_ERROR];
    struct rate rate;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_not_equal(rate_parse(wrong[i], &rate, error), 0);
        assert_non_null(strstr(error, "is no rate; write 1 to 1000000 a second, minute or hour"));
    }
}

static void what_is_no_burst_is_refused(void **state)
{
    static const char *const wrong[] = { "100/s 200",      "100/s burst",        "100/s burst 0",
                                         "100/s Burst 2",  "100/s burst 2 2",    "100/s burst=2",
                                         "100/s burst -1", "100/s burst 1000001" };
    char error[RATE_ERROR];
    struct rate rate;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_not_equal(rate_parse(wrong[i], &rate, error), 0);
        assert_non_null(strstr(error, "such as 100/s burst 200"));
    }
}

/* Asks `asked` times in every millisecond. */
static uint64_t taken(const struct rate *rate, uint64_t from, uint64_t ms, unsigned asked)
{
    rate_bucket bucket = 0;
    uint64_t count = 0;

    for (uint64_t now = from; now < from + ms; now++)
        for (unsigned i = 0; i < asked; i++)
            count += rate_take(rate, &bucket, now);
    return count;
}

static void a_flood_gets_the_burst_and_then_exactly_the_rate(void **state)
{
    struct rate per_second = parsed("7/s burst 3"), many = parsed("333/s burst 1"),
                per_hour = parsed("5/h"), most = parsed("1000000/s burst 1000"),
                small = parsed("5000/s burst 2");

    (void)state;
    /* The token that falls due as the time ends is not taken any more. */
    assert_int_equal(taken(&per_second, 1000, 3000 * 1000, 2), 3 - 1 + 7 * 3000);
    assert_int_equal(taken(&many, 12345, 3000 * 1000, 2), 333 * 3000);
    assert_int_equal(taken(&per_hour, 1, 2 * 3600000, 1), 5 - 1 + 5 * 2);
    assert_int_equal(taken(&most, 0, 100, 5000), 1000 - 1 + 1000 * 100);
    assert_int_equal(taken(&small, 0, 1000, 20), 2 - 1 + 5000);
}

static void a_refusal_costs_nothing_and_a_rest_gives_no_more_than_the_burst(void **state)
{
    struct rate rate = parsed("10/s burst 5");
    rate_bucket bucket = 0;
    unsigned count = 0;

    (void)state;
    for (int i = 0; i < 1000; i++)
        count += rate_take(&rate, &bucket, 5000);
    assert_int_equal(count, 5);
    assert_false(rate_take(&rate, &bucket, 5099));
    assert_true(rate_take(&rate, &bucket, 5100));
    for (int i = 0; i < 1000; i++)
        count += rate_take(&rate, &bucket, 5000000);
    assert_int_equal(count, 10);
}

static void a_clock_far_ahead_or_a_little_behind_does_no_harm(void **state)
{
    struct rate rate = parsed("1000000/s burst 1000");
    const uint64_t centuries = UINT64_C(500) * 365 * 86400 * 1000;
    rate_bucket bucket = 0;

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_true(rate_take(&rate, &bucket, centuries));
    for (int i = 0; i < 999; i++)
        assert_true(rate_take(&rate, &bucket, centuries));
    assert_false(rate_take(&rate, &bucket, centuries));
    assert_false(rate_take(&rate, &bucket, centuries - 5));
    assert_true(rate_take(&rate, &bucket, centuries + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_read),
        cmocka_unit_test(what_is_no_rate_is_refused_with_what_would_be_right),
        cmocka_unit_test(what_is_no_burst_is_refused),
        cmocka_unit_test(a_flood_gets_the_burst_and_then_exactly_the_rate),
        cmocka_unit_test(a_refusal_costs_nothing_and_a_rest_gives_no_more_than_the_burst),
        cmocka_unit_test(a_clock_far_ahead_or_a_little_behind_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
