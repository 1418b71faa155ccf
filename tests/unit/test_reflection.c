/* Which addresses are nobody's to answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bind.h"
#include "reflection.h"
#include <arpa/inet.h>
#include <string.h>

static enchufe_address address_of(const char *text)
{
    enchufe_address address = { .family = ENCHUFE_FAMILY_IPV4, .port = 5000 };

    if (strchr(text, ':') != NULL)
        address.family = ENCHUFE_FAMILY_IPV6;
    assert_int_equal(
        inet_pton(address.family == ENCHUFE_FAMILY_IPV6 ? AF_INET6 : AF_INET, text, address.ip), 1);
    return address;
}

static void addresses_of_many_and_of_nobody_are_no_hosts(void **state)
{
    static const char *const groups[] = {
        "224.0.0.0", "224.0.0.1", "232.1.2.3", "239.255.255.255", "255.255.255.255",
        "0.0.0.0",   "ff00::",    "ff02::1",   "ffff:ffff::1",    "::"
    };
    static const char *const hosts[] = { "127.0.0.1",       "10.0.0.255", "192.168.1.1",
                                         "223.255.255.255", "240.0.0.1",  "255.255.255.254",
                                         "0.0.0.1",         "::1",        "fe80::1",
                                         "2001:db8::ff00",  "feff::1" };

    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        enchufe_address address = address_of(groups[i]);
        assert_false(reflection_is_host(&address));
    }
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        enchufe_address address = address_of(hosts[i]);
        assert_true(reflection_is_host(&address));
    }
}

static void the_system_tells_broadcast_addresses_of_its_networks(void **state)
{
    enchufe_address broadcast = address_of("127.255.255.255"), host = address_of("127.0.0.255");
    enchufe_address loopback = address_of("::1");

    (void)state;
    assert_true(bind_is_broadcast(&broadcast));
    assert_false(bind_is_broadcast(&host));
    assert_false(bind_is_broadcast(&loopback));
}

static void ports_of_services_are_suspected_zero_among_them(void **state)
{
    static struct reflection reflection;
    const struct sockets none = { .count = 0 };
    enchufe_route route = { .peer = address_of("10.0.0.1"), .local = address_of("10.0.0.2") };

    (void)state;
    reflection_init(&reflection, &none);
    for (unsigned port = 0; port < 65536; port++) {
        route.peer.port = (uint16_t)port;
        assert_int_equal(reflection_suspects(&reflection, &route, -1, false), port < 1024);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_many_and_of_nobody_are_no_hosts),
        cmocka_unit_test(the_system_tells_broadcast_addresses_of_its_networks),
        cmocka_unit_test(ports_of_services_are_suspected_zero_among_them),
    };

    return cmocka_run_group_tests_name("reflection", tests, NULL, NULL);
}
