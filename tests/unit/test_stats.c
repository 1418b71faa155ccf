/* Unit tests of the shared counters and of the names of reasons. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "stats.h"
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void counters_start_at_zero_and_have_a_cache_line_each(void **state)
{
    struct stats_table *table = stats_create(3, 4);

    (void)state;
    assert_non_null(table);
    for (size_t service = 0; service < 3; service++) {
        for (size_t loop = 0; loop < 4; loop++) {
            struct stats *stats = stats_at(table, service, loop);

            assert_int_equal((uintptr_t)stats % 64, 0);
            assert_int_equal(stats->opened, 0);
            assert_int_equal(stats->plugin[STATS_PLUGIN_COUNTERS - 1], 0);
        }
        assert_string_equal(stats_counter_name(table, service, 15), "");
    }
    stats_destroy(table);
    stats_destroy(NULL);
}

static void a_sum_is_over_the_loops_of_one_service(void **state)
{
    struct stats_table *table = stats_create(2, 3);
    struct stats sum;

    (void)state;
    for (size_t loop = 0; loop < 3; loop++) {
        stats_add(&stats_at(table, 0, loop)->opened, 100);
        stats_add(&stats_at(table, 1, loop)->opened, loop + 1);
        stats_add(&stats_at(table, 1, loop)->reasons[ENCHUFE_CLOSED_LIMIT], 2);
        stats_add(&stats_at(table, 1, loop)->plugin[15], 5);
    }
    memset(&sum, 0xff, sizeof sum);
    stats_sum(table, 1, &sum);
    assert_int_equal(sum.opened, 6);
    assert_int_equal(sum.closed, 0);
    assert_int_equal(sum.reasons[ENCHUFE_CLOSED_LIMIT], 6);
    assert_int_equal(sum.plugin[15], 15);
    stats_destroy(table);
}

static void what_a_process_counted_outlives_it(void **state)
{
    struct stats_table *table = stats_create(2, 2);
    pid_t child = fork();
    int status;

    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        stats_add(&stats_at(table, 1, 1)->bytes_in, 42);
        strcpy(stats_counter_name(table, 1, 3), "words");
        stats_connection_began(table, 0);
        stats_connection_began(table, 1);
        stats_connection_began(table, 1);
        stats_connection_began(table, 1);
        stats_connection_ended(table, 1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(stats_at(table, 1, 1)->bytes_in, 42);
    assert_string_equal(stats_counter_name(table, 1, 3), "words");
    assert_string_equal(stats_counter_name(table, 0, 3), "");
    assert_int_equal(stats_connections(table, 1), 2);
    assert_int_equal(stats_connections_all(table), 3);
    stats_forget_connections(table, 1);
    assert_int_equal(stats_connections(table, 1), 0);
    assert_int_equal(stats_connections_all(table), 1);
    assert_int_equal(stats_at(table, 1, 0)->closed, 2);
    assert_int_equal(stats_at(table, 1, 0)->reasons[ENCHUFE_CLOSED_WORKER_DIED], 2);
    stats_forget_connections(table, 1);
    assert_int_equal(stats_at(table, 1, 0)->closed, 2);
    stats_destroy(table);
}

static void a_size_that_cannot_be_is_refused(void **state)
{
    (void)state;
    assert_null(stats_create(SIZE_MAX, 2));
    assert_null(stats_create(SIZE_MAX / 1000, 1));
}

static void every_reason_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(enchufe_reason_name(ENCHUFE_CLOSED_BY_CLIENT), "closed-by-client");
    assert_string_equal(enchufe_reason_name(ENCHUFE_CLOSED_LIMIT), "limit");
    for (int i = 1; i < REASON_COUNT; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(enchufe_reason_name(i), enchufe_reason_name(j));
    assert_string_equal(enchufe_reason_name(0), "unknown");
    assert_string_equal(enchufe_reason_name(-1), "unknown");
    assert_string_equal(enchufe_reason_name(REASON_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_start_at_zero_and_have_a_cache_line_each),
        cmocka_unit_test(a_sum_is_over_the_loops_of_one_service),
        cmocka_unit_test(what_a_process_counted_outlives_it),
        cmocka_unit_test(a_size_that_cannot_be_is_refused),
        cmocka_unit_test(every_reason_has_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
