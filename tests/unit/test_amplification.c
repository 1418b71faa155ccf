/* How much a datagram may be answered with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "amplification.h"

static const enchufe_address v4 = { .family = ENCHUFE_FAMILY_IPV4 };
static const enchufe_address v6 = { .family = ENCHUFE_FAMILY_IPV6 };

static void a_datagram_is_counted_with_its_headers(void **state)
{
    (void)state;
    assert_int_equal(amplification_wire(&v4, 0), 28);
    assert_int_equal(amplification_wire(&v6, 0), 48);
    assert_int_equal(amplification_wire(&v4, 65507), 65535);
    assert_int_equal(amplification_wire(&v6, 65507), 65555);
}

static void the_longest_reply_fits_and_one_byte_more_does_not(void **state)
{
    static const struct {
        const enchufe_address *peer;
        uint32_t ratio;
        size_t request, longest;
    } rows[] = {
        { &v4, 3, 0, 56 },
        { &v6, 3, 0, 96 },
        { &v4, 3, 100, 356 },
        { &v6, 3, 100, 396 },
        { &v4, 1, 64, 64 },
        { &v6, 1, 64, 64 },
        { &v4, 1, 65507, 65507 },
        { &v4, 2, 1, 30 },
        { &v4, 5, 0, 112 },
        { &v6, 10, 0, 432 },
        { &v6, 3, 65507, 3 * 65555 - 48 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t budget = amplification_budget(rows[i].ratio, rows[i].peer, rows[i].request);

        assert_false(amplification_spend(&budget, rows[i].peer, rows[i].longest + 1));
        assert_true(amplification_spend(&budget, rows[i].peer, rows[i].longest));
        assert_int_equal(budget, 0);
        assert_false(amplification_spend(&budget, rows[i].peer, 0));
    }
}

static void replies_to_one_datagram_count_together(void **state)
{
    uint64_t budget = amplification_budget(3, &v4, 10);

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(amplification_spend(&budget, &v4, 10));
    assert_false(amplification_spend(&budget, &v4, 0));
}

static void one_that_does_not_fit_costs_nothing(void **state)
{
    uint64_t budget = amplification_budget(3, &v4, 10);

    (void)state;
    assert_false(amplification_spend(&budget, &v4, 1000));
    assert_true(amplification_spend(&budget, &v4, 3 * 38 - 28));
}

static void each_is_counted_in_its_own_family(void **state)
{
    uint64_t budget = amplification_budget(3, &v4, 0);

    (void)state;
    assert_true(amplification_spend(&budget, &v6, 0));
    assert_int_equal(budget, 84 - 48);
    assert_false(amplification_spend(&budget, &v6, 0));
    assert_true(amplification_spend(&budget, &v4, 8));
}

static void the_largest_ratio_does_not_overflow(void **state)
{
    uint64_t budget = amplification_budget(ENCHUFE_RATIO_UNLIMITED, &v6, 65507);

    (void)state;
    assert_true(budget == UINT64_C(65555) * UINT32_MAX);
    for (int i = 0; i < 100000; i++)
        assert_true(amplification_spend(&budget, &v6, 65507));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_datagram_is_counted_with_its_headers),
        cmocka_unit_test(the_longest_reply_fits_and_one_byte_more_does_not),
        cmocka_unit_test(replies_to_one_datagram_count_together),
        cmocka_unit_test(one_that_does_not_fit_costs_nothing),
        cmocka_unit_test(each_is_counted_in_its_own_family),
        cmocka_unit_test(the_largest_ratio_does_not_overflow),
    };

    return cmocka_run_group_tests_name("amplification", tests, NULL, NULL);
}
