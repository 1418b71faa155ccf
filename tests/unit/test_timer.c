/* Unit tests of timers, against a naive model and in the calls that they make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "timer.h"
#include <string.h>

#define MANY 300

struct probe {
    struct timer timer;
    unsigned fired;
    uint64_t again;      /* what it sets itself to as it fires, unless 0 */
    struct probe *other; /* whom it cancels (other_at 0) or moves */
    uint64_t other_at;
};

static struct timers timers;
static uint64_t last_fired, run_time;

static void probe_fire(struct timer *timer)
{
    struct probe *probe = (struct probe *)timer;

    assert_false(timer_running(timer));
    assert_true(timer->deadline <= run_time);
    assert_true(timer->deadline >= last_fired);
    last_fired = timer->deadline;
    probe->fired++;
    if (probe->again)
        assert_int_equal(timer_set(&timers, timer, probe->again), 0);
    if (!probe->other)
        return;
    if (probe->other_at)
        assert_int_equal(timer_set(&timers, &probe->other->timer, probe->other_at), 0);
    else
        timer_cancel(&timers, &probe->other->timer);
}

static void run(uint64_t now)
{
    last_fired = 0;
    run_time = now;
    timers_run(&timers, now);
}

static void set(struct probe *probe, uint64_t deadline)
{
    probe->timer.fire = probe_fire;
    assert_int_equal(timer_set(&timers, &probe->timer, deadline), 0);
}

static void timers_fire_at_their_deadline_and_once(void **state)
{
    struct probe a = { .fired = 0 }, b = { .fired = 0 };

    (void)state;
    assert_int_equal(timers_next(&timers), TIMER_NEVER);
    set(&b, 20);
    set(&a, 10);
    assert_int_equal(timers_next(&timers), 10);
    run(9);
    assert_int_equal(a.fired + b.fired, 0);
    run(10);
    assert_int_equal(a.fired, 1);
    assert_int_equal(timers_next(&timers), 20);
    run(1000);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 1);
    assert_int_equal(timers_next(&timers), TIMER_NEVER);
    timers_free(&timers);
}

static void setting_a_running_timer_moves_it(void **state)
{
    struct probe a = { .fired = 0 };

    (void)state;
    set(&a, 10);
    set(&a, 30);
    assert_int_equal(timers.count, 1);
    run(20);
    assert_int_equal(a.fired, 0);
    set(&a, 15);
    run(20);
    assert_int_equal(a.fired, 1);
    timers_free(&timers);
}

static void cancelling_is_harmless_at_any_time(void **state)
{
    struct probe a = { .fired = 0 };

    (void)state;
    timer_cancel(&timers, &a.timer);
    set(&a, 10);
    timer_cancel(&timers, &a.timer);
    timer_cancel(&timers, &a.timer);
    assert_false(timer_running(&a.timer));
    run(100);
    assert_int_equal(a.fired, 0);
    timers_free(&timers);
}

static void a_timer_set_to_the_past_in_its_call_fires_at_the_next_run(void **state)
{
    struct probe a = { .again = 5 };

    (void)state;
    set(&a, 10);
    for (unsigned i = 1; i <= 5; i++) {
        run(10); /* the same time each: a run may not need the clock to move */
        assert_int_equal(a.fired, i);
        assert_int_equal(timers_next(&timers), 5);
    }
    timers_free(&timers);
}

static void a_call_may_cancel_another_timer_of_the_same_run(void **state)
{
    struct probe a = { .fired = 0 }, b = { .fired = 0 };

    (void)state;
    a.other = &b;
    set(&a, 10);
    set(&b, 11);
    run(20);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 0);
    timers_free(&timers);
}

static void a_call_may_move_another_timer_of_the_same_run(void **state)
{
    struct probe a = { .other_at = 50 }, b = { .fired = 0 };

    (void)state;
    a.other = &b;
    set(&a, 10);
    set(&b, 11);
    run(20);
    assert_int_equal(b.fired, 0);
    run(50);
    assert_int_equal(b.fired, 1);
    a.other_at = 1; /* to the past: at the next run */
    set(&a, 60);
    set(&b, 70);
    run(80);
    assert_int_equal(b.fired, 1);
    run(80);
    assert_int_equal(b.fired, 2);
    timers_free(&timers);
}

