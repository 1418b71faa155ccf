/* The table of sources: exact while there is room, and who goes and who stays when there is none. */
#include "sources.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct source_prefix plain = { .ipv4 = 32, .ipv6 = 64 };

static enchufe_address ipv4(uint32_t number)
{
    return (enchufe_address){ .family = ENCHUFE_FAMILY_IPV4,
                              .ip = { (uint8_t)(number >> 24), (uint8_t)(number >> 16),
                                      (uint8_t)(number >> 8), (uint8_t)number } };
}

/* An address in the /64 with that number. */
static enchufe_address ipv6(uint64_t network, uint64_t host)
{
    enchufe_address address = { .family = ENCHUFE_FAMILY_IPV6 };

    for (int i = 0; i < 8; i++) {
        address.ip[i] = (uint8_t)(network >> (56 - 8 * i));
        address.ip[8 + i] = (uint8_t)(host >> (56 - 8 * i));
    }
    return address;
}

static struct sources *create(struct source_limits limits)
{
    if (limits.prefix.ipv4 == 0)
        limits.prefix = plain;
    struct sources *sources = sources_create(&limits, 0);

    assert_non_null(sources);
    return sources;
}

static int enter(struct sources *sources, enchufe_address address, uint64_t now)
{
    return sources_enter(sources, &address, now);
}

static void leave(struct sources *sources, enchufe_address address)
{
    sources_leave(sources, &address);
}

static void a_source_has_no_more_than_its_connections(void **state)
{
    struct sources *sources = create((struct source_limits){ .max_connections = 2 });

    (void)state;
    assert_int_equal(enter(sources, ipv4(1), 5), 0);
    assert_int_equal(enter(sources, ipv4(1), 5), 0);
    assert_int_equal(enter(sources, ipv4(1), 5), ENCHUFE_CLOSED_SOURCE_LIMIT);
    assert_int_equal(enter(sources, ipv4(2), 5), 0);
    leave(sources, ipv4(1));
    assert_int_equal(enter(sources, ipv4(1), 5), 0);
    assert_int_equal(enter(sources, ipv4(1), 5), ENCHUFE_CLOSED_SOURCE_LIMIT);
    sources_free(sources);
}

static void a_source_comes_no_faster_than_its_rate(void **state)
{
    struct sources *sources =
        create((struct source_limits){ .rate = { .count = 10, .period = 1000, .burst = 3 } });
    unsigned served = 0;

    (void)state;
    for (uint64_t now = 1000; now < 11000; now++) {
        int reason = enter(sources, ipv4(1), now);
        assert_true(reason == 0 || reason == ENCHUFE_CLOSED_SOURCE_RATE);
        served += reason == 0;
        assert_int_equal(enter(sources, ipv4(2 + (uint32_t)now), now), 0);
    }
    assert_int_equal(served, 3 - 1 + 100);
    sources_free(sources);
}

static void a_source_is_an_address_up_to_its_prefix(void **state)
{
    struct source_limits limits = { .max_connections = 1 };
    struct sources *single = create(limits);
    limits.prefix = (struct source_prefix){ .ipv4 = 24, .ipv6 = 56 };
    struct sources *network = create(limits);

    (void)state;
    assert_int_equal(enter(single, ipv4(0x0a000001), 1), 0);
    assert_int_equal(enter(single, ipv4(0x0a000002), 1), 0);
    assert_int_equal(enter(single, ipv6(7, 1), 1), 0);
    assert_int_equal(enter(single, ipv6(7, UINT64_MAX), 1), ENCHUFE_CLOSED_SOURCE_LIMIT);
    assert_int_equal(enter(single, ipv6(8, 1), 1), 0);
    assert_int_equal(enter(single, ipv6(0, 1), 1), 0); /* ::/64 is a source like others */
    assert_int_equal(enter(single, ipv6(0, 2), 1), ENCHUFE_CLOSED_SOURCE_LIMIT);
    assert_int_equal(enter(network, ipv4(0x0a000001), 1), 0);
    assert_int_equal(enter(network, ipv4(0x0a0000ff), 1), ENCHUFE_CLOSED_SOURCE_LIMIT);
    assert_int_equal(enter(network, ipv4(0x0a000101), 1), 0);
    assert_int_equal(enter(network, ipv6(0x100, 1), 1), 0);
    assert_int_equal(enter(network, ipv6(0x1ff, 1), 1), ENCHUFE_CLOSED_SOURCE_LIMIT);
    assert_int_equal(enter(network, ipv6(0x200, 1), 1), 0);
    sources_free(single);
    sources_free(network);
}

/* Far more spoofed sources than the table has places, each asking once: the flooder's empty bucket and the
 * client's connection are still known. */
