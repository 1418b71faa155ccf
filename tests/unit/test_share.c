/* A loop with two services, of which one has many events: in what order they are called. */
#include "container.h"
#include "share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define SOURCES 100
#define TURNS 1000

/* What both services have on the loop: eventfds that stay readable until they are emptied. */
struct part {
    struct loop_source source;
    struct place *place;
    bool empties;
    unsigned calls;
    unsigned at; /* the place's count of calls, at the last one */
    struct part *unwatches;
};

struct place {
    struct loop *loop;
    struct share flood, quiet;
    struct part parts[SOURCES], one;
    unsigned calls, turns;
    struct loop_task task;
};

static void called(struct loop_source *source, uint32_t events)
{
    struct part *part = CONTAINER_OF(source, struct part, source);
    uint64_t value;

    (void)events;
    assert_int_not_equal(source->events, 0);
    part->calls++;
    part->at = ++part->place->calls;
    if (part->empties)
        assert_int_equal(read(source->fd, &value, sizeof value), sizeof value);
    if (part->unwatches != NULL)
        assert_int_equal(loop_watch(part->place->loop, &part->unwatches->source, 0), 0);
}

static void fill(struct part *part)
{
    assert_int_equal(write(part->source.fd, &(uint64_t){ 1 }, sizeof(uint64_t)), sizeof(uint64_t));
}

static void watch(struct place *place, struct share *share, struct part *part)
{
    *part = (struct part){
        .source = { .fd = eventfd(0, EFD_NONBLOCK), .ready = called, .set = share_set(share) },
        .place = place,
        .empties = true,
    };
    assert_true(part->source.fd >= 0);
    assert_int_equal(loop_watch(place->loop, &part->source, EPOLLIN), 0);
}

static void count_turns(struct loop_task *task)
{
    struct place *place = CONTAINER_OF(task, struct place, task);

    if (--place->turns == 0)
        loop_stop(place->loop);
    else
        loop_defer(place->loop, task);
}

static void turn(struct place *place, unsigned turns)
{
    place->turns = turns;
    place->loop->stopping = false;
    loop_defer(place->loop, &place->task);
    assert_int_equal(loop_run(place->loop), 0);
}

static int begin(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    assert_non_null(place);
    place->loop = loop_create();
    assert_non_null(place->loop);
    place->task.run = count_turns;
    share_init(&place->flood, place->loop);
    share_init(&place->quiet, place->loop);
    for (size_t i = 0; i < SOURCES; i++)
        watch(place, &place->flood, &place->parts[i]);
    watch(place, &place->quiet, &place->one);
    *state = place;
    return 0;
}

static int end(void **state)
{
    struct place *place = *state;

    for (size_t i = 0; i < SOURCES; i++) {
        loop_watch(place->loop, &place->parts[i].source, 0);
        close(place->parts[i].source.fd);
    }
    loop_watch(place->loop, &place->one.source, 0);
    close(place->one.source.fd);
    share_end(&place->flood);
    share_end(&place->quiet);
    assert_int_equal(place->loop->shares, 0);
    loop_drop(place->loop);
    free(place);
    return 0;
}

static void fill_all(struct place *place)
{
    for (size_t i = 0; i < SOURCES; i++)
        fill(&place->parts[i]);
}

static size_t apart(const struct place *place)
{
    size_t count = 0;

    for (size_t i = 0; i < SOURCES; i++)
        count += place->parts[i].source.set == &place->flood.own;
    return count;
}

static void who_came_last_of_a_quiet_service_is_first(void **state)
{
    struct place *place = *state;

    fill_all(place);
    fill(&place->one);
    turn(place, TURNS);
    assert_int_equal(place->one.at, 1);
    for (size_t i = 0; i < SOURCES; i++)
        assert_int_equal(place->parts[i].calls, 1);
}

static void between_two_turns_of_a_quiet_service_a_flood_has_a_bounded_number(void **state)
{
    struct place *place = *state;
    unsigned before = 0;

    for (size_t i = 0; i < SOURCES; i++)
        place->parts[i].empties = false;
    fill_all(place);
    fill(&place->one);
    turn(place, 1);
    for (int i = 0; i < 100; i++) {
        before = place->calls;
        fill(&place->one);
        turn(place, 1);
        assert_in_range(place->calls - before, 1, SHARE_MOST_EVENTS + 1);
        assert_int_equal(place->one.calls, i + 2);
    }
}