static void a_timer_left_to_the_next_run_may_be_cancelled_in_this_one(void **state)
{
    struct probe a = { .again = 1 }, b = { .fired = 0 }, c = { .again = 2 }, d = { .fired = 0 };

    (void)state;
    b.other = &a;
    set(&a, 10);
    set(&c, 11);
    set(&b, 12);
    set(&d, 100);
    run(20);
    assert_false(timer_running(&a.timer));
    assert_int_equal(timers_next(&timers), 2);
    run(20);
    assert_int_equal(a.fired, 1);
    assert_int_equal(c.fired, 2);
    run(100);
    assert_int_equal(d.fired, 1);
    timers_free(&timers);
}

static uint32_t seed;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static void random_use_equals_a_naive_model(void **state)
{
    static struct probe probes[MANY];
    static uint64_t deadlines[MANY]; /* 0: not running */
    static unsigned fired[MANY];
    uint64_t now = 1000;

    (void)state;
    seed = 42;
    for (unsigned i = 0; i < 30000; i++) {
        uint32_t k = chance(MANY);
        uint64_t earliest = TIMER_NEVER;

        if (chance(4)) {
            deadlines[k] = now + chance(500) - (chance(10) ? 0 : 100);
            set(&probes[k], deadlines[k]);
        } else {
            deadlines[k] = 0;
            timer_cancel(&timers, &probes[k].timer);
        }
        if (chance(5) == 0) {
            now += chance(60);
            run(now);
            for (k = 0; k < MANY; k++)
                if (deadlines[k] && deadlines[k] <= now) {
                    deadlines[k] = 0;
                    fired[k]++;
                }
        }
        for (k = 0; k < MANY; k++) {
            assert_int_equal(timer_running(&probes[k].timer), deadlines[k] != 0);
            assert_int_equal(probes[k].fired, fired[k]);
            if (deadlines[k] && deadlines[k] < earliest)
                earliest = deadlines[k];
        }
        assert_int_equal(timers_next(&timers), earliest);
    }
    timers_free(&timers);
}

/* Calls at random set, move and cancel others; the model is told by the calls themselves. */
static struct probe actors[MANY];
static uint64_t due[MANY]; /* 0: not running */
static bool blocked[MANY]; /* set to the past in this run: may not fire in it */

static void actor_fire(struct timer *timer)
{
    size_t self = (size_t)((struct probe *)timer - actors);

    assert_true(due[self] != 0 && due[self] <= run_time);
    assert_int_equal(timer->deadline, due[self]);
    assert_false(blocked[self]);
    due[self] = 0;
    for (uint32_t n = chance(4); n > 0; n--) {
        uint32_t k = chance(3) ? chance(MANY) : (uint32_t)self;

        if (chance(3)) {
            due[k] = run_time + chance(100) - 50;
            blocked[k] = due[k] <= run_time;
            assert_int_equal(timer_set(&timers, &actors[k].timer, due[k]), 0);
        } else {
            due[k] = 0;
            timer_cancel(&timers, &actors[k].timer);
        }
    }
}

static void calls_that_set_and_cancel_others_keep_the_order_right(void **state)
{
    uint64_t now = 1000;

    (void)state;
    seed = 4711;
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t earliest = TIMER_NEVER;
        uint32_t running = 0;

        for (unsigned n = 0; n < 5; n++) {
            uint32_t k = chance(MANY);

            actors[k].timer.fire = actor_fire;
            due[k] = now + chance(200);
            assert_int_equal(timer_set(&timers, &actors[k].timer, due[k]), 0);
        }
        for (uint32_t k = 0; k < MANY; k++)
            actors[k].timer.fire = actor_fire;
        memset(blocked, 0, sizeof blocked);
        now += chance(20);
        run(now);
        for (uint32_t k = 0; k < MANY; k++) {
            assert_int_equal(timer_running(&actors[k].timer), due[k] != 0);
            assert_true(due[k] == 0 || due[k] > now || blocked[k]);
            if (due[k] && due[k] < earliest)
                earliest = due[k];
            running += due[k] != 0;
        }
        assert_int_equal(timers.count, running);
        assert_int_equal(timers_next(&timers), earliest);
    }
    timers_free(&timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_at_their_deadline_and_once),
        cmocka_unit_test(setting_a_running_timer_moves_it),
        cmocka_unit_test(cancelling_is_harmless_at_any_time),
        cmocka_unit_test(a_timer_set_to_the_past_in_its_call_fires_at_the_next_run),
        cmocka_unit_test(a_call_may_cancel_another_timer_of_the_same_run),
        cmocka_unit_test(a_call_may_move_another_timer_of_the_same_run),
        cmocka_unit_test(a_timer_left_to_the_next_run_may_be_cancelled_in_this_one),
        cmocka_unit_test(random_use_equals_a_naive_model),
        cmocka_unit_test(calls_that_set_and_cancel_others_keep_the_order_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