static void a_flood_of_other_sources_makes_nobody_forgotten_who_matters(void **state)
{
    struct sources *sources = create((struct source_limits){
        .rate = { .count = 5, .period = 3600000, .burst = 5 }, .max_connections = 2 });

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(enter(sources, ipv4(1), 1000), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(enter(sources, ipv4(2), 1000), 0);
        leave(sources, ipv4(2));
    }
    for (uint32_t i = 0; i < 1000000; i++) {
        assert_int_equal(enter(sources, ipv4(1000 + i), 1000 + i / 1000), 0);
        leave(sources, ipv4(1000 + i));
    }
    assert_int_equal(enter(sources, ipv4(1), 3000), ENCHUFE_CLOSED_SOURCE_LIMIT);
    assert_int_equal(enter(sources, ipv4(2), 3000), ENCHUFE_CLOSED_SOURCE_RATE);
    leave(sources, ipv4(1));
    assert_int_equal(enter(sources, ipv4(1), 3000), 0);
    sources_free(sources);
}

static void who_is_refused_pays_no_token(void **state)
{
    struct sources *sources = create((struct source_limits){
        .rate = { .count = 3, .period = 3600000, .burst = 3 }, .max_connections = 1 });
    const enchufe_address one = ipv4(1);

    (void)state;
    assert_int_equal(enter(sources, one, 1000), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(enter(sources, one, 1000), ENCHUFE_CLOSED_SOURCE_LIMIT);
    leave(sources, one);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(enter(sources, one, 1000), 0);
        sources_undo(sources, &one);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(enter(sources, one, 1000), 0);
        leave(sources, one);
    }
    assert_int_equal(enter(sources, one, 1000), ENCHUFE_CLOSED_SOURCE_RATE);
    sources_free(sources);
}

/* All places of all sets taken by open connections: who comes then is held to the limit together with the
 * others of its set, never let in without one, and counted exactly once. */
static void a_table_full_of_connections_holds_the_others_to_a_limit_together(void **state)
{
    enum { HOLDERS = 500000, TRIES = 200000 }; /* so many that no set stays without */
    struct sources *sources = create((struct source_limits){ .max_connections = 3 });
    static bool in[HOLDERS];
    uint32_t let_in = 0;
    unsigned crowded = 0;

    (void)state;
    for (uint32_t i = 0; i < HOLDERS; i++)
        let_in += in[i] = enter(sources, ipv4(i), 1) == 0;
    /* 8192 sets of 7 places, and three more in each set's crowd. */
    assert_int_equal(let_in, 8192 * 7 + 8192 * 3);
    for (uint32_t i = 0; i < TRIES; i++)
        crowded += enter(sources, ipv4(0x80000000 + i), 1) == 0;
    assert_int_equal(crowded, 0);
    for (uint32_t i = 0; i < HOLDERS; i++)
        if (in[i])
            leave(sources, ipv4(i));
    /* Nothing is left of them: everybody has all places again. */
    for (uint32_t i = 0; i < 1000; i++)
        for (int n = 0; n < 4; n++)
            assert_int_equal(enter(sources, ipv4(0x40000000 + i), 1),
                             n < 3 ? 0 : ENCHUFE_CLOSED_SOURCE_LIMIT);
    sources_free(sources);
}

static void a_larger_table_has_room_for_all_who_can_be_connected(void **state)
{
    const struct source_limits limits = { .prefix = plain, .max_connections = 1 };
    const uint32_t most = 200000;
    struct sources *sources = sources_create(&limits, 2 * (size_t)most);
    uint32_t refused = 0;

    (void)state;
    assert_non_null(sources);
    for (uint32_t i = 0; i < most; i++)
        refused += enter(sources, ipv6(i, 1), 1) != 0;
    assert_in_range(refused, 0, most / 50);
    sources_free(sources);
}

/* Sources that share one set of a table, one more than it has places for: with a limit of one connection the
 * last is refused as long as all others are there. */
static size_t find_together(struct sources *sources, enchufe_address together[16])
{
    uint32_t last = 0;
    size_t count = 0;

    while (enter(sources, ipv4(last), 1) == 0)
        last++;
    for (uint32_t i = 0; i < last && count < 15; i++) {
        leave(sources, ipv4(i));
        if (enter(sources, ipv4(last), 1) == 0) {
            together[count++] = ipv4(i);
            leave(sources, ipv4(last));
        }
        assert_int_equal(enter(sources, ipv4(i), 1), 0);
    }
    together[count++] = ipv4(last);
    return count;
}

