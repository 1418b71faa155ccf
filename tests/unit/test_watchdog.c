/* Unit tests of the trace, and of the watchdog that reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "log.h"
#include "log_sink.h"
#include "watchdog.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct fixture {
    struct service_config services[2];
    struct config config;
    struct trace *trace;
    struct watchdog dog;
    int log;
    uint64_t now;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->services[0].name = "echo";
    f->services[1].name = "hola";
    f->config = (struct config){ .services = f->services, .service_count = 2 };
    f->config.server.stall_limit = 2000;
    f->trace = trace_create(2);
    f->log = memfd_create("log", MFD_CLOEXEC);
    log_sink_take(f->log);
    log_setup(ENCHUFE_LOG_INFO, LOG_TEXT);
    assert_int_equal(watchdog_init(&f->dog, &f->config, f->trace, 0, 2), 0);
    f->now = f->dog.last;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    trace_thread(NULL);
    watchdog_free(&f->dog);
    trace_destroy(f->trace);
    log_sink_take(STDERR_FILENO);
    close(f->log);
    free(f);
    return 0;
}

static int look(struct fixture *f)
{
    f->now += WATCHDOG_MS;
    return watchdog_look(&f->dog, f->now);
}

/* How many lines of the log contain the word. */
static int logged(const struct fixture *f, const char *word)
{
    char text[4096];
    ssize_t len = pread(f->log, text, sizeof text - 1, 0);
    int count = 0;

    text[len > 0 ? len : 0] = '\0';
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        count++;
    return count;
}

static void every_callback_has_a_number_of_its_own(void **state)
{
    struct fixture *f = *state;
    const struct trace_slot *slot = &f->trace->slots[1];

    trace_thread(&f->trace->slots[1]);
    trace_enter(1, CALLBACK_on_data);
    uint64_t first = slot->now;
    trace_leave();
    uint64_t between = slot->now;
    trace_enter(1, CALLBACK_on_data);
    assert_int_equal(trace_service(first), 1);
    assert_int_equal(trace_callback(first), CALLBACK_on_data);
    assert_int_equal(trace_service(between), -1);
    assert_int_equal(trace_callback(between), CALLBACK_NONE);
    assert_int_not_equal(slot->now, first);
    assert_int_equal((uint32_t)slot->now, (uint32_t)first);
    assert_int_equal((uintptr_t)slot % 64, 0);
}

static void the_number_of_a_callback_may_overflow(void **state)
{
    struct fixture *f = *state;
    struct trace_slot *slot = &f->trace->slots[0];

    slot->now = UINT64_C(0xffffffff) << TRACE_COUNT_SHIFT;
    trace_thread(slot);
    trace_enter(0, CALLBACK_on_open);
    assert_int_equal(slot->now, 1 << 8 | CALLBACK_on_open);
    trace_leave();
    assert_int_equal(slot->now, 0);
}

static void who_was_noted_is_to_blame_or_else_the_only_one(void **state)
{
    struct fixture *f = *state;
    enum callback callback;

    assert_int_equal(trace_blame(f->trace, &callback), -1);
    trace_thread(&f->trace->slots[0]);
    trace_enter(1, CALLBACK_on_eof);
    assert_int_equal(trace_blame(f->trace, &callback), 1);
    assert_int_equal(callback, CALLBACK_on_eof);
    trace_thread(&f->trace->slots[1]);
    trace_enter(0, CALLBACK_on_data);
    assert_int_equal(trace_blame(f->trace, &callback), -1);
    f->trace->culprit = (uint32_t)f->trace->slots[1].now;
    assert_int_equal(trace_blame(f->trace, &callback), 0);
    assert_int_equal(callback, CALLBACK_on_data);
    trace_reset(f->trace);
    assert_int_equal(trace_blame(f->trace, &callback), -1);
}