/* The sources stay ready, so that only their order in the set decides. */
static void all_of_a_flood_have_their_turns_alike(void **state)
{
    struct place *place = *state;
    unsigned least = UINT32_MAX, most = 0;

    for (size_t i = 0; i < SOURCES; i++)
        place->parts[i].empties = false;
    fill_all(place);
    fill(&place->one);
    turn(place, TURNS);
    for (size_t i = 0; i < SOURCES; i++) {
        if (place->parts[i].calls < least)
            least = place->parts[i].calls;
        if (place->parts[i].calls > most)
            most = place->parts[i].calls;
    }
    assert_in_range(least, 1, TURNS);
    assert_in_range(most - least, 0, 1);
}

static void who_is_unwatched_is_not_called(void **state)
{
    struct place *place = *state;
    unsigned calls = 0;

    for (size_t i = 0; i < SOURCES; i += 2)
        place->parts[i].unwatches = &place->parts[i + 1];
    fill_all(place);
    fill(&place->one);
    turn(place, TURNS);
    for (size_t i = 1; i < SOURCES; i += 2)
        calls += place->parts[i].calls;
    assert_int_equal(calls, 0);
}

static void after_many_calm_turns_each_goes_back_with_its_next_event(void **state)
{
    struct place *place = *state;

    fill_all(place);
    fill(&place->one);
    turn(place, TURNS);
    assert_true(place->flood.crowds);
    assert_int_equal(apart(place), SOURCES);
    for (int i = 0; i < TURNS && place->flood.crowds; i++) {
        fill(&place->parts[0]);
        turn(place, 1);
    }
    assert_false(place->flood.crowds);
    for (size_t i = 0; i < SOURCES; i++) {
        fill(&place->parts[i]);
        turn(place, 1);
        turn(place, 1);
    }
    assert_int_equal(apart(place), 0);
    for (size_t i = 0; i < SOURCES; i++) {
        unsigned before = place->parts[i].calls;
        fill(&place->parts[i]);
        turn(place, 1);
        assert_int_equal(place->parts[i].calls, before + 1);
    }
}

static void who_comes_while_a_service_crowds_is_apart_at_once(void **state)
{
    struct place *place = *state;
    struct part late;

    fill_all(place);
    fill(&place->one);
    turn(place, 1);
    watch(place, &place->flood, &late);
    assert_ptr_equal(late.source.set, &place->flood.own);
    fill(&late);
    turn(place, TURNS);
    assert_int_equal(late.calls, 1);
    /* What is watched of it changes, and it leaves, where it is. */
    late.empties = false;
    assert_int_equal(loop_watch(place->loop, &late.source, EPOLLOUT), 0);
    turn(place, 2);
    assert_true(late.calls > 1);
    assert_int_equal(loop_watch(place->loop, &late.source, 0), 0);
    close(late.source.fd);
}

static void a_flood_beside_which_nobody_has_anything_stays_where_it_is(void **state)
{
    struct place *place = *state;

    fill_all(place);
    turn(place, TURNS);
    assert_int_equal(place->flood.own.epoll, -1);
    for (size_t i = 0; i < SOURCES; i++)
        assert_int_equal(place->parts[i].calls, 1);
}

static void few_events_beside_others_stay_where_they_are(void **state)
{
    struct place *place = *state;

    for (size_t i = 0; i < SHARE_MANY - 1; i++)
        fill(&place->parts[i]);
    fill(&place->one);
    turn(place, 1);
    assert_false(place->flood.crowds);
    assert_int_equal(place->flood.own.epoll, -1);
    assert_int_equal(place->calls, SHARE_MANY);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(who_came_last_of_a_quiet_service_is_first),
        CASE(between_two_turns_of_a_quiet_service_a_flood_has_a_bounded_number),
        CASE(all_of_a_flood_have_their_turns_alike),
        CASE(who_is_unwatched_is_not_called),
        CASE(after_many_calm_turns_each_goes_back_with_its_next_event),
        CASE(who_comes_while_a_service_crowds_is_apart_at_once),
        CASE(a_flood_beside_which_nobody_has_anything_stays_where_it_is),
        CASE(few_events_beside_others_stay_where_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