/* Each table has a key of its own: what somebody learns of one is worth nothing in the next. */
static void chosen_collisions_do_not_last(void **state)
{
    struct source_limits limits = { .prefix = plain, .max_connections = 1 };
    struct sources *known = create(limits), *fresh = create(limits);
    enchufe_address together[16];
    size_t count = find_together(known, together);

    (void)state;
    assert_int_equal(count, 9);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sources_enter(fresh, &together[i], 1), 0);
    sources_free(known);
    sources_free(fresh);
}

/* ---- a model ---- */

#define MODEL 64

static void random_comings_and_goings_are_counted_like_a_model(void **state)
{
    struct sources *sources = create((struct source_limits){ .max_connections = 5 });
    int open[MODEL] = { 0 };
    uint64_t x = 88172645463325252;

    (void)state;
    for (int i = 0; i < 2000000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        uint32_t who = (uint32_t)(x % MODEL);
        if (x >> 32 & 1) {
            int reason = enter(sources, ipv4(who), (uint64_t)i);
            assert_int_equal(reason, open[who] < 5 ? 0 : ENCHUFE_CLOSED_SOURCE_LIMIT);
            open[who] += reason == 0;
        } else if (open[who] > 0) {
            leave(sources, ipv4(who));
            open[who]--;
        }
    }
    sources_free(sources);
}

/* With four times as many sources as there are places, many of them begin in a crowd, get a place while they
 * are still connected, and lose it again. */
static void comings_and_goings_in_a_full_table_leave_nothing_behind(void **state)
{
    enum { MANY = 240000 };
    struct sources *sources = create((struct source_limits){ .max_connections = 2 });
    static uint8_t open[MANY];
    uint64_t x = 88172645463325252;
    uint32_t let_in = 0;

    (void)state;
    for (int i = 0; i < 3000000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        uint32_t who = (uint32_t)(x % MANY);
        if (x >> 62 != 0) {
            open[who] = (uint8_t)(open[who] + (enter(sources, ipv4(who), 1) == 0));
        } else if (open[who] != 0) {
            leave(sources, ipv4(who));
            open[who]--;
        }
        assert_in_range(open[who], 0, 2 * 2);
    }
    for (uint32_t who = 0; who < MANY; who++)
        for (; open[who] != 0; open[who]--)
            leave(sources, ipv4(who));
    for (uint32_t i = 0; i < 300000; i++)
        let_in += enter(sources, ipv4(i), 1) == 0;
    assert_int_equal(let_in, 8192 * 7 + 8192 * 2);
    sources_free(sources);
}

/* ---- threads ---- */

struct many {
    pthread_t thread;
    struct sources *sources;
    unsigned let_in;
};

static void *come_and_go(void *arg)
{
    struct many *many = arg;

    for (uint32_t i = 0; i < 100000; i++) {
        if (enter(many->sources, ipv4(i % 16), 1) != 0)
            continue;
        leave(many->sources, ipv4(i % 16));
    }
    for (uint32_t i = 0; i < 160; i++)
        many->let_in += enter(many->sources, ipv4(i % 16), 1) == 0;
    return NULL;
}

static void threads_together_never_pass_the_limit(void **state)
{
    struct sources *sources = create((struct source_limits){ .max_connections = 7 });
    struct many many[4];
    unsigned let_in = 0;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        many[i] = (struct many){ .sources = sources };
        assert_int_equal(pthread_create(&many[i].thread, NULL, come_and_go, &many[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(many[i].thread, NULL);
        let_in += many[i].let_in;
    }
    assert_in_range(let_in, 1, 16 * 7);
    while (let_in < 16 * 7)
        for (uint32_t i = 0; i < 16; i++)
            let_in += enter(sources, ipv4(i), 1) == 0;
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(enter(sources, ipv4(i), 1), ENCHUFE_CLOSED_SOURCE_LIMIT);
    sources_free(sources);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_has_no_more_than_its_connections),
        cmocka_unit_test(a_source_comes_no_faster_than_its_rate),
        cmocka_unit_test(a_source_is_an_address_up_to_its_prefix),
        cmocka_unit_test(a_flood_of_other_sources_makes_nobody_forgotten_who_matters),
        cmocka_unit_test(who_is_refused_pays_no_token),
        cmocka_unit_test(a_table_full_of_connections_holds_the_others_to_a_limit_together),
        cmocka_unit_test(a_larger_table_has_room_for_all_who_can_be_connected),
        cmocka_unit_test(chosen_collisions_do_not_last),
        cmocka_unit_test(random_comings_and_goings_are_counted_like_a_model),
        cmocka_unit_test(comings_and_goings_in_a_full_table_leave_nothing_behind),
        cmocka_unit_test(threads_together_never_pass_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
