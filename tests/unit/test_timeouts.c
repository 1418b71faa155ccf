/* Unit tests of timeouts: which hold for a service, and when a connection is due for which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn.h"
#include <string.h>

#define BEGAN 1000000u
#define TICK LOOP_TICK_MS

/* ---- which hold ---- */

static void whoever_runs_the_server_has_the_last_word(void **state)
{
    struct timeouts said;
    const enchufe_plugin none = { .name = "none" };
    const enchufe_plugin some = { .name = "some",
                                  .first_byte_timeout = 1,
                                  .idle_timeout = 2,
                                  .message_timeout = 3,
                                  .write_timeout = 4,
                                  .session_timeout = 5 };
    struct timeouts found;

    (void)state;
    timeouts_unsaid(&said);
    found = timeouts_resolve(&said, &none);
    assert_memory_equal(&found, &((struct timeouts){ .write = 60000 }), sizeof found);
    found = timeouts_resolve(&said, &some);
    assert_memory_equal(&found, &((struct timeouts){ 1, 2, 3, 4, 5 }), sizeof found);
    said.message = 30;
    said.write = 0;
    found = timeouts_resolve(&said, &some);
    assert_memory_equal(&found, &((struct timeouts){ 1, 2, 30, 0, 5 }), sizeof found);
}

static void a_plugin_can_ask_for_none_at_all(void **state)
{
    struct timeouts said, found;
    const enchufe_plugin plugin = { .write_timeout = ENCHUFE_NEVER, .idle_timeout = 1ull << 63 };

    (void)state;
    timeouts_unsaid(&said);
    found = timeouts_resolve(&said, &plugin);
    assert_memory_equal(&found, &((struct timeouts){ 0 }), sizeof found);
}

static void what_a_plugin_says_is_described(void **state)
{
    struct timeouts_table table;
    const enchufe_plugin plugin = { .idle_timeout = ENCHUFE_NEVER, .session_timeout = 90000 };

    (void)state;
    timeouts_describe(&plugin, &table);
    assert_string_equal(table.rows[0].name, "idle_timeout");
    assert_string_equal(table.rows[0].value, "never");
    assert_string_equal(table.rows[1].name, "session_timeout");
    assert_string_equal(table.rows[1].value, "1m30s");
    assert_null(table.rows[2].name);
}

/* ---- when a connection is due ---- */

static struct loop loop;
static struct enchufe_service service;
static struct enchufe_loop at = { .loop = &loop, .service = &service };
static struct enchufe_conn conn;

/* A new connection; the loop's time is that of its accept. */
static int begin(void **state)
{
    (void)state;
    timers_free(&loop.timers);
    memset(&loop, 0, sizeof loop);
    memset(&service, 0, sizeof service);
    memset(&conn, 0, sizeof conn);
    loop.now = BEGAN;
    loop.ticking = true;
    conn.at = &at;
    conn.opened_at = BEGAN;
    conn.active_at = BEGAN;
    conn.plugin_deadline = TIMER_NEVER;
    conn.write_deadline = TIMER_NEVER;
    return 0;
}

static int end(void **state)
{
    (void)state;
    timers_free(&loop.timers);
    return 0;
}

static void assert_due(uint64_t since, uint64_t timeout, int reason)
{
    struct conn_due due = conn_due(&conn);

    assert_int_equal(due.reason, reason);
    assert_true(due.at >= since + timeout);
    assert_true(due.at <= since + timeout + 3 * TICK);
}

static void assert_never_due(void)
{
    assert_true(conn_due(&conn).at == TIMER_NEVER);
}

/* So many bytes came, of which the plugin left some. */
static void receive(uint64_t now, size_t kept)
{
    loop.now = now;
    conn.bytes_in += kept + 1;
    if (conn.in.len == 0)
        conn.awaited = 0;
    conn.in.len = (uint32_t)kept;
    conn_await(&conn);
}

static void nothing_is_due_where_nothing_is_set(void **state)
{
    (void)state;
    conn_await(&conn);
    assert_never_due();
    receive(BEGAN + 500, 3);
    assert_never_due();
    conn_schedule(&conn);
    assert_false(timer_running(&conn.timer));
}

static void the_first_byte_is_owed_from_the_accept_on(void **state)
{
    (void)state;
    service.timeouts.first_byte = 5000;
    conn_await(&conn);
    assert_due(BEGAN, 5000, ENCHUFE_CLOSED_FIRST_BYTE);
    assert_true(timer_running(&conn.timer));
    loop.now = BEGAN + 3000;
    conn_await(&conn);
    assert_due(BEGAN, 5000, ENCHUFE_CLOSED_FIRST_BYTE);
    receive(BEGAN + 4000, 1);
    assert_never_due();
}

static void the_rest_of_a_message_is_owed_from_its_first_byte_on(void **state)
{
    (void)state;
    service.timeouts.first_byte = 50000;
    service.timeouts.message = 1000;
    conn_await(&conn);
    receive(BEGAN + 4321, 1);
    assert_due(BEGAN + 4321, 1000, ENCHUFE_CLOSED_MESSAGE);
    receive(BEGAN + 4999, 2);
    assert_due(BEGAN + 4321, 1000, ENCHUFE_CLOSED_MESSAGE);
    receive(BEGAN + 5000, 0);
    assert_never_due();
    receive(BEGAN + 6000, 7);
    assert_due(BEGAN + 6000, 1000, ENCHUFE_CLOSED_MESSAGE);
}