static void a_stuck_loop_is_reported_once_and_given_up_at_the_limit(void **state)
{
    struct fixture *f = *state;

    trace_thread(&f->trace->slots[1]);
    trace_enter(1, CALLBACK_on_message);
    assert_int_equal(look(f), -1); /* seen first */
    assert_int_equal(logged(f, "loop is stuck"), 0);
    for (int i = 1; i < 20; i++) {
        assert_int_equal(look(f), -1);
        assert_int_equal(logged(f, "loop is stuck"), 1);
    }
    assert_int_equal(logged(f, "service=hola callback=on_message for=0.100s"), 1);
    assert_int_equal(look(f), 1);
    assert_int_equal(f->dog.watches[1].ms, 2000);
}

/* Whatever the looks take, and where the limit is no multiple of their distance. */
static void the_last_look_is_at_the_limit(void **state)
{
    struct fixture *f = *state;

    f->config.server.stall_limit = 250;
    trace_thread(&f->trace->slots[1]);
    trace_enter(1, CALLBACK_on_message);
    assert_int_equal(look(f), -1); /* seen first */
    f->now += 7;
    assert_int_equal(look(f), -1);
    assert_int_equal(f->dog.next, f->now + WATCHDOG_MS);
    assert_int_equal(look(f), -1);
    assert_int_equal(f->dog.next, f->now + 43);
    f->now = f->dog.next;
    assert_int_equal(watchdog_look(&f->dog, f->now), 1);
    assert_int_equal(f->dog.watches[1].ms, 250);
}

static void a_callback_that_returns_late_is_told_of(void **state)
{
    struct fixture *f = *state;

    trace_thread(&f->trace->slots[0]);
    trace_enter(0, CALLBACK_on_data);
    for (int i = 0; i < 4; i++)
        assert_int_equal(look(f), -1);
    trace_leave();
    trace_enter(0, CALLBACK_on_data);
    for (int i = 0; i < 20; i++)
        assert_int_equal(look(f), -1); /* the next one has the whole limit again */
    assert_int_equal(look(f), 0);
    assert_int_equal(logged(f, "stuck loop goes on service=echo callback=on_data took=0.400s"), 1);
    assert_int_equal(logged(f, "loop is stuck"), 2);
}

static void many_short_callbacks_are_not_one_long_one(void **state)
{
    struct fixture *f = *state;

    trace_thread(&f->trace->slots[0]);
    for (int i = 0; i < 50; i++) {
        trace_enter(0, CALLBACK_on_data);
        assert_int_equal(look(f), -1);
        trace_leave();
    }
    assert_int_equal(logged(f, "\n"), 0);
}

static void no_limit_means_never(void **state)
{
    struct fixture *f = *state;

    f->config.server.stall_limit = 0;
    trace_thread(&f->trace->slots[0]);
    trace_enter(0, CALLBACK_on_data);
    for (int i = 0; i < 100; i++)
        assert_int_equal(look(f), -1);
    assert_int_equal(logged(f, "loop is stuck"), 1);
}

static void loop_start_may_take_its_time(void **state)
{
    struct fixture *f = *state;

    trace_thread(&f->trace->slots[0]);
    trace_enter(0, CALLBACK_loop_start);
    for (int i = 0; i < 100; i++)
        assert_int_equal(look(f), -1);
    assert_int_equal(logged(f, "\n"), 0);
    assert_int_not_equal(f->dog.next, TIMER_NEVER);
}

static void a_process_that_stood_still_is_not_a_stuck_loop(void **state)
{
    struct fixture *f = *state;

    trace_thread(&f->trace->slots[0]);
    trace_enter(0, CALLBACK_on_data);
    look(f);
    f->now += 60000;
    assert_int_equal(watchdog_look(&f->dog, f->now), -1);
    assert_int_equal(f->dog.watches[0].ms, 2 * WATCHDOG_MS);
}

static void it_does_not_rest_again_at_the_look_that_a_loop_rang_for(void **state)
{
    struct fixture *f = *state;

    look(f);
    look(f);
    assert_int_equal(f->dog.next, TIMER_NEVER);
    atomic_store(&f->dog.watcher.resting,
                 false); /* as a loop does before it rings, without a callback */
    assert_int_equal(write(f->dog.watcher.bell, &(uint64_t){ 1 }, sizeof(uint64_t)), 8);
    look(f);
    assert_false(f->dog.watcher.resting);
    assert_int_equal(f->dog.next, f->now + WATCHDOG_MS);
    look(f);
    assert_true(f->dog.watcher.resting);
}

