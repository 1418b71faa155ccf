/* What is remembered of generations that are gone. */
#include "history.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* A generation with one service, which has opened one connection. */
static void add(struct history *history, const char *name)
{
    struct service_config service = { .name = name };
    struct config config = { .services = &service, .service_count = 1 };
    struct generation generation = { .config = &config, .counters = stats_create(1, 1) };

    stats_at(generation.counters, 0, 0)->opened = 1;
    history_add(history, &generation);
    stats_destroy(generation.counters);
}

static uint64_t opened(const struct history *history, const char *name)
{
    struct stats sum;

    history_of(history, name, &sum);
    return sum.opened;
}

static void sums_go_on_from_one_generation_to_the_next(void **state)
{
    struct history history = { .first = NULL };

    (void)state;
    add(&history, "echo");
    add(&history, "hola");
    add(&history, "echo");
    assert_int_equal(opened(&history, "echo"), 2);
    assert_int_equal(opened(&history, "hola"), 1);
    assert_int_equal(opened(&history, "nobody"), 0);
    history_free(&history);
}

static void names_that_are_gone_for_long_are_forgotten_and_others_are_not(void **state)
{
    struct history history = { .first = NULL };
    char name[16];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "once-%d", i);
        add(&history, name);
        add(&history, "echo");
    }
    assert_int_equal(opened(&history, "echo"), 1000);
    assert_int_equal(opened(&history, "once-999"), 1);
    assert_int_equal(opened(&history, "once-0"), 0);
    history_free(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_go_on_from_one_generation_to_the_next),
        cmocka_unit_test(names_that_are_gone_for_long_are_forgotten_and_others_are_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