static void no_wait_is_early_however_stale_the_time_of_the_loop_is(void **state)
{
    (void)state;
    service.timeouts.message = 700;
    for (unsigned real = 0; real < 5 * TICK; real++) {
        for (unsigned stale = 0; stale <= TICK; stale += TICK / 4) {
            conn.in.len = 0;
            receive(BEGAN + real - stale, 1);
            assert_due(BEGAN + real, 700, ENCHUFE_CLOSED_MESSAGE);
        }
    }
}

static void a_wait_after_months_is_as_long_as_any(void **state)
{
    uint64_t year = 365ull * 24 * 3600 * 1000;

    (void)state;
    service.timeouts.message = 1000;
    receive(BEGAN + 3 * year + 77, 1);
    assert_due(BEGAN + 3 * year + 77, 1000, ENCHUFE_CLOSED_MESSAGE);
}

static void nothing_is_owed_while_the_server_does_not_read(void **state)
{
    (void)state;
    service.timeouts.message = 1000;
    receive(BEGAN, 1);
    conn.paused = true;
    assert_never_due(); /* at once, also before this was looked at */
    conn_await(&conn);
    assert_never_due();
    conn.paused = false;
    loop.now = BEGAN + 60000;
    conn_await(&conn);
    assert_due(BEGAN + 60000, 1000, ENCHUFE_CLOSED_MESSAGE);
    conn.above = true;
    conn_await(&conn);
    assert_never_due();
    conn.above = false;
    conn.eof = true;
    conn_await(&conn);
    assert_never_due();
}

static void the_earliest_of_all_is_due(void **state)
{
    (void)state;
    service.timeouts = (struct timeouts){ .idle = 3000, .session = 9000, .message = 5000 };
    assert_due(BEGAN, 3000, ENCHUFE_CLOSED_IDLE);
    receive(BEGAN + 2000, 1);
    conn.active_at = BEGAN + 6000;
    assert_due(BEGAN + 2000, 5000, ENCHUFE_CLOSED_MESSAGE);
    conn.write_deadline = BEGAN + 6500;
    assert_due(BEGAN, 6500, ENCHUFE_CLOSED_SLOW_READER);
    conn.write_deadline = TIMER_NEVER;
    receive(BEGAN + 7000, 0);
    assert_due(BEGAN, 9000, ENCHUFE_CLOSED_SESSION);
}

static void what_is_flushed_can_be_idle_or_too_long_and_what_lingers_cannot(void **state)
{
    (void)state;
    service.timeouts = (struct timeouts){ .first_byte = 1000, .idle = 3000, .session = 9000 };
    conn_await(&conn);
    conn.phase = CONN_FLUSHING;
    conn.reason = ENCHUFE_CLOSED_BY_PLUGIN;
    assert_due(BEGAN, 3000, ENCHUFE_CLOSED_IDLE);
    conn.active_at = BEGAN + 9000;
    assert_due(BEGAN, 9000, ENCHUFE_CLOSED_SESSION);
    conn.phase = CONN_LINGERING;
    conn.write_deadline = BEGAN + 20000;
    assert_due(BEGAN, 20000, ENCHUFE_CLOSED_BY_PLUGIN);
}

static void the_timer_moves_only_forward(void **state)
{
    (void)state;
    service.timeouts = (struct timeouts){ .idle = 10000, .message = 1000 };
    conn_schedule(&conn);
    assert_int_equal(conn.timer.deadline, BEGAN + 10000 + TICK);
    conn.active_at = BEGAN + 5000;
    conn_schedule(&conn);
    assert_int_equal(conn.timer.deadline, BEGAN + 10000 + TICK);
    receive(BEGAN + 5000, 1);
    assert_int_equal(conn.timer.deadline, conn_due(&conn).at);
    assert_true(conn.timer.deadline < BEGAN + 6000 + 3 * TICK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_runs_the_server_has_the_last_word),
        cmocka_unit_test(a_plugin_can_ask_for_none_at_all),
        cmocka_unit_test(what_a_plugin_says_is_described),
        TEST(nothing_is_due_where_nothing_is_set),
        TEST(the_first_byte_is_owed_from_the_accept_on),
        TEST(the_rest_of_a_message_is_owed_from_its_first_byte_on),
        TEST(no_wait_is_early_however_stale_the_time_of_the_loop_is),
        TEST(a_wait_after_months_is_as_long_as_any),
        TEST(nothing_is_owed_while_the_server_does_not_read),
        TEST(the_earliest_of_all_is_due),
        TEST(what_is_flushed_can_be_idle_or_too_long_and_what_lingers_cannot),
        TEST(the_timer_moves_only_forward),
    };

    return cmocka_run_group_tests_name("timeouts", tests, NULL, NULL);
}