static void it_rests_only_after_a_look_at_loops_that_had_seen_the_request(void **state)
{
    struct fixture *f = *state;

    look(f);
    assert_true(f->dog.watcher.resting);
    assert_int_equal(f->dog.next, f->now + WATCHDOG_MS);
    look(f);
    assert_int_equal(f->dog.next, TIMER_NEVER);

    /* Between request and rest, a callback came and went. */
    trace_thread(&f->trace->slots[1]);
    trace_enter(0, CALLBACK_on_data);
    trace_leave();
    look(f);
    assert_false(f->dog.watcher.resting);
    assert_int_equal(f->dog.next, f->now + WATCHDOG_MS);
}

static struct watchdog *watching;
static struct loop *turning;

/* Runs in the loop: by now it must have rung. */
static void expect_a_ring(struct loop_task *task)
{
    uint64_t times = 0;

    (void)task;
    assert_false(watching->watcher.resting);
    assert_int_equal(read(watching->watcher.bell, &times, sizeof times), sizeof times);
    assert_int_equal(times, 1);
    loop_stop(turning);
}

static void an_idle_loop_rings_before_it_runs_anything(void **state)
{
    struct fixture *f = *state;
    struct loop_task task = { .run = expect_a_ring };

    watching = &f->dog;
    turning = loop_create();
    turning->watcher = &f->dog.watcher;
    look(f);
    look(f);
    loop_defer(turning, &task);
    assert_int_equal(loop_run(turning), 0);
    loop_drop(turning);
}

static struct watchdog_thread *looking;
static _Atomic bool interrupted;

/* In the middle of the look-out's poll: by its return it was told to end, and the bell has rung. */
static void wait_for_the_end(int signal)
{
    struct pollfd bell = { .fd = looking->dog.watcher.bell, .events = POLLIN };

    (void)signal;
    if (atomic_exchange(&interrupted, true))
        return;
    while (poll(&bell, 1, -1) != 1)
        continue;
}

/* More than once, since the thread sanitizer drops a signal to a thread that has only just begun. */
static void interrupt(pthread_t thread)
{
    for (unsigned n = 0; !interrupted; n++) {
        if (n % 1000 == 0)
            assert_int_equal(pthread_kill(thread, SIGUSR1), 0);
        sched_yield();
    }
}

/* The poll that was interrupted reports no ring, and the look after it takes the ring away. */
static void a_look_that_takes_the_bell_away_is_the_last_all_the_same(void **state)
{
    struct fixture *f = *state;

    sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = wait_for_the_end }, NULL);
    for (unsigned i = 0; i < 50; i++) {
        struct watchdog_thread watchdog;
        looking = &watchdog;
        interrupted = false;
        watchdog_thread_start(&watchdog, &f->config, f->trace, 0);
        assert_true(watchdog.running);
        for (unsigned n = 0; n < 100 * i; n++)
            sched_yield(); /* sooner or later it is in the poll by then */
        alarm(60);         /* a thread that goes on looking is not waited for without end */
        interrupt(watchdog.thread);
        watchdog_thread_end(&watchdog);
        alarm(0);
    }
    signal(SIGUSR1, SIG_DFL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_callback_has_a_number_of_its_own),
        TEST(the_number_of_a_callback_may_overflow),
        TEST(who_was_noted_is_to_blame_or_else_the_only_one),
        TEST(a_stuck_loop_is_reported_once_and_given_up_at_the_limit),
        TEST(the_last_look_is_at_the_limit),
        TEST(a_callback_that_returns_late_is_told_of),
        TEST(many_short_callbacks_are_not_one_long_one),
        TEST(no_limit_means_never),
        TEST(loop_start_may_take_its_time),
        TEST(a_process_that_stood_still_is_not_a_stuck_loop),
        TEST(it_does_not_rest_again_at_the_look_that_a_loop_rang_for),
        TEST(it_rests_only_after_a_look_at_loops_that_had_seen_the_request),
        TEST(an_idle_loop_rings_before_it_runs_anything),
        TEST(a_look_that_takes_the_bell_away_is_the_last_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
